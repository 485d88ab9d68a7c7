"""Convolutions, of pictures and of sequences."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinyfed.model.layers.base import (
    ACTIVATION,
    PADDING,
    SIZE_MAX,
    GradientPlace,
    InKeras,
    Key,
    Place,
    Record,
    Section,
    Shape,
    Weighted,
    WeightedKind,
)
from tinyfed.model.layers.window import Size, output, require_picture, window


class _Convolution(WeightedKind):
    def fans(self, shape: Shape) -> tuple[int, int]:
        taps = math.prod(shape[:2])  # Keras takes a depthwise kernel (h, w, channels, 1) for (h, w, in, out)
        return taps * shape[2], taps * shape[3]

    def gradient_of(self, record: Record, tensor: int) -> GradientPlace:
        return "own" if record.trains_weights else "over_input"

    def keras(self, to: InKeras) -> Any:
        layer = self.keras_layer(to)(kernel_size=to.size(to.record.kernel), **to.window, **to.fused)
        kernel = to.arrays[0][0] if len(to.shape) == 2 else to.arrays[0]
        return to.weighted(layer, to.x, [kernel, *to.arrays[1:]])

    def keras_layer(self, to: InKeras) -> Any:
        """Keras' class, `filters` given."""
        return partial(to.sized("Conv"), to.record.shape[-1])


class _Conv2DKind(_Convolution):
    name, number = "conv2d", 2

    def layer(self, record: Record) -> "Conv2D | Conv1D":
        channels, padding = record.shape[-1], record.padding
        if len(record.shape) == 2 and record.kernel[0] == record.stride[0] == 1:
            return Conv1D(channels, record.kernel[1], record.stride[1], padding, **record.weighted)
        return Conv2D(channels, record.kernel, record.stride, padding, **record.weighted)

    def weights(self, record: Record, source: Shape) -> Shape:
        return (*record.kernel, source[-1], record.shape[-1])


class _DepthwiseKind(_Convolution):
    name, number = "depthwise", 3

    def layer(self, record: Record) -> "DepthwiseConv2D":
        return DepthwiseConv2D(record.kernel, record.stride, record.padding, **record.weighted)

    def weights(self, record: Record, source: Shape) -> Shape:
        return (*record.kernel, record.shape[-1], 1)

    def keras_layer(self, to: InKeras) -> Any:
        return to.sized("DepthwiseConv")


CONV2D, DEPTHWISE = _Conv2DKind(), _DepthwiseKind()


@dataclass(frozen=True)
class _Conv(Weighted):
    filters: int
    kernel_size: Size
    strides: Size = 1
    padding: str = "valid"
    activation: str = "linear"

    def lower(self, place: Place) -> Record:
        fields, size = window(place, self.kernel_size, self.strides, self.padding)
        place.require(self.filters >= 1, f"filters must be at least 1, not {self.filters}")
        return Record(CONV2D, output(place, size, self.filters), **fields, **self.weighted(place, self.activation))


@dataclass(frozen=True)
class Conv2D(_Conv):
    """Convolution of (height, width, channels); weights (kernel height, kernel width, in, filters), as Keras."""

    def lower(self, place: Place) -> Record:
        require_picture(place)
        return super().lower(place)


@dataclass(frozen=True)
class Conv1D(_Conv):
    """Convolution of (time, channels): a two-dimensional one of height 1. Weights (1, kernel, in, filters)."""

    def lower(self, place: Place) -> Record:
        place.require(len(place.shape) == 2, f"its input has shape {place.shape}, it needs (time, channels)")
        return super().lower(place)


@dataclass(frozen=True)
class DepthwiseConv2D(Weighted):
    """Each channel with its own kernel (depth multiplier 1); weights (kernel height, kernel width, channels, 1)."""

    kernel_size: Size
    strides: Size = 1
    padding: str = "valid"
    activation: str = "linear"

    def lower(self, place: Place) -> Record:
        require_picture(place)
        fields, size = window(place, self.kernel_size, self.strides, self.padding)
        shape = output(place, size, place.shape[-1])
        return Record(DEPTHWISE, shape, **fields, **self.weighted(place, self.activation))


_WINDOW = (Key("kernel", "kernel_size"), Key("strides", "strides", required=False), PADDING, ACTIVATION)
SECTIONS = (
    Section("conv2d", Conv2D, (Key("filters", "filters", high=SIZE_MAX), *_WINDOW)),
    Section("depthwise", DepthwiseConv2D, _WINDOW),
)
