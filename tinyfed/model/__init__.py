"""Models: what they are (`spec`), the bytes a device runs (`image`), memory (`plan`), first weights."""

from tinyfed.errors import ImageError
from tinyfed.model.image import (
    decode,
    encode,
    read_weights,
    replace_weights,
    structure_hash,
    weights_hash,
)
from tinyfed.model.initialize import initialize
from tinyfed.model.layers import (
    Activation,
    Add,
    AveragePool,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Reshape,
    ScaleShift,
    Standardize,
)
from tinyfed.model.layers.base import Shape
from tinyfed.model.plan import MODES, Plan, plan
from tinyfed.model.spec import ModelSpec, mlp, with_trainable

__all__ = [
    "MODES",
    "Activation",
    "Add",
    "AveragePool",
    "Conv1D",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "ImageError",
    "Layer",
    "MaxPool",
    "ModelSpec",
    "Plan",
    "Reshape",
    "ScaleShift",
    "Shape",
    "Standardize",
    "decode",
    "encode",
    "initialize",
    "mlp",
    "plan",
    "read_weights",
    "replace_weights",
    "structure_hash",
    "weights_hash",
    "with_trainable",
]
