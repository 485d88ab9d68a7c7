"""What the converters ask of a .tflite model: operands of one operator, checked, with errors that name it."""

import math
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError
from tinyfed.model.tflite.file import ABSENT, Operator, Tensor, TfliteModel
from tinyfed.model.tflite.schema import ACTIVATIONS, PADDINGS

LARGEST_STRIDE = 255


def short_name(tensor: Tensor) -> str:
    """The first of the names that a converter joined with semicolons."""
    return tensor.name.split(";")[0] or f"tensor {tensor.index}"


class View:
    """One operator of a model."""

    def __init__(self, model: TfliteModel, operator: Operator) -> None:
        self.model = model
        self.operator = operator

    @property
    def kind(self) -> str:
        return self.operator.name

    @property
    def where(self) -> str:
        outputs = self.operator.outputs
        name = f' ("{short_name(self.model.tensors[outputs[0]])}")' if outputs else ""
        return f"{self.operator}{name}"

    def refuse(self, reason: str) -> NoReturn:
        """Raise ConvertError with `reason`, which says also what would work instead."""
        raise ConvertError(reason, where=self.model.source, key=self.where)

    def require(self, condition: object, reason: str) -> None:
        if not condition:
            self.refuse(reason)

    def has_input(self, position: int) -> bool:
        return position < len(self.operator.inputs) and self.operator.inputs[position] != ABSENT

    def input(self, position: int) -> Tensor:
        self.require(self.has_input(position), f"input {position} is missing")
        return self.model.tensors[self.operator.inputs[position]]

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return tuple(self.model.tensors[index] for index in self.operator.outputs)

    @property
    def output(self) -> Tensor:
        self.require(len(self.operator.outputs) == 1, f"{len(self.operator.outputs)} outputs, expected one")
        return self.model.tensors[self.operator.outputs[0]]

    def inputs_are(self, least: int, most: int) -> None:
        count = len(self.operator.inputs)
        self.require(least <= count <= most, f"{count} inputs, expected {least} to {most}")

    def constant(self, position: int, *dtypes: str) -> NDArray[Any]:
        """The values of an input that must be a constant of one of the types."""
        tensor = self.input(position)
        if tensor.dtype not in dtypes:
            self.refuse(f"{tensor} is {tensor.dtype}, expected {' or '.join(dtypes)}")
        if tensor.data is None or tensor.sparse:
            self.refuse(f"{tensor} must be a constant with its values in the file")
        if tensor.dtype.startswith("float") and not np.isfinite(tensor.data).all():
            self.refuse(f"{tensor} holds NaN or infinity")
        return tensor.data

    def activation(self) -> str:
        number = self.operator.options["activation"]
        self.require(0 <= number < len(ACTIVATIONS), f"fused activation number {number} is not known")
        return ACTIVATIONS[number]

    def padding(self) -> str:
        number = self.operator.options["padding"]
        self.require(0 <= number < len(PADDINGS), f"padding number {number} is not known")
        return PADDINGS[number]

    def pair(self, name: str) -> tuple[int, int]:
        """(y, x) of the option, positive."""
        y, x = self.operator.options[f"{name}_y"], self.operator.options[f"{name}_x"]
        self.require(
            1 <= y <= LARGEST_STRIDE and 1 <= x <= LARGEST_STRIDE, f"{name} {y}x{x} is outside 1 to {LARGEST_STRIDE}"
        )
        return y, x

    def image(self, tensor: Tensor) -> tuple[int, int, int]:
        """(height, width, channels) of a tensor of one sample."""
        if len(tensor.shape) != 4:
            self.refuse(f"{tensor} has shape {list(tensor.shape)}, expected [1, height, width, channels]")
        return tensor.shape[1], tensor.shape[2], tensor.shape[3]

    def check_rank(self, rank: int) -> None:
        """The weights, operand 1, have so many dimensions."""
        shape = self.input(1).shape
        self.require(len(shape) == rank, f"{self.input(1)} has shape {list(shape)}, expected {rank} dimensions")

    def conv2d_shape(self) -> tuple[int, int, int, int]:
        """Of the weights: (out, kernel height, kernel width, in), which fit input and output."""
        channels_out, height, width, channels_in = self.input(1).shape
        fits = self.image(self.input(0))[2] == channels_in and self.image(self.output)[2] == channels_out
        self._between(fits, "; a convolution in groups is not known to the engine")
        return channels_out, height, width, channels_in

    def depthwise_shape(self) -> tuple[int, int, int, int]:
        """Of the weights and the input: (kernel height, kernel width, in, out), which fit."""
        one, height, width, channels_out = self.input(1).shape
        channels_in = self.image(self.input(0))[2]
        self._between(one == 1 and self.image(self.output)[2] == channels_out and channels_out % channels_in == 0)
        return height, width, channels_in, channels_out

    def dense_units(self) -> int:
        """Rows of the weights, which fit input and output."""
        self.require(self.operator.options["weights_format"] == 0, "weights are shuffled; convert the model again")
        units, count = self.input(1).shape
        fits = self.input(0).element_count == count and self.output.element_count == units
        self._between(fits, "; only one row is computed at a time")
        return units

    def _between(self, fits: bool, hint: str = "") -> None:
        shapes = [list(tensor.shape) for tensor in (self.input(1), self.input(0), self.output)]
        self.require(fits, f"{self.input(1)} of shape {shapes[0]} between {shapes[1]} and {shapes[2]}{hint}")

    def mean_axes(self) -> set[int]:
        """What a mean goes over."""
        rank = len(self.input(0).shape)
        return {int(axis) % rank if rank else 0 for axis in self.constant(1, "int32").reshape(-1)}

    def check_equal_shapes(self) -> None:
        """Both inputs and the output have the same shape."""
        shapes = [list(tensor.shape) for tensor in (self.input(0), self.input(1), self.output)]
        same = shapes[0] == shapes[1] == shapes[2]
        self.require(same, f"shapes {shapes[0]} and {shapes[1]} differ; the engine does not broadcast")

    def check_equal_counts(self) -> None:
        """Input and output have as many values."""
        shapes = [list(tensor.shape) for tensor in (self.input(0), self.output)]
        same = self.input(0).element_count == self.output.element_count
        self.require(same, f"{shapes[0]} and {shapes[1]} have different numbers of values")

    def check_window(
        self, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], padding: str
    ) -> None:
        """The output's height and width are what kernel, stride and padding give."""
        source, result = self.image(self.input(0)), self.image(self.output)
        for axis in range(2):
            reach = (kernel[axis] - 1) * dilation[axis] + 1
            if padding == "same":
                expected = math.ceil(source[axis] / stride[axis])
            else:
                self.require(reach <= source[axis], f"a window of {reach} is larger than the input's {source[axis]}")
                expected = (source[axis] - reach) // stride[axis] + 1
            if result[axis] != expected:
                self.refuse(
                    f"{self.output} has shape {list(result)}, but the window gives {expected} along {'yx'[axis]}"
                )


def check_sizes(model: TfliteModel) -> None:
    """Every input is of one sample, every activation of known shape; behind the inputs a first dimension may be another
    one's, which a reshape has brought there. Raises ConvertError naming the tensor."""
    used = {index for operator in model.operators for index in (*operator.inputs, *operator.outputs)}
    for index in sorted(used | set(model.inputs) | set(model.outputs)):
        tensor = model.tensors[index]
        if index == ABSENT or tensor.constant_bytes:
            continue
        place = {"where": model.source, "key": str(tensor)}
        if any(dimension > 0 for dimension in tensor.dynamic_dimensions):
            raise ConvertError("a dynamic shape; convert the model again with fixed sizes", **place)
        if len(tensor.shape) > 1 and tensor.shape[0] != 1 and index in model.inputs:
            raise ConvertError(f"a batch of {tensor.shape[0]}; convert the model again with a batch size of 1", **place)
        if 0 in tensor.shape:
            raise ConvertError(f"shape {list(tensor.shape)} has no elements", **place)


def sample_shape(model: TfliteModel, tensor: Tensor) -> tuple[int, ...]:
    """Shape without the batch, of 1 to 3 dimensions. Raises ConvertError."""
    shape = tensor.shape[1:] if len(tensor.shape) > 1 else tensor.shape or (1,)
    if len(shape) > 3:
        raise ConvertError(
            f"shape {list(tensor.shape)}: at most 3 dimensions and the batch", where=model.source, key=str(tensor)
        )
    return shape
