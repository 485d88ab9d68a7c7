"""What a float network is on its way to the engine, node by node (docs/convert.md).

Tensors are numbered as in the spec: 0 is the first input, t the output of node t - 1. Shapes leave the batch out.
"""

import math
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError
from tinyfed.model.int8.spec import Piece

Floats = NDArray[np.float32]
Pairs = tuple[tuple[int, int], ...]
# Kinds that own weights and take an activation with them.
WEIGHTED = ("dense", "conv2d", "depthwise")
FUSING = (*WEIGHTED, "add", "scale")
# Kinds of two inputs, value by value; shapes broadcast as NumPy's do.
BINARY = ("add", "sub", "mul", "div", "minimum", "maximum", "squared_difference", "prelu")
REDUCTIONS = ("reduce_mean", "reduce_max", "reduce_min", "reduce_sum")
MOST_NODES = 512


@dataclass(frozen=True)
class Node:
    """One step. `where` names it in messages. What the other fields are for which kind: docs/convert.md.

    `weights`: dense (inputs, units), conv2d and conv2d_transpose (kh, kw, in, out), depthwise (kh, kw, out), scale
    (channels,), constant its values; `bias` (outputs,). `pads`: before and after, by axis: of a pad, or of
    a window's height and width where `padding` is "explicit"."""

    kind: str
    where: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    weights: Floats | None = None
    bias: Floats | None = None
    activation: str = "linear"
    alpha: float = 0.0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: str = "valid"
    trainable: bool = True
    dilation: tuple[int, int] = (1, 1)
    pads: Pairs = ()
    axes: tuple[int, ...] = ()
    begin: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    beta: float = 0.0
    mode: str = ""
    functions: tuple[tuple[str, float, float], ...] = ()
    pieces: tuple[Piece, ...] = ()

    @property
    def multiply_adds(self) -> int:
        """Padded taps included; a scale and shift counts none."""
        if self.weights is None or self.kind not in WEIGHTED:
            return 0
        return int(self.weights.size) * math.prod(self.shape[:-1])

    def refuse(self, reason: str) -> NoReturn:
        """Raise ConvertError naming the node; `convert_graph` says of which file."""
        raise ConvertError(reason, key=self.where)


@dataclass(frozen=True)
class Graph:
    """A network. `outputs` are tensors, the last node's where nothing is said. Inputs behind the first are nodes of the
    kind "input"."""

    source: str
    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.outputs:
            object.__setattr__(self, "outputs", (len(self.nodes),))

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self.input_shape if tensor == 0 else self.nodes[tensor - 1].shape

    def readers(self, tensor: int) -> list[int]:
        """Indices of the nodes that read a tensor."""
        return [index for index, node in enumerate(self.nodes) if tensor in node.inputs]

    def only_reader(self, tensor: int) -> int | None:
        """The one node that reads a tensor, which is no output of the network."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None
