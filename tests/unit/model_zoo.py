"""Random models from a seed: for what runs outside of hypothesis (other machines, the plan)."""

from typing import Any

import engine_models as em
import numpy as np

from tinyfed.model import Activation, Dense, Flatten, ModelSpec, Reshape
from tinyfed.model.spec import ACTIVATIONS, LOSSES, Layer


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


def _dense(rng: np.random.Generator, activation: str) -> Dense:
    units = int(rng.choice([1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 32, 40, 65]))
    bias = bool(rng.random() < 0.7)
    return Dense(units, activation, bias, bool(rng.random() < 0.8), bool(rng.random() < 0.8) if bias else None)


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
