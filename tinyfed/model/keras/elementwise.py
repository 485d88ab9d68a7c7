"""Keras layers that compute value by value or normalize: activations, sums and products of tensors, normalizations."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.keras.file import finite
from tinyfed.model.keras.shapes import transposed
from tinyfed.model.keras.step import LARGEST, Shape, Step


def activation(step: Step) -> None:
    if step.activate(step.sources[0], step.output) == step.sources[0]:
        step.add("identity", step.output)


def softmax(step: Step) -> None:
    axis = step.option("axis", -1)
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if len(axes) != 1:
        step.refuse(f"over axes {list(axes)} together; use one axis")
    rank = len(step.shapes[0])
    found = step.axis(int(axes[0]), rank)
    if found == rank - 1:
        step.add("activation", step.output, activation="softmax")
        return
    order = (*(each for each in range(rank) if each != found), found)
    turned = transposed(step, order)
    result = step.add("activation", step.nodes[turned - 1].shape, turned, activation="softmax")
    transposed(step, tuple(order.index(each) for each in range(rank)), result, step.nodes[turned - 1].shape)


def relu(step: Step) -> None:
    layer = step.layer
    if not all(np.isfinite(float(value or 0)) for value in (layer.negative_slope, layer.max_value, layer.threshold)):
        step.refuse("a slope, maximum or threshold that is not finite")
    slope, top, threshold = float(layer.negative_slope or 0), layer.max_value, float(layer.threshold or 0)
    if threshold:
        step.refuse("a threshold; use a bias before ReLU")
    if slope:
        result = step.add("activation", step.output, activation="leaky_relu", alpha=slope)
        if top is not None:
            step.add("activation", step.output, result, activation="clip", alpha=-LARGEST, beta=float(top))
    elif top is None or top == 6:
        step.add("activation", step.output, activation="relu" if top is None else "relu6")
    else:
        step.add("activation", step.output, activation="clip", alpha=0.0, beta=float(top))


def leaky_relu(step: Step) -> None:
    slope = step.layer.config.get("negative_slope", step.layer.alpha)  # Keras before 3 calls it alpha
    step.add("activation", step.output, activation="leaky_relu", alpha=float(slope))


def elu(step: Step) -> None:
    alpha = float(step.layer.config.get("alpha", 1.0))
    step.add("activation", step.output, activation="elu", alpha=alpha)


def prelu(step: Step) -> None:
    shared = {step.axis(int(axis), len(step.output)) for axis in step.layer.config.get("shared_axes") or ()}
    shape = tuple(1 if axis in shared else size for axis, size in enumerate(step.output))
    slopes = step.constant(step.array(step.layer.weights["alpha"], *shape))
    step.node("prelu", (step.sources[0], slopes), step.output)


# What Keras' operators between tensors and numbers share with layers, and by which nodes.
_OPERATIONS = {
    "Add": "add",
    "Subtract": "sub",
    "Multiply": "mul",
    "Divide": "div",
    "TrueDivide": "div",
    "Average": "add",
    "Maximum": "maximum",
    "Minimum": "minimum",
}


def merge(step: Step) -> None:
    """Two or more tensors, one after the other; shapes broadcast as NumPy's do. Or a tensor and a number."""
    kind, node = step.layer.kind, _OPERATIONS[step.layer.kind]
    tensors = [*zip(step.sources, step.shapes, strict=True)]
    if len(tensors) == 1 and step.call.numbers:
        (position, number), shape = next(iter(step.call.numbers.items())), step.shapes[0]
        constant = step.constant(finite(number).reshape(1))
        step.node(node, (constant, tensors[0][0]) if position == 0 else (tensors[0][0], constant), shape)
        return
    if len(tensors) < 2:
        step.refuse("it takes two or more tensors, not one")
    total, shape = tensors[0]
    for source, other in tensors[1:]:
        try:
            shape = np.broadcast_shapes(shape, other)
        except ValueError:
            step.refuse(f"shapes {[list(each) for each in step.shapes]} do not fit each other")
        total = step.node(node, (total, source), shape)
    if kind == "Average":
        share = np.full(shape[-1], 1 / len(tensors))
        step.add("scale", shape, total, weights=share.astype(np.float32))


def _scale(step: Step, scale: NDArray[np.floating], shift: NDArray[np.floating]) -> None:
    channels = step.output[-1]
    vectors = [np.broadcast_to(np.asarray(v, np.float64).reshape(-1), (channels,)) for v in (scale, shift)]
    step.add("scale", step.output, weights=vectors[0].astype(np.float32), bias=vectors[1].astype(np.float32))


def batch_normalization(step: Step) -> None:
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


def rescaling(step: Step) -> None:
    _scale(step, finite(step.layer.scale), finite(step.layer.offset))


def normalization(step: Step) -> None:
    layer = step.layer
    mean, variance = finite(layer.mean), finite(layer.variance)
    deviation = np.maximum(np.sqrt(np.maximum(variance, 0)), 1e-7)  # as Keras bounds it
    scale, shift = (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [-1] if layer.axis is None else [layer.axis]
    if mean.size in (1, step.output[-1]) and [step.axis(int(axis), len(step.output)) for axis in axes] == [
        len(step.output) - 1
    ]:
        _scale(step, scale, shift)
        return
    if mean.size != math.prod(step.output):
        step.refuse("along other axes than the last or all; normalize before the model")
    result = step.node("mul", (step.sources[0], step.constant(scale.reshape(step.output))), step.output)
    step.node("add", (result, step.constant(shift.reshape(step.output))), step.output)


def _centered(step: Step, source: int, shape: Shape, axes: Shape, epsilon: float) -> int:
    """(x - mean) / sqrt(variance + epsilon) over some axes."""
    small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    mean = step.add("reduce_mean", small, source, axes=axes)
    centered = step.node("sub", (source, mean), shape)
    square = step.add("activation", shape, centered, activation="square")
    variance = step.add("reduce_mean", small, square, axes=axes)
    raised = step.node("add", (variance, step.constant([epsilon])), small)
    return step.node("mul", (centered, step.add("activation", small, raised, activation="rsqrt")), shape)


def _gamma_and_beta(step: Step, source: int, shape: Shape) -> None:
    for name, flag, node in (("gamma", "scale", "mul"), ("beta", "center", "add")):
        if step.layer.config.get(flag, True):
            values = step.constant(step.array(step.layer.weights[name], *shape))
            source = step.node(node, (source, values), step.output)


def layer_normalization(step: Step) -> None:
    layer, rank = step.layer, len(step.output)
    if layer.config.get("rms_scaling"):
        step.refuse("rms_scaling; use RMSNormalization's parts, or leave it out")
    found = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    axes = tuple(sorted(step.axis(int(axis), rank) for axis in found))
    if axes != tuple(range(rank - len(axes), rank)):
        step.refuse(f"axes {list(found)}; the engine has the last ones")
    result = _centered(step, step.sources[0], step.output, axes, float(layer.epsilon))
    _gamma_and_beta(step, result, step.output[axes[0] :])


def group_normalization(step: Step) -> None:
    layer, shape = step.layer, step.output
    groups = int(layer.config.get("groups", 32))
    groups = shape[-1] if groups == -1 else groups
    if step.axis(int(layer.axis), len(shape)) != len(shape) - 1 or groups < 1 or shape[-1] % groups:
        step.refuse(f"{groups} groups of shape {list(shape)} along axis {layer.axis}; the engine has the channels last")
    parts = (math.prod(shape[:-1]), groups, shape[-1] // groups)
    result = _centered(step, step.reshaped(step.sources[0], parts), parts, (0, 2), float(layer.epsilon))
    result = step.reshaped(result, shape)
    _gamma_and_beta(step, result, shape[-1:])


def unit_normalization(step: Step) -> None:
    found = step.layer.axis if isinstance(step.layer.axis, list | tuple) else [step.layer.axis]
    axes = tuple(sorted(step.axis(int(axis), len(step.output)) for axis in found))
    small = tuple(1 if axis in axes else size for axis, size in enumerate(step.output))
    square = step.add("activation", step.output, activation="square")
    total = step.add("reduce_sum", small, square, axes=axes)
    bounded = step.node("maximum", (total, step.constant([1e-12])), small)  # as Keras bounds it
    step.node("mul", (step.sources[0], step.add("activation", small, bounded, activation="rsqrt")), step.output)


CONVERT: dict[str, Callable[[Step], None]] = {
    "Activation": activation,
    "BatchNormalization": batch_normalization,
    "ELU": elu,
    "GroupNormalization": group_normalization,
    "LayerNormalization": layer_normalization,
    "LeakyReLU": leaky_relu,
    "Normalization": normalization,
    "PReLU": prelu,
    "ReLU": relu,
    "Rescaling": rescaling,
    "Softmax": softmax,
    "UnitNormalization": unit_normalization,
    **dict.fromkeys(_OPERATIONS, merge),
}
