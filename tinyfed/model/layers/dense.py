"""A fully connected layer."""

import math
from dataclasses import dataclass
from typing import Any

from tinyfed.model.layers.base import (
    ACTIVATION,
    SIZE_MAX,
    InKeras,
    Key,
    Place,
    Record,
    Section,
    Shape,
    Weighted,
    WeightedKind,
)


class _Kind(WeightedKind):
    name, number = "dense", 1
    gradient = "over_input"

    def layer(self, record: Record) -> "Dense":
        return Dense(record.shape[-1], **record.weighted)

    def rank(self, record: Record, source: Shape) -> int:
        return 1

    def weights(self, record: Record, source: Shape) -> Shape:
        return math.prod(source), record.shape[-1]

    def fans(self, shape: Shape) -> tuple[int, int]:
        return shape[0], shape[1]

    def keras(self, to: InKeras) -> Any:
        return to.weighted(to.layers.Dense(to.record.shape[-1], **to.fused), to.flat, to.arrays)


KIND = _Kind()


@dataclass(frozen=True)
class Dense(Weighted):
    """`activation(x @ W + b)` over all values of its input; W is (inputs, units), as Keras lays it out."""

    units: int
    activation: str = "linear"

    def lower(self, place: Place) -> Record:
        place.require(self.units >= 1, f"units must be at least 1, not {self.units}")
        return Record(KIND, (self.units,), **self.weighted(place, self.activation))


SECTION = Section("dense", Dense, (Key("outputs", "units", high=SIZE_MAX), ACTIVATION))
