"""Pools: of windows, and of a whole picture."""

from dataclasses import dataclass
from typing import Any, ClassVar

from tinyfed.model.layers.base import PADDING, InKeras, Key, Kind, Layer, Place, Record, Section, Shape
from tinyfed.model.layers.window import Size, output, require_picture, window


class _PoolKind(Kind):
    keras_name: ClassVar[str]

    def keras(self, to: InKeras) -> Any:
        kind = to.sized(self.keras_name)
        return kind(to.size(to.record.kernel), **to.window, **to.own)(to.x)


class _MaxKind(_PoolKind):
    name, number = "max_pool", 4
    keras_name = "MaxPooling"
    keeps_input = True

    def layer(self, record: Record) -> "MaxPool":
        return MaxPool(record.kernel, record.stride, record.padding)


class _AverageKind(_PoolKind):
    name, number = "average_pool", 5
    keras_name = "AveragePooling"
    gradient = "over_input"

    def layer(self, record: Record) -> "AveragePool":
        return AveragePool(record.kernel, record.stride, record.padding)


class _GlobalKind(Kind):
    name, number = "global_average", 6
    gradient = "over_input"

    def layer(self, record: Record) -> "GlobalAveragePool":
        return GlobalAveragePool()

    def rank(self, record: Record, source: Shape) -> int:
        return 1

    def keras(self, to: InKeras) -> Any:
        return to.sized("GlobalAveragePooling")(**to.own)(to.x)


MAX, AVERAGE, GLOBAL = _MaxKind(), _AverageKind(), _GlobalKind()


@dataclass(frozen=True)
class _Pool(Layer):
    """Of (height, width, channels) or (time, channels)."""

    kind: ClassVar[Kind]
    pool_size: Size = 2
    strides: Size | None = None  # None: the pool's size
    padding: str = "valid"

    def lower(self, place: Place) -> Record:
        require_picture(place, sequences=True)
        strides = self.pool_size if self.strides is None else self.strides
        fields, size = window(place, self.pool_size, strides, self.padding)
        return Record(self.kind, output(place, size, place.shape[-1]), **fields)


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Largest value of each window."""

    kind = MAX


@dataclass(frozen=True)
class AveragePool(_Pool):
    """Mean of each window, without what lies outside."""

    kind = AVERAGE


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """Mean of each channel over all pixels: a vector."""

    def lower(self, place: Place) -> Record:
        return Record(GLOBAL, place.shape[-1:])


_WINDOW = (Key("size", "pool_size"), Key("strides", "strides", required=False), PADDING)
SECTIONS = (
    Section("max_pool", MaxPool, _WINDOW),
    Section("average_pool", AveragePool, _WINDOW),
    Section("global_average_pool", GlobalAveragePool),
)
