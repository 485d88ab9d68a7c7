"""A scale and a shift for each channel."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyfed.model.layers.base import ACTIVATION, InKeras, Place, Record, Section, Shape, Weighted, WeightedKind


class _Kind(WeightedKind):
    name, number = "scale", 9
    first = (1.0, 0.0)
    in_place = True
    gradient = "over_output"

    def layer(self, record: Record) -> "ScaleShift":
        return ScaleShift(**record.weighted)

    def weights(self, record: Record, source: Shape) -> Shape:
        return record.shape[-1:]

    def keras(self, to: InKeras) -> Any:
        """Batch normalization with mean 0, variance 1 and epsilon 0 is gamma x + beta, exactly."""
        layer = to.layers.BatchNormalization(epsilon=0.0, center=len(to.arrays) == 2, **to.own)
        result = layer(to.x)
        zero = np.zeros_like(to.arrays[0])
        layer.set_weights([*to.arrays, zero, zero + 1])
        return to.activated(result)


KIND = _Kind()


@dataclass(frozen=True)
class ScaleShift(Weighted):
    """`x * scale + shift` for each channel: what remains of a batch normalization. The shift is its bias."""

    activation: str = "linear"

    def lower(self, place: Place) -> Record:
        return Record(KIND, place.shape, **self.weighted(place, self.activation))


SECTION = Section("scale", ScaleShift, (ACTIVATION,))
