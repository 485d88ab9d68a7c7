"""The benchmark nets by name: fixed architectures, seeds and data, for figures that can be repeated."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.image import encode
from tinyfed.model.initialize import initialize, splitmix64
from tinyfed.model.spec import Conv2D, Dense, ModelSpec, mlp

MODELS = {
    "mlp-relu": mlp(1, (32, 32), 1, "relu"),
    "mlp-tanh": mlp(1, (32, 32), 1, "tanh"),
    "mlp-watch": mlp(120, (32, 32), 4, "relu", "softmax_cross_entropy"),
    "cnn-omniglot": ModelSpec(
        (28, 28, 1),
        (Conv2D(8, 3, 2, activation="relu"), Conv2D(16, 3, 2, activation="relu"), Dense(5)),
        "softmax_cross_entropy",
    ),
}
LEARNING_RATES = {"cnn-omniglot": 0.01}


@dataclass(frozen=True)
class Benchmark:
    """A net with its first weights and its data."""

    name: str
    spec: ModelSpec
    image: bytes
    inputs: NDArray[np.float32]  # (samples, input values)
    targets: NDArray[Any]  # (samples, outputs) or labels (samples,)
    learning_rate: float


def _uniform(seed: int, count: int) -> NDArray[np.float64]:
    """Values in -1..1, the same on every machine."""
    return (splitmix64(seed, count) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def _strokes(samples: int, side: int) -> NDArray[np.float64]:
    """Drawings like Omniglot's: 0 but for three straight strokes of 1, as classes of five tilts."""
    pictures = np.zeros((samples, side, side))
    numbers = (_uniform(11, samples * 6).reshape(samples, 3, 2) + 1) / 2
    for index in range(samples):
        tilt = np.pi * (index % 5) / 5
        for x0, y0 in 4 + numbers[index] * (side - 9):
            for t in np.linspace(-9, 9, 37):
                x, y = round(x0 + t * np.cos(tilt)), round(y0 + t * np.sin(tilt))
                if 0 <= x < side and 0 <= y < side:
                    pictures[index, y, x] = 1
    return pictures


def load(name: str, samples: int = 3200) -> Benchmark:
    """A benchmark net of `MODELS`: a sine for one input, strokes for pictures, clouds of points otherwise."""
    spec = MODELS[name]
    if spec.input_shape == (1,):
        x = _uniform(1, samples).reshape(-1, 1)
        y: NDArray[Any] = np.sin(3 * x).astype(np.float32)
    elif len(spec.input_shape) == 3:
        x = _strokes(samples, spec.input_shape[0]).reshape(samples, -1)
        y = (np.arange(samples) % 5).astype(np.int32)
    else:
        y = (np.arange(samples) % spec.output_shape[0]).astype(np.int32)
        centres = _uniform(2, spec.output_shape[0] * spec.input_shape[0]).reshape(-1, spec.input_shape[0])
        x = centres[y] + _uniform(3, samples * spec.input_shape[0]).reshape(samples, -1)
    image = encode(spec, initialize(spec, seed=1))
    return Benchmark(name, spec, image, x.astype(np.float32), y, LEARNING_RATES.get(name, 0.02))
