"""What a model is: layers, shapes, what learns. Weights are flat float32 in `parameter_shapes` order."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from tinyfed.errors import UsageError

Shape: TypeAlias = tuple[int, ...]

ACTIVATIONS = ("linear", "relu", "tanh", "relu6", "leaky_relu", "sigmoid")
LOSSES = ("mse", "softmax_cross_entropy", "binary_cross_entropy")
LAYERS_MAX = 64
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


Layer: TypeAlias = Dense | Activation | Flatten | Reshape


@dataclass(frozen=True)
class ModelSpec:
    """A network: the shape of one sample ((n,), (time, channels) or (height, width, channels)), layers, loss.

    Raises `UsageError` where layers do not fit together.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    loss: str = "mse"

    def __post_init__(self) -> None:
        from tinyfed.model.records import lower

        lower(self)

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


def require(condition: object, message: str) -> None:
    """Raise `UsageError(message)` unless the condition holds."""
    if not condition:
        raise UsageError(message)
