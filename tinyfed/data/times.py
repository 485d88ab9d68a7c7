"""Time stamps of readings as seconds: numbers in s, ms, us or ns, ISO 8601, or dates with the day or month first."""

import datetime
import re

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.tables import Table

ISO, DMY, MDY = "ISO 8601", "DMY", "MDY"  # DMY: 14.11.2023 22:13:20; MDY: 11/14/2023 22:13:20
STAMPS = (ISO, DMY, MDY)
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
# What a column's name may say: `time_ms`, `t [us]`, `seconds_elapsed`.
_NAMED = (
    ("ns", r"ns|nsec|nanos?(?:econds?)?"),
    ("us", r"us|µs|usec|micros?(?:econds?)?"),
    ("ms", r"ms|msec|millis?(?:econds?)?"),
    ("s", r"s|secs?|seconds?"),
)
_TIMES = {"time", "timestamp", "datetime", "date", "epoch", "elapsed", "t", "ts", "ms", "us", "ns"}
# 14.11.2023 22:13:20, 14/11/2023 9:05; what follows the hour is as in ISO 8601.
_DATE = re.compile(r"(\d\d?)([./-])(\d\d?)\2(\d{4})(?:(?:[ T]|, )(\d\d?)(:\d\d.*))?$", re.ASCII)
# Times since 1970 between 1998 and 2096, in seconds.
_EPOCH_S = (9e8, 4e9)
_LAST_S = 253_402_300_799.0  # of the year 9999
# The shortest step of a unit, where nothing else tells; 1 is a second rather than a millisecond.
_STEPS = (("s", 0.0), ("ms", 1.5), ("us", 900.0), ("ns", 9e5))


def is_named_time(name: str) -> bool:
    """Whether a column is called as time stamps are."""
    return not _TIMES.isdisjoint(re.split(r"[^a-zµ]+", name.lower()))


def unit_of(table: Table, name: str) -> str:
    """The unit of a column of time stamps: a key of `UNITS`, or of `STAMPS`; "" where the cells are no times, or dates
    whose day and month could be either.

    The column's name decides where it says a unit, then the size of times since 1970, then the median step between
    readings: 0.02 is seconds, 20 milliseconds, 20000 microseconds.
    """
    values = table.values(name)
    values = values[np.isfinite(values)]
    if not values.size:
        cells = table.text(name)
        first = next((cell for cell in cells if cell.strip()), "")
        return ISO if _iso(first) is not None else _order_of(cells) if _DATE.match(first.strip()) else ""
    for unit, words in _NAMED:
        if re.search(rf"(?:^|[^a-zµ])(?:{words})(?:$|[^a-zµ])", name.lower()):
            return unit
    middle = float(np.median(np.abs(values)))
    for unit, factor in UNITS.items():
        if _EPOCH_S[0] <= middle * factor <= _EPOCH_S[1]:
            return unit
    steps = np.diff(values)
    steps = steps[steps > 0]
    step = float(np.median(steps)) if steps.size else 0.0
    return next(unit for unit, least in reversed(_STEPS) if step >= least)


def seconds(table: Table, name: str, unit: str) -> NDArray[np.float64]:
    """The times of a column in seconds, (rows,); NaN where a cell is none."""
    counts, factor = _counted(table, name, unit)
    return counts * factor


def elapsed(table: Table, name: str, unit: str) -> NDArray[np.float64]:
    """As `seconds`, since the first: those since 1970 leave a float64 only 0.2 us."""
    counts, factor = _counted(table, name, unit)
    return (counts - next(iter(counts[~np.isnan(counts)]), 0.0)) * factor


def moment_text(time_s: float, unit: str) -> str:
    """A time for people: a date where it counts from 1970."""
    if unit not in STAMPS and not _EPOCH_S[0] <= time_s <= _EPOCH_S[1]:
        return f"{time_s / UNITS[unit]:.6g}"
    moment = datetime.datetime.fromtimestamp(min(round(time_s, 3), _LAST_S), datetime.UTC)
    said = moment.strftime("%Y-%m-%d %H:%M:%S") + (f".{moment.microsecond // 1000:03}" if moment.microsecond else "")
    return said.removeprefix("1970-01-01 ")


def _counted(table: Table, name: str, unit: str) -> tuple[NDArray[np.float64], float]:
    """The times of a column, (rows,), in whole steps where they have such, and a step's seconds."""
    if unit not in STAMPS:
        return table.values(name), UNITS[unit]
    cells = table.text(name)
    found = (_iso(cell if unit == ISO else _as_iso(cell, unit)) for cell in cells)
    return np.array([np.nan if one is None else round(one * 1e6) for one in found], np.float64), 1e-6


def _order_of(cells: NDArray[np.object_]) -> str:
    """Of dates that end in the year: dots say that the day is first, else a number over 12."""
    dates = [found for cell in cells if (found := _DATE.match(cell.strip()))]
    if any(date[2] == "." or int(date[1]) > 12 for date in dates):
        return DMY
    return MDY if any(int(date[3]) > 12 for date in dates) else ""


def _as_iso(text: str, unit: str) -> str:
    """ "" where it is no such date."""
    date = _DATE.match(text.strip())
    if not date:
        return ""
    day, month = (date[1], date[3]) if unit == DMY else (date[3], date[1])
    clock = date[5].zfill(2) + date[6] if date[5] else "00:00"
    return f"{date[4]}-{month:0>2}-{day:0>2}T{clock}"


def _iso(text: str) -> float | None:
    """Seconds since 1970; of a time of the day since midnight."""
    text = re.sub(r"\s+(?=[+-]\d\d:?\d\d$)", "", text.strip())  # "2021-09-07 00:00 +08:00"
    try:
        moment = datetime.datetime.fromisoformat(f"1970-01-01T{text}" if text[2:3] == ":" else text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # a clock on the wall: all that counts is what lies between two
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()
