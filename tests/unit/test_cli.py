"""The command line: quick to start, one line for every error, documented exit codes."""

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from tinyfed_host.cli import main as cli
from tinyfed_host.run.store import StoreError

from tinyfed.errors import BuildError, DeviceError, DoesNotFitError, MissingToolError, TinyfedError, UsageError

ROOT = Path(__file__).parent.parent.parent
TINYFED = Path(sys.executable).with_name("tinyfed")


def tinyfed(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TINYFED, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )


def cpu_s(command: list[str | Path], runs: int = 3) -> float:
    """CPU seconds of the command, the least of a few: what it takes, whatever else the machine does."""
    times = []
    for _ in range(runs):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        times.append(usage.ru_utime + usage.ru_stime)
    return min(times)


def test_help_is_quick() -> None:
    # 0.36 s alone; half as much again while other tests share the core, so it may try until they do less
    assert any(cpu_s([TINYFED, "--help"]) < 0.5 for _ in range(5))


def test_import_is_quick() -> None:
    interpreter = cpu_s([sys.executable, "-c", "pass"])
    assert cpu_s([sys.executable, "-c", "import tinyfed"]) - interpreter < 0.2


def test_help_lists_the_commands_without_importing_them() -> None:
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", TINYFED, "--help"], capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0
    for name in cli.commands():
        assert name in shown.stdout
        module = cli.COMMANDS[name].module
        assert f"tinyfed_host.cli.{module}" not in shown.stderr
    for heavy in ("numpy", "serial", "sqlite3", "tinyfed_host.run.coordinator"):
        assert not any(line.split("|")[-1].strip() == heavy for line in shown.stderr.splitlines()), heavy


def test_every_command_has_help_with_an_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for name in cli.commands():
        assert cli.run_command([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert f"tinyfed {name}" in shown
        if cli.COMMANDS[name].module in ("run", "runs", "report", "devices", "demo"):
            assert "Examples" in shown, name


def test_no_help_text_is_taken_for_markup() -> None:
    """rich reads a word in brackets as a style, and shows nothing of it."""
    for source in sorted((ROOT / "host" / "tinyfed_host" / "cli").glob("*.py")):
        for text in re.findall(r'help="([^"]*)"', source.read_text(encoding="utf-8")):
            assert not re.search(r"\[[a-z/#@]", text), f"{source.name}: {text}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], ['"rnu" is no command']),
        (["--bogus"], ["No such option", "--help"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], words: list[str]) -> None:
    ended = tinyfed(*arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    for word in words:
        assert word in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "tinyfed [OPTIONS] COMMAND"),
        (["model"], 2, "tinyfed model [OPTIONS] COMMAND"),
        (["devices", "--bogus"], 2, "tinyfed devices ask --help"),
        (["devices", "save"], 2, "tinyfed devices save --help"),
        (["run"], 2, "EXPERIMENT.toml"),
        (["run", "--rounds", "0", "x.toml"], 2, "--rounds"),
    ],
)
def test_what_is_missing_or_wrong_is_told_on_standard_error(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_command(arguments) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err


@pytest.mark.parametrize("words", [["run"], ["devices"], ["devices", "save"], ["model", "plan"], ["bench", "step"]])
def test_h_is_help_of_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command([*words, "-h"]) == 0
    assert f"tinyfed {' '.join(words)} [OPTIONS]" in capsys.readouterr().out


def test_only_what_typer_documents_is_used() -> None:
    """Newer versions have no `click` beneath them, and modules of other names."""
    for source in sorted((ROOT / "host").rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[0] == "click" or name.startswith("typer.") for name in names), source
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "typer":
                assert node.attr in typer.__dict__ and not inspect.ismodule(getattr(typer, node.attr)), source


def raiser(error: BaseException) -> Callable[..., None]:
    def call(words: list[str]) -> None:
        raise error

    return call


CODES = {
    TinyfedError("x"): 1,
    UsageError("x"): 2,
    MissingToolError("x"): 3,
    DeviceError("x"): 4,
    DoesNotFitError("x"): 5,
    BuildError("x"): 6,
    StoreError("x"): 7,
    ZeroDivisionError("x"): 70,
    KeyboardInterrupt(): 130,
    cli.Terminated(): 143,
}


@pytest.mark.parametrize(("error", "code"), CODES.items(), ids=lambda value: type(value).__name__)
def test_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "call", raiser(error))
    assert cli.run_command([]) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "Traceback" not in told.err
    documented = (ROOT / "docs" / "cli.md").read_text()
    assert f"\n| {code} |" in documented


def test_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYFED_TRACEBACK", "1")
    monkeypatch.setattr(cli, "call", raiser(UsageError("x")))
    with pytest.raises(UsageError):
        cli.run_command([])
