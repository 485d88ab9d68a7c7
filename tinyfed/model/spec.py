"""What a model is: layers, shapes, what learns. Weights are flat float32 in `parameter_shapes` order."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tinyfed.errors import LayerError
from tinyfed.model.int8.image import read_ports
from tinyfed.model.layers.base import Layer, Place, Record, Shape, Weighted, require, shape_problem
from tinyfed.model.layers.dense import Dense
from tinyfed.model.layers.scale import ScaleShift

LOSSES = ("mse", "softmax_cross_entropy", "binary_cross_entropy")
LAYERS_MAX = 64


@dataclass(frozen=True)
class ModelSpec:
    """A network: the shape of one sample ((n,), (time, channels) or (height, width, channels)), layers, loss.

    Raises `UsageError` where it cannot be, `LayerError` naming the layer that does not fit.
    """

    input_shape: Shape  # of the first layer: with a frozen network before it, of that network's features
    layers: tuple[Layer, ...]
    loss: str = "mse"
    frozen: bytes = field(default=b"", repr=False)  # an int8 program (docs/int8.md) that a sample goes through first
    records: tuple[Record, ...] = field(init=False, repr=False, compare=False)  # the layers as the image has them

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", _lower(self))
        if self.frozen:
            features = sum(port.count for port in read_ports(self.frozen)[1])
            require(
                features == math.prod(self.input_shape),
                f"the frozen network gives {features} features, the first layer reads {self.input_shape}",
            )

    @property
    def sample_shape(self) -> Shape:
        """What a sample is: the frozen network's input where there is one, all its inputs one after the other where it
        has several, else the first layer's input."""
        if not self.frozen:
            return self.input_shape
        inputs, _ = read_ports(self.frozen)
        return inputs[0].shape if len(inputs) == 1 else (sum(port.count for port in inputs),)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of every tensor: the input, then each layer's output."""
        return (self.input_shape, *(record.shape for record in self.records))

    @property
    def output_shape(self) -> Shape:
        """Shape of the last layer's output."""
        return self.records[-1].shape

    @property
    def parameter_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the weight arrays in the order of the flat vector: by layer, weights before bias."""
        return tuple(shape for record in self.records for shape in record.parameter_shapes)

    @property
    def parameter_count(self) -> int:
        """float32 values in the flat weight vector."""
        return sum(record.parameter_count for record in self.records)


def _lower(spec: ModelSpec) -> tuple[Record, ...]:
    problem = shape_problem(spec.input_shape)
    require(not problem, f"input_shape: {problem}")
    require(spec.loss in LOSSES, f"loss {spec.loss!r} is unknown: use one of {', '.join(LOSSES)}")
    count = len(spec.layers)
    require(1 <= count <= LAYERS_MAX, f"a model has 1 to {LAYERS_MAX} layers, not {count}")
    shapes: list[Shape] = [tuple(spec.input_shape)]
    records: list[Record] = []
    parameters = 0
    for index, layer in enumerate(spec.layers):
        place = Place(index, type(layer).__name__, index if layer.input is None else layer.input, shapes)
        place.require(0 <= place.source <= index, f"input {place.source} is no tensor before it (0 to {index})")
        record = replace(layer.lower(place), input=place.source, parameters=parameters)
        place.require(not (problem := shape_problem(record.shape)), problem)
        record = replace(record, parameter_shapes=record.rules.parameter_shapes(record, place.shape))
        parameters += record.parameter_count
        records.append(record)
        shapes.append(record.shape)
    _check_graph(records, spec.loss)
    return tuple(records)


def _check_graph(records: list[Record], loss: str) -> None:
    """Every tensor is used, and a cross-entropy is given logits."""
    used = {tensor for record in records for tensor in record.inputs}
    for tensor in range(len(records)):
        name = "the model's input" if tensor == 0 else f"the output of layer {tensor - 1} ({records[tensor - 1].kind})"
        if tensor not in used:
            problem = f"{name} is not used by any layer: take the layer away or connect it"
            raise LayerError(problem, layer=max(tensor - 1, 0))
    last = len(records)
    while last and records[last - 1].rules.view:
        last = records[last - 1].input
    if not last:
        raise LayerError("a model needs a layer that is no reshape", layer=len(records) - 1)
    activation = records[last - 1].activation
    if loss != "mse" and activation != "linear":
        problem = f"{loss} takes logits: the last activation must be 'linear', not {activation!r}"
        raise LayerError(problem, key=f"layer {last - 1} ({records[last - 1].kind})", layer=last - 1)


def mlp(inputs: int, hidden: Iterable[int], outputs: int, activation: str = "relu", loss: str = "mse") -> ModelSpec:
    """A fully connected network, linear at the end: `mlp(1, (32, 32), 1)` is 1-32-32-1."""
    layers = [Dense(units, activation) for units in hidden]
    return ModelSpec((inputs,), (*layers, Dense(outputs)), loss)


def with_trainable(spec: ModelSpec, trainable: Iterable[int] | str) -> ModelSpec:
    """The same network with another set of layers that learn.

    `trainable`: "all", "none", "biases" (and shifts), "scales" (scale-and-shift layers only), "last-K" for the last
    K layers that have parameters, or the indices of layers.
    """
    with_parameters = [i for i, layer in enumerate(spec.layers) if isinstance(layer, Weighted)]
    chosen = set(with_parameters)
    biases = False
    if isinstance(trainable, str):
        if trainable.startswith("last-") and trainable[5:].isdecimal():
            count = int(trainable[5:])
            chosen = set(with_parameters[len(with_parameters) - count :] if count else [])
        elif trainable == "scales":
            chosen = {i for i in with_parameters if isinstance(spec.layers[i], ScaleShift)}
        else:
            require(
                trainable in ("all", "none", "biases"),
                f"trainable {trainable!r} is unknown: use all, none, biases, scales, last-K or layer numbers",
            )
            chosen = set() if trainable == "none" else chosen
            biases = trainable == "biases"
    else:
        wanted = set(trainable)
        require(wanted <= chosen, f"layers {sorted(wanted - chosen)} have no parameters: use some of {with_parameters}")
        chosen = wanted
    layers = tuple(
        replace(layer, trainable=index in chosen and not biases, trainable_bias=index in chosen)
        if isinstance(layer, Weighted)
        else layer
        for index, layer in enumerate(spec.layers)
    )
    return replace(spec, layers=layers)
