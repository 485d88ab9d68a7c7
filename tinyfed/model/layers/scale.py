"""A scale and a shift for each channel."""

from dataclasses import dataclass

from tinyfed.model.layers.base import ACTIVATION, Place, Record, Section, Shape, Weighted, WeightedKind


class _Kind(WeightedKind):
    name, number = "scale", 9
    first = (1.0, 0.0)
    in_place = True
    gradient = "over_output"

    def layer(self, record: Record) -> "ScaleShift":
        return ScaleShift(**record.weighted)

    def weights(self, record: Record, source: Shape) -> Shape:
        return record.shape[-1:]


KIND = _Kind()


@dataclass(frozen=True)
class ScaleShift(Weighted):
    """`x * scale + shift` for each channel: what remains of a batch normalization. The shift is its bias."""

    activation: str = "linear"

    def lower(self, place: Place) -> Record:
        return Record(KIND, place.shape, **self.weighted(place, self.activation))


SECTION = Section("scale", ScaleShift, (ACTIVATION,))
