"""Means over seeds, and how sure they are."""

import math

import numpy as np
from numpy.typing import NDArray
from tinyfed_host.evaluation.intervals import interval, student

from studies.reproduction.results import Value


def value_over(values: NDArray[np.float64]) -> Value:
    """Of (seeds,): their mean, half of its 95 % interval (Student's t; None for a single seed), and the values."""
    found = interval(values.tolist())
    return Value(found.mean, found.half, tuple(values.tolist()))


def deviation(value: Value, count: int) -> float:
    """The standard deviation of a value over `count` seeds, of which the interval is."""
    assert value.half_width is not None
    return value.half_width * math.sqrt(count) / student(count)
