"""One Keras layer as nodes of a `Graph`. Layers are told by their class's name, so nothing here imports Keras."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.graph import Node
from tinyfed.model.tflite_view import ConvertError

Shape = tuple[int, ...]
DROPPED = {
    "Dropout": "acts in Keras' training only",
    "SpatialDropout1D": "acts in Keras' training only",
    "SpatialDropout2D": "acts in Keras' training only",
    "AlphaDropout": "acts in Keras' training only",
    "GaussianDropout": "acts in Keras' training only",
    "GaussianNoise": "acts in Keras' training only",
    "ActivityRegularization": "acts in Keras' training only",
    "Identity": "computes nothing",
}
INSTEAD = {
    "Lambda": "write it with layers the engine has",
    "LSTM": "the engine has no recurrence: use Conv1D over a window",
    "GRU": "the engine has no recurrence: use Conv1D over a window",
    "SimpleRNN": "the engine has no recurrence: use Conv1D over a window",
    "Bidirectional": "the engine has no recurrence: use Conv1D over a window",
    "ZeroPadding2D": 'use padding="same" in the layer that follows',
    "ZeroPadding1D": 'use padding="same" in the layer that follows',
    "LayerNormalization": "use BatchNormalization, which folds into its neighbour",
    "GroupNormalization": "use BatchNormalization, which folds into its neighbour",
    "Concatenate": "use Add",
    "Conv2DTranspose": "use Conv2D",
    "Embedding": "look the embedding up before the model",
}


@dataclass
class Step:
    """A layer on the way: `layer` is Keras's, `sources` its input tensors, `shapes` theirs without the batch.
    `nodes` grows; the last one is the layer's output."""

    layer: Any
    where: str
    sources: tuple[int, ...]
    shapes: tuple[Shape, ...]
    output: Shape
    nodes: list[Node]
    notes: list[str]

    def refuse(self, reason: str) -> NoReturn:
        """Raise ConvertError naming the layer."""
        raise ConvertError(f"{self.where}: {reason}")

    def add(self, kind: str, shape: Shape, source: int | None = None, **values: Any) -> int:
        """Append a node that reads `source` (the layer's input); the number of its output tensor."""
        inputs = (self.sources[0] if source is None else source,)
        self.nodes.append(Node(kind, self.where, inputs, shape, trainable=bool(self.layer.trainable), **values))
        return len(self.nodes)

    def reshaped(self, source: int, shape: Shape) -> int:
        return self.add("reshape", shape, source)

    def array(self, variable: Any) -> NDArray[np.float32]:
        """Values of a weight, which must be finite float32."""
        values = np.asarray(variable.numpy())
        if values.dtype != np.float32:
            self.refuse(f"weights of type {values.dtype}; convert a model with the float32 policy")
        if not np.isfinite(values).all():
            self.refuse("weights hold NaN or infinity; train the model again")
        return values

    def bias(self) -> NDArray[np.float32] | None:
        return self.array(self.layer.bias) if self.layer.use_bias else None

    def activate(self, source: int, shape: Shape, function: Any = None) -> int:
        """The layer's `activation` as a node of its own; folded later where the engine fuses it."""
        function = self.layer.activation if function is None else function
        name = getattr(function, "__name__", type(function).__name__)
        if name in ("linear", "NoneType"):
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
    kernel = step.array(layer.kernel)
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


def _depthwise(step: Step) -> None:
    result = _depthwise_node(step, step.array(step.layer.kernel), step.bias())
    step.activate(result, step.output)


def _separable(step: Step) -> None:
    layer = step.layer
    outer = step.output
    channels = step.shapes[0][-1]
    step.output = (*outer[:-1], channels * layer.depth_multiplier)
    result = _depthwise_node(step, step.array(layer.depthwise_kernel), None)
    pointwise = step.array(layer.pointwise_kernel)
    pointwise = pointwise if pointwise.ndim == 4 else pointwise[None]
    if len(outer) == 2:
        result = step.reshaped(result, _as_image(step.output))
    result = step.add("conv2d", _as_image(outer), result, weights=pointwise, bias=step.bias())
    if len(outer) == 2:
        result = step.reshaped(result, outer)
    step.output = outer
    step.activate(result, outer)


def _dense(step: Step) -> None:
    shape = step.shapes[0]
    if int(np.prod(shape)) != shape[-1]:
        step.refuse(
            f"acts on the last of dimensions {list(shape)}; put Flatten before it, or use Conv1D with kernel size 1"
        )
    kernel = step.array(step.layer.kernel)
    result = step.add("dense", (kernel.shape[1],), weights=kernel, bias=step.bias())
    if len(step.output) > 1:
        result = step.reshaped(result, step.output)
    step.activate(result, step.output)


def _pool(kind: str) -> Callable[[Step], None]:
    def convert(step: Step) -> None:
        step.channels_last()
        layer = step.layer
        _window(
            step,
            kind,
            step.sources[0],
            kernel=_pair(layer.pool_size),
            stride=_pair(layer.strides),
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
    mean = step.array(layer.moving_mean).astype(np.float64)
    deviation = np.sqrt(step.array(layer.moving_variance).astype(np.float64) + layer.epsilon)
    gamma = step.array(layer.gamma) if layer.scale else np.ones(len(mean))
    beta = step.array(layer.beta) if layer.center else np.zeros(len(mean))
    _scale(step, gamma / deviation, beta - mean * gamma / deviation)


def _rescaling(step: Step) -> None:
    _scale(step, np.asarray(step.layer.scale), np.asarray(step.layer.offset))


def _normalization(step: Step) -> None:
    layer = step.layer
    mean, variance = (np.array(values, np.float64) for values in (layer.mean, layer.variance))
    if layer.invert or mean.size not in (1, step.output[-1]):
        step.refuse("inverted, or along another axis than the last")
    deviation = np.maximum(np.sqrt(variance), 1e-7)  # as Keras bounds it
    _scale(step, 1 / deviation, -mean / deviation)


def _activation(step: Step) -> None:
    if step.activate(step.sources[0], step.output) == step.sources[0]:
        step.add("identity", step.output)


def _softmax(step: Step) -> None:
    step.add("activation", step.output, activation="softmax")


def _relu(step: Step) -> None:
    layer = step.layer
    slope, top, threshold = float(layer.negative_slope or 0), layer.max_value, float(layer.threshold or 0)
    if threshold or (top is not None and (top != 6 or slope)):
        step.refuse("a threshold or maximum; the engine has relu, relu6 and leaky_relu")
    if slope:
        step.add("activation", step.output, activation="leaky_relu", alpha=slope)
    else:
        step.add("activation", step.output, activation="relu" if top is None else "relu6")


def _leaky_relu(step: Step) -> None:
    step.add("activation", step.output, activation="leaky_relu", alpha=float(step.layer.negative_slope))


def _dropped(step: Step) -> None:
    step.notes.append(f"{step.where}: dropped: {DROPPED[type(step.layer).__name__]}")
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
    **dict.fromkeys(DROPPED, _dropped),
}


def convert_layer(step: Step) -> None:
    """Append the layer's nodes. Raises ConvertError: the layer, the reason, what would work instead."""
    kind = type(step.layer).__name__
    convert = CONVERT.get(kind)
    if convert is None:
        hint = INSTEAD.get(kind, f"it has {', '.join(name for name in CONVERT if name not in DROPPED)}")
        step.refuse(f"the float engine does not have {kind} layers; {hint}")
    if any(size is None for shape in (*step.shapes, step.output) for size in shape):
        step.refuse("a dynamic shape; build the model with a fixed input shape")
    before = len(step.nodes)
    convert(step)
    assert len(step.nodes) > before, kind
