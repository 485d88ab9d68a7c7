"""A sensor's readings for an emulated board to play: docs/recording.md."""

import csv
import re
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.arrays import read_arrays
from tinyfed.data.tables import FLOAT32_MAX, read_number, read_whole
from tinyfed.errors import UsageError
from tinyfed.reading import TABLE_BYTES_MAX, read_text

MAGIC = b"TFRC"
VERSION = 1
CHANNELS_MAX = 16
_NAME = re.compile(r"(?![+-]?(?:nan|inf|infinity)$)[^\W\d].*|[^\w+.,-].*", re.IGNORECASE)  # of a column
_HEADER = struct.Struct("<4sBBHIIII")


def write_recording(takes: Sequence[NDArray[np.float64]], rate_hz: int, period_us: int | None = None) -> bytes:
    """The bytes of a recording: one array (readings, channels) float64 for each take, in the sensor's unit.

    `period_us` is the board's time between two readings (None: as the rate says); a smaller one plays faster. Raises
    UsageError when shapes or numbers are out of range.
    """
    arrays = [np.ascontiguousarray(take, dtype="<f8") for take in takes]
    channels = arrays[0].shape[1] if arrays and arrays[0].ndim == 2 else 0
    if not 1 <= channels <= CHANNELS_MAX:
        raise UsageError(f"recording: {channels} channels in a take, allowed is 1 to {CHANNELS_MAX}")
    if any(take.ndim != 2 or take.shape[1] != channels or len(take) == 0 for take in arrays):
        raise UsageError(f"recording: every take must have readings of {channels} channels")
    if not 1 <= rate_hz <= 65535:
        raise UsageError(f"recording: {rate_hz} readings a second, allowed is 1 to 65535")
    period_us = round(1e6 / rate_hz) if period_us is None else period_us
    ends = np.cumsum([len(take) for take in arrays]).astype("<u4").tobytes()
    total = sum(len(take) for take in arrays)
    head = _HEADER.pack(MAGIC, VERSION, channels, rate_hz, period_us, len(arrays), total, 0) + ends
    return head.ljust(-(-len(head) // 8) * 8, b"\0") + b"".join(take.tobytes() for take in arrays)


def take_count(recording: bytes) -> int:
    """How many takes there are in what `write_recording` gave."""
    return int(_HEADER.unpack_from(recording)[5])


def read_takes(path: Path, columns: Sequence[str] = ()) -> list[NDArray[np.float64]]:
    """The takes in a file, each (readings, channels) float64.

    A .csv is one take: a reading a line, a channel a column, the columns' names in its first line if it has any; a
    .npy is one take, a .npz one for each of its arrays, in their order. `columns` are the channels to use, by name (of
    a .csv) or number, counted from 1; none: all. Raises UsageError with file and line, also for a reading to use that
    is NaN, infinite or beyond float32.
    """
    if path.suffix.lower() not in (".csv", ".npy", ".npz"):
        raise UsageError(f"{path}: must be .csv, .npy or .npz")
    names, found = _read_csv(path) if path.suffix.lower() == ".csv" else ([], _read_arrays(path))
    takes = []
    for take, where in found:
        at = _chosen(path, columns, names, take.shape[1]) if columns else list(range(take.shape[1]))
        takes.append(_checked(take[:, at], [names[k] if names else str(k + 1) for k in at], where))
    return takes


def _checked(take: NDArray[np.float64], names: Sequence[str], where: Callable[[int], str]) -> NDArray[np.float64]:
    """Raises UsageError naming the first reading that no sensor gives."""
    for reading, channel in np.argwhere(~(np.abs(take) <= FLOAT32_MAX))[:1]:
        value = take[reading, channel]
        why = "float32 ends at 3.4e38: " if np.isfinite(value) else ""
        raise UsageError(f"{where(int(reading))}: column {names[channel]!r} is {value:g}: {why}clean the data first")
    return take


# A take, and where each of its readings stands.
_Take: TypeAlias = tuple[NDArray[np.float64], Callable[[int], str]]


def _read_csv(path: Path) -> tuple[list[str], list[_Take]]:
    names: list[str] = []
    rows: list[list[float]] = []
    lines: list[int] = []
    text = read_text(path, TABLE_BYTES_MAX)
    separator = next((mark for mark in ",;\t" if mark in text), ",")
    for number, words in enumerate(csv.reader(text.splitlines(), delimiter=separator), start=1):
        if not any(word.strip() for word in words):
            continue
        row = [value for value in map(read_number, words) if value is not None]
        if len(row) < len(words):
            if not rows and not names and _are_names(words):
                names = [word.strip() for word in words]
                continue
            hint = "" if rows or names else ", nor names of columns, which begin with letters"
            raise UsageError(f"{path}:{number}: {separator.join(words)!r} are not all numbers{hint}")
        width = len(rows[0]) if rows else len(names) or len(row)
        if len(row) != width:
            raise UsageError(f"{path}:{number}: {len(row)} values, the lines before have {width}")
        rows.append(row)
        lines.append(number)
    if not rows:
        raise UsageError(f"{path}: has no readings")
    return names, [(np.array(rows, np.float64), lambda reading: f"{path}:{lines[reading]}")]


def _are_names(words: Sequence[str]) -> bool:
    """Whether a line that is not all numbers names the columns: none of it is meant as a number. `1,234.5` is."""
    return all(not word.strip() or _NAME.fullmatch(word.strip()) for word in words)


def _read_arrays(path: Path) -> list[_Take]:
    found = read_arrays(path)
    arrays = {"" if path.suffix.lower() == ".npy" else f" ({name})": array for name, array in found.items()}
    if not arrays:
        raise UsageError(f"{path}: has no readings")
    for name, array in arrays.items():
        if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu":
            raise UsageError(f"{path}{name}: is {array.dtype} {array.shape}, a take is numbers (readings, channels)")
    with np.errstate(over="ignore"):  # of longer floats: told as infinite
        return [
            (array.astype(np.float64), partial("{}{}: reading {}".format, path, name)) for name, array in arrays.items()
        ]


def _chosen(path: Path, columns: Sequence[str], names: Sequence[str], width: int) -> list[int]:
    chosen = []
    for column in columns:
        if column in names:
            chosen.append(names.index(column))
        elif (number := read_whole(column)) is not None and 1 <= number <= width:
            chosen.append(number - 1)
        else:
            there = f"its columns are {', '.join(names)}" if names else f"it has columns 1 to {width}"
            raise UsageError(f"{path}: there is no column {column!r}: {there}")
    return chosen
