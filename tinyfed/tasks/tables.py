"""Rows of numbers from text: what the tasks made of CSV files share."""

import csv
import math
from collections.abc import Iterable, Sequence

from tinyfed.errors import UsageError


def read_table(lines: Iterable[str], where: str, columns: Sequence[str], *, shifted: bool = False) -> list[list[str]]:
    """The cells of these columns, row by row, found by the header's names. `shifted`: rows have one leading cell more
    than the header. Raises UsageError naming file, line and column when one is missing."""
    reader = csv.reader(lines)
    header = next(reader, [])
    missing = [column for column in columns if column not in header]
    if missing:
        raise UsageError(f"{where}: column {missing[0]!r} is missing; there are {', '.join(header) or 'none'}")
    at = [header.index(column) + shifted for column in columns]
    rows = []
    for row in reader:
        if not row:
            continue
        if len(row) != len(header) + shifted:
            raise UsageError(
                f"{where} line {reader.line_num}: {len(row)} cells, the header has {len(header)}: is it cut short?"
            )
        rows.append([row[k] for k in at])
    return rows


def number(text: str, where: str, column: str) -> float:
    """A finite number. Raises UsageError naming the place."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{where}: column {column!r} is {text!r}: not a number") from None
    if not math.isfinite(value):
        raise UsageError(f"{where}: column {column!r} is {text!r}: clean the data first")
    return value
