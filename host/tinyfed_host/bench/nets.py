"""The benchmark nets: fixed seeds, fixed data, trained before anything is measured.

Nothing here depends on NumPy's generators or on libm, so the same bytes come out on every machine: random values
are SplitMix64's, sines the engine's own.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed import engine as core
from tinyfed.errors import UsageError
from tinyfed.model import Conv2D, Dense, Flatten, ModelSpec, encode, initialize, mlp
from tinyfed.random import splitmix64

Floats = NDArray[np.float32]

TRAINED_STEPS = 3200
MEASURED_STEPS = 64


@dataclass(frozen=True)
class BenchNet:
    """A net, the weights it is measured from and the samples it is measured on."""

    name: str
    spec: ModelSpec
    weights: Floats
    inputs: Floats  # (MEASURED_STEPS, *input_shape)
    targets: NDArray[Any]  # float32 (MEASURED_STEPS, output_count), or int32 labels (MEASURED_STEPS,)
    learning_rate: float

    @property
    def image(self) -> bytes:
        """The model image."""
        return encode(self.spec, self.weights)


def uniform(seed: int, count: int, low: float, high: float) -> Floats:
    """`count` values in low..high, the same everywhere."""
    unit = (splitmix64(seed, count) >> np.uint64(40)).astype(np.float64) * 2.0**-24
    return (low + (high - low) * unit).astype(np.float32)


def sine_samples(count: int, seed: int) -> tuple[Floats, Floats]:
    """x in -5..5 and sin(x + 1), shapes (count, 1)."""
    x = uniform(seed, count, -5.0, 5.0).reshape(-1, 1)
    return x, core.sin(x + np.float32(1.0))


def drawn_characters(count: int, seed: int) -> tuple[Floats, NDArray[np.int32]]:
    """Drawings like Omniglot's: 28 x 28, ink 1 on 0, shape (count, 28, 28, 1), and labels 0..4, shape (count,).

    A character is three bent strokes; a drawing moves every point of them a little.
    """
    points = uniform(seed, 5 * 3 * 3 * 2, 5.0, 22.0).astype(np.float64).reshape(5, 3, 3, 2)
    labels = (splitmix64(seed + 1, count) >> np.uint64(33)).astype(np.int64) % 5
    moves = uniform(seed + 2, count * 18, -1.5, 1.5).astype(np.float64).reshape(count, 3, 3, 2)
    images = np.zeros((count, 28, 28, 1), np.float32)
    t = np.linspace(0.0, 1.0, 33)[:, None]
    for image, label, move in zip(images, labels, moves, strict=True):
        for start, bend, end in points[label] + move:
            at = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
            for row, column in (at + 0.5).astype(int):
                image[row : row + 2, column] = 1.0
    return images, labels.astype(np.int32)


def trained(name: str, spec: ModelSpec, scheme: str, rate: float, x: Floats, y: NDArray[Any]) -> BenchNet:
    """The net after TRAINED_STEPS online steps; the samples behind them are kept for measuring."""
    engine = core.Engine(encode(spec, initialize(spec, 1, scheme)))
    engine.train_online(x[:TRAINED_STEPS], y[:TRAINED_STEPS], rate)
    return BenchNet(name, spec, engine.parameters, x[TRAINED_STEPS:], y[TRAINED_STEPS:], rate)


SPECS = {
    "mlp-relu": mlp(1, (32, 32), 1, "relu"),
    "mlp-tanh": mlp(1, (32, 32), 1, "tanh"),
    "cnn-omniglot": ModelSpec(
        (28, 28, 1),
        (Conv2D(8, 3, 2, activation="relu"), Conv2D(16, 3, 2, activation="relu"), Flatten(), Dense(5)),
        "softmax_cross_entropy",
    ),
}


def _mlp(name: str) -> BenchNet:
    x, y = sine_samples(TRAINED_STEPS + MEASURED_STEPS, seed=7)
    return trained(name, SPECS[name], "glorot_uniform", 0.01, x, y)


def _cnn() -> BenchNet:
    x, labels = drawn_characters(TRAINED_STEPS + MEASURED_STEPS, seed=11)
    return trained("cnn-omniglot", SPECS["cnn-omniglot"], "glorot_uniform", 0.01, x, labels)


NETS = {
    "mlp-relu": lambda: _mlp("mlp-relu"),
    "mlp-tanh": lambda: _mlp("mlp-tanh"),
    "cnn-omniglot": _cnn,
}


def bench_net(name: str) -> BenchNet:
    """The benchmark net of that name. Raises UsageError."""
    if name not in NETS:
        raise UsageError(f'there is no benchmark net "{name}": choose {", ".join(NETS)} or give a model image\'s file')
    return NETS[name]()


def zero_share(net: BenchNet) -> float:
    """Share of exact zeros among the outputs of the layers with a ReLU, over the measured samples.

    Of the weights at the start: the engine itself computes each layer's output, by a net cut off behind it.
    """
    zeros, values = 0, 0
    for depth, layer in enumerate(net.spec.layers, 1):
        if getattr(layer, "activation", "linear") not in ("relu", "relu6"):
            continue
        head = ModelSpec(net.spec.input_shape, net.spec.layers[:depth], "mse")
        outputs = core.Engine(encode(head, net.weights[: head.parameter_count]), "infer").infer(net.inputs)
        zeros += int(np.count_nonzero(outputs == 0))
        values += outputs.size
    return zeros / values if values else 0.0


def random_samples(name: str, spec: ModelSpec, weights: Floats) -> BenchNet:
    """Any net with random samples in -1..1, classes in turn; it is measured with the weights it has."""
    values = MEASURED_STEPS * int(np.prod(spec.input_shape))
    x = uniform(17, values, -1.0, 1.0).reshape(MEASURED_STEPS, *spec.input_shape)
    outputs = int(np.prod(spec.output_shape))
    y: NDArray[Any] = uniform(18, MEASURED_STEPS * outputs, 0.0, 1.0).reshape(MEASURED_STEPS, outputs)
    if spec.loss == "softmax_cross_entropy":
        y = (np.arange(MEASURED_STEPS) % outputs).astype(np.int32)
    return BenchNet(name, spec, weights, x, y, 0.01)
