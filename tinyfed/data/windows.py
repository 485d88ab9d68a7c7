"""Windows of readings: cut where time has a gap, resampled, labelled by majority, summarized."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Labels = NDArray[np.int64]

GAP_STEPS = 5.0  # median steps without a reading, from which it is a gap
# A channel's readings in a window as one number, over axis 1 of (windows, length, channels).
FEATURES: dict[str, Callable[[Values], Values]] = {
    "mean": lambda x: x.mean(axis=1),
    "std": lambda x: x.std(axis=1),
    "min": lambda x: x.min(axis=1),
    "max": lambda x: x.max(axis=1),
    "energy": lambda x: (x * x).mean(axis=1),
}


def rate_of(*times: Values) -> float:
    """Readings a second, by the median step between those of each of `times` (s); 0 where fewer than two tell."""
    steps = np.concatenate([np.empty(0), *map(np.diff, times)])
    steps = steps[steps > 0]
    return 1.0 / float(np.median(steps)) if steps.size else 0.0


def pieces(times: Values) -> list[slice]:
    """The stretches of `times` (s) without a gap: the next one begins where time goes back, or where `GAP_STEPS` median
    steps or more pass without a reading."""
    if not len(times):
        return []
    steps = np.diff(times)
    forward = steps[steps > 0]
    longest = GAP_STEPS * float(np.median(forward)) if forward.size else np.inf
    ends = [0, *(np.flatnonzero((steps < 0) | (steps >= longest)) + 1).tolist(), len(times)]
    return [slice(begin, end) for begin, end in itertools.pairwise(ends)]


def resampled(times: Values, values: Values, labels: Labels, rate_hz: float) -> tuple[Values, Labels]:
    """Readings at `rate_hz` from the first to the last: values (n, channels) on the line between the two around,
    labels (n,) of the one before. `times` (s) rise."""
    times = times - times[0]  # exact; a step added to a time since 1970 is not
    rounding = min(1e-6, 0.01 / rate_hz)  # of times since 1970 in s
    count = int((times[-1] + rounding) * rate_hz) + 1
    at = np.arange(count) / rate_hz
    made = np.stack([np.interp(at, times, channel) for channel in values.T], axis=1)
    before = np.searchsorted(times, at + rounding, side="right") - 1
    return made, labels[before]


def windows(values: Values, labels: Labels, length: int, step: int) -> tuple[Values, Labels]:
    """The whole windows of `length` readings, begun each `step`: (windows, length, channels), and the label that more
    than half of a window's readings have, (windows,); -1 where none has, or most have no label (-1)."""
    count = max(0, (len(values) - length) // step + 1)
    at = step * np.arange(count)[:, None] + np.arange(length)
    told = labels[at]
    majority = np.full(count, -1)
    for label in np.unique(labels[labels >= 0]):
        majority[2 * (told == label).sum(axis=1) > length] = label
    return values[at], majority


def summarized(x: Values, features: Sequence[str]) -> Values:
    """Windows (windows, length, channels) as (windows, channels * features): the names of `FEATURES`, channel by
    channel."""
    return np.stack([FEATURES[name](x) for name in features], axis=2).reshape(len(x), -1)
