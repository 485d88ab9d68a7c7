"""Time stamps of readings: numbers in s, ms, us or ns, or ISO 8601, as seconds."""

import datetime
import re

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.tables import Table

ISO = "ISO 8601"
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
# What a column's name may say: `time_ms`, `t [us]`, `seconds_elapsed`.
_NAMED = (
    ("ns", r"ns|nsec|nanos?(?:econds?)?"),
    ("us", r"us|µs|usec|micros?(?:econds?)?"),
    ("ms", r"ms|msec|millis?(?:econds?)?"),
    ("s", r"s|secs?|seconds?"),
)
_TIMES = {"time", "timestamp", "datetime", "date", "epoch", "elapsed", "t", "ts", "ms", "us", "ns"}
# Times since 1970 between 1998 and 2096, in seconds.
_EPOCH_S = (9e8, 4e9)
# The shortest step of a unit, where nothing else tells; 1 is a second rather than a millisecond.
_STEPS = (("s", 0.0), ("ms", 1.5), ("us", 900.0), ("ns", 9e5))


def is_named_time(name: str) -> bool:
    """Whether a column is called as time stamps are."""
    return not _TIMES.isdisjoint(re.split(r"[^a-zµ]+", name.lower()))


def unit_of(table: Table, name: str) -> str:
    """The unit of a column of time stamps: a key of `UNITS`, or `ISO`; "" where the cells are no times.

    The column's name decides where it says a unit, then the size of times since 1970, then the median step between
    readings: 0.02 is seconds, 20 milliseconds, 20000 microseconds.
    """
    values = table.values(name)
    values = values[np.isfinite(values)]
    if not values.size:
        first = next((cell for cell in table.text(name) if cell.strip()), "")
        return ISO if _iso(first) is not None else ""
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
    if unit == ISO:
        found = (_iso(cell) for cell in table.text(name))
        return np.array([np.nan if one is None else one for one in found], np.float64)
    return table.values(name) * UNITS[unit]


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
