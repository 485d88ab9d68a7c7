"""What comes from outside and is shown: a device's name at the door, and every place that prints."""

import ast
import io
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from liar import LyingLine, hello_as
from rich.console import Console
from test_visit_line import SHARD
from tinyfed_host.cli.main import run_command
from tinyfed_host.cli.output import print_line, print_note, print_table
from tinyfed_host.device.line import RemoteDevice, probe
from tinyfed_host.run.events import Event
from tinyfed_host.view.lines import LogView, PlainView
from tinyfed_host.view.live import LiveView

from tinyfed.engine._device import LineDevice
from tinyfed.errors import DeviceError

CLIPBOARD, TITLE, LINK = (
    "\x1b]52;c;cm0gLXJmIH4=\x07",
    "\x1b]0;yours\x07",
    "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
)
EVIL = [CLIPBOARD, TITLE, LINK, "[/nope]", "[bold red]x[/bold red]", "a\rb", "a\nb", "a\x08b", "\x9b2J", "a\u202eb"]
NO_NAMES = [*(text.encode("latin-1", "replace") for text in EVIL), b"", b"x" * 33, b"a b", b"\xc3\xa4"]


def controls(text: str) -> set[str]:
    return {c for c in text if not c.isprintable()} - {"\n"}


@pytest.mark.parametrize("name", NO_NAMES)
def test_no_device_with_such_a_name_comes_in(name: bytes) -> None:
    def line() -> LyingLine:
        return LyingLine(LineDevice(65536, bytes(12), "some-board", SHARD), hello_as(name))

    for greeted in (False, True):
        one = line()
        session = probe(one, clock=one.clock) if greeted else None
        with pytest.raises(DeviceError, match=r"in-process: it calls itself '.*', and a board's name has") as refused:
            RemoteDevice(one, clock=one.clock, session=session)
        assert not controls(str(refused.value))


def test_the_longest_name_comes_in() -> None:
    name = b"aZ09_.-" + b"x" * 25
    line = LyingLine(LineDevice(65536, bytes(12), "some-board", SHARD), hello_as(name))
    assert RemoteDevice(line, clock=line.clock).info.board == name.decode()


@pytest.mark.parametrize("text", EVIL)
def test_nothing_that_is_printed_acts_on_a_terminal(
    text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    print_line(text)
    print_note(text)
    print_table(["what"], [[text]], title=text)
    assert run_command([text]) == 2
    stream = io.StringIO()
    event = Event("device-failed", 3, text, text)
    PlainView(stream)(event)
    with LogView(tmp_path / "run.log") as log:
        log(event)
    told = capsys.readouterr()
    for shown in (told.out, told.err, stream.getvalue(), (tmp_path / "run.log").read_text()):
        assert shown and not controls(shown)
    if text.isprintable():  # what only looks like markup is shown as it is
        assert text in told.out and text in told.err


@pytest.mark.parametrize("text", EVIL)
def test_the_live_view_shows_text_as_text(text: str) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=200)
    view = LiveView(text, console, {text: text})
    for event in (
        Event("run-started", data={"rounds": 4, "done": 0, "devices": [text]}),
        Event("device-failed", 1, text, text),
        Event("note", 1, text, text),
    ):
        view(event)
    console.print(view._draw())
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())  # rich's own
    assert not controls(shown)
    assert text not in shown or text.isprintable()
    if text.isprintable():
        assert shown.count(text) >= 4


ROWS = [
    [
        "a-run-with-a-name-of-very-many-letters-" + "x" * 20,
        "a sentence of some words that goes on for a while",
        1234567,
    ],
    ["b", "short", 5],
]


def table_at(
    width: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **more: Any
) -> list[str]:
    monkeypatch.setenv("COLUMNS", "" if width is None else str(width))
    print_table(["name", "what it is", "count"], ROWS, **more)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= (width or 999) for line in lines)
    return [line.rstrip() for line in lines]


def test_a_table_obeys_the_width(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Names end in an ellipsis, sentences go on in the next line, numbers stay whole; without a terminal all is."""
    whole = table_at(None, monkeypatch, capsys)
    assert len(whole) == 3 and ROWS[0][0] in whole[1] and ROWS[0][1] in whole[1] and whole[1].endswith("1,234,567")
    narrow = table_at(60, monkeypatch, capsys)
    assert any(line.startswith("a-run-with") and "…" in line and line.endswith("1,234,567") for line in narrow)
    assert [line[25:50].strip() for line in narrow[1:4]] == [
        "a sentence of some words",
        "that goes on for a while",
        "short",
    ]
    cards = table_at(40, monkeypatch, capsys)
    assert cards[0] == "a-run-with-a-name-of-very-many-letters-x" and "  count       1,234,567" in cards
    spared = table_at(40, monkeypatch, capsys, spare=("what it is",))
    assert spared[0].split() == ["name", "count"] and spared[1].split("…")[1].split() == ["1,234,567"]


# Where the product writes to a terminal; each escapes what it is given, or writes nothing that came from outside.
WRITERS = {
    "cli/devices/label.py",  # numbers
    "cli/main.py",
    "cli/output.py",
    "demo/screen.py",
    "device/port_choice.py",
    "view/lines.py",
}
RICH = {"cli/output.py", "demo/screen.py", "view/live.py", "view/views.py"}


def test_nothing_else_writes_to_a_terminal() -> None:
    host = ROOT / "host" / "tinyfed_host"
    writers, with_rich = set(), set()
    for path in sorted(host.rglob("*.py")):
        where = path.relative_to(host).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "print",
                "sys.stdout.write",
                "sys.stderr.write",
            ):
                writers.add(where)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.echo":
                assert ast.unparse(node) == "typer.echo(f'tinyfed {__version__}')", where
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(module.split(".")[0] == "rich" for module in modules):
                with_rich.add(where)
    assert writers == WRITERS
    assert with_rich == RICH
