"""Layers in a cheaper form. Padding that no operator has to write: zero points around a convolution's input are what
its window finds there. Depthwise convolutions with a depth multiplier: those of an input with its channels repeated."""

from collections.abc import Iterator
from dataclasses import replace

from tinyfed.model.int8.spec import (
    Int8Conv2D,
    Int8DepthwiseConv2D,
    Int8Layer,
    Int8Move,
    Int8Network,
    Int8Pad,
    Int8Reshape,
    Padding,
    Piece,
)

MOST_PAD = 255  # that a record holds
# Products with zeros that cost as much as an output of a depthwise convolution, and as a copied value.
ZEROS_OF_OUTPUT, ZEROS_OF_COPY = 11, 5


def without_pads(network: Int8Network) -> Int8Network:
    """`network` with every pad left out that convolutions alone read, and whose zero points they can do without."""
    for pad in [layer for layer in reversed(network.layers) if isinstance(layer, Int8Pad)]:
        found = _without(network, pad)
        if found is not None:
            network = replace(network, layers=tuple(found))
    return network


def _without(network: Int8Network, pad: Int8Pad) -> Iterator[Int8Layer] | None:
    """The layers without `pad`, None where it has to stay. Between it and a convolution may be reshapes that leave
    height, width and channels alone, as Keras writes them around Conv1D."""
    source, padded = network.tensors[pad.inputs[0]], network.tensors[pad.output]
    if pad.value not in (None, source.zero_point) or pad.pads[2] != (0, 0) or source.constant is not None:
        return None
    names, gone, readers = {pad.output}, {id(pad)}, set[int]()
    for layer in network.layers:
        if not names.intersection(layer.inputs):
            continue
        if isinstance(layer, Int8Reshape) and network.tensors[layer.output].image_shape == padded.image_shape:
            names.add(layer.output)
            gone.add(id(layer))
        elif isinstance(layer, Int8Conv2D | Int8DepthwiseConv2D) and _can(network, layer, pad):
            readers.add(id(layer))
        else:
            return None
    if not readers or names.intersection(network.outputs):
        return None
    return (
        replace(layer, inputs=pad.inputs, around=_sum(layer, pad))
        if isinstance(layer, Int8Conv2D | Int8DepthwiseConv2D) and id(layer) in readers
        else layer
        for layer in network.layers
        if id(layer) not in gone
    )


def _sum(layer: Int8Conv2D | Int8DepthwiseConv2D, pad: Int8Pad) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = (
        (before + pad.pads[axis][0], after + pad.pads[axis][1]) for axis, (before, after) in enumerate(layer.around)
    )
    return rows, columns


def _can(network: Int8Network, layer: Int8Conv2D | Int8DepthwiseConv2D, pad: Int8Pad) -> bool:
    """Whether every window still meets the input, as the engine wants it."""
    kernel = layer.weights.shape[1:3] if isinstance(layer, Int8Conv2D) else layer.weights.shape[:2]
    source, output = network.tensors[pad.inputs[0]].image_shape, network.tensors[layer.output].image_shape
    around = _sum(layer, pad)
    for axis in (0, 1):
        reach = (kernel[axis] - 1) * layer.dilation[axis]
        before, whole = around[axis][0], source[axis] + sum(around[axis])
        if layer.padding is Padding.SAME:
            before += max((output[axis] - 1) * layer.stride[axis] + reach + 1 - whole, 0) // 2
        last = (output[axis] - 1) * layer.stride[axis]
        if before > min(reach, MOST_PAD) or last >= source[axis] + before:
            return False
    return True


def with_repeated_channels(network: Int8Network, layer: Int8Layer) -> Int8Network | None:
    """`network` with a move that repeats each channel before `layer`, which then has one output channel each. None
    where it is no depthwise convolution with a depth multiplier, or a convolution with zeros costs less."""
    if not isinstance(layer, Int8DepthwiseConv2D):
        return None
    source = network.tensors[layer.inputs[0]]
    height, width, channels = source.image_shape
    kernel_h, kernel_w, outputs = layer.weights.shape
    repeats = outputs // channels
    least = ZEROS_OF_OUTPUT + ZEROS_OF_COPY * layer.stride[0] * layer.stride[1]
    if repeats == 1 or kernel_h * kernel_w * (channels - 1) < least:
        return None
    piece = Piece((repeats, source.count), (0, 1), (1, repeats))
    number = len(network.tensors)
    wide = replace(source, shape=(height, width, channels * repeats), constant=None)
    at = next(index for index, other in enumerate(network.layers) if other is layer)
    both = (
        Int8Move(layer.inputs, number, pieces=(piece,), name=layer.name),
        replace(layer, inputs=(number,)),
    )
    return replace(
        network,
        tensors=(*network.tensors, wide),
        layers=(*network.layers[:at], *both, *network.layers[at + 1 :]),
    )
