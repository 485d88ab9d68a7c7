"""Rows of numbers from text: what the tasks made of CSV files share."""

import csv
import math
import re
from collections.abc import Iterable, Sequence

from tinyfed.errors import UsageError

_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_WHOLE = re.compile(r"[+-]?[0-9]{1,1000}")  # more digits no limit allows
FLOAT32_MAX = (2 - 2.0**-23) * 2.0**127


def read_header(lines: Iterable[str], where: str) -> list[str]:
    """The names in the first line. Raises UsageError naming the file."""
    try:
        return [name.strip() for name in next(csv.reader(lines), [])]
    except csv.Error as error:
        raise UsageError(f"{where} line 1: {error}: is a quote left open?") from None


def read_table(
    lines: Iterable[str], where: str, columns: Sequence[str], *, shifted: bool = False
) -> list[tuple[int, list[str]]]:
    """The line and the cells of these columns, row by row, found by the header's names. `shifted`: rows have one
    leading cell more than the header. Raises UsageError naming file, line and column when one is missing or there
    twice."""
    reader = csv.reader(lines)
    try:
        header = [name.strip() for name in next(reader, [])]
        for column in columns:
            if column not in header:
                raise UsageError(f"{where}: column {column!r} is missing; there are {', '.join(header) or 'none'}")
            if header.count(column) > 1:
                raise UsageError(f"{where}: column {column!r} is there twice: give each a name of its own")
        at = [header.index(column) + shifted for column in columns]
        rows = []
        for row in reader:
            if not row:
                continue
            if len(row) != len(header) + shifted:
                raise UsageError(
                    f"{where} line {reader.line_num}: {len(row)} cells, the header has {len(header)}: is it cut short?"
                )
            rows.append((reader.line_num, [row[k] for k in at]))
    except csv.Error as error:
        raise UsageError(f"{where} line {reader.line_num}: {error}: is a quote left open?") from None
    return rows


def read_number(text: str) -> float | None:
    """A number as programs write it, NaN and infinity too; None for anything else, also for what only Python takes for
    one: underscores, digits of other scripts."""
    return float(text) if _NUMBER.fullmatch(text.strip(" \t\r\n")) else None


def read_whole(text: str) -> int | None:
    """A whole number in decimal digits; None for anything else."""
    return int(text) if _WHOLE.fullmatch(text.strip(" \t\r\n")) else None


def number(text: str, where: str, column: str) -> float:
    """A number that float32 can hold. Raises UsageError naming the place."""
    value = read_number(text)
    if value is None:
        raise UsageError(f"{where}: column {column!r} is {text!r}: not a number")
    if not math.isfinite(value):
        raise UsageError(f"{where}: column {column!r} is {text!r}: clean the data first")
    if abs(value) > FLOAT32_MAX:
        raise UsageError(f"{where}: column {column!r} is {text!r}: float32 ends at 3.4e38: clean the data first")
    return value
