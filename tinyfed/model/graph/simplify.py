"""What of a float network is folded into other nodes, or dropped because it computes nothing."""

from collections.abc import Container, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.graph.nodes import FUSING, WEIGHTED, Graph, Node


def simplify(graph: Graph, notes: list[str]) -> Graph:
    """Fold and drop until nothing changes."""
    changed = True
    while changed:
        changed = False
        for rule in (_drop_identity, _fold_pad, _fold_scale_back, _fold_scale_forward, _fuse_activation, _drop_reshape):
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
    outputs = tuple(renumbered(tensor) for tensor in graph.outputs)
    return Graph(graph.source, graph.input_shape, tuple(nodes), outputs)


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
        if node.kind != kind or len(node.inputs) != 1:
            continue
        tensor = node.inputs[0]
        if tensor and graph.only_reader(tensor) is not None:
            source = graph.nodes[tensor - 1]
            if source.kind in kinds and source.activation == "linear":
                yield index, node, tensor - 1, source


def _fold_pad(graph: Graph, notes: list[str]) -> Graph | None:
    """Zeros around an image that only a convolution reads are its padding, "same" where they are those."""
    for index, node, position, source in _behind_pads(graph):
        size = graph.shape(source.inputs[0])[:-1]
        kernel, stride = node.kernel[-len(size) :], node.stride[-len(size) :]
        same = []
        for axis, length in enumerate(size):
            total = max((-(-length // stride[axis]) - 1) * stride[axis] + kernel[axis] - length, 0)
            same.append((total // 2, total - total // 2))
        pads = source.pads[:-1]
        if node.dilation == (1, 1) and list(pads) == same:
            folded = replace(node, padding="same")
        else:
            folded = replace(node, padding="explicit", pads=((0, 0),) * (2 - len(pads)) + pads)
        notes.append(f"{source.where}: is the padding of {node.where}")
        return _without(graph, position, {index: folded})
    return None


def _behind_pads(graph: Graph) -> Iterator[tuple[int, Node, int, Node]]:
    """Convolutions without padding, numbered, and the padding of height and width that each alone reads."""
    for index, node in enumerate(graph.nodes):
        if node.kind not in ("conv2d", "depthwise") or node.padding != "valid" or not node.inputs[0]:
            continue
        source = graph.nodes[node.inputs[0] - 1]
        zeros = source.kind == "pad" and not source.alpha and source.pads[-1] == (0, 0)
        if zeros and len(source.pads) in (2, 3) and graph.only_reader(node.inputs[0]) is not None:
            yield index, node, node.inputs[0] - 1, source


def _fold_scale_back(graph: Graph, notes: list[str]) -> Graph | None:
    """scale(W x + b) = (W scale) x + (b scale + shift)."""
    for index, node, position, source in _behind_linear(graph, "scale", (*WEIGHTED, "scale")):
        if source.kind == "scale" and (source.trainable or node.trainable):
            continue
        assert node.weights is not None and source.weights is not None
        scale = node.weights.astype(np.float64)
        folded = replace(
            source,
            weights=(source.weights.astype(np.float64) * scale).astype(np.float32),
            bias=(_bias(source, len(scale)) * scale + _bias(node, len(scale))).astype(np.float32),
            activation=node.activation,
            alpha=node.alpha,
            beta=node.beta,
        )
        notes.append(f"{node.where}: folded into {source.where}")
        return _without(graph, index, {position: folded})
    return None


def _fold_scale_forward(graph: Graph, notes: list[str]) -> Graph | None:
    """W (scale x + shift) + b = (W scale) x + (b + W shift), for what sees no padding.

    What brings samples to a common scale stays before weights that learn: a learning rate that suits values around 1
    does not suit those as they come in.
    """
    for index, node in enumerate(graph.nodes):
        if node.kind != "scale" or node.activation != "linear":
            continue
        place = graph.only_reader(index + 1)
        if place is not None and graph.nodes[place].kind == "reshape":
            place = graph.only_reader(place + 1)
        if place is None or graph.nodes[place].kind != "dense":
            continue
        reader = graph.nodes[place]
        if node.inputs[0] == 0 and reader.trainable and not node.trainable:
            continue
        assert node.weights is not None and reader.weights is not None
        channels, weights = len(node.weights), reader.weights.astype(np.float64)
        if len(weights) % channels:  # rows of a dense layer that are shorter than what is scaled
            continue
        repeats = len(weights) // channels
        scale, shift = np.tile(node.weights.astype(np.float64), repeats), np.tile(_bias(node, channels), repeats)
        folded = replace(
            reader,
            weights=(weights * scale[:, None]).astype(np.float32),
            bias=(_bias(reader, weights.shape[1]) + shift @ weights).astype(np.float32),
        )
        notes.append(f"{node.where}: folded into {reader.where}")
        return _without(graph, index, {place: folded})
    return None


def _bias(node: Node, count: int) -> NDArray[np.float64]:
    return np.zeros(count) if node.bias is None else node.bias.astype(np.float64)


def _fuse_activation(graph: Graph, notes: list[str]) -> Graph | None:
    for index, node, position, source in _behind_linear(graph, "activation", FUSING):
        return _without(
            graph, index, {position: replace(source, activation=node.activation, alpha=node.alpha, beta=node.beta)}
        )
    return None


def _drop_reshape(graph: Graph, notes: list[str]) -> Graph | None:
    """A dense layer reads the values of its input in order, row by row, whatever their shape."""
    for index, node in enumerate(graph.nodes):
        if node.kind != "reshape":
            continue
        readers = graph.readers(index + 1)
        if (
            readers
            and index + 1 not in graph.outputs
            and all(graph.nodes[reader].kind in ("dense", "reshape") for reader in readers)
        ):
            return _without(graph, index, {})
    return None
