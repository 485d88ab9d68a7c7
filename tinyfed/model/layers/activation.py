"""An activation by itself."""

from dataclasses import dataclass
from typing import Any

from tinyfed.model.layers.base import Activated, InKeras, Kind, Place, Record


class _Kind(Kind):
    name, number = "activation", 10
    in_place = True
    gradient = "over_output"

    def layer(self, record: Record) -> "Activation":
        return Activation(**record.activated)

    def keras(self, to: InKeras) -> Any:
        return to.activated(to.x)


KIND = _Kind()


@dataclass(frozen=True)
class Activation(Activated):
    """An activation by itself."""

    activation: str

    def lower(self, place: Place) -> Record:
        return Record(KIND, place.shape, **self.activated(place, self.activation))
