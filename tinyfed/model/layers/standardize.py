"""Running statistics of the model's input."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyfed.model.layers.base import InKeras, Kind, Layer, Place, Record, Shape

SAMPLES_MAX = 0x1000000  # of running statistics: a float32 counts no further
SMALLEST_VARIANCE = 1e-12  # as firmware/core/kernels/plain/standardize.c guards against what is not above 0


class _Kind(Kind):
    name, number = "standardize", 11
    arrays = ("mean", "variance", "samples")
    first = (0.0, 1.0, 0.0)

    def layer(self, record: Record) -> "Standardize":
        return Standardize(int(record.alpha))

    def parameter_shapes(self, record: Record, source: Shape) -> tuple[Shape, ...]:
        count = math.prod(source)
        return (count,), (count,), (1,)

    def learns(self, record: Record) -> str:
        return "statistics"

    def keras(self, to: InKeras) -> Any:
        """Batch normalization of each value by the statistics as they are now."""
        options = {**to.own, "epsilon": 0.0, "center": False, "scale": False, "trainable": False}
        layer = to.layers.BatchNormalization(**options)
        result = layer(to.flat)
        mean, variance, _ = to.arrays
        layer.set_weights([mean, np.maximum(variance, np.float32(SMALLEST_VARIANCE))])
        return to.layers.Reshape(to.shape, name=f"{to.name}_shape")(result) if len(to.shape) > 1 else result


KIND = _Kind()


@dataclass(frozen=True)
class Standardize(Layer):
    """`(x - mean) / sqrt(variance)` of each value of the model's input, by statistics that a device keeps itself.

    Each sample that is learned from goes into them, evaluation leaves them. Parameters: mean and variance of each
    value, and the number of samples they are of, which stops at `window`: from there on they forget what is older.
    """

    window: int = 1024

    def lower(self, place: Place) -> Record:
        place.require(place.source == 0, "running statistics are of the model's input: put the layer first")
        place.require(
            isinstance(self.window, int) and 2 <= self.window <= SAMPLES_MAX,
            f"window {self.window} must be a whole number of samples in 2..{SAMPLES_MAX}",
        )
        return Record(KIND, place.shape, alpha=float(self.window))
