"""Models: what they are, the bytes a device runs, the memory they need, their first weights.

- `spec`, `layers`: networks, and the kinds of layers
- `image`: the bytes of docs/model-image.md
- `plan`: bytes of memory, a layer at a time; `initialize`: first weights
- `convert`: any model file as what the engine runs, with `keras`, `tflite` and `int8`
- `run`, `inspect`, `export`, `quantize`, `head`: what can be done with one
"""

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
from tinyfed.model.layers.activation import Activation
from tinyfed.model.layers.add import Add
from tinyfed.model.layers.base import Layer, Shape
from tinyfed.model.layers.conv import Conv1D, Conv2D, DepthwiseConv2D
from tinyfed.model.layers.dense import Dense
from tinyfed.model.layers.dropout import Dropout
from tinyfed.model.layers.pool import AveragePool, GlobalAveragePool, MaxPool
from tinyfed.model.layers.reshape import Flatten, Reshape
from tinyfed.model.layers.scale import ScaleShift
from tinyfed.model.layers.standardize import Standardize
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
    "convert",
    "decode",
    "encode",
    "export",
    "head",
    "image",
    "initialize",
    "inspect",
    "int8",
    "keras",
    "layers",
    "mlp",
    "plan",
    "quantize",
    "read_weights",
    "replace_weights",
    "run",
    "spec",
    "structure_hash",
    "tflite",
    "weights_hash",
    "with_trainable",
]
