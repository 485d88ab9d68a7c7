"""First weights, the same on every machine and with every NumPy: a SplitMix64 stream of our own."""

import math

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.image import Array
from tinyfed.model.layers.base import require
from tinyfed.model.spec import ModelSpec
from tinyfed.random import splitmix64

SCHEMES = ("glorot_uniform", "he_uniform")


def initialize(spec: ModelSpec, seed: int, scheme: str = "glorot_uniform") -> Array:
    """Flat float32 weights, shape (spec.parameter_count,): uniform with Keras' limits, biases 0, scales, variances 1.

    `glorot_uniform` has the limit sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010, equation 16),
    `he_uniform` sqrt(6 / inputs) (He et al. 2015).
    """
    require(scheme in SCHEMES, f"initializer {scheme!r} is unknown: use one of {', '.join(SCHEMES)}")
    unit = (splitmix64(seed, spec.parameter_count) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
    parts: list[NDArray[np.float64]] = []
    at = 0
    for record in spec.records:
        for shape, first in zip(record.parameter_shapes, record.rules.first, strict=False):
            count = math.prod(shape)
            if first is None:
                fan_in, fan_out = record.rules.fans(shape)
                limit = math.sqrt(6 / (fan_in + fan_out if scheme == "glorot_uniform" else fan_in))
                parts.append(unit[at : at + count] * limit)
            else:
                parts.append(np.full(count, first))
            at += count
    return np.concatenate([*parts, np.empty(0)]).astype(np.float32)
