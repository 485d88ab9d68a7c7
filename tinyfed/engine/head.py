"""Learn on a frozen int8 network in-process, with the engine that boards run (firmware/core/head.c)."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyfed.engine import _head
from tinyfed.engine.core import Engine, Floats
from tinyfed.engine.int8 import Int8Engine
from tinyfed.errors import UsageError
from tinyfed.model.head import HeadModel


class HeadEngine:
    """A base and its head. Samples are real or int8, (count, *the base's input shape)."""

    def __init__(self, model: HeadModel) -> None:
        self.base = Int8Engine(model.base)
        self.head = Engine(model.image, "online")
        self.features_count = self.base.outputs[0].count
        # The resolution of the features: a feature that never changes is not blown up.
        self.epsilon = float(np.float32(self.base.outputs[0].scale) ** 2)
        self.mean = np.zeros(self.features_count, np.float32)
        self.deviation = np.zeros(self.features_count, np.float32)
        self.sample_count = 0

    def features(self, x: NDArray[Any]) -> Floats:
        """The base's last layer for each sample, real values (count, features)."""
        port = self.base.inputs[0]
        if x.ndim < 1 or x[:1].size not in (0, port.count):
            raise UsageError(f"samples of shape {x.shape[1:]}; the base takes {port.shape}")
        rows = []
        for sample in x.reshape(-1, port.count):
            stored = sample if sample.dtype == np.int8 else self.base.quantize(sample.astype(np.float32))
            rows.append(self.base.dequantize(self.base.run(stored)[0]).reshape(-1))
        return np.stack(rows) if rows else np.empty((0, self.features_count), np.float32)

    def observe(self, features: Floats) -> None:
        """Take the features of samples into the running mean and variance, and normalize by them from now on."""
        for row in features:
            self.sample_count = _head.add(self.mean, self.deviation, self.sample_count, np.ascontiguousarray(row))
        affine = np.empty(2 * self.features_count, np.float32)
        _head.write(self.mean, self.deviation, self.sample_count, self.epsilon, affine)
        parameters = self.head.parameters
        parameters[: len(affine)] = affine
        self.head.parameters = parameters

    def train_online(self, features: Floats, labels: ArrayLike, learning_rate: float) -> Floats:
        """For each sample in order: normalize with it, then one step of SGD. Losses before each step, (count,)."""
        losses = []
        for row, label in zip(features, np.asarray(labels), strict=True):
            self.observe(row[None])
            losses.append(self.head.train_online(row[None], np.array([label]), learning_rate)[0])
        return np.array(losses, np.float32)

    def evaluate(self, features: Floats, labels: ArrayLike) -> float:
        """Share of samples that are classified correctly."""
        _, correct = self.head.evaluate(features, np.asarray(labels))
        return correct / len(features)
