"""The sum of two tensors."""

from dataclasses import dataclass
from typing import Any

from tinyfed.model.layers.base import ACTIVATION, Activated, GradientPlace, InKeras, Key, Kind, Place, Record, Section


class _Kind(Kind):
    name, number = "add", 8
    inputs = 2
    in_place = True

    def layer(self, record: Record) -> "Add":
        assert record.input_b is not None
        return Add(record.input_b, **record.activated)

    def gradient_of(self, record: Record, tensor: int) -> GradientPlace:
        return "over_output" if record.input == tensor else "own"

    def keras(self, to: InKeras) -> Any:
        return to.activated(to.layers.Add(**to.own)([to.tensors[tensor] for tensor in to.record.inputs]))


KIND = _Kind()


@dataclass(frozen=True)
class Add(Activated):
    """The sum of two tensors of one shape: a residual connection."""

    other: int  # tensor
    activation: str = "linear"

    def lower(self, place: Place) -> Record:
        place.require(0 <= self.other < len(place.shapes), f"other {self.other} is no tensor before it")
        place.require(
            place.shapes[self.other] == place.shape,
            f"tensor {self.other} has shape {place.shapes[self.other]}, tensor {place.source} {place.shape}",
        )
        return Record(KIND, place.shape, input_b=self.other, **self.activated(place, self.activation))


# Layers are counted from 0 in an experiment file; tensor t is the output of layer t - 1.
SECTION = Section("add", Add, (Key("layer", "other", low=0, high=None, offset=1), ACTIVATION))
