"""One Keras layer as nodes of a `Graph`: shapes, weights and activations as Keras defines them, without Keras."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.keras import elementwise, operations, recurrent, shapes
from tinyfed.model.keras.step import Shape, Step, as_image, over_image, own_pair, pair
from tinyfed.model.layers.base import TENSOR_MAX
from tinyfed.text import first_line

_TRAINING_ONLY = """
    Dropout SpatialDropout1D SpatialDropout2D AlphaDropout GaussianDropout GaussianNoise ActivityRegularization
    RandomFlip RandomRotation RandomZoom RandomTranslation RandomShear RandomPerspective RandomContrast RandomBrightness
    RandomHue RandomSaturation RandomSharpness RandomColorJitter RandomColorDegeneration RandomGrayscale RandomInvert
    RandomPosterization RandomErasing RandomGaussianBlur RandomElasticTransform RandomHeight RandomWidth
    MixUp CutMix RandAugment AugMix
"""
DROPPED = {
    **dict.fromkeys(_TRAINING_ONLY.split(), "acts in Keras' training only"),
    "Identity": "computes nothing",
}
INSTEAD = {
    "Lambda": "its Python cannot be read: write it with layers or keras.ops",
    "Embedding": "look the embedding up before the model, and give it the vectors",
    "MultiHeadAttention": "put LSTM, GRU or Conv1D in its place and train the model again",
    "Attention": "put LSTM, GRU or Conv1D in its place and train the model again",
    "AdditiveAttention": "put LSTM, GRU or Conv1D in its place and train the model again",
    "ConvLSTM2D": "put Conv2D on pictures side by side as channels in its place and train the model again",
    "Masking": "leave it out where all sequences have one length",
}


def _padding(step: Step) -> str:
    if step.layer.padding not in ("same", "valid"):
        step.refuse(f'padding "{step.layer.padding}"; the engine has same, valid, and causal in Conv1D')
    return str(step.layer.padding)


def _window_fields(step: Step) -> dict[str, Any]:
    """Stride, dilation and padding of a convolution over an image."""
    layer = step.layer
    dilation = pair(layer.dilation_rate)
    found: dict[str, Any] = {"stride": pair(layer.strides), "dilation": dilation}
    if layer.padding == "causal":
        before = dilation[1] * (own_pair(layer.kernel_size)[-1] - 1)
        return {**found, "padding": "explicit", "pads": ((0, 0), (before, 0))}
    return {**found, "padding": _padding(step)}


def _convolution(step: Step) -> None:
    layer = step.layer
    step.channels_last()
    groups, channels = int(layer.groups), step.shapes[0][-1]
    if groups < 1 or channels % groups or step.output[-1] % groups:
        step.refuse(f"{groups} groups of {channels} channels")
    kernel = step.array(layer.kernel, *own_pair(layer.kernel_size), channels // groups, int(layer.filters))
    kernel = kernel if kernel.ndim == 4 else kernel[None]
    values = {"kernel": kernel.shape[:2], **_window_fields(step)}
    if groups == 1:
        result = over_image(step, "conv2d", step.sources[0], weights=kernel, bias=step.bias(), **values)
    else:
        result = _in_groups(step, groups, kernel, step.bias(), values)
    step.activate(result, step.output)


def _in_groups(
    step: Step, groups: int, kernel: NDArray[np.float32], bias: NDArray[np.float32] | None, values: dict[str, Any]
) -> int:
    """A convolution for each group of channels, side by side."""
    image, result = as_image(step.shapes[0]), as_image(step.output)
    source = step.reshaped(step.sources[0], image) if step.one_dimensional() else step.sources[0]
    width, filters = image[2] // groups, result[2] // groups
    parts = []
    for group in range(groups):
        mine = shapes.sliced(step, (0, 0, group * width), (*image[:2], width), source)
        own = slice(group * filters, (group + 1) * filters)
        own_bias = None if bias is None else bias[own]
        weights = np.ascontiguousarray(kernel[..., own])
        parts.append(step.add("conv2d", (*result[:2], filters), mine, weights=weights, bias=own_bias, **values))
    together = step.node("concatenate", tuple(parts), result, axes=(2,))
    return step.reshaped(together, step.output) if step.one_dimensional() else together


def _depthwise_node(step: Step, kernel: NDArray[np.float32], bias: NDArray[np.float32] | None) -> int:
    step.channels_last()
    kernel = kernel if kernel.ndim == 4 else kernel[None]
    height, width, channels, multiplier = kernel.shape
    values: dict[str, Any] = {"kernel": (height, width), "bias": bias, **_window_fields(step)}
    if channels == 1:  # every output channel sees the one input channel: an ordinary convolution
        return over_image(step, "conv2d", step.sources[0], weights=kernel, **values)
    weights = np.ascontiguousarray(kernel.reshape(height, width, channels * multiplier))
    return over_image(step, "depthwise", step.sources[0], weights=weights, **values)


def _depthwise_kernel(step: Step, values: NDArray[Any]) -> NDArray[np.float32]:
    layer = step.layer
    return step.array(values, *own_pair(layer.kernel_size), step.shapes[0][-1], int(layer.depth_multiplier))


def _depthwise(step: Step) -> None:
    result = _depthwise_node(step, _depthwise_kernel(step, step.layer.kernel), step.bias())
    step.activate(result, step.output)


def _separable(step: Step) -> None:
    layer = step.layer
    outer = step.output
    channels = step.shapes[0][-1]
    step.output = (*outer[:-1], channels * layer.depth_multiplier)
    result = _depthwise_node(step, _depthwise_kernel(step, layer.depthwise_kernel), None)
    ones = (1,) * (len(outer) - 1)
    pointwise = step.array(layer.pointwise_kernel, *ones, step.output[-1], outer[-1])
    pointwise = pointwise if pointwise.ndim == 4 else pointwise[None]
    if len(outer) == 2:
        result = step.reshaped(result, as_image(step.output))
    step.output = outer
    result = step.add("conv2d", as_image(outer), result, weights=pointwise, bias=step.bias())
    if len(outer) == 2:
        result = step.reshaped(result, outer)
    step.activate(result, outer)


def _transposed_convolution(step: Step) -> None:
    layer = step.layer
    step.channels_last()
    if max(pair(layer.dilation_rate)) > 1 or layer.config.get("output_padding") is not None:
        step.refuse("a dilation or output_padding; the engine's transposed convolution has neither")
    shape = (*own_pair(layer.kernel_size), step.output[-1], step.shapes[0][-1])
    kernel = step.array(layer.kernel, *shape)
    kernel = np.ascontiguousarray((kernel if kernel.ndim == 4 else kernel[None]).swapaxes(2, 3))
    same = _padding(step) == "same"
    values: dict[str, Any] = {"kernel": kernel.shape[:2], "stride": pair(layer.strides), "weights": kernel}
    values |= {"bias": step.bias(), "padding": "same" if same else "valid"}
    step.activate(over_image(step, "conv2d_transpose", step.sources[0], **values), step.output)


def _dense(step: Step) -> None:
    """On several rows it is a convolution of size 1."""
    shape = step.shapes[0]
    kernel = step.array(step.layer.kernel, shape[-1], step.output[-1])
    rows = int(np.prod(shape[:-1]))
    if rows == 1:
        result = step.add("dense", (kernel.shape[1],), weights=kernel, bias=step.bias())
    else:
        source = step.sources[0] if len(shape) == 3 else step.reshaped(step.sources[0], (1, rows, shape[-1]))
        image = step.output if len(shape) == 3 else (1, rows, kernel.shape[1])
        result = step.add("conv2d", image, source, weights=kernel[None, None], bias=step.bias())
    if step.nodes[result - 1].shape != step.output:
        result = step.reshaped(result, step.output)
    step.activate(result, step.output)


def _time_distributed(step: Step) -> None:
    """A layer that does the same at each step of time by itself, or that only forms each step anew."""
    (inner,) = step.layer.wrapped
    if inner.kind not in _PER_STEP:
        step.refuse(f"{inner.kind} at each step of time; the engine has {', '.join(_PER_STEP)} there")
    if "axis" in inner.config:
        inner = replace(inner, config={**inner.config, "axis": _behind_time(inner.config["axis"])})
    own = Step(inner, step.where, step.sources, step.shapes, step.nodes, step.notes)
    if inner.kind in ("Flatten", "Reshape"):
        own = replace(own, shapes=(step.shapes[0][1:],))
        own.output = (step.shapes[0][0], *shapes.target_shape(own))
        own.reshaped(step.sources[0], own.output)
    else:
        convert_layer(own)


def _behind_time(axis: Any) -> Any:
    """An axis of a layer at each step, which counts without the time, among those of the whole."""
    if isinstance(axis, list | tuple):
        return [_behind_time(one) for one in axis]
    return axis + 1 if isinstance(axis, int) and axis > 0 else axis


def _pool(kind: str) -> Callable[[Step], None]:
    def convert(step: Step) -> None:
        step.channels_last()
        layer = step.layer
        over_image(
            step,
            kind,
            step.sources[0],
            kernel=pair(layer.pool_size),
            stride=pair(layer.pool_size if layer.strides is None else layer.strides),
            padding=_padding(step),
        )

    return convert


def _global_average(step: Step) -> None:
    step.channels_last()
    source = step.sources[0]
    if step.one_dimensional():
        source = step.reshaped(source, as_image(step.shapes[0]))
    channels = step.shapes[0][-1]
    result = step.add("global_average", (channels,), source)
    if step.output != (channels,):
        step.reshaped(result, step.output)


def _dropped(step: Step) -> None:
    step.notes.append(f"{step.where}: dropped: {DROPPED[step.layer.kind]}")
    step.add("identity", step.output)


CONVERT: dict[str, Callable[[Step], None]] = {
    **elementwise.CONVERT,
    **operations.CONVERT,
    **recurrent.CONVERT,
    **shapes.CONVERT,
    "AveragePooling1D": _pool("average_pool"),
    "AveragePooling2D": _pool("average_pool"),
    "Conv1D": _convolution,
    "Conv1DTranspose": _transposed_convolution,
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed_convolution,
    "Dense": _dense,
    "DepthwiseConv1D": _depthwise,
    "DepthwiseConv2D": _depthwise,
    "GlobalAveragePooling1D": _global_average,
    "GlobalAveragePooling2D": _global_average,
    "MaxPooling1D": _pool("max_pool"),
    "MaxPooling2D": _pool("max_pool"),
    "SeparableConv1D": _separable,
    "SeparableConv2D": _separable,
    "TimeDistributed": _time_distributed,
    **dict.fromkeys(DROPPED, _dropped),
}
# What TimeDistributed takes: layers that act on the last dimension, and those that compute nothing.
_PER_STEP = (
    "Dense", "BatchNormalization", "LayerNormalization", "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Flatten",
    "Reshape", *DROPPED,
)  # fmt: skip


def _same_shape(step: Step) -> Shape:
    return step.shapes[0]


def _windowed_shape(step: Step, kernel: Any, channels: int) -> Shape:
    """As Keras places windows along all axes but the last."""
    shape, layer = step.shapes[0], step.layer
    padding = layer.padding if layer.padding == "causal" and layer.kind == "Conv1D" else _padding(step)
    dilations = own_pair(layer.dilation_rate, len(shape) - 1)
    rank = len(shape) - 1
    if rank not in (1, 2) or (rank == 1) != layer.kind.endswith("1D"):
        step.refuse(f"an input of shape {list(shape)}")
    strides = own_pair(layer.strides if layer.strides is not None else kernel, rank)
    extents = []
    if len(dilations) != rank:
        dilations *= rank
    for extent, taps, stride, apart in zip(shape[:-1], own_pair(kernel, rank), strides, dilations, strict=True):
        size = (taps - 1) * apart + 1
        if padding == "valid" and size > extent:
            step.refuse(f"a window of {size} does not fit an input of {extent}")
        extents.append(-(-extent // stride) if padding in ("same", "causal") else (extent - size) // stride + 1)
    return (*extents, channels)


def _pooled_shape(step: Step) -> Shape:
    return _windowed_shape(step, step.layer.pool_size, step.shapes[0][-1])


def _convolved_shape(step: Step) -> Shape:
    layer = step.layer
    channels = layer.filters if "filters" in layer.config else step.shapes[0][-1] * int(layer.depth_multiplier)
    return _windowed_shape(step, layer.kernel_size, int(channels))


def _enlarged_shape(step: Step) -> Shape:
    """Of a transposed convolution."""
    shape, layer = step.shapes[0], step.layer
    rank = len(shape) - 1
    if rank != (1 if layer.kind.startswith("Conv1D") else 2):
        step.refuse(f"an input of shape {list(shape)}")
    kernel, strides = own_pair(layer.kernel_size), own_pair(layer.strides, rank)
    more = [
        max(size - stride, 0) if layer.padding == "valid" else 0 for size, stride in zip(kernel, strides, strict=True)
    ]
    extents = [extent * stride + extra for extent, stride, extra in zip(shape[:-1], strides, more, strict=True)]
    return (*extents, int(layer.filters))


def _global_shape(step: Step) -> Shape:
    ones = (1,) * (len(step.shapes[0]) - 1) if step.layer.keepdims else ()
    return (*ones, step.shapes[0][-1])


def _distributed_shape(step: Step) -> Shape:
    if len(step.shapes[0]) < 2:
        step.refuse(f"an input of shape {list(step.shapes[0])}; it takes (time, ...)")
    return step.shapes[0]


def _units_shape(step: Step) -> Shape:
    return (*step.shapes[0][:-1], int(step.layer.units))


_SHAPE: dict[str, Callable[[Step], Shape]] = {
    **dict.fromkeys(("AveragePooling1D", "AveragePooling2D", "MaxPooling1D", "MaxPooling2D"), _pooled_shape),
    **dict.fromkeys(
        ("Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"),
        _convolved_shape,
    ),
    **dict.fromkeys(
        ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
        _global_shape,
    ),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose"), _enlarged_shape),
    "Dense": _units_shape,
    "Flatten": shapes.target_shape,
    "Reshape": shapes.target_shape,
    "TimeDistributed": _distributed_shape,
}


def convert_layer(step: Step) -> None:
    """Append the layer's nodes. Raises ConvertError: the layer, the reason, what would work instead."""
    kind = step.layer.kind
    convert = CONVERT.get(kind)
    if convert is None:
        hint = INSTEAD.get(kind, f"it has {', '.join(sorted(name for name in CONVERT if name not in DROPPED))}")
        step.refuse(f"the engine does not have {kind} layers; {hint}")
    before = len(step.nodes)
    try:
        step.output = _SHAPE.get(kind, _same_shape)(step)
        if not 1 <= int(np.prod(step.output, dtype=object)) <= TENSOR_MAX:
            step.refuse(f"an output of shape {list(step.output)}; the engine has 1 to {TENSOR_MAX:,} values")
        convert(step)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        step.refuse(f"its configuration is not valid: {first_line(error)}")
    assert len(step.nodes) > before, kind
    if int(np.prod(step.nodes[-1].shape, dtype=object)) > TENSOR_MAX:
        step.refuse(f"an output of shape {list(step.nodes[-1].shape)}; the engine has up to {TENSOR_MAX:,} values")
