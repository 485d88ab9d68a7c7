"""A full-integer (int8) network as its .tflite file describes it: tensors with scale and zero point, layers with
int8 weights. Nothing is folded or packed yet: multipliers, shifts and the engine's weight layout are made from
this by `arithmetic` and `image`, so a reader only copies what it finds.

Shapes leave the batch of 1 out. Weights keep TFLite's order of axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError

Int8Array: TypeAlias = NDArray[np.int8]
# Of one tensor, and of what is moved.
MOST_DIMENSIONS = 6
Int32Array: TypeAlias = NDArray[np.int32]
Float32Array: TypeAlias = NDArray[np.float32]


# Of one value of a type.
BYTES = {"int8": 1, "uint8": 1, "int16": 2, "float32": 4}


class Activation(Enum):
    """What a layer clamps its output to."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"
    RELU_N1_TO_1 = "relu_n1_to_1"


class Padding(Enum):
    """TFLite's two rules; explicit padding is an `Int8Pad` before the layer, or the layer's `around`."""

    SAME = "same"
    VALID = "valid"


@dataclass(frozen=True)
class Int8Tensor:
    """real value = scale * (q - zero_point), q an int8; of float32 the real value itself. `shape` is (n,),
    (width, channels) or (height, width, channels), without the batch; between layers that only move values it may have
    up to 6 dimensions. `constant` holds the values of one that no layer writes."""

    name: str
    shape: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0
    dtype: str = "int8"
    constant: bytes | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= MOST_DIMENSIONS or any(n < 1 for n in self.shape):
            raise UsageError(
                f"shape {self.shape}: 1 to {MOST_DIMENSIONS} positive dimensions without the batch",
                key=f"tensor {self.name!r}",
            )
        if not (self.scale > 0 and np.isfinite(self.scale)):
            raise UsageError(f"scale {self.scale} must be positive and finite", key=f"tensor {self.name!r}")
        if not -128 <= self.zero_point <= 127:
            raise UsageError(f"zero point {self.zero_point} is outside -128..127", key=f"tensor {self.name!r}")

    @property
    def count(self) -> int:
        return int(np.prod(self.shape))

    @property
    def byte_count(self) -> int:
        return self.count * BYTES[self.dtype]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels), ones in front; dimensions before the last three lie in the height."""
        height, width, channels = (1, 1, 1, *self.shape)[-3:]
        return height * int(np.prod(self.shape[:-3])), width, channels


@dataclass(frozen=True)
class Layer:
    """`inputs` and `output` index `Int8Network.tensors`; `name` is for messages."""

    inputs: tuple[int, ...]
    output: int
    name: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class _Weighted(Layer):
    """weight_scales float32 (out,) or (1,); bias int32 (out,). Weights are symmetric (zero point 0)."""

    weights: Int8Array
    weight_scales: Float32Array
    bias: Int32Array | None


@dataclass(frozen=True)
class _Convolution(_Weighted):
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Padding = Padding.SAME
    activation: Activation = Activation.NONE
    # Zero points around the input, to which `padding` is added: ((top, bottom), (left, right)).
    around: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Int8Conv2D(_Convolution):
    """weights int8 (out, kernel height, kernel width, in)."""


@dataclass(frozen=True)
class Int8DepthwiseConv2D(_Convolution):
    """weights int8 (kernel height, kernel width, out), out = in * depth multiplier (read off the shapes)."""


@dataclass(frozen=True)
class Int8Dense(_Weighted):
    """weights int8 (out, in). The input is taken flat."""

    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class _Pool(Layer):
    """Input and output have the same scale and zero point."""

    pool: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    padding: Padding = Padding.VALID
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Int8MaxPool2D(_Pool):
    """The largest value of each window."""


@dataclass(frozen=True)
class Int8AveragePool2D(_Pool):
    """The mean of each window; padded places do not count."""


@dataclass(frozen=True)
class Int8Mean(Layer):
    """MEAN over the first dimensions behind the batch, as height and width, whatever the output keeps of them: it has
    as many values as the dimensions behind those."""


@dataclass(frozen=True)
class Int8Add(Layer):
    """Two inputs of the output's shape (no broadcasting)."""

    activation: Activation = Activation.NONE


class Binary(Enum):
    """What a layer of two inputs computes; `value` as in the program."""

    ADD = 1
    SUB = 2
    MUL = 4
    MINIMUM = 7
    MAXIMUM = 8
    SQUARED_DIFFERENCE = 9
    PRELU = 10


@dataclass(frozen=True)
class Int8Binary(Layer):
    """Two inputs whose shapes `shapes` broadcast as NumPy's do; either may be a constant."""

    function: Binary
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class Int8Pad(Layer):
    """((top, bottom), (left, right), (channels before, after)); `value` int8, the zero point where None."""

    pads: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    value: int | None = None


@dataclass(frozen=True)
class Int8Reshape(Layer):
    """The same bytes under another shape (RESHAPE, SQUEEZE, EXPAND_DIMS)."""


@dataclass(frozen=True)
class Int8Softmax(Layer):
    """Over the last axis. The output has scale 1/256 and zero point -128."""

    beta: float = 1.0


@dataclass(frozen=True)
class Int8Logistic(Layer):
    """The output has scale 1/256 and zero point -128."""


class Function(Enum):
    """Functions of one value that need nothing but the scales."""

    TANH = "tanh"
    ABS = "abs"
    ELU = "elu"
    HARD_SWISH = "hard_swish"
    RSQRT = "rsqrt"


@dataclass(frozen=True)
class Int8Unary(Layer):
    function: Function


@dataclass(frozen=True)
class Int8Relu(Layer):
    """RELU (rescales where input and output differ), RELU6 or RELU_N1_TO_1 as an operator of its own."""

    activation: Activation = Activation.RELU


@dataclass(frozen=True)
class Int8LeakyRelu(Layer):
    alpha: float


@dataclass(frozen=True)
class Int8Requantize(Layer):
    """QUANTIZE from int8 to int8: another scale and zero point for the same values."""


@dataclass(frozen=True)
class Int8ResizeNearest(Layer):
    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class Int8ResizeBilinear(Layer):
    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class Int8Copy(Layer):
    """The same bytes in another place. The one layer whose output may be a state's tensor: the state's next value."""


@dataclass(frozen=True)
class Piece:
    """What of an input goes where in the output: for every index below `counts` the value at `source_first` + the sum
    of index * `source_steps` goes to `target_first` + the sum of index * `target_steps`, counted in values."""

    counts: tuple[int, ...]
    source_steps: tuple[int, ...]
    target_steps: tuple[int, ...]
    source_first: int = 0
    target_first: int = 0


@dataclass(frozen=True)
class Int8Move(Layer):
    """Values put elsewhere: concatenations, slices, transpositions and the like. `pieces[i]` is that of `inputs[i]`;
    an input may come more than once. Where no piece writes the output holds `fill`."""

    pieces: tuple[Piece, ...]
    fill: int | None = None


@dataclass(frozen=True)
class LstmGate:
    """of_input int8 (units, inputs), of_hidden int8 (units, units), bias int32 (units,); symmetric weights."""

    of_input: Int8Array
    of_hidden: Int8Array
    bias: Int32Array | None
    input_scale: float
    hidden_scale: float


@dataclass(frozen=True)
class Int8Lstm(Layer):
    """Inputs: (steps, values), the hidden state int8 and the cell int16, which are states and are written. The output,
    (steps, units), has the hidden state's scale. `gates`: forget, input, cell, output."""

    gates: tuple[LstmGate, LstmGate, LstmGate, LstmGate]
    cell_clip: float = 0.0


@dataclass(frozen=True)
class Int8Svdf(Layer):
    """Inputs: values, and the state (filters, memory), int8 or int16 as the weights of time are, which is written.
    of_feature int8 (filters, values), of_time (filters, memory), bias int32 (filters / rank,)."""

    of_feature: Int8Array
    of_time: NDArray[np.int8] | NDArray[np.int16]
    bias: Int32Array | None
    feature_scale: float
    time_scale: float
    rank: int


@dataclass(frozen=True)
class Int8State:
    """`tensor` keeps its value from one run to the next; before the first run of a stream it is `first` (bytes)."""

    name: str
    tensor: int
    first: bytes


@dataclass(frozen=True)
class FloatOperator(Layer):
    """An operator of float32 tensors as its record has it (docs/int8.md): `kind` is a float one of `image.KINDS`,
    shapes are (height, width, channels) as the kernel sees them."""

    kind: str
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    weights: bytes = b""
    table: bytes = b""
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    chunk: int = 0
    flags: int = 0
    multiply_adds: int = 0
    in_place: bool = False
    scratch_bytes: int = 0


Int8Layer: TypeAlias = (
    FloatOperator
    | Int8Copy
    | Int8Lstm
    | Int8Svdf
    | Int8Move
    | Int8Conv2D
    | Int8DepthwiseConv2D
    | Int8Dense
    | Int8MaxPool2D
    | Int8AveragePool2D
    | Int8Mean
    | Int8Add
    | Int8Binary
    | Int8Unary
    | Int8ResizeBilinear
    | Int8Pad
    | Int8Reshape
    | Int8Softmax
    | Int8Logistic
    | Int8Relu
    | Int8LeakyRelu
    | Int8Requantize
    | Int8ResizeNearest
)


@dataclass(frozen=True)
class Int8Network:
    """Layers in an order that can be run. QUANTIZE from float at the very start and DEQUANTIZE at the very end are
    left out: the engine does both with the input's and the output's scale and zero point."""

    tensors: tuple[Int8Tensor, ...]
    layers: tuple[Int8Layer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name: str = ""
    states: tuple[Int8State, ...] = ()

    def __post_init__(self) -> None:
        kept = {state.tensor for state in self.states}
        constants = {index for index, tensor in enumerate(self.tensors) if tensor.constant is not None}
        known = kept | set(self.inputs) | constants
        self._check_indices((*self.inputs, *kept), "input or state")
        for state in self.states:
            if len(state.first) != self.tensors[state.tensor].byte_count:
                raise UsageError(f"{len(state.first)} first values", key=f"state {state.name!r}")
        for layer in self.layers:
            where = f"{type(layer).__name__} {layer.name!r}"
            self._check_indices((*layer.inputs, layer.output), where)
            for index in layer.inputs:
                if index not in known:
                    raise UsageError(f"reads tensor {self.tensors[index].name!r} before a layer writes it", key=where)
            if layer.output in known and not (layer.output in kept and isinstance(layer, Int8Copy)):
                raise UsageError(f"writes tensor {self.tensors[layer.output].name!r} a second time", key=where)
            known.add(layer.output)
        self._check_indices(self.outputs, "output")
        if not self.inputs or not self.outputs:
            raise UsageError("a network needs an input and an output")
        for index in self.outputs:
            if index not in known:
                raise UsageError(f"output {self.tensors[index].name!r} is written by no layer")

    def _check_indices(self, indices: Sequence[int], where: str) -> None:
        for index in indices:
            if not 0 <= index < len(self.tensors):
                raise UsageError(f"tensor {index} of {len(self.tensors)} does not exist", key=where)
