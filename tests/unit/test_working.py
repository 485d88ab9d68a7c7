"""What takes time is said, and what is missing is found out before anything starts."""

import os
import pty
import sys
import threading
from pathlib import Path

import pytest
from tinyfed_host.cli import emulate, main, output, working
from tinyfed_host.cli.main import run_command
from tinyfed_host.cli.setup import init
from tinyfed_host.emulation import needs

from tinyfed.boards import read_board
from tinyfed.errors import MissingToolError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "QUICK_S", 0.0)
    monkeypatch.setattr(working, "REDRAW_S", 0.01)


def finish() -> None:
    """Until the thread that tells has told."""
    for thread in threading.enumerate():
        if thread.name == "working":
            thread.join()


def test_one_plain_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.begin()
    with working.working("building"):
        finish()
    assert capsys.readouterr() == ("", "building …\n")


def test_nothing_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.begin(as_json=True)
    with working.working("building"):
        finish()
    output.begin()
    assert capsys.readouterr() == ("", "")


def test_what_is_quick_is_not_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "QUICK_S", 3600.0)
    output.begin()
    with working.working("building"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_line_that_counts_and_goes_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    output.begin()
    shown = ""
    with os.fdopen(theirs, "w") as stream, monkeypatch.context() as during:
        during.setattr(sys, "stderr", stream)
        with working.working("building"):
            while shown.count("building … 0 s") < 3:
                shown += os.read(ours, 1000).decode()
        shown += os.read(ours, 1000).decode()
    os.close(ours)
    assert shown.endswith("\r\x1b[2K")  # taken back
    assert "\n" not in shown


def test_what_is_printed_meanwhile_takes_the_lines_place(capsys: pytest.CaptureFixture[str]) -> None:
    output.begin()
    output.print_over("measuring … 3 s")
    output.print_note("row 1")
    output.print_note("row 2")
    assert capsys.readouterr().err == "\r\x1b[2Kmeasuring … 3 s\r\x1b[2Krow 1\nrow 2\n"


def test_all_that_is_missing_is_in_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(MissingToolError) as caught:
        boards = [read_board("mps2_an386"), read_board("raspberrypi"), read_board("mps2_an386")]
        needs.check(boards, tmp_path / "file" / "runs", ["the data is missing"])
    told = str(caught.value)
    for program in ("arm-none-eabi-gcc", "qemu-system-arm", "aarch64-linux-gnu-gcc", "qemu-aarch64"):
        assert told.count(f"{program} is not installed: sudo apt-get install ") == 1
    assert "the data is missing" in told
    assert f"{tmp_path}/file/runs cannot be written" in told


@pytest.mark.parametrize("command", [["demo"], ["run", "watch.toml", "--fleet", "emulated"]])
def test_nothing_starts_when_something_is_missing(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = Path(__file__).parents[2] / "examples"
    (tmp_path / "watch.toml").write_text((examples / "watch.toml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_command(command) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert "arm-none-eabi-gcc" in told.err and "qemu-system-arm" in told.err and "qemu-aarch64" in told.err
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_says_what_went_on_and_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tinyfed_host.firmware import build

    def interrupt(*_: object, **__: object) -> None:
        raise main.Interrupted

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "build", interrupt)
    again = "give the command again to do it anew"
    for words in (["firmware", "build", "--board", "native"], ["emulate", "--board", "native"]):
        assert run_command(words) == 130
        told = f"tinyfed: interrupted (building firmware for native); no file was written; {again}\n"
        assert capsys.readouterr().err.endswith(told)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init, "print_line", interrupt)
    assert run_command(["init", "sine"]) == 130
    assert capsys.readouterr().err == f"tinyfed: interrupted; sine/README.md, sine/sine.toml was written; {again}\n"
    monkeypatch.setattr(emulate, "print_line", interrupt)
    assert run_command(["emulate", "--board", "native", "--store", "a.store"]) == 130
    standing = "what they saved is in the files of --store; the same command starts them anew"
    assert capsys.readouterr().err.endswith(f"tinyfed: interrupted; the boards are off; {standing}\n")
