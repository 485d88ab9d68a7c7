"""A trainable float32 head on a frozen int8 network (Ren, Anicic, Runkler: TinyOL, 2021): the last layers of a
network are cut off, what is left makes features, and a dense layer learns from them on the device."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model import spec
from tinyfed.model import spec_int8 as int8
from tinyfed.model.image_int8 import encode_int8

# The smallest deviation a feature is divided by: dead features stay 0 instead of becoming noise.
SMALLEST_DEVIATION = 1e-3


def head_start(network: int8.Int8Network) -> int:
    """The layers before the classifier: without the softmax or logistic at the end and the dense layer before it."""
    kept = len(network.layers)
    last = (int8.Int8Softmax, int8.Int8Logistic, int8.Int8Reshape, int8.Int8Requantize)
    while kept and isinstance(network.layers[kept - 1], last):
        kept -= 1
    if kept < 2 or not isinstance(network.layers[kept - 1], int8.Int8Dense | int8.Int8Conv2D):
        raise UsageError(f"{network.name or 'the network'} does not end in a dense layer: say which layer to cut at")
    return kept - 1


def feature_network(network: int8.Int8Network, cut: int | None = None) -> int8.Int8Network:
    """The first `cut` layers, by default all before the classifier; the last one's output is the features."""
    cut = head_start(network) if cut is None else cut
    if not 1 <= cut <= len(network.layers) or len(network.inputs) != 1:
        raise UsageError(f"cannot cut {len(network.layers)} layers and {len(network.inputs)} inputs at layer {cut}")
    layers = network.layers[:cut]
    return int8.Int8Network(network.tensors, layers, network.inputs, (layers[-1].output,), network.name)


def attach_head(
    network: int8.Int8Network, classes: int, hidden: Sequence[int] = (), cut: int | None = None, normalize: bool = False
) -> spec.ModelSpec:
    """The model whose first `cut` layers are frozen and whose head, dense with `hidden` ReLU layers, learns.

    `normalize` puts a scale and shift of each feature before it that does not learn by gradient: see
    `normalizer`."""
    features = feature_network(network, cut)
    program, _ = encode_int8(features)
    layers: list[spec.Layer] = [spec.ScaleShift(trainable=False)] if normalize else []
    layers += [spec.Dense(units, "relu") for units in hidden]
    count = features.tensors[features.outputs[0]].count
    loss = "softmax_cross_entropy"
    return spec.ModelSpec((count,), (*layers, spec.Dense(classes)), loss, program)


class Welford:
    """Running mean and variance of features, one sample at a time (Welford 1962), float64."""

    def __init__(self, count: int) -> None:
        self.samples = 0
        self.mean = np.zeros(count)
        self._squares = np.zeros(count)

    def add(self, features: NDArray[np.floating]) -> None:
        self.samples += 1
        difference = features - self.mean
        self.mean += difference / self.samples
        self._squares += difference * (features - self.mean)

    @property
    def variance(self) -> NDArray[np.float64]:
        """Of the population; 1 before the second sample."""
        return self._squares / self.samples if self.samples > 1 else np.ones_like(self.mean)

    def normalizer(self) -> NDArray[np.float32]:
        """scale then shift of each feature, as the parameters of a `ScaleShift` layer: (x - mean) / deviation."""
        scale = 1.0 / np.maximum(np.sqrt(self.variance), SMALLEST_DEVIATION)
        return np.concatenate([scale, -self.mean * scale]).astype(np.float32)
