"""Training in plain float64 NumPy, written from the formulas alone: what the engine is checked against."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyfed.model import ModelSpec
from tinyfed.model.records import HAS_BIAS, TRAIN_BIAS, Record, lower

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


def split(records: list[Record], weights: Array) -> list[list[Array]]:
    arrays, at = [], 0
    for record in records:
        mine = []
        for shape in record.parameter_shapes:
            size = int(np.prod(shape))
            mine.append(weights[at : at + size].reshape(shape))
            at += size
        arrays.append(mine)
    return arrays


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
    records = lower(spec)
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
        case _:
            raise AssertionError(record.kind)


def _backward(record: Record, mine: list[Array], inputs: list[Array], d: Array) -> tuple[list[Array], list[Array]]:
    x = inputs[0]
    match record.kind:
        case "dense":
            return [(mine[0] @ d).reshape(x.shape)], [np.outer(x.ravel(), d), d]
        case "reshape" | "activation":
            return [d.reshape(x.shape)], []
        case _:
            raise AssertionError(record.kind)
