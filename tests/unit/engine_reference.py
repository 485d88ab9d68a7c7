"""Training in plain float64 NumPy, written from the formulas alone: what the engine is checked against."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyfed.model import ModelSpec
from tinyfed.model.layers.base import HAS_BIAS, TRAIN_BIAS, TRAIN_WEIGHTS, Record

Array = np.ndarray[Any, np.dtype[np.float64]]


def activate(name: str, x: Array, alpha: float) -> Array:
    match name:
        case "relu":
            return np.maximum(x, 0)
        case "relu6":
            return np.clip(x, 0, 6)
        case "leaky_relu":
            return np.where(x < 0, alpha * x, x)
        case "tanh":
            return np.tanh(x)
        case "sigmoid":
            return 1 / (1 + np.exp(-x))
        case _:
            return x


def derivative(name: str, x: Array, alpha: float) -> Array:
    """By the sum before the activation."""
    match name:
        case "relu":
            return (x > 0).astype(float)
        case "relu6":
            return ((x > 0) & (x < 6)).astype(float)
        case "leaky_relu":
            return np.where(x < 0, alpha, 1.0)
        case "tanh":
            return 1 / np.cosh(x) ** 2
        case "sigmoid":
            y = 1 / (1 + np.exp(-x))
            return y * (1 - y)
        case _:
            return np.ones_like(x)


@dataclass
class Pass:
    loss: float
    output: Array
    gradient: Array  # of the loss by the flat weights; 0 where they do not learn


def split(records: tuple[Record, ...], weights: Array) -> list[list[Array]]:
    arrays, at = [], 0
    for record in records:
        mine = []
        for shape in record.parameter_shapes:
            size = int(np.prod(shape))
            mine.append(weights[at : at + size].reshape(shape))
            at += size
        arrays.append(mine)
    return arrays


def learning_mask(spec: ModelSpec) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which of the flat weights learn."""
    parts = [np.empty(0, bool)]
    for record in spec.records:
        for shape, flag in zip(record.parameter_shapes, (TRAIN_WEIGHTS, TRAIN_BIAS), strict=False):
            parts.append(np.full(int(np.prod(shape)), bool(record.flags & flag)))
    return np.concatenate(parts)


def loss_and_gradient(loss: str, y: Array, target: Any) -> tuple[float, Array]:
    flat = y.ravel()
    match loss:
        case "mse":
            difference = flat - np.asarray(target, float).ravel()
            return float(np.mean(difference**2)), (2 * difference / flat.size).reshape(y.shape)
        case "softmax_cross_entropy":
            e = np.exp(flat - flat.max())
            p = e / e.sum()
            gradient = p.copy()
            gradient[target] -= 1
            return float(-np.log(p[target])), gradient.reshape(y.shape)
        case _:
            t = np.asarray(target, float).ravel()
            p = 1 / (1 + np.exp(-flat))
            value = np.mean(np.logaddexp(0, flat) - flat * t)
            return float(value), ((p - t) / flat.size).reshape(y.shape)


def run(spec: ModelSpec, weights: Any, x: Any, target: Any) -> Pass:
    records = spec.records
    arrays = split(records, np.asarray(weights, float))
    values: list[Array] = [np.asarray(x, float).reshape(spec.input_shape)]
    sums: list[Array] = []
    for record, mine in zip(records, arrays, strict=True):
        s = _forward(record, mine, [values[t] for t in record.inputs])
        sums.append(s)
        values.append(activate(record.activation, s, record.alpha))
    loss, d = loss_and_gradient(spec.loss, values[-1], target)
    d_values: list[Array] = [np.zeros_like(v) for v in values]
    d_values[-1] = d
    gradients: list[Array] = []
    for layer in range(len(records) - 1, -1, -1):
        record = records[layer]
        d_sum = d_values[layer + 1] * derivative(record.activation, sums[layer], record.alpha)
        d_inputs, d_mine = _backward(record, arrays[layer], [values[t] for t in record.inputs], d_sum)
        for tensor, d_input in zip(record.inputs, d_inputs, strict=True):
            d_values[tensor] = d_values[tensor] + d_input.reshape(d_values[tensor].shape)
        learns = [record.trains_weights, bool(record.flags & TRAIN_BIAS)]
        if not arrays[layer] or not record.flags & HAS_BIAS:
            learns = learns[:1]
        flat = [g.ravel() * ok for g, ok in zip(d_mine, learns, strict=False)]
        gradients.insert(0, np.concatenate([*flat, np.empty(0)]))
    return Pass(loss, values[-1].ravel(), np.concatenate([*gradients, np.empty(0)]))


def _windows(record: Record, shape: tuple[int, ...]) -> list[tuple[int, int, slice, slice, int, int]]:
    """(oy, ox, rows, columns, first tap row, first tap column) of each window's part inside the input."""
    kernel, stride = record.kernel, record.stride
    if record.kind == "global_average":
        kernel, stride = shape[:2], (1, 1)  # type: ignore[assignment]
    spans = []
    for size, k, step in zip(shape[:2], kernel, stride, strict=True):
        outputs = -(-size // step) if record.mode == 1 else (size - k) // step + 1
        pad = max((outputs - 1) * step + k - size, 0) // 2 if record.mode == 1 else 0
        starts = [o * step - pad for o in range(outputs)]
        spans.append([(max(at, 0), min(at + k, size), max(-at, 0)) for at in starts])
    return [
        (oy, ox, slice(top, bottom), slice(left, right), ky, kx)
        for oy, (top, bottom, ky) in enumerate(spans[0])
        for ox, (left, right, kx) in enumerate(spans[1])
    ]


def _cut(kernel: Array, rows: slice, columns: slice, ky: int, kx: int) -> Array:
    return kernel[ky : ky + rows.stop - rows.start, kx : kx + columns.stop - columns.start]


def _cube(x: Array) -> Array:
    return x.reshape((1,) * (3 - x.ndim) + x.shape)


def _forward(record: Record, mine: list[Array], inputs: list[Array]) -> Array:
    x = inputs[0]
    bias = mine[1] if len(mine) == 2 else 0.0
    match record.kind:
        case "dense":
            return x.ravel() @ mine[0] + bias
        case "reshape":
            return x.reshape(record.shape)
        case "activation":
            return x
        case "add":
            return x + inputs[1]
        case "scale":
            return x * mine[0] + bias
    x = _cube(x)
    y = np.zeros((1,) * (3 - len(record.shape)) + record.shape)
    for oy, ox, rows, columns, ky, kx in _windows(record, x.shape):
        patch = x[rows, columns]
        match record.kind:
            case "conv2d":
                y[oy, ox] = np.einsum("hwi,hwio->o", patch, _cut(mine[0], rows, columns, ky, kx)) + bias
            case "depthwise":
                y[oy, ox] = (patch * _cut(mine[0], rows, columns, ky, kx)[..., 0]).sum((0, 1)) + bias
            case "max_pool":
                y[oy, ox] = patch.max((0, 1))
            case _:
                y[oy, ox] = patch.mean((0, 1))
    return y.reshape(record.shape)


def _backward(record: Record, mine: list[Array], inputs: list[Array], d: Array) -> tuple[list[Array], list[Array]]:
    x = inputs[0]
    match record.kind:
        case "dense":
            return [(mine[0] @ d).reshape(x.shape)], [np.outer(x.ravel(), d), d]
        case "reshape" | "activation":
            return [d.reshape(x.shape)], []
        case "add":
            return [d, d], []
        case "scale":
            axes = tuple(range(d.ndim - 1))
            return [d * mine[0]], [(d * x).sum(axes), d.sum(axes)]
    shape, x = x.shape, _cube(x)
    d = d.reshape((1,) * (3 - d.ndim) + d.shape)
    d_x = np.zeros_like(x)
    d_w = np.zeros_like(mine[0]) if mine else np.zeros(0)
    for oy, ox, rows, columns, ky, kx in _windows(record, x.shape):
        patch, g = x[rows, columns], d[oy, ox]
        match record.kind:
            case "conv2d":
                d_x[rows, columns] += _cut(mine[0], rows, columns, ky, kx) @ g
                cut = _cut(d_w, rows, columns, ky, kx)
                cut += patch[..., None] * g
            case "depthwise":
                d_x[rows, columns] += _cut(mine[0], rows, columns, ky, kx)[..., 0] * g
                cut = _cut(d_w, rows, columns, ky, kx)
                cut += (patch * g)[..., None]
            case "max_pool":
                for c in range(x.shape[2]):
                    at = np.unravel_index(patch[..., c].argmax(), patch.shape[:2])
                    d_x[rows, columns][(*at, c)] += g[c]
            case _:
                d_x[rows, columns] += g / (patch.shape[0] * patch.shape[1])
    return [d_x.reshape(shape)], [d_w, d.sum((0, 1))] if mine else []
