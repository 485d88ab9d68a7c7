"""Means over a few clients or seeds, and how sure they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# 97.5 % quantiles of Student's t, by degrees of freedom
STUDENT_95 = (
    *(math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145),
    *(2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045),
)


@dataclass(frozen=True)
class Interval:
    """A mean; `half` of its 95 % interval is None where a single value tells nothing of it."""

    mean: float
    half: float | None


def student(count: int) -> float:
    """What the standard error of a mean over `count` >= 2 values is multiplied by; beyond the table by the first terms
    of Student's t around the normal distribution's 1.96."""
    return STUDENT_95[count - 1] if count <= len(STUDENT_95) else 1.96 + 2.37 / (count - 1)


def interval(values: Sequence[float]) -> Interval:
    """The mean over values that are independent, and half of its 95 % interval by Student's t."""
    array = np.asarray(values, np.float64)
    count = len(array)
    half = None if count < 2 else float(student(count) * array.std(ddof=1) / math.sqrt(count))
    return Interval(float(array.mean()), half)
