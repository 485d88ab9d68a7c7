"""One Keras layer as nodes of a `Graph`: shapes, weights and activations as Keras defines them, without Keras."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError
from tinyfed.model.graph import Node
from tinyfed.model.keras.file import KerasLayer, finite
from tinyfed.model.layers.base import TENSOR_MAX
from tinyfed.text import first_line

Shape = tuple[int, ...]
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
_STATISTICS = ("Rescaling", "Normalization")  # hold numbers that Keras does not train either
_RECURRENT = ("LSTM", "GRU", "SimpleRNN", "Bidirectional")
INSTEAD = {
    "Lambda": "write it with layers the engine has",
    **dict.fromkeys(_RECURRENT, "the engine has no recurrence: use Conv1D over a window"),
    **dict.fromkeys(("ZeroPadding2D", "ZeroPadding1D"), 'use padding="same" in the layer that follows'),
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization"), "use BatchNormalization, which folds into its neighbour"
    ),
    "Concatenate": "use Add",
    "Conv2DTranspose": "use Conv2D",
    "Embedding": "look the embedding up before the model",
}


@dataclass
class Step:
    """A layer on the way: `sources` are its input tensors, `shapes` theirs without the batch, `output` the shape of
    what it gives. `nodes` grows; the last one is the layer's output."""

    layer: KerasLayer
    where: str
    sources: tuple[int, ...]
    shapes: tuple[Shape, ...]
    nodes: list[Node]
    notes: list[str]
    output: Shape = ()

    def refuse(self, reason: str) -> NoReturn:
        """Raise ConvertError naming the layer; the caller says of which file."""
        raise ConvertError(reason, key=self.where)

    def add(self, kind: str, shape: Shape, source: int | None = None, **values: Any) -> int:
        """Append a node that reads `source` (the layer's input); the number of its output tensor."""
        inputs = (self.sources[0] if source is None else source,)
        trainable = bool(self.layer.trainable) and self.layer.kind not in _STATISTICS
        self.nodes.append(Node(kind, self.where, inputs, shape, trainable=trainable, **values))
        return len(self.nodes)

    def reshaped(self, source: int, shape: Shape) -> int:
        return self.add("reshape", shape, source)

    def array(self, values: NDArray[Any], *shape: int) -> NDArray[np.float32]:
        """Values of a weight, which must be finite float32 of `shape`."""
        if values.shape != shape:
            self.refuse(f"weights of shape {list(values.shape)} where {list(shape)} is expected")
        if values.dtype != np.float32:
            self.refuse(f"weights of type {values.dtype}; convert a model with the float32 policy")
        if not np.isfinite(values).all():
            self.refuse("weights hold NaN or infinity; train the model again")
        return np.asarray(values, np.float32)

    def bias(self) -> NDArray[np.float32] | None:
        return self.array(self.layer.bias, self.output[-1]) if self.layer.use_bias else None

    def activate(self, source: int, shape: Shape) -> int:
        """The layer's `activation` as a node of its own; folded later where the engine fuses it."""
        function = self.layer.activation
        name = function.get("config", "") if isinstance(function, dict) else function or "linear"
        if not isinstance(name, str):
            made = function.get("class_name") if isinstance(function, dict) else function
            self.refuse(f"the activation {made} inside a layer; make it a layer of its own")
        if name == "linear":
            return source
        if name == "leaky_relu":
            return self.add("activation", shape, source, activation=name, alpha=0.2)
        return self.add("activation", shape, source, activation=name)

    def channels_last(self) -> None:
        if getattr(self.layer, "data_format", "channels_last") != "channels_last":
            self.refuse("channels_first; the engine has the channels last")

    def one_dimensional(self) -> bool:
        return len(self.shapes[0]) == 2


def _pair(value: Any) -> tuple[int, int]:
    """Keras' sizes along height and width; a one-dimensional layer has height 1."""
    sizes = (value,) if isinstance(value, int) else tuple(int(size) for size in value)
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _as_image(shape: Shape) -> Shape:
    return (1, *shape) if len(shape) == 2 else shape


def _window(step: Step, kind: str, source: int, **values: Any) -> int:
    """A node over height and width, between reshapes where the layer is one-dimensional."""
    if step.one_dimensional():
        source = step.reshaped(source, _as_image(step.shapes[0]))
    result = step.add(kind, _as_image(step.output), source, **values)
    return step.reshaped(result, step.output) if step.one_dimensional() else result


def _padding(step: Step) -> str:
    if step.layer.padding not in ("same", "valid"):
        step.refuse(f'padding "{step.layer.padding}"; the engine has same and valid')
    return str(step.layer.padding)


def _convolution(step: Step) -> None:
    layer = step.layer
    step.channels_last()
    if layer.groups != 1:
        step.refuse(f"{layer.groups} groups; the engine has 1, or DepthwiseConv2D")
    if max(_pair(layer.dilation_rate)) > 1:
        step.refuse("a dilation; the float engine has none")
    kernel = step.array(layer.kernel, *_own_pair(layer.kernel_size), step.shapes[0][-1], int(layer.filters))
    kernel = kernel if kernel.ndim == 4 else kernel[None]
    values = {"kernel": kernel.shape[:2], "stride": _pair(layer.strides), "padding": _padding(step)}
    result = _window(step, "conv2d", step.sources[0], weights=kernel, bias=step.bias(), **values)
    step.activate(result, step.output)


def _depthwise_node(step: Step, kernel: NDArray[np.float32], bias: NDArray[np.float32] | None) -> int:
    layer = step.layer
    step.channels_last()
    if max(_pair(layer.dilation_rate)) > 1:
        step.refuse("a dilation; the float engine has none")
    kernel = kernel if kernel.ndim == 4 else kernel[None]
    height, width, channels, multiplier = kernel.shape
    values: dict[str, Any] = {
        "kernel": (height, width),
        "stride": _pair(layer.strides),
        "padding": _padding(step),
        "bias": bias,
    }
    if channels == 1:  # every output channel sees the one input channel: an ordinary convolution
        return _window(step, "conv2d", step.sources[0], weights=kernel, **values)
    if multiplier != 1:
        step.refuse(f"a depth multiplier of {multiplier}; the float engine has 1 (or one input channel)")
    return _window(step, "depthwise", step.sources[0], weights=np.ascontiguousarray(kernel[..., 0]), **values)


def _depthwise_kernel(step: Step, values: NDArray[Any]) -> NDArray[np.float32]:
    layer = step.layer
    return step.array(values, *_own_pair(layer.kernel_size), step.shapes[0][-1], int(layer.depth_multiplier))


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
        result = step.reshaped(result, _as_image(step.output))
    step.output = outer
    result = step.add("conv2d", _as_image(outer), result, weights=pointwise, bias=step.bias())
    if len(outer) == 2:
        result = step.reshaped(result, outer)
    step.activate(result, outer)


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
    own = Step(inner, step.where, step.sources, step.shapes, step.nodes, step.notes)
    if inner.kind in ("Flatten", "Reshape"):
        own = replace(own, shapes=(step.shapes[0][1:],))
        own.output = (step.shapes[0][0], *_target_shape(own))
        own.reshaped(step.sources[0], own.output)
    else:
        convert_layer(own)


def _pool(kind: str) -> Callable[[Step], None]:
    def convert(step: Step) -> None:
        step.channels_last()
        layer = step.layer
        _window(
            step,
            kind,
            step.sources[0],
            kernel=_pair(layer.pool_size),
            stride=_pair(layer.pool_size if layer.strides is None else layer.strides),
            padding=_padding(step),
        )

    return convert


def _global_average(step: Step) -> None:
    step.channels_last()
    source = step.sources[0]
    if step.one_dimensional():
        source = step.reshaped(source, _as_image(step.shapes[0]))
    channels = step.shapes[0][-1]
    result = step.add("global_average", (channels,), source)
    if step.output != (channels,):
        step.reshaped(result, step.output)


def _global_max(step: Step) -> None:
    step.channels_last()
    source = step.sources[0]
    image = _as_image(step.shapes[0])
    if step.one_dimensional():
        source = step.reshaped(source, image)
    kernel = (image[0], image[1])
    result = step.add("max_pool", (1, 1, image[2]), source, kernel=kernel, stride=kernel)
    step.reshaped(result, step.output)


def _reshape(step: Step) -> None:
    if len(step.output) > 3 or not step.output:
        step.refuse(f"shape {list(step.output)}; the engine has one to three dimensions")
    step.reshaped(step.sources[0], step.output)


def _add(step: Step) -> None:
    if len(step.sources) < 2:
        step.refuse("it adds two or more tensors, not one")
    if len(set(step.shapes)) != 1 or len(step.shapes) != len(step.sources):
        step.refuse(f"shapes {[list(shape) for shape in step.shapes]} differ; the engine does not broadcast")
    total = step.sources[0]
    for source in step.sources[1:]:
        step.nodes.append(Node("add", step.where, (total, source), step.output))
        total = len(step.nodes)


def _scale(step: Step, scale: NDArray[np.floating], shift: NDArray[np.floating]) -> None:
    channels = step.output[-1]
    vectors = [np.broadcast_to(np.asarray(v, np.float64).reshape(-1), (channels,)) for v in (scale, shift)]
    step.add("scale", step.output, weights=vectors[0].astype(np.float32), bias=vectors[1].astype(np.float32))


def _batch_normalization(step: Step) -> None:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, as it is at inference."""
    layer = step.layer
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    if axis not in (-1, len(step.shapes[0])):
        step.refuse(f"axis {axis}; the engine has the channels last")
    channels = step.output[-1]
    mean = step.array(layer.moving_mean, channels).astype(np.float64)
    variance = step.array(layer.moving_variance, channels).astype(np.float64) + float(layer.epsilon)
    if not (variance > 0).all():
        step.refuse("a variance below 0; train the model again")
    deviation = np.sqrt(variance)
    gamma = step.array(layer.gamma, channels) if layer.scale else np.ones(channels)
    beta = step.array(layer.beta, channels) if layer.center else np.zeros(channels)
    _scale(step, gamma / deviation, beta - mean * gamma / deviation)


def _rescaling(step: Step) -> None:
    _scale(step, finite(step.layer.scale), finite(step.layer.offset))


def _normalization(step: Step) -> None:
    layer = step.layer
    mean, variance = finite(layer.mean), finite(layer.variance)
    if layer.invert or mean.size not in (1, step.output[-1]):
        step.refuse("inverted, or along another axis than the last")
    deviation = np.maximum(np.sqrt(np.maximum(variance, 0)), 1e-7)  # as Keras bounds it
    _scale(step, 1 / deviation, -mean / deviation)


def _activation(step: Step) -> None:
    if step.activate(step.sources[0], step.output) == step.sources[0]:
        step.add("identity", step.output)


def _softmax(step: Step) -> None:
    step.add("activation", step.output, activation="softmax")


def _relu(step: Step) -> None:
    layer = step.layer
    if not all(np.isfinite(float(value or 0)) for value in (layer.negative_slope, layer.max_value, layer.threshold)):
        step.refuse("a slope, maximum or threshold that is not finite")
    slope, top, threshold = float(layer.negative_slope or 0), layer.max_value, float(layer.threshold or 0)
    if threshold or (top is not None and (top != 6 or slope)):
        step.refuse("a threshold or maximum; the engine has relu, relu6 and leaky_relu")
    if slope:
        step.add("activation", step.output, activation="leaky_relu", alpha=slope)
    else:
        step.add("activation", step.output, activation="relu" if top is None else "relu6")


def _leaky_relu(step: Step) -> None:
    slope = step.layer.config.get("negative_slope", step.layer.alpha)  # Keras before 3 calls it alpha
    step.add("activation", step.output, activation="leaky_relu", alpha=float(slope))


def _dropped(step: Step) -> None:
    step.notes.append(f"{step.where}: dropped: {DROPPED[step.layer.kind]}")
    step.add("identity", step.output)


CONVERT: dict[str, Callable[[Step], None]] = {
    "Activation": _activation,
    "Add": _add,
    "AveragePooling1D": _pool("average_pool"),
    "AveragePooling2D": _pool("average_pool"),
    "BatchNormalization": _batch_normalization,
    "Conv1D": _convolution,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv1D": _depthwise,
    "DepthwiseConv2D": _depthwise,
    "Flatten": _reshape,
    "GlobalAveragePooling1D": _global_average,
    "GlobalAveragePooling2D": _global_average,
    "GlobalMaxPooling1D": _global_max,
    "GlobalMaxPooling2D": _global_max,
    "LeakyReLU": _leaky_relu,
    "MaxPooling1D": _pool("max_pool"),
    "MaxPooling2D": _pool("max_pool"),
    "Normalization": _normalization,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv1D": _separable,
    "SeparableConv2D": _separable,
    "Softmax": _softmax,
    "TimeDistributed": _time_distributed,
    **dict.fromkeys(DROPPED, _dropped),
}


# What TimeDistributed takes: layers that act on the last dimension, and those that compute nothing.
_PER_STEP = ("Dense", "BatchNormalization", "Activation", "ReLU", "LeakyReLU", "Flatten", "Reshape", *DROPPED)


def _same_shape(step: Step) -> Shape:
    return step.shapes[0]


def _windowed_shape(step: Step, kernel: Any, channels: int) -> Shape:
    """As Keras places windows along all axes but the last."""
    shape, layer = step.shapes[0], step.layer
    padding = _padding(step)
    rank = len(shape) - 1
    if rank not in (1, 2) or (rank == 1) != layer.kind.endswith("1D"):
        step.refuse(f"an input of shape {list(shape)}")
    strides = _own_pair(layer.strides if layer.strides is not None else kernel, rank)
    extents = []
    for extent, size, stride in zip(shape[:-1], _own_pair(kernel, rank), strides, strict=True):
        if padding == "valid" and size > extent:
            step.refuse(f"a window of {size} does not fit an input of {extent}")
        extents.append(-(-extent // stride) if padding == "same" else (extent - size) // stride + 1)
    return (*extents, channels)


def _own_pair(value: Any, rank: int | None = None) -> Shape:
    """Sizes as the layer has them, one or two. Raises ValueError."""
    sizes = (value,) * (rank or 1) if isinstance(value, int) else tuple(value)
    if any(not isinstance(size, int) or not 1 <= size <= 65535 for size in sizes) or len(sizes) not in (1, 2):
        raise ValueError(f"{value} is not a size")
    return sizes


def _pooled_shape(step: Step) -> Shape:
    return _windowed_shape(step, step.layer.pool_size, step.shapes[0][-1])


def _convolved_shape(step: Step) -> Shape:
    layer = step.layer
    channels = layer.filters if "filters" in layer.config else step.shapes[0][-1] * int(layer.depth_multiplier)
    return _windowed_shape(step, layer.kernel_size, int(channels))


def _global_shape(step: Step) -> Shape:
    ones = (1,) * (len(step.shapes[0]) - 1) if step.layer.keepdims else ()
    return (*ones, step.shapes[0][-1])


def _target_shape(step: Step) -> Shape:
    count = int(np.prod(step.shapes[0]))
    if step.layer.kind == "Flatten":
        return (count,)
    wanted = tuple(int(size) for size in step.layer.target_shape)
    known = int(np.prod([size for size in wanted if size != -1], dtype=object))
    shape = tuple(count // max(known, 1) if size == -1 else size for size in wanted)
    if wanted.count(-1) > 1 or min(shape, default=1) < 1 or int(np.prod(shape, dtype=object)) != count:
        step.refuse(f"{list(step.shapes[0])} cannot become {list(wanted)}")
    return shape


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
    "Dense": _units_shape,
    "Flatten": _target_shape,
    "Reshape": _target_shape,
    "TimeDistributed": _distributed_shape,
}


def convert_layer(step: Step) -> None:
    """Append the layer's nodes. Raises ConvertError: the layer, the reason, what would work instead."""
    kind = step.layer.kind
    convert = CONVERT.get(kind)
    if convert is None:
        hint = INSTEAD.get(kind, f"it has {', '.join(name for name in CONVERT if name not in DROPPED)}")
        step.refuse(f"the float engine does not have {kind} layers; {hint}")
    before = len(step.nodes)
    try:
        step.output = _SHAPE.get(kind, _same_shape)(step)
        if not 1 <= int(np.prod(step.output, dtype=object)) <= TENSOR_MAX:
            step.refuse(f"an output of shape {list(step.output)}; the engine has 1 to {TENSOR_MAX:,} values")
        convert(step)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        step.refuse(f"its configuration is not valid: {first_line(error)}")
    assert len(step.nodes) > before, kind
