"""What the shell offers after Tab: through bash's own machinery, and that every option with names has them."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tinyfed_host.cli.main import COMMANDS

from tinyfed.boards import board_names

BIN = str(Path(sys.executable).parent)
# What readline does at Tab: the function that `complete` was told, over the words of the line.
TAB = """
line=$1
COMP_WORDS=($line); case $line in *\\ ) COMP_WORDS+=("") ;; esac
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line}
[[ $(complete -p tinyfed) =~ -F\\ ([^ ]+) ]] && "${BASH_REMATCH[1]}" tinyfed "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
""".replace("\\\\", "\\")
LINES = {
    "tinyfed r": "run runs report reproduce",
    "tinyfed run ": "head omniglot sine watch words my.toml",
    "tinyfed run --resume k": "kitchen",
    "tinyfed run sine --board mps": "mps2_an386",
    "tinyfed run --fl": "--fleet",
    "tinyfed model e": "export",
    "tinyfed model export ": "kitchen x.tfm",
    "tinyfed devices --": "--json --help",
    "tinyfed devices adapt /dev/ttyACM0 ": "kitchen",
    "tinyfed data shard w": "watch",
    "tinyfed report elsewhere/": "",  # then bash offers files
}


def bash(folder: Path, script: str, *arguments: str, **more: str) -> str:
    """Standard output of an interactive bash whose home is `folder`."""
    done = subprocess.run(
        ["bash", "-i", "-c", script, "bash", *arguments],
        cwd=folder,
        env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder), **more},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home where completion was installed for bash, with a run, an experiment and a model in it."""
    folder = tmp_path_factory.mktemp("home")
    assert "bash completion installed" in bash(folder, "tinyfed --install-completion; :")
    (folder / "runs" / "kitchen").mkdir(parents=True)
    for name in ("runs/kitchen/run.sqlite", "my.toml", "x.tfm"):
        (folder / name).touch()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_tab_in_bash(home: Path, line: str) -> None:
    assert bash(home, TAB, line).split() == LINES[line].split()


@pytest.mark.slow
@pytest.mark.parametrize("word", ["report", "boards", "firmware"])
def test_a_tab_loads_nothing_heavy(home: Path, word: str) -> None:
    variables = {"_TINYFED_COMPLETE": "complete_bash", "COMP_WORDS": f"tinyfed {word} ", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", f"{BIN}/tinyfed"],
        cwd=home, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"numpy", "rich", "h5py", "serial", "tensorflow"}


def parameters(command: Any, path: str) -> list[tuple[str, Any]]:
    if hasattr(command, "commands"):
        return [found for name, sub in command.commands.items() for found in parameters(sub, f"{path} {name}")]
    return [(f"{path} {parameter.name}", parameter) for parameter in command.params]


def test_every_board_run_and_task_is_completed() -> None:
    offered = {}
    for name, entry in COMMANDS.items():
        command = typer.main.get_command(importlib.import_module(f"tinyfed_host.cli.{entry.module}").app)
        for path, parameter in parameters(command, name):
            if parameter.name in ("board", "run", "task"):
                context = command.make_context(name, [], resilient_parsing=True)
                offered[path] = [item.value for item in parameter.shell_complete(context, "")]
    assert len(offered) > 8
    for path, names in offered.items():
        if path.endswith(" board"):
            assert names == board_names(), path
