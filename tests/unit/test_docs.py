"""What the documentation names is there: files, folders, commands and their options."""

import importlib
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tinyfed_host.cli import main as cli
from typer.main import get_command

ROOT = Path(__file__).parents[2]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
FOLDERS = {parent.as_posix() for path in TRACKED for parent in Path(path).parents} - {"."}
ENDS = {path[at:] for path in TRACKED for at in (0, *(slash.end() for slash in re.finditer("/", path)))}
DOCS = [path for path in TRACKED if path.endswith(".md") and not path.startswith(("tests/", ".github/"))]
CODE = [path for path in TRACKED if re.search(r"\.(py|pyi|c|h|inc|cpp)$", path) and not path.startswith("tests/")]

FILE = re.compile(r"(?<![\w./<>{}~$*-])((?:[\w-]+/)*\w[\w.-]*\.(?:py|pyi|c|h|inc|cpp|json|toml|md))\b(?![/*({])")
FOLDER = re.compile(r"`((?:[\w-]+/)+)`")
# A user's own files, what commands write, and headers of the C library.
OTHERS = re.compile(
    r"""(boards/)?(
    [A-Z]+(_\w+)?\.(json|toml|h|c) | (people/|OUT/)?[\w-]+\.(json|toml) | (src/)?kws(_example)?\.[ch] | _example\.c
    | string\.h | build/.* | scons\.py | embedded_model\.c
    )""",
    re.X,
)
# A user's own folders.
OTHER_FOLDERS = {"runs", "runs/NAME", "train", "held_out"}
CODE_IN_PROSE = re.compile(r"^```.*?^```|`[^`]+`", re.M | re.S)
ROOT_OPTIONS = frozenset({"--help", "-h", "--version", "--install-completion", "--show-completion"})
COMMAND = re.compile(r"^[$` ]*tinyfed((?: +(?:\\\n *)?[^\s`|;#]+)+)", re.M)
TARGET = re.compile(r"^[$` ]*make +([a-z-]+)", re.M)


def named_files(text: str) -> set[str]:
    return {name for name in FILE.findall(text) if not OTHERS.fullmatch(name)}


def code_in(path: str) -> str:
    return "\n".join(CODE_IN_PROSE.findall((ROOT / path).read_text(encoding="utf-8")))


def is_there(name: str) -> bool:
    """A whole path, or its end, as `run/store.py`."""
    return name in ENDS


def test_files_that_are_named_exist() -> None:
    named = {path: named_files((ROOT / path).read_text(encoding="utf-8")) for path in DOCS + CODE}
    assert not {f"{path}: {name}" for path, names in named.items() for name in names if not is_there(name)}


@pytest.mark.parametrize("path", DOCS)
def test_folders_that_are_named_exist(path: str) -> None:
    named = {name.rstrip("/") for name in FOLDER.findall((ROOT / path).read_text(encoding="utf-8"))}
    known = [f"/{folder}" for folder in FOLDERS]
    assert not {name for name in named - OTHER_FOLDERS if not any(folder.endswith(f"/{name}") for folder in known)}


@pytest.mark.parametrize("path", DOCS)
def test_links_lead_somewhere(path: str) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", (ROOT / path).read_text(encoding="utf-8")):
        assert link.startswith("http") or (ROOT / path).parent.joinpath(link).exists(), link


def test_the_tree_names_what_is_there() -> None:
    """Of docs/architecture.md: each line's names lie in the folder that it is indented under."""
    tree = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("```")[1]
    above: list[str] = []
    for line in tree.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r" {2,}", line.strip())[0].split()
        for name in names:
            path = "/".join([*above[:depth], name.rstrip("/")])
            assert path in FOLDERS if name.endswith("/") else path in TRACKED, path
        above[depth:] = [names[0].rstrip("/")]
    for package in ("tinyfed", "host/tinyfed_host", "firmware"):
        folders = {folder for folder in FOLDERS if folder.rpartition("/")[0] == package}
        named = re.findall(r"\w+(?=/)", tree)
        assert {folder.rpartition("/")[2] for folder in folders} <= set(named)
    modules = {Path(path).name for path in TRACKED if re.fullmatch(r"tinyfed/[a-z]\w*\.py", path)}
    assert modules <= set(re.findall(r"\w+\.py", tree))


@cache
def takes(*words: str) -> tuple[frozenset[str], frozenset[str], bool]:
    """Of a command: its own commands, its options, and whether it is meant without one of its own."""
    entry = cli.COMMANDS[words[0]]
    command: Any = get_command(importlib.import_module(f"tinyfed_host.cli.{entry.module}").app)
    for word in words[1:]:
        command = command.commands[word]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    inner = frozenset(getattr(command, "commands", ()))
    if entry.default in inner and len(words) == 1:
        options |= takes(words[0], entry.default)[1]
    return inner, frozenset(options) | {"--help", "-h"}, bool(entry.default)


def wrong_in(command_line: str) -> str | None:
    """What of `tinyfed ...` does not exist."""
    words = command_line.replace("\\\n", " ").split()
    names: tuple[str, ...] = ()
    inner, options, complete = frozenset(cli.COMMANDS), ROOT_OPTIONS, True
    for word in words:
        name, _, _ = word.partition("=")
        if word.startswith("-"):
            if name.startswith("--") and name.rstrip(".,)") not in options:
                return word
        elif word in inner:
            names = (*names, word)
            inner, options, complete = takes(*names)
        elif inner and not complete and re.fullmatch("[a-z-]+", word):
            return word
        elif names:
            inner = frozenset()
        elif word not in ("...", "COMMAND"):
            return word
    return None


@pytest.mark.parametrize("path", DOCS)
def test_commands_that_are_named_exist(path: str) -> None:
    code = code_in(path)
    found = {line: wrong_in(line) for line in COMMAND.findall(code)}
    assert not {line: wrong for line, wrong in found.items() if wrong}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(TARGET.findall(code)) <= set(targets)


def test_a_change_of_c_is_compiled_and_checked() -> None:
    """By `make` (CONTRIBUTING.md), and by the pre-commit hook of `scripts/lint`."""
    show = ["make", "-s", "--eval", "show: ; @echo $(C_SOURCES)", "show"]
    compiled = set(subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())
    sources = {path for path in CODE if re.search(r"\.(c|h|inc)$", path) and path.startswith(("firmware/", "tinyfed/"))}
    assert any(path.endswith(".inc") for path in sources)
    assert not (sources | {"firmware/platform/tinyfed_build.py"}) - compiled
    hook = re.search(r"files: (.+)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert hook is not None
    assert not [path for path in CODE if not re.search(hook[1], path)]


def test_what_is_not_there_is_found() -> None:
    assert not is_there("tinyfed/tasks/shard.py") and not is_there("order/nowhere.py") and is_there("run/store.py")
    assert named_files("see tinyfed/tasks/shard.py, x.toml and `a/b.c`") == {"tinyfed/tasks/shard.py", "a/b.c"}
    assert COMMAND.findall("`tinyfed runs --json`\n$ tinyfed data list") == [" runs --json", " data list"]
    assert wrong_in("run x.toml --fleet emulated") is None and wrong_in("devices PORT --json") is None
    assert wrong_in("run --nothing") == "--nothing" and wrong_in("model nothing M") == "nothing"
    assert wrong_in("nothing") == "nothing" and wrong_in("devices save PORT --fleet x") == "--fleet"


def test_the_int8_operators_are_those_of_the_reader() -> None:
    from tinyfed.model.tflite.movement import MOVEMENT
    from tinyfed.model.tflite.to_int8 import _CONVERT

    section = (ROOT / "docs" / "int8.md").read_text().split("\n## Operators\n")[1].split("\nFirmware that is built")[0]
    listed = re.findall(r"\b[A-Z][A-Z0-9_]+\b", section.split("\n\n", 2)[1])
    assert sorted(listed) == sorted({*_CONVERT, *MOVEMENT})
