"""Means over seeds, and how sure they are."""

import math

import numpy as np
from numpy.typing import NDArray

from studies.reproduction.results import Value

# by degrees of freedom
STUDENT_95 = (
    *(math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145),
    *(2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045),
)


def value_over(values: NDArray[np.float64]) -> Value:
    """Of (seeds,): their mean, half of its 95 % interval (Student's t; None for a single seed), and the values."""
    count = len(values)
    half = None if count < 2 else float(_student(count) * values.std(ddof=1) / math.sqrt(count))
    return Value(float(values.mean()), half, tuple(values.tolist()))


def deviation(value: Value, count: int) -> float:
    """The standard deviation of a value over `count` seeds, of which the interval is."""
    assert value.half_width is not None
    return value.half_width * math.sqrt(count) / _student(count)


def _student(count: int) -> float:
    return STUDENT_95[count - 1] if count <= len(STUDENT_95) else 1.96
