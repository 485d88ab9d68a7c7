"""What a model is: layers, shapes, what learns. Weights are flat float32 in `parameter_shapes` order."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from tinyfed.errors import UsageError

Shape: TypeAlias = tuple[int, ...]

ACTIVATIONS = ("linear", "relu", "tanh", "relu6", "leaky_relu", "sigmoid")
LOSSES = ("mse", "softmax_cross_entropy", "binary_cross_entropy")
LAYERS_MAX = 64
WINDOW_MAX = 0x1000000  # samples of running statistics: a float32 counts no further
TENSOR_MAX = 0x400000  # values of one tensor


@dataclass(frozen=True)
class Dense:
    """`activation(x @ W + b)` over all values of its input; W is (inputs, units), as Keras lays it out."""

    units: int
    activation: str = "linear"
    use_bias: bool = True
    trainable: bool = True
    trainable_bias: bool | None = None  # None: as `trainable`
    negative_slope: float = 0.2  # of leaky_relu
    input: int | None = None  # tensor: 0 is the model's input, t the output of layer t - 1; None: the layer before


@dataclass(frozen=True)
class Conv2D:
    """Convolution of (height, width, channels); weights (kernel height, kernel width, in, filters), as Keras."""

    filters: int
    kernel_size: int | tuple[int, int]
    strides: int | tuple[int, int] = 1
    padding: str = "valid"  # or "same"
    activation: str = "linear"
    use_bias: bool = True
    trainable: bool = True
    trainable_bias: bool | None = None
    negative_slope: float = 0.2
    input: int | None = None


@dataclass(frozen=True)
class Conv1D:
    """Convolution of (time, channels): a two-dimensional one of height 1. Weights (1, kernel, in, filters)."""

    filters: int
    kernel_size: int
    strides: int = 1
    padding: str = "valid"
    activation: str = "linear"
    use_bias: bool = True
    trainable: bool = True
    trainable_bias: bool | None = None
    negative_slope: float = 0.2
    input: int | None = None


@dataclass(frozen=True)
class DepthwiseConv2D:
    """Each channel with its own kernel (depth multiplier 1); weights (kernel height, kernel width, channels, 1)."""

    kernel_size: int | tuple[int, int]
    strides: int | tuple[int, int] = 1
    padding: str = "valid"
    activation: str = "linear"
    use_bias: bool = True
    trainable: bool = True
    trainable_bias: bool | None = None
    negative_slope: float = 0.2
    input: int | None = None


@dataclass(frozen=True)
class _Pool:
    """Of (height, width, channels) or (time, channels)."""

    pool_size: int | tuple[int, int] = 2
    strides: int | tuple[int, int] | None = None  # None: the pool's size
    padding: str = "valid"
    input: int | None = None


@dataclass(frozen=True)
class MaxPool(_Pool):
    """Largest value of each window."""


@dataclass(frozen=True)
class AveragePool(_Pool):
    """Mean of each window, without what lies outside."""


@dataclass(frozen=True)
class GlobalAveragePool:
    """Mean of each channel over all pixels: a vector."""

    input: int | None = None


@dataclass(frozen=True)
class Add:
    """The sum of two tensors of one shape: a residual connection."""

    other: int  # tensor
    activation: str = "linear"
    negative_slope: float = 0.2
    input: int | None = None


@dataclass(frozen=True)
class ScaleShift:
    """`x * scale + shift` for each channel: what remains of a batch normalization."""

    activation: str = "linear"
    use_bias: bool = True  # a shift
    trainable: bool = True
    trainable_bias: bool | None = None
    negative_slope: float = 0.2
    input: int | None = None


@dataclass(frozen=True)
class Standardize:
    """`(x - mean) / sqrt(variance)` of each value of the model's input, by statistics that a device keeps itself.

    Each sample that is learned from goes into them, evaluation leaves them. Parameters: mean and variance of each
    value, and the number of samples they are of, which stops at `window`: from there on they forget what is older.
    """

    window: int = 1024
    input: int | None = None


@dataclass(frozen=True)
class Dropout:
    """Always refused: here so that it is refused with a reason."""

    rate: float
    input: int | None = None


@dataclass(frozen=True)
class Activation:
    """An activation by itself."""

    activation: str
    negative_slope: float = 0.2
    input: int | None = None


@dataclass(frozen=True)
class Flatten:
    """All values in one dimension."""

    input: int | None = None


@dataclass(frozen=True)
class Reshape:
    """The same values in another shape of one to three dimensions."""

    shape: Shape
    input: int | None = None


Weighted: TypeAlias = Dense | Conv2D | Conv1D | DepthwiseConv2D | ScaleShift
Activated: TypeAlias = Weighted | Add | Activation
Windowed: TypeAlias = Conv2D | Conv1D | DepthwiseConv2D | MaxPool | AveragePool
Layer: TypeAlias = (
    Weighted | MaxPool | AveragePool | GlobalAveragePool | Add | Standardize | Dropout | Activation | Flatten | Reshape
)


@dataclass(frozen=True)
class ModelSpec:
    """A network: the shape of one sample ((n,), (time, channels) or (height, width, channels)), layers, loss.

    Raises `UsageError` where layers do not fit together.
    """

    input_shape: Shape  # of the first layer: with a frozen network before it, of that network's features
    layers: tuple[Layer, ...]
    loss: str = "mse"
    frozen: bytes = field(default=b"", repr=False)  # an int8 program (docs/int8.md) that a sample goes through first

    def __post_init__(self) -> None:
        from tinyfed.model.records import lower

        lower(self)
        if self.frozen:
            from tinyfed.model.int8.image import read_ports

            inputs, outputs = read_ports(self.frozen)
            require(len(inputs) == len(outputs) == 1, "a frozen network has one input and one output")
            require(
                outputs[0].count == math.prod(self.input_shape),
                f"the frozen network gives {outputs[0].count} features, the first layer reads {self.input_shape}",
            )

    @property
    def sample_shape(self) -> Shape:
        """What a sample is: the frozen network's input where there is one, else the first layer's."""
        if not self.frozen:
            return self.input_shape
        from tinyfed.model.int8.image import read_ports

        return read_ports(self.frozen)[0][0].shape

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of every tensor: the input, then each layer's output."""
        from tinyfed.model.records import lower

        return tuple([self.input_shape, *(record.shape for record in lower(self))])

    @property
    def output_shape(self) -> Shape:
        """Shape of the last layer's output."""
        return self.shapes[-1]

    @property
    def parameter_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the weight arrays in the order of the flat vector: by layer, weights before bias."""
        from tinyfed.model.records import lower

        return tuple(shape for record in lower(self) for shape in record.parameter_shapes)

    @property
    def parameter_count(self) -> int:
        """float32 values in the flat weight vector."""
        return sum(math.prod(shape) for shape in self.parameter_shapes)


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


def require(condition: object, message: str) -> None:
    """Raise `UsageError(message)` unless the condition holds."""
    if not condition:
        raise UsageError(message)
