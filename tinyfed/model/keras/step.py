"""A Keras layer on its way to nodes of a `Graph`: what converters of layers have in common."""

from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyfed.errors import ConvertError
from tinyfed.model.graph import Node
from tinyfed.model.keras.file import Given, KerasLayer

Shape = tuple[int, ...]
# What these multiply with and add are no weights to Keras either.
STATISTICS = ("Rescaling", "Normalization", "Average")
LARGEST = float(np.finfo(np.float32).max)
# Keras' names of activations, and what nodes call them (docs/convert.md): name, alpha, beta.
ACTIVATIONS = {
    **{name: (name, 0.0, 0.0) for name in ("relu", "relu6", "sigmoid", "tanh", "softmax", "selu", "mish", "softplus")},
    **{name: (name, 0.0, 0.0) for name in ("softsign", "log_softmax")},
    "silu": ("swish", 0.0, 0.0),
    "swish": ("swish", 0.0, 0.0),
    "hard_silu": ("hard_swish", 0.0, 0.0),
    "hard_swish": ("hard_swish", 0.0, 0.0),
    "exponential": ("exp", 0.0, 0.0),
    "elu": ("elu", 1.0, 0.0),
    "leaky_relu": ("leaky_relu", 0.2, 0.0),
    "hard_tanh": ("clip", -1.0, 1.0),
    "hard_sigmoid": ("hard_sigmoid", 1 / 6, 0.5),
    "gelu": ("gelu", 0.0, 0.0),
}
_KERAS_2 = {"hard_sigmoid": ("hard_sigmoid", 0.2, 0.5)}


@dataclass
class Step:
    """A layer on the way: `sources` are its input tensors, `shapes` theirs without the batch, `output` the shape of
    what it gives. `nodes` grows; the last one is the layer's output. `call`: what it is given beside tensors."""

    layer: KerasLayer
    where: str
    sources: tuple[int, ...]
    shapes: tuple[Shape, ...]
    nodes: list[Node]
    notes: list[str]
    output: Shape = ()
    call: Given = field(default_factory=Given)

    def option(self, name: str, default: Any = None) -> Any:
        """Of the call, else of the configuration."""
        return self.call.options.get(name, self.layer.config.get(name, default))

    def refuse(self, reason: str) -> NoReturn:
        """Raise ConvertError naming the layer; the caller says of which file."""
        raise ConvertError(reason, key=self.where)

    def node(self, kind: str, inputs: tuple[int, ...], shape: Shape, **values: Any) -> int:
        """Append a node; the number of its output tensor."""
        trainable = bool(self.layer.trainable) and self.layer.kind not in STATISTICS
        self.nodes.append(Node(kind, self.where, inputs, shape, trainable=trainable, **values))
        return len(self.nodes)

    def add(self, kind: str, shape: Shape, source: int | None = None, **values: Any) -> int:
        """`node` of one input, `source` (the layer's input)."""
        return self.node(kind, (self.sources[0] if source is None else source,), shape, **values)

    def constant(self, values: ArrayLike) -> int:
        array = np.asarray(values, np.float32)
        return self.node("constant", (), array.shape or (1,), weights=array.reshape(array.shape or (1,)))

    def reshaped(self, source: int, shape: Shape) -> int:
        return self.add("reshape", shape, source)

    def array(self, values: NDArray[Any], *shape: int) -> NDArray[np.float32]:
        """Values of a weight, which must be finite float32 of `shape`."""
        if values.shape != shape:
            self.refuse(f"weights of shape {list(values.shape)} where {list(shape)} is expected")
        if values.dtype != np.float32:
            self.refuse(f"weights of type {values.dtype}; convert a model with the float32 policy")
        if not np.isfinite(values).all():
            self.refuse("weights hold NaN or infinity; train the model again")
        return np.asarray(values, np.float32)

    def bias(self) -> NDArray[np.float32] | None:
        return self.array(self.layer.bias, self.output[-1]) if self.layer.use_bias else None

    def activate(self, source: int, shape: Shape, function: Any = None) -> int:
        """The layer's `activation`, or another, as a node of its own; folded later where the engine fuses it."""
        word, alpha, beta = self.function(self.layer.activation if function is None else function)
        return (
            source
            if word == "linear"
            else self.add("activation", shape, source, activation=word, alpha=alpha, beta=beta)
        )

    def function(self, function: Any) -> tuple[str, float, float]:
        """What nodes call an activation of Keras, and its numbers."""
        name = function.get("config", "") if isinstance(function, dict) else function or "linear"
        if not isinstance(name, str):
            made = function.get("class_name") if isinstance(function, dict) else function
            self.refuse(f"the activation {made} inside a layer; make it a layer of its own")
        if name == "linear":
            return name, 0.0, 0.0
        known = {**ACTIVATIONS, **(_KERAS_2 if self.layer.keras_2 else {})}
        if name not in known:
            self.refuse(f"the activation {name}; the engine has {', '.join(known)}")
        return known[name]

    def channels_last(self) -> None:
        if getattr(self.layer, "data_format", None) not in (None, "channels_last"):
            self.refuse('channels_first; build the model with data_format="channels_last", which the engine has')

    def one_dimensional(self) -> bool:
        return len(self.shapes[0]) == 2

    def axis(self, axis: int, rank: int) -> int:
        """An axis of Keras, which counts the batch or from the end, without the batch."""
        found = axis + rank if axis < 0 else axis - 1
        if not 0 <= found < rank:
            self.refuse(f"axis {axis}, which is the batch or none of {rank + 1}")
        return found


def pair(value: Any) -> tuple[int, int]:
    """Keras' sizes along height and width; a one-dimensional layer has height 1."""
    sizes = (value,) if isinstance(value, int) else tuple(int(size) for size in value)
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def own_pair(value: Any, rank: int | None = None) -> Shape:
    """Sizes as the layer has them, one or two. Raises ValueError."""
    sizes = (value,) * (rank or 1) if isinstance(value, int) else tuple(value)
    if any(not isinstance(size, int) or not 1 <= size <= 65535 for size in sizes) or len(sizes) not in (1, 2):
        raise ValueError(f"{value} is not a size")
    return sizes


def as_image(shape: Shape) -> Shape:
    return (1, *shape) if len(shape) == 2 else shape


def over_image(step: Step, kind: str, source: int, **values: Any) -> int:
    """A node over height and width, between reshapes where the layer is one-dimensional."""
    if step.one_dimensional():
        source = step.reshaped(source, as_image(step.shapes[0]))
    result = step.add(kind, as_image(step.output), source, **values)
    return step.reshaped(result, step.output) if step.one_dimensional() else result
