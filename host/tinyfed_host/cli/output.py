"""What a command prints: a table for people, or one JSON object a line for programs.

Text may come from a device, a file or another program: what does not print is shown escaped, and nothing is markup.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tinyfed.errors import UsageError
from tinyfed.files import is_stdout, write_all
from tinyfed.text import printable
from tinyfed_host.run.names import DATABASE

GAP = 2  # blanks between the columns of a table
NAME_LEAST, TEXT_LEAST = 10, 20  # columns of the screen that a name, and a sentence, are left
SENTENCE = 24  # characters
SHORT = 5
FIGURE = re.compile(r"[+-]?[0-9][0-9,.]*(?:e[+-]?[0-9]+)?(?: ?± ?[0-9.,]+|/[0-9,]+| ?[A-Za-z%]{1,3})?")

_passing = False  # a line stands on standard error that the next one takes the place of
_holds_file = False  # standard output is the file that the command writes: what it says goes to standard error


_as_json = False
_stopped_at = ""  # what was going on when Ctrl-C came
_written: list[Path] = []


def begin(*, as_json: bool = False) -> None:
    """A command begins: nothing was written yet."""
    global _holds_file, _as_json, _passing, _stopped_at
    _holds_file, _as_json, _passing, _stopped_at = False, as_json, False, ""
    _written.clear()


def wrote(*paths: Path) -> None:
    """These are there now, whatever comes."""
    _written.extend(paths)


def stopped_at(text: str) -> None:
    """Ctrl-C came while this was going on; the first to say so, the innermost, is right."""
    global _stopped_at
    _stopped_at = _stopped_at or text


def where_it_stopped(how: str, notes: Sequence[str]) -> str:
    """What is said of a command that Ctrl-C ended: what was going on, what there is, how to go on (`notes`, or the
    files it has written)."""
    at = f" ({_stopped_at})" if _stopped_at else ""
    there = f"{', '.join(map(str, _written))} was written" if _written else "no file was written"
    return "; ".join([how + at, *(notes or (there, "give the command again to do it anew"))])


def is_json() -> bool:
    """Whether the command is read by a program."""
    return _as_json


def write_files(contents: Mapping[Path, bytes], *inputs: Path | None) -> None:
    """Write a command's results, each whole or not at all, and say where one replaces an input.

    Raises UsageError where one cannot be written, or is a run's database: nothing else holds what that does.
    """
    global _holds_file
    for path in contents:
        if Path(os.path.realpath(path)).name == DATABASE and path.is_file():
            raise UsageError("is a run's database", where=str(path), remedy="name another file")
    same = [path for path in contents if any(given is not None and _is_same(path, given) for given in inputs)]
    _holds_file = _holds_file or any(is_stdout(path) for path in contents)
    write_all(contents)
    wrote(*contents)
    for path in same:
        print_note(f"{path} was the input and is now the result")


def write_file(path: Path, content: bytes, *inputs: Path | None) -> None:
    """`write_files` for one."""
    write_files({path: content}, *inputs)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.is_file() and one.samefile(other)
    except OSError:
        return False


def _out() -> IO[str]:
    _pass()
    return sys.stderr if _holds_file else sys.stdout


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line of standard output, at once."""
    _out().write(json.dumps(value, allow_nan=False) + "\n")
    _out().flush()


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    title: str | None = None,
    spare: Sequence[str] = (),
) -> None:
    """A table for people, numbers to the right; a row is one line where nobody's terminal bounds it.

    In a terminal that is too narrow `spare` columns go, the first first; then names are shortened to an ellipsis and
    sentences wrapped. Where that is not enough a row becomes a few lines, each with its column's name.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = terminal_width()
    kept = list(range(len(columns)))
    cells = [[printable(_cell(value)) for value in row] for row in rows]
    widths = _widths(columns, rows, cells, kept, width)
    for name in spare:
        if widths is None or widths != _widths(columns, rows, cells, kept, None):
            kept.remove(columns.index(name))
            widths = _widths(columns, rows, cells, kept, width)
    console = Console(file=_out(), width=width or 10_000, legacy_windows=False)
    if title is not None:
        console.print(Text(printable(title)))
    if widths is None:
        heads = 1 if columns[0] else 2  # a mark alone is no heading
        for row in cells:
            console.print(Text("  ".join(row[:heads]), style="bold"))
            for number in (number for number in kept[heads:] if row[number]):
                label = f"  {columns[number]}".ljust(4 + max(map(len, columns)))
                lines = Text(row[number]).wrap(console, max(TEXT_LEAST, console.width - len(label)))
                for line in lines:
                    console.print(Text(label) + line)
                    label = " " * len(label)
        return
    table = Table(box=None, padding=0, header_style="bold")  # versions of rich differ in where padding counts
    for number, wide in zip(kept, widths, strict=True):
        if table.columns:
            table.add_column(width=GAP)
        sentences = _is_text(cells, number)
        table.add_column(
            Text(columns[number]),
            justify="right" if _is_numeric(rows, number) else "left",
            no_wrap=not sentences and not _is_figures(cells, number),
            overflow="fold" if sentences else "ellipsis",
            width=wide,
        )
    for row in cells:
        table.add_row(*[part for number in kept for part in (Text(), Text(row[number]))][1:])
    console.print(table)


def terminal_width() -> int | None:
    """Columns of the terminal, or what COLUMNS says; None: no terminal, and nothing bounds a line."""
    from rich.console import Console

    said = os.environ.get("COLUMNS", "")
    if _out().isatty():
        return Console(file=_out()).width
    return int(said) if said.isdecimal() and 0 < int(said) < 10_000 else None


def _is_numeric(rows: Sequence[Sequence[object]], number: int) -> bool:
    return bool(rows) and all(isinstance(row[number], int | float) for row in rows)


def _is_figures(cells: Sequence[Sequence[str]], number: int) -> bool:
    """Whether a column holds figures, which are never shortened, be they numbers or text with them."""
    filled = [row[number] for row in cells if row[number]]
    told = [text for text in filled if FIGURE.fullmatch(text)]
    return bool(told) and all(text in told or len(text) <= SHORT for text in filled)


def _is_text(cells: Sequence[Sequence[str]], number: int) -> bool:
    """Whether a column holds sentences, to be wrapped, and not names."""
    return any(len(row[number]) > SENTENCE and " " in row[number] for row in cells)


def _widths(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    cells: Sequence[Sequence[str]],
    kept: Sequence[int],
    width: int | None,
) -> list[int] | None:
    """Of each column that is kept, so that all go into `width`. None: they cannot."""
    longest = [max((len(row[n]) for row in cells), default=0) for n in kept]
    needed = [max(len(columns[n]), size) for n, size in zip(kept, longest, strict=True)]
    if width is None:
        return needed
    least = []
    for n, size, whole in zip(kept, longest, needed, strict=True):
        if _is_figures(cells, n):
            least.append(max([size, *map(len, columns[n].split())]))
        else:
            least.append(min(whole, TEXT_LEAST if _is_text(cells, n) else NAME_LEAST))
    while sum(needed) + GAP * (len(kept) - 1) > width:
        over = [number for number, size in enumerate(needed) if size > least[number]]
        if not over:
            return None
        needed[max(over, key=lambda number: needed[number])] -= 1
    return needed


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def print_line(text: str) -> None:
    """A line for people, on standard output: a command in JSON mode prints none."""
    _out().write(printable(text) + "\n")
    _out().flush()


def print_over(text: str) -> None:
    """In place of what was printed so before: a passing line on standard error, which is a terminal."""
    global _passing
    width = shutil.get_terminal_size().columns  # a line that goes on in the next could not be drawn over
    sys.stderr.write(f"\r\x1b[2K{printable(text)[: max(1, width - 1)]}")
    sys.stderr.flush()
    _passing = bool(text)


def _pass() -> None:
    """Take the passing line away: another is about to be printed."""
    if _passing:
        print_over("")


def print_note(text: str) -> None:
    """A line beside what was asked for, on standard error."""
    _pass()
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()
