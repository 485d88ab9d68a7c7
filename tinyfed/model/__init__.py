"""Models: what they are (`spec`), the bytes a device runs (`image`), memory (`plan`), first weights."""

from tinyfed.model.image import (
    ImageError,
    decode,
    encode,
    read_weights,
    replace_weights,
    structure_hash,
    weights_hash,
)
from tinyfed.model.initialize import initialize
from tinyfed.model.plan import MODES, Plan, plan
from tinyfed.model.spec import Activation, Dense, Flatten, Layer, ModelSpec, Reshape, Shape, mlp

__all__ = [
    "MODES",
    "Activation",
    "Dense",
    "Flatten",
    "ImageError",
    "Layer",
    "ModelSpec",
    "Plan",
    "Reshape",
    "Shape",
    "decode",
    "encode",
    "initialize",
    "mlp",
    "plan",
    "read_weights",
    "replace_weights",
    "structure_hash",
    "weights_hash",
]
