"""Float networks on their way from Keras or TFLite to a `ModelSpec`: one description for both, and what is folded.

Tensors are numbered as in the spec: 0 is the input, t the output of node t - 1. Shapes leave the batch out.
"""

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError, UsageError
from tinyfed.model.layers import KINDS, Layer, layer_of_record
from tinyfed.model.layers.base import ACTIVATIONS, HAS_BIAS, PADDINGS, TRAIN_BIAS, TRAIN_WEIGHTS, Record
from tinyfed.model.spec import ModelSpec

Floats = NDArray[np.float32]
# Kinds that own weights and take an activation with them.
WEIGHTED = ("dense", "conv2d", "depthwise")
FUSING = (*WEIGHTED, "add", "scale")
MOST_NODES = 512


@dataclass(frozen=True)
class Node:
    """One step. `weights`: dense (inputs, units), conv2d (kh, kw, in, out), depthwise (kh, kw, channels), scale
    (channels,); `bias` (outputs,). `where` names it in messages."""

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
    """A network of one input and one output (the last node's)."""

    source: str
    input_shape: tuple[int, ...]
    nodes: tuple[Node, ...]

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self.input_shape if tensor == 0 else self.nodes[tensor - 1].shape

    def readers(self, tensor: int) -> list[int]:
        """Indices of the nodes that read a tensor."""
        return [index for index, node in enumerate(self.nodes) if tensor in node.inputs]


@dataclass(frozen=True)
class Converted:
    """A float network for the engine. `notes` say what was folded, dropped or changed, one line each."""

    spec: ModelSpec
    weights: Floats
    notes: tuple[str, ...]


def convert_graph(graph: Graph, loss: str | None = None, notes: tuple[str, ...] = ()) -> Converted:
    """The spec and flat weights of a graph. A softmax or sigmoid at the end becomes the loss, which takes logits.

    `loss` None: cross-entropy for a softmax, binary cross-entropy for a sigmoid, else mean squared error.
    Raises UsageError naming the layer that the engine does not have.
    """
    try:
        return _converted(graph, loss, list(notes))
    except UsageError as error:
        raise error.located(graph.source) from error


def _converted(graph: Graph, loss: str | None, found: list[str]) -> Converted:
    if len(graph.nodes) > MOST_NODES:
        raise ConvertError(f"{len(graph.nodes)} layers; at most {MOST_NODES} are converted")
    graph, loss = _take_loss(graph, loss, found)
    graph = _simplify(graph, found)
    layers: list[Layer] = []
    values: list[Floats] = []
    for index, node in enumerate(graph.nodes):
        layer, arrays = _lowered(node, index)
        layers.append(layer)
        values += [array.reshape(-1) for array in arrays]
    if not layers:
        raise ConvertError("no layer is left after what needs no computation was taken away")
    spec = ModelSpec(graph.input_shape, tuple(layers), loss)
    shapes = [node.shape for node in graph.nodes]
    for node, mine, theirs in zip(graph.nodes, shapes, spec.shapes[1:], strict=True):
        if mine != theirs:
            node.refuse(f"its output has shape {list(mine)}, the engine's layer gives {list(theirs)}")
    weights = np.concatenate([*values, np.empty(0, np.float32)]).astype(np.float32)
    if not np.isfinite(weights).all():
        raise ConvertError("weights hold NaN or infinity; train the model again")
    return Converted(spec, weights, tuple(found))


def _take_loss(graph: Graph, loss: str | None, notes: list[str]) -> tuple[Graph, str]:
    last = graph.nodes[-1] if graph.nodes else None
    by_activation = {"softmax": "softmax_cross_entropy", "sigmoid": "binary_cross_entropy"}
    if last is None or last.activation not in by_activation or len(graph.readers(len(graph.nodes))) > 0:
        return graph, loss or "mse"
    suited = by_activation[last.activation]
    if loss is None or loss == suited:
        notes.append(f"{last.where}: the {last.activation} at the end is part of the loss: the engine gives logits")
        return Graph(graph.source, graph.input_shape, (*graph.nodes[:-1], replace(last, activation="linear"))), suited
    return graph, loss


def _simplify(graph: Graph, notes: list[str]) -> Graph:
    """Fold and drop until nothing changes."""
    changed = True
    while changed:
        changed = False
        for rule in (_drop_identity, _fold_scale_back, _fold_scale_forward, _fuse_activation, _drop_reshape):
            result = rule(graph, notes)
            while result is not None:
                graph, changed = result, True
                result = rule(graph, notes)
    return graph


def _without(graph: Graph, index: int, changes: dict[int, Node]) -> Graph:
    """The graph without node `index`, whose readers read its first input instead; `changes` replace nodes."""
    gone, instead = index + 1, graph.nodes[index].inputs[0]

    def renumbered(tensor: int) -> int:
        tensor = instead if tensor == gone else tensor
        return tensor - 1 if tensor > gone else tensor

    nodes = []
    for position, old in enumerate(graph.nodes):
        if position != index:
            node = changes.get(position, old)
            nodes.append(replace(node, inputs=tuple(renumbered(tensor) for tensor in node.inputs)))
    return Graph(graph.source, graph.input_shape, tuple(nodes))


def _drop_identity(graph: Graph, notes: list[str]) -> Graph | None:
    for index, node in enumerate(graph.nodes):
        if node.kind == "identity" or (node.kind == "activation" and node.activation == "linear"):
            return _without(graph, index, {})
        if node.kind == "reshape" and node.shape == graph.shape(node.inputs[0]):
            return _without(graph, index, {})
    return None


def _behind_linear(graph: Graph, kind: str, kinds: Container[str]) -> Iterator[tuple[int, Node, int, Node]]:
    """Nodes of a kind, numbered, and the linear node of one of `kinds` whose output each alone reads, numbered too."""
    for index, node in enumerate(graph.nodes):
        tensor = node.inputs[0]
        if node.kind == kind and tensor and len(node.inputs) == 1 and len(graph.readers(tensor)) == 1:
            source = graph.nodes[tensor - 1]
            if source.kind in kinds and source.activation == "linear":
                yield index, node, tensor - 1, source


def _fold_scale_back(graph: Graph, notes: list[str]) -> Graph | None:
    """scale(W x + b) = (W scale) x + (b scale + shift)."""
    for index, node, position, source in _behind_linear(graph, "scale", WEIGHTED):
        assert node.weights is not None and source.weights is not None
        scale = node.weights.astype(np.float64)
        folded = replace(
            source,
            weights=(source.weights.astype(np.float64) * scale).astype(np.float32),
            bias=(_bias(source, len(scale)) * scale + _bias(node, len(scale))).astype(np.float32),
            activation=node.activation,
            alpha=node.alpha,
        )
        notes.append(f"{node.where}: folded into {source.where}")
        return _without(graph, index, {position: folded})
    return None


def _fold_scale_forward(graph: Graph, notes: list[str]) -> Graph | None:
    """W (scale x + shift) + b = (W scale) x + (b + W shift), for what sees no padding."""
    for index, node in enumerate(graph.nodes):
        if node.kind != "scale" or node.activation != "linear":
            continue
        readers = graph.readers(index + 1)
        if len(readers) == 1 and graph.nodes[readers[0]].kind == "reshape":
            readers = graph.readers(readers[0] + 1)
        if len(readers) != 1 or graph.nodes[readers[0]].kind != "dense":
            continue
        reader = graph.nodes[readers[0]]
        assert node.weights is not None and reader.weights is not None
        channels, weights = len(node.weights), reader.weights.astype(np.float64)
        repeats = len(weights) // channels
        scale, shift = np.tile(node.weights.astype(np.float64), repeats), np.tile(_bias(node, channels), repeats)
        folded = replace(
            reader,
            weights=(weights * scale[:, None]).astype(np.float32),
            bias=(_bias(reader, weights.shape[1]) + shift @ weights).astype(np.float32),
        )
        notes.append(f"{node.where}: folded into {reader.where}")
        return _without(graph, index, {readers[0]: folded})
    return None


def _bias(node: Node, count: int) -> NDArray[np.float64]:
    return np.zeros(count) if node.bias is None else node.bias.astype(np.float64)


def _fuse_activation(graph: Graph, notes: list[str]) -> Graph | None:
    for index, node, position, source in _behind_linear(graph, "activation", FUSING):
        return _without(graph, index, {position: replace(source, activation=node.activation, alpha=node.alpha)})
    return None


def _drop_reshape(graph: Graph, notes: list[str]) -> Graph | None:
    """A dense layer reads all values of its input in order, whatever their shape."""
    for index, node in enumerate(graph.nodes):
        if node.kind != "reshape":
            continue
        readers = graph.readers(index + 1)
        if readers and all(graph.nodes[reader].kind in ("dense", "reshape") for reader in readers):
            return _without(graph, index, {})
    return None


def _lowered(node: Node, index: int) -> tuple[Layer, list[Floats]]:
    """The engine's layer of a node, and its weights."""
    rules = KINDS.get(node.kind)
    if rules is None:
        node.refuse(f"the engine does not have {node.kind.replace('_', ' ')} layers")
    if node.activation not in ACTIVATIONS:
        node.refuse(f"the engine does not have the activation {node.activation} here; it has {', '.join(ACTIVATIONS)}")
    arrays = [array for array in (node.weights, node.bias) if array is not None]
    flags = HAS_BIAS * (node.bias is not None) | (TRAIN_WEIGHTS | TRAIN_BIAS) * node.trainable
    channels = node.shape[-1] if node.weights is None else node.weights.shape[-1]
    record = Record(
        rules,
        (*node.shape[:-1], channels),
        node.activation,
        flags,
        PADDINGS.index(node.padding),
        node.kernel,
        node.stride,
        input=node.inputs[0],
        input_b=node.inputs[1] if rules.inputs == 2 else None,
        alpha=node.alpha,
    )
    return layer_of_record(record, index), arrays
