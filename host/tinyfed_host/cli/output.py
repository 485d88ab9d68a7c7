"""What a command prints: a table for people, or one JSON object a line for programs.

Text may come from a device, a file or another program: what does not print is shown escaped, and nothing is markup.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tinyfed.files import is_stdout, write_all
from tinyfed.text import printable

_holds_file = False  # standard output is the file that the command writes: what it says goes to standard error


_as_json = False


def begin(*, as_json: bool = False) -> None:
    """A command begins: nothing was written yet."""
    global _holds_file, _as_json
    _holds_file, _as_json = False, as_json


def is_json() -> bool:
    """Whether the command is read by a program."""
    return _as_json


def write_files(contents: Mapping[Path, bytes], *inputs: Path | None) -> None:
    """Write a command's results, each whole or not at all, and say where one replaces an input.

    Raises UsageError where one cannot be written.
    """
    global _holds_file
    same = [path for path in contents if any(given is not None and _is_same(path, given) for given in inputs)]
    _holds_file = _holds_file or any(is_stdout(path) for path in contents)
    write_all(contents)
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
    return sys.stderr if _holds_file else sys.stdout


def print_json(value: Mapping[str, Any]) -> None:
    """One object on one line of standard output, at once."""
    _out().write(json.dumps(value, allow_nan=False) + "\n")
    _out().flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """A table as wide as the terminal; cells are shown as text, numbers to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=None if title is None else Text(printable(title)),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(_cell(value))) for value in row))
    Console(file=_out(), soft_wrap=False, width=None if _out().isatty() else 200).print(table)


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
    sys.stderr.write(f"\r\x1b[2K{printable(text)}")
    sys.stderr.flush()


def print_note(text: str) -> None:
    """A line beside what was asked for, on standard error."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()
