"""The same values in another shape."""

import math
from dataclasses import dataclass
from typing import Any

from tinyfed.model.layers.base import InKeras, Kind, Layer, Place, Record, Section, Shape, shape_problem


class _Kind(Kind):
    name, number = "reshape", 7
    view = True
    gradient = "over_output"

    def layer(self, record: Record) -> "Flatten | Reshape":
        return Flatten() if len(record.shape) == 1 else Reshape(record.shape)

    def rank(self, record: Record, source: Shape) -> int:
        return record.mode

    def keras(self, to: InKeras) -> Any:
        return to.layers.Reshape(to.record.shape, **to.own)(to.x)


KIND = _Kind()


@dataclass(frozen=True)
class Flatten(Layer):
    """All values in one dimension."""

    def lower(self, place: Place) -> Record:
        return Record(KIND, (math.prod(place.shape),), mode=1)


@dataclass(frozen=True)
class Reshape(Layer):
    """The same values in another shape of one to three dimensions."""

    shape: Shape

    def lower(self, place: Place) -> Record:
        place.require(not (problem := shape_problem(self.shape)), problem)
        counts = math.prod(place.shape), math.prod(self.shape)
        place.require(counts[0] == counts[1], f"{place.shape} has {counts[0]} values, {self.shape} {counts[1]}")
        return Record(KIND, tuple(self.shape), mode=len(self.shape))


SECTION = Section("flatten", Flatten)
