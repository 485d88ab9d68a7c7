"""Dropout, which the engine does not have."""

from dataclasses import dataclass

from tinyfed.model.layers.base import Layer, Place, Record


@dataclass(frozen=True)
class Dropout(Layer):
    """Always refused: here so that it is refused with a reason."""

    rate: float

    def lower(self, place: Place) -> Record:
        raise place.error(
            "dropout is not available: it averages over many passes, and a device learns from a few samples in one; "
            "leave the layer out (inference does not need it)"
        )
