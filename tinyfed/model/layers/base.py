"""What every kind of layer has: a description (`Layer`), a record of the image (`Record`), and its rules (`Kind`)."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import LayerError, UsageError

Shape: TypeAlias = tuple[int, ...]

ACTIVATIONS = ("linear", "relu", "tanh", "relu6", "leaky_relu", "sigmoid")
PADDINGS = ("valid", "same")
SIZE_MAX = 65_535  # of one dimension of a tensor
WINDOW_MAX = 255  # of a kernel or stride
TENSOR_MAX = 0x400000  # values of one tensor
HAS_BIAS, TRAIN_WEIGHTS, TRAIN_BIAS = 1, 2, 4

RECORD = struct.Struct("<BBBBHHIBBBBBBHHHIf")
RECORD_BYTES = RECORD.size
assert RECORD_BYTES == 32


def require(condition: object, message: str) -> None:
    """Raise `UsageError(message)` unless the condition holds."""
    if not condition:
        raise UsageError(message)


def three(shape: Shape) -> tuple[int, int, int]:
    """(height, width, channels) with ones in front."""
    height, width, channels = (1,) * (3 - len(shape)) + tuple(shape)
    return height, width, channels


def shape_problem(shape: Shape) -> str:
    """Why a shape cannot stand in an image, or nothing."""
    if not 1 <= len(shape) <= 3:
        return f"shape {shape} has {len(shape)} dimensions: use one to three"
    if not all(isinstance(n, int) and n >= 1 for n in shape):
        return f"shape {shape} must be of positive integers"
    if max(three(shape)[:2]) > SIZE_MAX:
        return f"height and width of {shape} are limited to {SIZE_MAX}"
    return "" if math.prod(shape) <= TENSOR_MAX else f"{shape} has more than {TENSOR_MAX} values"


@dataclass(frozen=True)
class Place:
    """Where a layer stands: the tensor it reads, and the shapes of all tensors before it."""

    index: int
    name: str
    source: int
    shapes: Sequence[Shape]

    @property
    def shape(self) -> Shape:
        """Of what the layer reads."""
        return self.shapes[self.source]

    def require(self, condition: object, problem: str) -> None:
        """Raise `LayerError` naming the layer unless the condition holds."""
        if not condition:
            raise self.error(problem)

    def error(self, problem: str) -> LayerError:
        """An error that names the layer."""
        return LayerError(problem, key=f"layer {self.index} ({self.name})", layer=self.index)


@dataclass(frozen=True)
class Layer:
    """One layer of a network. `input` is the tensor it reads: 0 is the model's input, t the output of layer t - 1;
    None: the layer before."""

    input: int | None = field(default=None, kw_only=True)

    def lower(self, place: Place) -> "Record":
        """Its record, as far as the layer itself says it. Raises `LayerError` where it does not fit."""
        raise AssertionError("a layer says how it is lowered")


@dataclass(frozen=True)
class Activated(Layer):
    """A layer that takes an activation with it."""

    negative_slope: float = field(default=0.2, kw_only=True)  # of leaky_relu

    def activated(self, place: Place, activation: str) -> dict[str, Any]:
        """The record's fields of the activation."""
        known = f"activation {activation!r} is unknown: use one of {', '.join(ACTIVATIONS)}"
        place.require(activation in ACTIVATIONS, known)
        if activation != "leaky_relu":
            return {"activation": activation}
        slope = self.negative_slope
        place.require(0 < slope < 1, f"negative_slope {slope} must lie between 0 and 1")
        return {"activation": activation, "alpha": float(struct.unpack("<f", struct.pack("<f", slope))[0])}


@dataclass(frozen=True)
class Weighted(Activated):
    """A layer with weights, and with a bias (or shift) for each channel of its output."""

    use_bias: bool = field(default=True, kw_only=True)
    trainable: bool = field(default=True, kw_only=True)
    trainable_bias: bool | None = field(default=None, kw_only=True)  # None: as `trainable`

    def weighted(self, place: Place, activation: str) -> dict[str, Any]:
        """The record's fields of the activation and of what learns."""
        bias = self.trainable if self.trainable_bias is None else self.trainable_bias
        flags = HAS_BIAS * self.use_bias | TRAIN_WEIGHTS * self.trainable | TRAIN_BIAS * (self.use_bias and bias)
        return {"flags": flags, **self.activated(place, activation)}


# Where the plan puts the gradient of what a layer reads: in bytes of its own, over the gradient of the layer's output,
# or over the values that it read.
GradientPlace: TypeAlias = Literal["own", "over_output", "over_input"]


class Kind:
    """The rules of one kind of record."""

    name = ""
    number = 0  # in the image
    inputs = 1  # tensors that it reads
    arrays: tuple[str, ...] = ("weights", "bias")  # names of its parameters
    first: tuple[float | None, ...] = (None, 0.0)  # what they begin with; None: random with the limit of `fans`
    in_place = False  # may the output lie over the input?
    view = False  # is the output the input's bytes under another shape?
    gradient: GradientPlace = "own"
    keeps_input = False  # does the backward pass read the input's values for the input's gradient?

    def layer(self, record: "Record") -> Layer:
        """The description, `input` left out."""
        raise AssertionError("a kind says which layer it describes")

    def rank(self, record: "Record", source: Shape) -> int:
        """Dimensions of the output for an input of shape `source`."""
        return len(source)

    def parameter_shapes(self, record: "Record", source: Shape) -> tuple[Shape, ...]:
        """Of its arrays, for an input of shape `source`."""
        return ()

    def fans(self, shape: Shape) -> tuple[int, int]:
        """Inputs and outputs of one value of a random array of `shape`, counted as Keras counts them."""
        raise AssertionError(f"{self.name}: no array of it begins with random values")

    def multiply_adds(self, record: "Record") -> int:
        """Of one forward pass, padding included."""
        return 0

    def learns(self, record: "Record") -> str:
        """What `tinyfed model plan` prints: "all", "weights", "bias", "statistics" or ""."""
        if record.trains_weights:
            return "all" if record.flags & TRAIN_BIAS or len(record.parameter_shapes) == 1 else "weights"
        return "bias" if record.flags & TRAIN_BIAS else ""

    def gradient_of(self, record: "Record", tensor: int) -> GradientPlace:
        """For `tensor`, one that it reads and nobody else does."""
        return self.gradient

    def keras(self, to: "InKeras") -> Any:
        """What a record of this kind gives, of Keras layers."""
        raise AssertionError(f"{self.name}: say how Keras computes it")


class WeightedKind(Kind):
    """Of records with weights, and a bias where the flag says so."""

    def weights(self, record: "Record", source: Shape) -> Shape:
        """Shape of the weights for an input of shape `source`."""
        raise AssertionError("a kind with weights says their shape")

    def parameter_shapes(self, record: "Record", source: Shape) -> tuple[Shape, ...]:
        weights = self.weights(record, source)
        return (weights, record.shape[-1:]) if record.flags & HAS_BIAS else (weights,)

    def multiply_adds(self, record: "Record") -> int:
        return math.prod(record.shape[:-1]) * math.prod(record.parameter_shapes[0])


@dataclass(frozen=True)
class Record:
    """One layer as the image has it. Tensors are numbered: 0 the input, t the output of layer t - 1."""

    rules: Kind
    shape: Shape  # of the output
    activation: str = "linear"
    flags: int = 0
    mode: int = 0  # padding (0 valid, 1 same) of a convolution or pool, rank of a reshape
    kernel: tuple[int, int] = (0, 0)
    stride: tuple[int, int] = (0, 0)
    pad: tuple[int, int] = (0, 0)  # rows above, columns left
    input: int = 0
    input_b: int | None = None
    parameters: int = 0  # index of the first
    alpha: float = 0.0  # slope of a leaky ReLU; window of running statistics
    parameter_shapes: tuple[Shape, ...] = ()

    @property
    def kind(self) -> str:
        """The name of its kind."""
        return self.rules.name

    @property
    def padding(self) -> str:
        """Of a convolution or pool."""
        return PADDINGS[self.mode]

    @property
    def parameter_count(self) -> int:
        """Values it owns, bias included."""
        return sum(math.prod(shape) for shape in self.parameter_shapes)

    @property
    def trains_weights(self) -> bool:
        """Do its weights learn?"""
        return bool(self.flags & TRAIN_WEIGHTS)

    @property
    def trains(self) -> bool:
        """Does anything in it learn?"""
        return bool(self.flags & (TRAIN_WEIGHTS | TRAIN_BIAS))

    @property
    def inputs(self) -> tuple[int, ...]:
        """The tensors it reads."""
        return (self.input,) if self.input_b is None else (self.input, self.input_b)

    @property
    def activated(self) -> dict[str, Any]:
        """Fields of an `Activated` layer."""
        slope = {"negative_slope": self.alpha} if self.activation == "leaky_relu" else {}
        return {"activation": self.activation, **slope}

    @property
    def weighted(self) -> dict[str, Any]:
        """Fields of a `Weighted` layer."""
        use_bias, bias = bool(self.flags & HAS_BIAS), bool(self.flags & TRAIN_BIAS)
        same = bias == self.trains_weights or not use_bias
        learning = {"trainable": self.trains_weights, "trainable_bias": None if same else bias}
        return {"use_bias": use_bias, **learning, **self.activated}

    def pack(self) -> bytes:
        """The 32 bytes of the image."""
        height, width, channels = three(self.shape)
        return RECORD.pack(
            self.rules.number, ACTIVATIONS.index(self.activation), self.flags, self.mode,
            height, width, channels, *self.kernel, *self.stride, *self.pad,
            self.input, self.input_b or 0, 0, self.parameters, self.alpha,
        )  # fmt: skip


@dataclass(frozen=True)
class InKeras:
    """A record on its way to Keras: `x` and `arrays` are what it reads and its parameters, `shape` is of `x`."""

    layers: Any  # keras.layers
    record: Record
    name: str
    tensors: Sequence[Any]
    shape: Shape
    arrays: Sequence[NDArray[np.float32]]

    @property
    def x(self) -> Any:
        return self.tensors[self.record.input]

    @property
    def own(self) -> dict[str, Any]:
        """Options of the one layer that has the record's parameters."""
        return {"name": self.name, "trainable": self.record.trains_weights or not self.record.parameter_count}

    @property
    def fused(self) -> dict[str, Any]:
        """Options of a layer with weights: its activation, and whether it has a bias."""
        return {**self.own, "activation": self._fused_activation, "use_bias": len(self.arrays) == 2}

    @property
    def _fused_activation(self) -> str:
        if self.record.activation == "leaky_relu" and np.float32(self.record.alpha) != np.float32(0.2):
            return "linear"  # as a word Keras means a slope of 0.2
        return self.record.activation

    @property
    def window(self) -> dict[str, Any]:
        """Options of a convolution or pool."""
        return {"strides": self.size(self.record.stride), "padding": self.record.padding}

    def size(self, pair: tuple[int, int]) -> Any:
        return pair[1] if len(self.shape) == 2 else pair

    def sized(self, kind: str) -> Any:
        """Keras' class of a kind for a sequence or a picture."""
        return getattr(self.layers, f"{kind}{'1D' if len(self.shape) == 2 else '2D'}")

    @property
    def flat(self) -> Any:
        """`x` as a vector."""
        return self.layers.Flatten(name=f"{self.name}_flat")(self.x) if len(self.shape) > 1 else self.x

    def activated(self, x: Any) -> Any:
        """The record's activation as a layer of its own."""
        record, name = self.record, f"{self.name}_activation"
        if record.activation == "linear":
            return x
        if record.activation == "leaky_relu":
            return self.layers.LeakyReLU(negative_slope=record.alpha, name=name)(x)
        return self.layers.Activation(record.activation, name=name)(x)

    def weighted(self, layer: Any, x: Any, arrays: Sequence[NDArray[np.float32]]) -> Any:
        """What a layer made with `fused` gives, with these weights."""
        result = layer(x)
        layer.set_weights(arrays)
        return result if self._fused_activation == self.record.activation else self.activated(result)


@dataclass(frozen=True)
class Key:
    """A key of a layer in an experiment file: one of `words`, the first where it is left out, or a whole number
    `low`..`high` (None: the number of a layer before it)."""

    name: str
    field: str  # of the layer
    words: tuple[str, ...] = ()
    low: int = 1
    high: int | None = WINDOW_MAX
    required: bool = True
    offset: int = 0  # what the layer's field has more


ACTIVATION = Key("activation", "activation", ACTIVATIONS)
PADDING = Key("padding", "padding", PADDINGS)


@dataclass(frozen=True)
class Section:
    """How a layer is written in the [model] section of an experiment file: `kind` is `word`."""

    word: str
    layer: type[Layer]
    keys: tuple[Key, ...] = ()
