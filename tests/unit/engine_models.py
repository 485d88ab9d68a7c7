"""Random models, weights and samples for the engine's tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tinyfed.model import Activation, Dense, Flatten, ModelSpec, Reshape
from tinyfed.model.layers.base import ACTIVATIONS, Layer


@dataclass(frozen=True)
class Case:
    spec: ModelSpec
    seed: int

    def weights(self) -> Any:
        rng = np.random.default_rng(self.seed)
        return (rng.normal(size=self.spec.parameter_count) * 0.5).astype(np.float32)

    def samples(self, count: int) -> tuple[Any, Any]:
        """Inputs with some zeros, and targets."""
        rng = np.random.default_rng(self.seed + 1)
        x = rng.normal(size=(count, *self.spec.input_shape)).astype(np.float32)
        x[rng.random(x.shape) < 0.2] = 0
        outputs = int(np.prod(self.spec.output_shape))
        if self.spec.loss == "softmax_cross_entropy":
            return x, rng.integers(0, outputs, count)
        if self.spec.loss == "binary_cross_entropy":
            return x, rng.integers(0, 2, (count, outputs)).astype(np.float32)
        return x, rng.normal(size=(count, outputs)).astype(np.float32)


@st.composite
def dense_layer(draw: st.DrawFn, units: int | None = None, activation: str | None = None) -> Dense:
    use_bias = draw(st.booleans())
    return Dense(
        units or draw(st.integers(1, 40)),
        activation or draw(st.sampled_from(ACTIVATIONS)),
        use_bias=use_bias,
        trainable=draw(st.sampled_from([True, True, True, False])),
        trainable_bias=draw(st.sampled_from([None, True, False])) if use_bias else None,
    )


@st.composite
def dense_cases(draw: st.DrawFn) -> Case:
    loss = draw(st.sampled_from(["mse", "softmax_cross_entropy", "binary_cross_entropy"]))
    shape = draw(st.sampled_from([(1,), (3,), (8,), (17,), (2, 5), (3, 2, 2)]))
    layers: list[Layer] = []
    if draw(st.booleans()):
        layers.append(Flatten())
    for _ in range(draw(st.integers(0, 4))):
        layers.append(draw(dense_layer()))
        extra = draw(st.integers(0, 5))
        if extra == 0:
            layers.append(Activation(draw(st.sampled_from(ACTIVATIONS))))
        elif extra == 1:
            units = layers[-1].units  # type: ignore[union-attr]
            layers.append(Reshape((1, units)))
    layers.append(draw(dense_layer(activation=None if loss == "mse" else "linear")))
    return Case(ModelSpec(shape, tuple(layers), loss), draw(st.integers(0, 2**31)))
