"""What a task does to its samples before they go into shards: less the training clients' mean, by their deviation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.tables import FLOAT32_ROUNDING
from tinyfed.text import listed


@dataclass(frozen=True)
class Standardization:
    """Mean and deviation of each feature over the training clients, both (features,) float64.

    A feature that is constant there has the deviation 0 and becomes 0 for everybody: nothing can be learned from it.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], size: NDArray[np.float64] | None = None) -> "Standardization":
        """Of `values` (samples, features). Constant is what varies by no more than rounding: by no more than float32
        can tell of numbers of that `size` (features,), the largest of what a feature was computed from (None: of the
        feature itself)."""
        low, high = values.min(axis=0), values.max(axis=0)
        size = np.maximum(np.abs(low), np.abs(high)) if size is None else size
        with np.errstate(over="ignore"):
            constant = high - low <= FLOAT32_ROUNDING * size
        return cls(values.mean(axis=0), np.where(constant, 0.0, values.std(axis=0)))

    @property
    def constant(self) -> tuple[int, ...]:
        """The features that are."""
        return tuple(int(feature) for feature in np.flatnonzero(self.deviation == 0))

    def apply(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Samples (samples, features) as they go into a shard."""
        constant = self.deviation == 0
        standardized: NDArray[np.float64] = (rows - self.mean) / np.where(constant, 1.0, self.deviation)
        standardized[:, constant] = 0.0
        return standardized

    def notes(self, name: Callable[[int], str]) -> tuple[str, ...]:
        """A sentence that names the constant features, if there are any."""
        if not self.constant:
            return ()
        named = listed((name(feature) for feature in self.constant), 8)
        return (f"constant over the training clients, so 0 in every sample: {named}",)
