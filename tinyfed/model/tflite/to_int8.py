"""A full-integer .tflite file as the int8 network that tinyfed's engine runs."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError, UsageError
from tinyfed.model.int8 import spec as i8
from tinyfed.model.tflite.file import Tensor, TfliteModel
from tinyfed.model.tflite.fold import fold_constants
from tinyfed.model.tflite.movement import MOVEMENT, moves
from tinyfed.model.tflite.recurrent import CELL, HIDDEN, SVDF_STATE, lstm_gates, state_tensor, svdf
from tinyfed.model.tflite.state import LOOP_REMEDY, LOOPS, Variables
from tinyfed.model.tflite.view import View, check_sizes, short_name

WINDOWED = (
    i8.Int8Conv2D,
    i8.Int8DepthwiseConv2D,
    i8.Int8MaxPool2D,
    i8.Int8AveragePool2D,
    i8.Int8ResizeNearest,
    i8.Int8ResizeBilinear,
)
MOST_POOLED = 255  # rows and columns of a window
_WRONG_TYPE = {
    "uint8": "uint8 inside of an int8 model; quantize again to int8",
    "int16": "16-bit activations; quantize again to int8",
    "float16": "float16; convert again as float32 or quantize to int8",
    "float32": "float32 among int8 layers (only the weights are quantized, or only a part of the model); "
    "quantize fully with `tinyfed model quantize`",
}


def is_int8(model: TfliteModel) -> bool:
    """Whether the model computes on int8: any activation that an operator other than a cast writes is int8."""
    return any(
        model.tensors[index].dtype == "int8"
        for operator in model.operators
        for index in (*operator.inputs, *operator.outputs)
        if index >= 0 and not model.tensors[index].constant_bytes
    )


def convert_int8(model: TfliteModel) -> i8.Int8Network:
    """The network of a full-integer .tflite model.

    QUANTIZE of a float input and DEQUANTIZE of an output fall away: the engine does both. So do the QUANTIZE operators
    that make int8 of a uint8 input and uint8 of an output where the scale stays. Raises ConvertError,
    which names the operator or tensor, the reason, and what would work instead.
    """
    model = fold_constants(model)
    for operator in model.operators:
        if operator.name not in _CONVERT:
            if operator.name in MOVEMENT:
                continue
            if operator.name in LOOPS:
                View(model, operator).refuse(LOOP_REMEDY)
            known = ", ".join(sorted({*_CONVERT, *MOVEMENT}))
            View(model, operator).refuse(f"the int8 engine does not have this operator; it has {known}")
    check_sizes(model)
    return _Converter(model).network()


def inner_shape(tensor: Tensor) -> tuple[int, ...]:
    """Without the batch of 1 that most tensors have in front."""
    return (tensor.shape[1:] if len(tensor.shape) > 1 and tensor.shape[0] == 1 else tensor.shape) or (1,)


class _Converter:
    def __init__(self, model: TfliteModel) -> None:
        self.model = model
        self.numbers: dict[int, int] = {}
        self.tensors: list[i8.Int8Tensor] = []
        self.stands_for: dict[int, int] = {}
        self.variables = Variables(model)
        self.states: dict[str, int] = {}
        self.own_states: list[i8.Int8State] = []

    def network(self) -> i8.Int8Network:
        layers: list[i8.Int8Layer] = []
        inputs = [self._entry(index) for index in self.model.inputs]
        for operator in self.model.operators:
            view = View(self.model, operator)
            if operator.index in self.skipped:
                continue
            try:
                if view.kind in _CONVERT:
                    made = _CONVERT[view.kind](self, view)
                    for layer in made if isinstance(made, list) else [] if made is None else [made]:
                        layers += self.each_image(layer)
                else:
                    layers += self.moved(view)
            except UsageError as error:
                raise error.located(self.model.source, view.where) from error
        outputs = [self.tensor(self.stands_for.get(index, index)) for index in self.model.outputs]
        try:
            states = self._states()
            return i8.Int8Network(tuple(self.tensors), tuple(layers), tuple(inputs), tuple(outputs), states=states)
        except UsageError as error:
            raise error.located(self.model.source) from error

    skipped: frozenset[int] = frozenset()

    def _entry(self, index: int) -> int:
        """The number of a network input: the model's, or what QUANTIZE makes of it where that is float."""
        tensor = self.model.tensors[index]
        if tensor.dtype != "float32":
            return self.tensor(index)
        readers = [operator for operator in self.model.operators if index in operator.inputs]
        if not readers or any(operator.name != "QUANTIZE" or len(operator.outputs) != 1 for operator in readers):
            raise ConvertError(f"input {tensor} is {_WRONG_TYPE[tensor.dtype]}", where=self.model.source)
        first = self.model.tensors[readers[0].outputs[0]]
        for operator in readers[1:]:
            other = self.model.tensors[operator.outputs[0]]
            if (other.dtype, other.scaled) != (first.dtype, first.scaled):
                View(self.model, operator).refuse(f"{tensor} is quantized to two scales; quantize the model again")
        number = self.tensor(first.index)
        self.numbers |= {operator.outputs[0]: number for operator in readers}
        self.skipped |= {operator.index for operator in readers}
        return number

    def tensor(self, index: int) -> int:
        """The network's number of an activation. Raises ConvertError where it is not int8."""
        if index in self.numbers:
            return self.numbers[index]
        tensor = self.model.tensors[index]
        place = {"where": self.model.source, "key": str(tensor)}
        if tensor.constant_bytes and (tensor.data is None or tensor.sparse):
            raise ConvertError("a constant without its values in the file", **place)
        if tensor.dtype != "int8" and not (tensor.dtype == "uint8" and self._at_the_edge(index)):
            reason = _WRONG_TYPE.get(tensor.dtype, f"type {tensor.dtype}; quantize the model to int8")
            raise ConvertError(reason, **place)
        if tensor.quantization is None or tensor.quantization.per_channel:
            raise ConvertError("an int8 activation needs one scale and one zero point", **place)
        try:
            described = i8.Int8Tensor(
                short_name(tensor),
                inner_shape(tensor),
                float(tensor.quantization.scale[0]),
                int(tensor.quantization.zero_point[0]) - (128 if tensor.dtype == "uint8" else 0),
                tensor.dtype,
                constant=None if tensor.data is None else tensor.data.tobytes(),
            )
        except UsageError as error:
            raise error.located(self.model.source) from error
        self.numbers[index] = len(self.tensors)
        self.tensors.append(described)
        return self.numbers[index]

    def _at_the_edge(self, index: int) -> bool:
        """Whether only QUANTIZE reads or writes the tensor."""
        return all(o.name == "QUANTIZE" for o in self.model.operators if index in (*o.inputs, *o.outputs))

    def ends(self, view: View, *positions: int) -> dict[str, Any]:
        """`inputs`, `output` and `name` of a layer that reads the operands at `positions`."""
        return {
            "inputs": tuple(self.tensor(view.input(position).index) for position in positions or (0,)),
            "output": self.tensor(view.output.index),
            "name": short_name(view.output),
        }

    def weights(self, view: View, channel_axis: int, rank: int) -> tuple[i8.Int8Array, i8.Float32Array]:
        """Values and scales of operand 1."""
        tensor = view.input(1)
        if tensor.dtype == "int4":
            view.refuse(f"{tensor} is int4; quantize again with int8 weights")
        values = view.constant(1, "int8")
        view.check_rank(rank)
        quantization = tensor.quantization
        if quantization is None:
            view.refuse(f"{tensor} has no scale")
        view.require(
            not quantization.zero_point.any(), f"{tensor} has a zero point; the engine's weights are symmetric"
        )
        view.require((quantization.scale > 0).all(), f"{tensor} has a scale of 0")
        view.require(
            not quantization.per_channel or quantization.axis == channel_axis,
            f"{tensor} has scales along axis {quantization.axis}, expected {channel_axis}",
        )
        return np.ascontiguousarray(values), quantization.scale

    def bias(self, view: View, channels: int) -> i8.Int32Array | None:
        if not view.has_input(2):
            return None
        values = view.constant(2, "int32")
        view.require(values.size == channels, f"{view.input(2)} has {values.size} values for {channels} channels")
        return np.ascontiguousarray(values.reshape(channels), dtype=np.int32)

    def fused(self, view: View) -> i8.Activation:
        name = view.activation()
        try:
            return i8.Activation(name)
        except ValueError:
            view.refuse(f"fused activation {name}; the int8 engine fuses relu, relu6 and relu_n1_to_1")

    def window(self, view: View, kernel: tuple[int, int]) -> dict[str, Any]:
        stride, dilation = view.pair("stride"), view.pair("dilation")
        view.check_window(kernel, stride, dilation, view.padding())
        return {
            "stride": stride,
            "dilation": dilation,
            "padding": i8.Padding(view.padding()),
            "activation": self.fused(view),
        }

    def conv2d(self, view: View) -> i8.Int8Layer:
        view.inputs_are(2, 3)
        weights, scales = self.weights(view, 0, 4)
        channels_out, height, width, _ = view.conv2d_shape()
        return i8.Int8Conv2D(
            **self.ends(view),
            weights=weights,
            weight_scales=scales,
            bias=self.bias(view, channels_out),
            **self.window(view, (height, width)),
        )

    def depthwise(self, view: View) -> i8.Int8Layer:
        view.inputs_are(2, 3)
        weights, scales = self.weights(view, 3, 4)
        height, width, _, channels_out = view.depthwise_shape()
        return i8.Int8DepthwiseConv2D(
            **self.ends(view),
            weights=np.ascontiguousarray(weights[0]),
            weight_scales=scales,
            bias=self.bias(view, channels_out),
            **self.window(view, (height, width)),
        )

    def each_image(self, layer: i8.Int8Layer) -> list[i8.Int8Layer]:
        """The layer; one with a window on several images (as blocks of a dilated convolution are) once for each."""
        if not isinstance(layer, WINDOWED) or len(self.tensors[layer.inputs[0]].shape) < 4:
            return [layer]
        source, result = self.tensors[layer.inputs[0]], self.tensors[layer.output]
        layers, made = list[i8.Int8Layer](), []
        count, size = source.count // source.shape[0], result.count // source.shape[0]
        for image in range(source.shape[0]):
            one = self.between(layer.inputs[0], source.shape[1:])
            made.append(self.between(layer.output, result.shape[1:]))
            piece = i8.Piece((count,), (1,), (1,), source_first=image * count)
            layers.append(i8.Int8Move(layer.inputs, one, pieces=(piece,), name=layer.name))
            layers.append(dataclasses.replace(layer, inputs=(one,), output=made[-1]))
        pieces = tuple(i8.Piece((size,), (1,), (1,), target_first=image * size) for image in range(len(made)))
        return [*layers, i8.Int8Move(tuple(made), layer.output, pieces=pieces, name=layer.name)]

    def between(self, like: int, shape: tuple[int, ...]) -> int:
        """The number of a new tensor with the scale of another."""
        self.tensors.append(dataclasses.replace(self.tensors[like], shape=shape, constant=None))
        return len(self.tensors) - 1

    def dense(self, view: View) -> i8.Int8Layer | list[i8.Int8Layer]:
        """Of several rows a convolution of 1 x 1."""
        view.inputs_are(2, 3)
        weights, scales = self.weights(view, 0, 2)
        units, count = weights.shape
        rows = view.output.element_count // units
        if rows > 1:
            fits = view.input(0).element_count == rows * count and view.output.element_count == rows * units
            view.require(fits, f"{view.input(0)} and {view.output} do not fit weights {list(weights.shape)}")
            ends = self.ends(view)
            given, made = (
                self.between(ends["inputs"][0], (rows, 1, count)),
                self.between(ends["output"], (rows, 1, units)),
            )
            kernel = (weights.reshape(units, 1, 1, count), scales, self.bias(view, units))
            return [
                i8.Int8Reshape(ends["inputs"], given),
                i8.Int8Conv2D((given,), made, *kernel, activation=self.fused(view), name=ends["name"]),
                i8.Int8Reshape((made,), ends["output"]),
            ]
        units = view.dense_units()
        return i8.Int8Dense(
            **self.ends(view),
            weights=weights,
            weight_scales=scales,
            bias=self.bias(view, units),
            activation=self.fused(view),
        )

    def pool(self, view: View) -> i8.Int8Layer:
        view.inputs_are(1, 1)
        pool, stride = view.pair("filter"), view.pair("stride")
        view.check_window(pool, stride, (1, 1), view.padding())
        view.require(view.image(view.input(0))[2] == view.image(view.output)[2], "the numbers of channels differ")
        ends = self.ends(view)
        self._same_scale(view)
        kind = i8.Int8MaxPool2D if view.kind == "MAX_POOL_2D" else i8.Int8AveragePool2D
        return kind(**ends, pool=pool, stride=stride, padding=i8.Padding(view.padding()), activation=self.fused(view))

    def reduced(self, view: View) -> list[i8.Int8Layer]:
        """MEAN and REDUCE_MAX over any axes: what they go over comes first, moved there where it does not lie so."""
        view.inputs_are(2, 2)
        shape, axes = view.input(0).shape, view.mean_axes()
        kept = [axis for axis in range(len(shape)) if axis not in axes]
        most = math.prod(shape[axis] for axis in kept)
        view.require(
            view.output.element_count == most,
            f"{view.output} has shape {list(view.output.shape)}, not that of the operator",
        )
        ends, layers = self.ends(view), list[i8.Int8Layer]()
        source, name = ends["inputs"][0], ends["name"]
        if any(shape[axis] > 1 and axis < max(axes, default=0) for axis in kept):
            swapped = np.empty(shape, np.int8).transpose([*sorted(axes), *kept])
            piece = i8.Piece(swapped.shape, swapped.strides, np.empty(swapped.shape, np.int8).strides)
            moved = self.between(source, (math.prod(shape) // most, most))
            layers.append(i8.Int8Move((source,), moved, pieces=(piece,), name=name))
            source = moved
        if view.kind == "MEAN":
            return [*layers, i8.Int8Mean((source,), ends["output"], name=name)]
        self._same_scale(view)
        count = math.prod(shape) // most
        height = max(side for side in range(1, min(count, MOST_POOLED) + 1) if count % side == 0)
        view.require(
            count // height <= MOST_POOLED,
            f"a maximum of {count} values, which is no product of two sides up to {MOST_POOLED}; pool in two steps",
        )
        image, result = self.between(source, (height, count // height, most)), self.between(ends["output"], (most,))
        window = (height, count // height)
        return [
            *layers,
            i8.Int8Reshape((source,), image),
            i8.Int8MaxPool2D((image,), result, window, window, i8.Padding.VALID, name=name),
            i8.Int8Reshape((result,), ends["output"]),
        ]

    def transpose_conv(self, view: View) -> list[i8.Int8Layer]:
        """A convolution of the input with zeros between its values, by the weights the other way round."""
        view.inputs_are(3, 4)
        view.constant(0, "int32")
        weights, scales = self.weights(view, 0, 4)
        units, *kernel, channels = weights.shape
        source, result, stride = view.image(view.input(2)), view.image(view.output), view.pair("stride")
        view.require(source[2] == channels and result[2] == units, f"weights {list(weights.shape)} do not fit")
        ends = self.ends(view, 2)
        spread = [side + k - 1 for side, k in zip(result[:2], kernel, strict=True)]
        target = np.empty((*spread, channels), np.int8)
        firsts, counts = [], []
        for axis in range(2):
            covered = -(-result[axis] // stride[axis])
            pad = max((covered - 1) * stride[axis] + kernel[axis] - result[axis], 0) // 2
            firsts.append(kernel[axis] - 1 - (pad if view.padding() == "same" else 0))
            # Further rows reach nothing of the output.
            counts.append(min(source[axis], (spread[axis] - 1 - firsts[axis]) // stride[axis] + 1))
        steps = (stride[0] * target.strides[0], stride[1] * target.strides[1], 1)
        piece = i8.Piece(
            (*counts, channels), (source[1] * channels, channels, 1), steps,
            target_first=firsts[0] * target.strides[0] + firsts[1] * target.strides[1],
        )  # fmt: skip
        wide = self.between(ends["inputs"][0], (*spread, channels))
        zero = self.tensors[ends["inputs"][0]].zero_point
        bias = None
        if view.has_input(3):
            bias = np.ascontiguousarray(view.constant(3, "int32").reshape(units), dtype=np.int32)
        turned = np.ascontiguousarray(weights[:, ::-1, ::-1])
        return [
            i8.Int8Move(ends["inputs"], wide, pieces=(piece,), fill=zero, name=ends["name"]),
            i8.Int8Conv2D(
                (wide,), ends["output"], turned, scales, bias, padding=i8.Padding.VALID, activation=self.fused(view),
                name=ends["name"],
            ),
        ]  # fmt: skip

    def binary(self, view: View) -> i8.Int8Layer:
        view.inputs_are(2, 2)
        a, b = view.input(0), view.input(1)
        fused = self.fused(view) if "activation" in view.operator.options else i8.Activation.NONE
        ends = self.ends(view, 0, 1)
        constants = any(self.tensors[index].constant is not None for index in ends["inputs"])
        if view.kind == "ADD" and a.shape == b.shape == view.output.shape and not constants:
            return i8.Int8Add(**ends, activation=fused)
        try:
            fits = np.broadcast_shapes(a.shape, b.shape) == view.output.shape
        except ValueError:
            fits = False
        view.require(fits, f"shapes {list(a.shape)} and {list(b.shape)} do not make {list(view.output.shape)}")
        return i8.Int8Binary(**ends, function=i8.Binary[view.kind], shapes=(a.shape, b.shape), activation=fused)

    def unary(self, view: View) -> i8.Int8Layer:
        self._same_shape(view)
        return i8.Int8Unary(**self.ends(view), function=i8.Function(view.kind.lower()))

    def pad(self, view: View) -> i8.Int8Layer:
        view.inputs_are(2, 3)
        source, result = view.input(0).shape, view.output.shape
        amounts = view.constant(1, "int32", "int64")
        view.require(
            amounts.shape == (len(source), 2) and 2 <= len(source) <= 4 and len(result) == len(source),
            f"{view.input(1)} has shape {list(amounts.shape)} for an input of {len(source)} dimensions",
        )
        view.require((amounts >= 0).all() and not amounts[0].any(), "padding is negative or of the batch")
        for axis, size in enumerate(source):
            grown = size + int(amounts[axis][0]) + int(amounts[axis][1])
            view.require(result[axis] == grown, f"{view.output} has {result[axis]} along axis {axis}, expected {grown}")
        pairs = [(int(before), int(after)) for before, after in amounts[1:]]
        pairs = [(0, 0)] * (3 - len(pairs)) + pairs
        value: int | None = None
        if view.kind == "PADV2":
            constant = view.constant(2, "int8")
            view.require(constant.size == 1, f"{view.input(2)} has {constant.size} values, expected one")
            value = int(constant.reshape(-1)[0])
        return i8.Int8Pad(**self.ends(view), pads=(pairs[0], pairs[1], pairs[2]), value=value)

    def moved(self, view: View) -> list[i8.Int8Layer]:
        """The layers of an operator that only puts values elsewhere, one an output."""
        layers: list[i8.Int8Layer] = []
        for moved in moves(view):
            output = view.outputs[moved.output]
            sources = [view.input(operand) for operand, _ in moved.pieces]
            for source in sources:
                self._same_scale_of(view, source, output)
            layers.append(
                i8.Int8Move(
                    tuple(self.tensor(source.index) for source in sources),
                    self.tensor(output.index),
                    pieces=tuple(piece for _, piece in moved.pieces),
                    fill=self.fill_value(view) if moved.filled else None,
                    name=short_name(output),
                )
            )
        return layers

    def fill_value(self, view: View) -> int:
        """What stands where an operator's output has no value of its input: real 0, or what PADV2 says."""
        if view.kind == "PADV2":
            constant = view.constant(2, "int8")
            view.require(constant.size == 1, f"{view.input(2)} has {constant.size} values, expected one")
            return int(constant.reshape(-1)[0])
        return self.tensors[self.tensor(view.input(0).index)].zero_point

    def reshape(self, view: View) -> i8.Int8Layer:
        view.check_equal_counts()
        self._same_scale(view)
        return i8.Int8Reshape(**self.ends(view))

    def _same_scale(self, view: View) -> None:
        self._same_scale_of(view, view.input(0), view.output)

    def _same_scale_of(self, view: View, source: Tensor, result: Tensor) -> None:
        first, second = source.quantization, result.quantization
        if first is None or second is None:
            view.refuse("an operand without a scale")
        view.require(
            first.scale.tolist() == second.scale.tolist() and first.zero_point.tolist() == second.zero_point.tolist(),
            "input and output have different scales; quantize the model again with a current converter",
        )

    def _same_shape(self, view: View) -> None:
        source, result = view.input(0), view.output
        view.require(source.shape == result.shape, f"{list(source.shape)} becomes {list(result.shape)}")

    def softmax(self, view: View) -> i8.Int8Layer:
        self._same_shape(view)
        beta = view.operator.options["beta"]
        view.require(np.isfinite(beta) and beta > 0, f"beta {beta} must be positive")
        return i8.Int8Softmax(**self.ends(view), beta=float(beta))

    def logistic(self, view: View) -> i8.Int8Layer:
        self._same_shape(view)
        return i8.Int8Logistic(**self.ends(view))

    def relu(self, view: View) -> i8.Int8Layer:
        self._same_shape(view)
        return i8.Int8Relu(**self.ends(view), activation=i8.Activation(view.kind.lower()))

    def leaky_relu(self, view: View) -> i8.Int8Layer:
        self._same_shape(view)
        alpha = view.operator.options["alpha"]
        view.require(np.isfinite(alpha), f"alpha {alpha} is not finite")
        return i8.Int8LeakyRelu(**self.ends(view), alpha=float(alpha))

    def quantize(self, view: View) -> i8.Int8Layer | None:
        """int8 and uint8 of the same real numbers are the same bytes, 128 apart for the user."""
        self._same_shape(view)
        ends = self.ends(view)
        source, result = self.tensors[ends["inputs"][0]], self.tensors[ends["output"]]
        if (source.scale, source.zero_point) == (result.scale, result.zero_point) and source.dtype != result.dtype:
            return i8.Int8Reshape(**ends)
        return i8.Int8Requantize(**ends)

    def dequantize(self, view: View) -> i8.Int8Layer | None:
        """Allowed where nothing but the caller reads the result."""
        result = view.output
        readers = [operator for operator in self.model.operators if result.index in operator.inputs]
        if readers or result.index not in self.model.outputs or result.dtype != "float32":
            view.refuse("back to float in the middle of the model; quantize fully with `tinyfed model quantize`")
        self.stands_for[result.index] = view.input(0).index
        return None

    def nothing(self, view: View) -> None:
        """An operator whose work is done already: what it makes known is in `variables`."""

    def kept(self, view: View, position: int, what: str) -> int:
        """The network's number of a state that the operator reads and writes."""
        index = view.input(position).index
        if index not in self.numbers:
            name = f"{short_name(view.output)}/{what}"
            described, first = state_tensor(view, position, name)
            self.numbers[index] = len(self.tensors)
            self.own_states.append(i8.Int8State(name, len(self.tensors), first))
            self.tensors.append(described)
        return self.numbers[index]

    def lstm(self, view: View) -> i8.Int8Layer:
        gates = lstm_gates(view)
        ends = self.ends(view)
        states = (self.kept(view, HIDDEN, "hidden"), self.kept(view, CELL, "cell"))
        ends["inputs"] += states
        return i8.Int8Lstm(**ends, gates=gates, cell_clip=view.operator.options["cell_clip"])

    def svdf(self, view: View) -> i8.Int8Layer:
        found, ends = svdf(view), self.ends(view)
        ends["inputs"] += (self.kept(view, SVDF_STATE, "state"),)
        return i8.Int8Svdf(**ends, **found)

    def _states(self) -> tuple[i8.Int8State, ...]:
        return tuple(self.own_states) + tuple(
            i8.Int8State(name, number, self.variables.first(name, self.tensors[number].zero_point))
            for name, number in self.states.items()
        )

    def _state(self, view: View, described: Tensor) -> int:
        """The network's number of the variable that the operator's first operand is a handle of."""
        name = self.variables.name_of(view)
        if name not in self.states:
            number = self.tensor(described.index)
            self.states[name] = len(self.tensors)
            self.tensors.append(dataclasses.replace(self.tensors[number], name=name))
        return self.states[name]

    def read_variable(self, view: View) -> i8.Int8Layer:
        """The state itself, or a copy where the value is wanted after the state has another."""
        kind = i8.Int8Copy if self.variables.changes_before_last_use(view) else i8.Int8Reshape
        return kind((self._state(view, view.output),), self.tensor(view.output.index), name=short_name(view.output))

    def assign_variable(self, view: View) -> i8.Int8Layer:
        value = view.input(1)
        state = self._state(view, value)
        number = self.tensor(value.index)
        ours, theirs = self.tensors[state], self.tensors[number]
        view.require(
            (ours.count, ours.scale, ours.zero_point) == (theirs.count, theirs.scale, theirs.zero_point),
            f"{value} has another shape or scale than the variable {ours.name}",
        )
        return i8.Int8Copy((number,), state, name=ours.name)

    def resize(self, view: View) -> i8.Int8Layer:
        view.inputs_are(2, 2)
        size: NDArray[Any] = view.constant(1, "int32")
        height, width, channels = view.image(view.output)
        view.require(
            size.tolist() == [height, width] and channels == view.image(view.input(0))[2],
            f"{view.output} has shape {list(view.output.shape)} for size {size.tolist()}",
        )
        self._same_scale(view)
        kind = i8.Int8ResizeBilinear if view.kind == "RESIZE_BILINEAR" else i8.Int8ResizeNearest
        return kind(
            **self.ends(view),
            align_corners=bool(view.operator.options["align_corners"]),
            half_pixel_centers=bool(view.operator.options["half_pixel_centers"]),
        )


_CONVERT: dict[str, Callable[[_Converter, View], i8.Int8Layer | list[i8.Int8Layer] | None]] = {
    "ABS": _Converter.unary,
    "ADD": _Converter.binary,
    "ASSIGN_VARIABLE": _Converter.assign_variable,
    "AVERAGE_POOL_2D": _Converter.pool,
    "CALL_ONCE": _Converter.nothing,
    "CONV_2D": _Converter.conv2d,
    "DEPTHWISE_CONV_2D": _Converter.depthwise,
    "DEQUANTIZE": _Converter.dequantize,
    "ELU": _Converter.unary,
    "EXPAND_DIMS": _Converter.reshape,
    "FULLY_CONNECTED": _Converter.dense,
    "HARD_SWISH": _Converter.unary,
    "LEAKY_RELU": _Converter.leaky_relu,
    "LOGISTIC": _Converter.logistic,
    "MAXIMUM": _Converter.binary,
    "MAX_POOL_2D": _Converter.pool,
    "MEAN": _Converter.reduced,
    "MINIMUM": _Converter.binary,
    "MUL": _Converter.binary,
    "PAD": _Converter.pad,
    "PADV2": _Converter.pad,
    "PRELU": _Converter.binary,
    "QUANTIZE": _Converter.quantize,
    "READ_VARIABLE": _Converter.read_variable,
    "REDUCE_MAX": _Converter.reduced,
    "RELU": _Converter.relu,
    "RELU6": _Converter.relu,
    "RELU_N1_TO_1": _Converter.relu,
    "RESHAPE": _Converter.reshape,
    "RESIZE_BILINEAR": _Converter.resize,
    "RSQRT": _Converter.unary,
    "RESIZE_NEAREST_NEIGHBOR": _Converter.resize,
    "SOFTMAX": _Converter.softmax,
    "SQUARED_DIFFERENCE": _Converter.binary,
    "SQUEEZE": _Converter.reshape,
    "SVDF": _Converter.svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _Converter.lstm,
    "SUB": _Converter.binary,
    "TANH": _Converter.unary,
    "TRANSPOSE_CONV": _Converter.transpose_conv,
    "VAR_HANDLE": _Converter.nothing,
}
