"""Random models from a seed: for what runs outside of hypothesis (other machines, the plan)."""

from typing import Any

import engine_models as em
import numpy as np

from tinyfed.errors import UsageError
from tinyfed.model import (
    Activation,
    Add,
    AveragePool,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    ModelSpec,
    Reshape,
    ScaleShift,
    Standardize,
)
from tinyfed.model.layers.base import ACTIVATIONS, Layer
from tinyfed.model.spec import LOSSES


def random_dense(rng: np.random.Generator) -> em.Case:
    """Up to five dense layers, with activations and reshapes between."""
    loss = str(rng.choice(LOSSES))
    shapes = [(1,), (2,), (8,), (13,), (33,), (3, 5), (4, 3, 2)]
    layers: list[Layer] = [Flatten()] if rng.random() < 0.3 else []
    for _ in range(rng.integers(0, 5)):
        layers.append(_dense(rng, str(rng.choice(ACTIVATIONS))))
        extra = rng.random()
        if extra < 0.15:
            layers.append(Activation(str(rng.choice(ACTIVATIONS))))
        elif extra < 0.3:
            layers.append(Reshape((1, layers[-1].units)))  # type: ignore[union-attr]
    layers.append(_dense(rng, str(rng.choice(ACTIVATIONS)) if loss == "mse" else "linear"))
    shape = shapes[rng.integers(len(shapes))]
    return em.Case(ModelSpec(shape, tuple(layers), loss), int(rng.integers(2**31)))


def random_standardized(rng: np.random.Generator) -> em.Case:
    """Dense layers behind the running statistics of their input."""
    case = random_dense(rng)
    layers = (Standardize(int(rng.choice([2, 3, 1024]))), *case.spec.layers)
    return em.Case(ModelSpec(case.spec.input_shape, layers, case.spec.loss), case.seed)


def _dense(rng: np.random.Generator, activation: str) -> Dense:
    units = int(rng.choice([1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 32, 40, 65]))
    bias = bool(rng.random() < 0.7)
    trainable, trainable_bias = bool(rng.random() < 0.8), bool(rng.random() < 0.8) if bias else None
    return Dense(units, activation, use_bias=bias, trainable=trainable, trainable_bias=trainable_bias)


def random_conv(rng: np.random.Generator) -> em.Case:
    """Up to seven layers of all kinds on small pictures or sequences, with residual connections."""
    loss = str(rng.choice(LOSSES))
    sequence = rng.random() < 0.3
    shape: tuple[int, ...] = (
        (int(rng.integers(4, 12)), int(rng.integers(1, 5)))
        if sequence
        else (int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(1, 5)))
    )
    layers: list[Layer] = []
    shapes = [shape]
    for _ in range(rng.integers(1, 7)):
        group = _residual(rng, shapes) if rng.random() < 0.25 else [_spatial(rng, shapes[-1])]
        try:
            shapes = list(ModelSpec(shape, (*layers, *group), "mse").shapes)
        except UsageError:  # does not fit what came before: the next one may
            continue
        layers += group
    head = [_dense(rng, str(rng.choice(ACTIVATIONS)) if loss == "mse" else "linear")]
    if rng.random() < 0.4:
        head.insert(0, _dense(rng, "relu"))
    between: list[Layer] = [[], [Flatten()], [GlobalAveragePool()]][rng.integers(3)]
    return em.Case(ModelSpec(shape, (*layers, *between, *head), loss), int(rng.integers(2**31)))


def _trainable(rng: np.random.Generator) -> dict[str, Any]:
    bias = bool(rng.random() < 0.7)
    return {
        "use_bias": bias,
        "trainable": bool(rng.random() < 0.8),
        "trainable_bias": bool(rng.random() < 0.8) if bias else None,
    }


def _spatial(rng: np.random.Generator, shape: tuple[int, ...]) -> Layer:
    activation = str(rng.choice(ACTIVATIONS))
    padding = str(rng.choice(["valid", "same"]))
    kernel, stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4))), (int(rng.integers(1, 3)), 1)
    filters = int(rng.choice([1, 2, 3, 5, 7, 8, 9, 16, 17]))
    match rng.integers(0, 8):
        case 0 | 1 | 2:
            if len(shape) == 2:
                return Conv1D(filters, kernel[0], stride[0], padding, activation, **_trainable(rng))
            return Conv2D(filters, kernel, stride, padding, activation, **_trainable(rng))
        case 3:
            return DepthwiseConv2D(kernel, stride, padding, activation, **_trainable(rng))
        case 4:
            return MaxPool(2 if len(shape) == 2 else kernel, padding=padding)
        case 5:
            return AveragePool(2 if len(shape) == 2 else kernel, 1, padding)
        case 6:
            return ScaleShift(activation, **_trainable(rng))
        case _:
            return Activation(activation)


def _residual(rng: np.random.Generator, shapes: list[tuple[int, ...]]) -> list[Layer]:
    """A branch of one convolution (or scale) that is added to what it came from, or a tensor added to itself."""
    start, channels = len(shapes) - 1, shapes[-1][-1]
    activation = str(rng.choice(ACTIVATIONS))
    if rng.random() < 0.2:
        return [Add(start, activation)]
    if len(shapes[-1]) == 3 and rng.random() < 0.7:
        branch: Layer = Conv2D(channels, 3, 1, "same", str(rng.choice(ACTIVATIONS)), **_trainable(rng))
    else:
        branch = ScaleShift(str(rng.choice(ACTIVATIONS)), **_trainable(rng))
    if rng.random() < 0.5:
        return [branch, Add(start, activation)]
    # Two branches from one tensor: three consumers, the last an add with the operands the other way round.
    side = ScaleShift("linear", **_trainable(rng), input=start)
    return [branch, side, Add(start + 1, activation), Add(start, "linear")]


SPECIAL = np.array(
    [0.0, -0.0, 1e-45, -1e-42, 1.1754942e-38, 1.1754944e-38, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan],
    np.float32,
)


def poison(rng: np.random.Generator, values: Any, share: float) -> Any:
    """The same array with some values replaced by zeros, subnormals, huge ones, infinities and NaN."""
    values = values.copy()
    chosen = rng.random(values.shape) < share
    values[chosen] = rng.choice(SPECIAL, int(chosen.sum()))
    return values
