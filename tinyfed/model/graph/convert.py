"""A float network as what the engine runs: layers that learn, a program, or both."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tinyfed.errors import ConvertError, UsageError
from tinyfed.model.graph.nodes import MOST_NODES, WEIGHTED, Floats, Graph, Node
from tinyfed.model.graph.program import program_of
from tinyfed.model.graph.simplify import simplify
from tinyfed.model.int8.image import encode_int8
from tinyfed.model.int8.spec import Int8Network
from tinyfed.model.layers import KINDS, Layer, layer_of_record
from tinyfed.model.layers.base import ACTIVATIONS, HAS_BIAS, PADDINGS, TRAIN_BIAS, TRAIN_WEIGHTS, Record
from tinyfed.model.spec import LAYERS_MAX, ModelSpec

PARAMETERS = (*WEIGHTED, "scale")


@dataclass(frozen=True)
class Converted:
    """A float network for the engine. `notes` say what was folded, dropped or changed, one line each."""

    spec: ModelSpec
    weights: Floats
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Program:
    """A float network that runs and does not learn."""

    network: Int8Network
    notes: tuple[str, ...]


def convert_graph(graph: Graph, loss: str | None = None, notes: tuple[str, ...] = ()) -> Converted | Program:
    """What the engine makes of a graph: layers that learn where it has them all; else a program of float operators,
    and behind it, where the last layers can, layers that learn.

    A softmax or sigmoid at the end of what learns becomes the loss, which takes logits. `loss` None: cross-entropy for
    a softmax, binary cross-entropy for a sigmoid, else mean squared error. Raises UsageError naming the layer that the
    engine does not have.
    """
    try:
        if len(graph.nodes) > MOST_NODES:
            raise ConvertError(f"{len(graph.nodes)} layers; at most {MOST_NODES} are converted")
        try:
            return _trainable(graph, loss, list(notes))
        except UsageError as error:
            return _program(graph, loss, list(notes), error)
    except UsageError as error:
        raise error.located(graph.source) from error


def _trainable(graph: Graph, loss: str | None, found: list[str]) -> Converted:
    inputs = 1 + sum(node.kind == "input" for node in graph.nodes)
    if inputs > 1 or len(graph.outputs) > 1:
        raise ConvertError(f"{inputs} inputs and {len(graph.outputs)} outputs; what learns has one of each")
    graph, loss = _take_loss(graph, loss, found)
    return _chain(simplify(graph, found), loss, found)


def _chain(graph: Graph, loss: str, found: list[str]) -> Converted:
    """A graph that was simplified as layers that learn."""
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


def _program(graph: Graph, loss: str | None, found: list[str], why: UsageError) -> Converted | Program:
    """`why`: what keeps the whole network from learning."""
    reason = f"{why.key}: {why.problem}" if why.key else why.problem
    if len(graph.outputs) == 1 and not any(node.kind == "input" for node in graph.nodes):
        notes = list(found)
        whole, suited = _take_loss(graph, loss, notes)
        whole = simplify(whole, notes)
        for tail, cut in _tails(whole):
            try:
                result = _chain(tail, suited, notes)
                frozen, _ = encode_int8(program_of(whole, (cut,)))
            except UsageError:
                continue
            learning = [node.where for node in tail.nodes if node.kind in PARAMETERS and node.trainable]
            notes.append(f"frozen up to what {learning[0]} reads ({reason}); what learns: {', '.join(learning)}")
            return Converted(replace(result.spec, frozen=frozen), result.weights, tuple(notes))
    graph = simplify(graph, found)
    network = program_of(graph, graph.outputs)
    found.append(f"runs, and does not learn ({reason})")
    return Program(network, tuple(found))


def _tails(graph: Graph) -> Iterator[tuple[Graph, int]]:
    """Ends of a network that may learn, the longest first, each from a layer with parameters on, with the tensor that
    it reads and nothing else of what comes before."""
    first = len(graph.nodes)
    while first and _is_layer(graph.nodes[first - 1]):
        first -= 1
    for start in range(max(first, 1, len(graph.nodes) - LAYERS_MAX), len(graph.nodes)):
        nodes = graph.nodes[start:]
        read = {tensor for node in nodes for tensor in node.inputs if tensor <= start}
        if len(read) == 1 and nodes[0].kind in PARAMETERS and nodes[0].trainable:
            cut = read.pop()
            moved = tuple(
                replace(node, inputs=tuple(max(tensor - start, 0) for tensor in node.inputs)) for node in nodes
            )
            if cut:
                yield Graph(graph.source, graph.shape(cut), moved), cut


def _is_layer(node: Node) -> bool:
    try:
        _lowered(node, 0)
    except UsageError:
        return False
    return True


def _take_loss(graph: Graph, loss: str | None, notes: list[str]) -> tuple[Graph, str]:
    last = graph.nodes[-1] if graph.nodes else None
    by_activation = {"softmax": "softmax_cross_entropy", "sigmoid": "binary_cross_entropy"}
    if last is None or last.activation not in by_activation or len(graph.readers(len(graph.nodes))) > 0:
        return graph, loss or "mse"
    suited = by_activation[last.activation]
    if last.activation == "softmax" and math.prod(last.shape) != last.shape[-1]:  # several, each over the last axis
        return graph, loss or "mse"
    if loss is None or loss == suited:
        notes.append(f"{last.where}: the {last.activation} at the end is part of the loss: the engine gives logits")
        return replace(graph, nodes=(*graph.nodes[:-1], replace(last, activation="linear"))), suited
    return graph, loss


def _lowered(node: Node, index: int) -> tuple[Layer, list[Floats]]:
    """The engine's layer of a node, and its weights."""
    rules = KINDS.get(node.kind)
    if rules is None:
        node.refuse(f"no layer that learns computes {node.kind.replace('_', ' ')}")
    if node.activation not in ACTIVATIONS:
        node.refuse(f"layers that learn do not have {node.activation}, they have {', '.join(ACTIVATIONS)}")
    if len(node.shape) > 3:
        node.refuse(f"shape {list(node.shape)}; layers that learn have at most 3 dimensions")
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
