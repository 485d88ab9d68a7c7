"""First weights, the same on every machine and with every NumPy: a SplitMix64 stream of our own."""

import math

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.image import Weights
from tinyfed.model.records import lower
from tinyfed.model.spec import ModelSpec, Shape, require
from tinyfed.random import splitmix64

SCHEMES = ("glorot_uniform", "he_uniform")


def _fans(kind: str, shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of one weight array, counted as Keras counts them."""
    if kind == "dense":
        return shape[0], shape[1]
    field = math.prod(shape[:2])
    # Keras takes a depthwise kernel (h, w, channels, 1) for (h, w, in, out).
    channels_in, channels_out = (shape[2], 1) if kind == "depthwise" else (shape[2], shape[3])
    return field * channels_in, field * channels_out


def initialize(spec: ModelSpec, seed: int, scheme: str = "glorot_uniform") -> Weights:
    """Flat float32 weights, shape (spec.parameter_count,): uniform with Keras' limits, biases 0, scales, variances 1.

    `glorot_uniform` has the limit sqrt(6 / (inputs + outputs)) (Glorot and Bengio 2010, equation 16),
    `he_uniform` sqrt(6 / inputs) (He et al. 2015).
    """
    require(scheme in SCHEMES, f"initializer {scheme!r} is unknown: use one of {', '.join(SCHEMES)}")
    unit = (splitmix64(seed, spec.parameter_count) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
    parts: list[NDArray[np.float64]] = []
    at = 0
    for record in lower(spec):
        for index, shape in enumerate(record.parameter_shapes):
            count = math.prod(shape)
            if record.kind == "standardize":  # mean 0 and variance 1 of no sample
                parts.append(np.full(count, 1.0 if index == 1 else 0.0))
            elif index == 1 or record.kind == "scale":
                parts.append(np.full(count, 1.0 if index == 0 else 0.0))
            else:
                fan_in, fan_out = _fans(record.kind, shape)
                limit = math.sqrt(6 / (fan_in + fan_out if scheme == "glorot_uniform" else fan_in))
                parts.append(unit[at : at + count] * limit)
            at += count
    return np.concatenate([*parts, np.empty(0)]).astype(np.float32)
