"""A float network as what the engine runs: a chain of layers that learns."""

from dataclasses import dataclass, replace

import numpy as np

from tinyfed.errors import ConvertError, UsageError
from tinyfed.model.graph.nodes import MOST_NODES, Floats, Graph, Node
from tinyfed.model.graph.simplify import simplify
from tinyfed.model.layers import KINDS, Layer, layer_of_record
from tinyfed.model.layers.base import ACTIVATIONS, HAS_BIAS, PADDINGS, TRAIN_BIAS, TRAIN_WEIGHTS, Record
from tinyfed.model.spec import ModelSpec


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
    graph = simplify(graph, found)
    if graph.outputs != (len(graph.nodes),):
        raise ConvertError("the output is not what the last layer gives")
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
        return replace(graph, nodes=(*graph.nodes[:-1], replace(last, activation="linear"))), suited
    return graph, loss


def _lowered(node: Node, index: int) -> tuple[Layer, list[Floats]]:
    """The engine's layer of a node, and its weights."""
    rules = KINDS.get(node.kind)
    if rules is None:
        node.refuse(f"the engine does not have {node.kind.replace('_', ' ')} layers")
    if node.activation not in ACTIVATIONS:
        node.refuse(f"the engine does not have the activation {node.activation} here; it has {', '.join(ACTIVATIONS)}")
    if node.dilation != (1, 1):
        node.refuse("a dilation; layers that learn have none")
    if node.padding not in PADDINGS:
        node.refuse('explicit padding; layers that learn have "same" and "valid"')
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
