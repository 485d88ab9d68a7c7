"""A float32 .tflite file as a network that the engine runs and trains."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError
from tinyfed.model.graph import Converted, Graph, Node, Program, convert_graph
from tinyfed.model.tflite.file import Tensor, TfliteModel
from tinyfed.model.tflite.fold import fold_constants
from tinyfed.model.tflite.view import View, check_sizes, sample_shape

_WRONG_TYPE = {
    "float16": "float16; convert the model again as float32, or quantize it to int8",
    "int8": "int8 among float layers (only the weights are quantized, or only a part of the model); quantize fully, or "
    "convert again as float32",
    "int16": "16-bit integers; the engine has float32 and int8",
    "uint8": "unsigned 8-bit quantization of before 2020; quantize again to int8",
}


def convert_float(model: TfliteModel, loss: str | None = None) -> Converted | Program:
    """The spec and weights of a float32 .tflite model, everything trainable.

    `loss` as in `graph.convert_graph`. Raises ConvertError, which names the operator or tensor, the reason, and
    what would work instead.
    """
    model = fold_constants(model)
    for operator in model.operators:
        if operator.name not in (*_CONVERT, "DEQUANTIZE"):
            known = ", ".join(sorted(_CONVERT))
            View(model, operator).refuse(f"the float engine does not have this operator; it has {known}")
        if operator.name == "DEQUANTIZE":
            source = View(model, operator).input(0)
            View(model, operator).refuse(f"{source} is {_WRONG_TYPE.get(source.dtype, source.dtype)}")
    check_sizes(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ConvertError(
            f"{len(model.inputs)} inputs and {len(model.outputs)} outputs; the float engine takes one of each",
            where=model.source,
        )
    reader = _Reader(model)
    return convert_graph(reader.graph(), loss, tuple(reader.notes))


class _Reader:
    def __init__(self, model: TfliteModel) -> None:
        self.model = model
        self.nodes: list[Node] = []
        self.notes: list[str] = []
        self.numbers = {model.inputs[0]: 0}

    def graph(self) -> Graph:
        self.check_float(self.model.input_tensors()[0])
        for operator in self.model.operators:
            view = View(self.model, operator)
            node = _CONVERT[view.kind](self, view)
            self.check_float(view.output)
            self.nodes.append(node)
            self.numbers[view.output.index] = len(self.nodes)
            self._fused(view)
        if self.model.outputs[0] != (self.model.operators[-1].outputs[0] if self.model.operators else -1):
            raise ConvertError("the output is not what the last operator writes", where=self.model.source)
        return Graph(self.model.source, sample_shape(self.model, self.model.input_tensors()[0]), tuple(self.nodes))

    def check_float(self, tensor: Tensor) -> None:
        if tensor.dtype != "float32":
            reason = _WRONG_TYPE.get(tensor.dtype, f"type {tensor.dtype}; the float engine has float32")
            raise ConvertError(f"{tensor} is {reason}", where=self.model.source)

    def _fused(self, view: View) -> None:
        """An activation that the operator carries, as a node of its own."""
        if "activation" not in view.operator.options:
            return
        name = view.activation()
        if name == "none":
            return
        if name not in ("relu", "relu6", "tanh"):
            view.refuse(f"fused activation {name}; the float engine has relu, relu6 and tanh")
        node = Node("activation", view.where, (len(self.nodes),), self.nodes[-1].shape, activation=name)
        self.nodes.append(node)
        self.numbers[view.output.index] = len(self.nodes)

    def source(self, view: View, position: int = 0) -> int:
        tensor = view.input(position)
        self.check_float(tensor)
        if tensor.index not in self.numbers:
            view.refuse(f"{tensor} is a constant where the engine computes; fold it into a layer's weights")
        return self.numbers[tensor.index]

    def shape(self, view: View) -> tuple[int, ...]:
        return sample_shape(self.model, view.output)

    def floats(self, view: View, position: int) -> NDArray[np.float32]:
        """A constant. int8 weights of a model that computes on float (dynamic range) are dequantized."""
        tensor = view.input(position)
        if tensor.dtype == "int8" and tensor.quantization is not None:
            stored = view.constant(position, "int8")
            quantization = tensor.quantization
            along = [1] * stored.ndim
            if quantization.per_channel:
                along[quantization.axis] = -1
            values = stored - quantization.zero_point.reshape(along)
            self.notes.append(f"{view.where}: its int8 weights are now float32, with what quantization lost")
            return (values * quantization.scale.astype(np.float64).reshape(along)).astype(np.float32)
        if tensor.dtype != "float32":
            view.refuse(f"{tensor} is {_WRONG_TYPE.get(tensor.dtype, tensor.dtype)}")
        return view.constant(position, "float32").astype(np.float32)

    def bias(self, view: View, channels: int) -> NDArray[np.float32] | None:
        if not view.has_input(2):
            return None
        values = self.floats(view, 2).reshape(-1)
        view.require(len(values) == channels, f"{view.input(2)} has {len(values)} values for {channels} channels")
        return values

    def dense(self, view: View) -> Node:
        view.inputs_are(2, 3)
        weights = self.floats(view, 1)
        view.check_rank(2)
        units = view.dense_units()
        values = np.ascontiguousarray(weights.T)
        return Node("dense", view.where, (self.source(view),), (units,), values, self.bias(view, units))

    def window(self, view: View, kernel: tuple[int, int], dilated: bool) -> dict[str, Any]:
        stride = view.pair("stride")
        if dilated:
            view.require(view.pair("dilation") == (1, 1), "a dilation; the float engine has none")
        view.check_window(kernel, stride, (1, 1), view.padding())
        return {"kernel": kernel, "stride": stride, "padding": view.padding()}

    def conv2d(self, view: View) -> Node:
        view.inputs_are(2, 3)
        weights = self.floats(view, 1)
        view.check_rank(4)
        channels_out, height, width, _ = view.conv2d_shape()
        return Node(
            "conv2d",
            view.where,
            (self.source(view),),
            self.shape(view),
            np.ascontiguousarray(weights.transpose(1, 2, 3, 0)),
            self.bias(view, channels_out),
            **self.window(view, (height, width), True),
        )

    def depthwise(self, view: View) -> Node:
        view.inputs_are(2, 3)
        weights = self.floats(view, 1)
        view.check_rank(4)
        height, width, channels_in, channels_out = view.depthwise_shape()
        window = self.window(view, (height, width), True)
        ends = (view.where, (self.source(view),), self.shape(view))
        if channels_in == 1:  # every output channel sees the one input channel: an ordinary convolution
            values = weights.reshape(height, width, 1, channels_out)
            return Node("conv2d", *ends, values, self.bias(view, channels_out), **window)
        view.require(
            channels_in == channels_out,
            f"a depth multiplier of {channels_out // channels_in}; the float engine has 1 (or one input channel)",
        )
        return Node("depthwise", *ends, weights[0], self.bias(view, channels_out), **window)

    def pool(self, view: View) -> Node:
        view.inputs_are(1, 1)
        kind = "max_pool" if view.kind == "MAX_POOL_2D" else "average_pool"
        view.require(view.image(view.input(0))[2] == view.image(view.output)[2], "the numbers of channels differ")
        window = self.window(view, view.pair("filter"), False)
        return Node(kind, view.where, (self.source(view),), self.shape(view), **window)

    def mean(self, view: View) -> Node:
        view.inputs_are(2, 2)
        axes, whole = view.mean_axes(), {4: {1, 2}, 3: {1}}
        view.require(
            axes == whole.get(len(view.input(0).shape)),
            f"a mean over axes {sorted(axes)}; the engine has it over height and width, or time",
        )
        channels = view.input(0).shape[-1]
        view.require(view.output.element_count == channels, "the output is not one value a channel")
        node = Node("global_average", view.where, (self.source(view),), (channels,))
        if self.shape(view) == (channels,):
            return node
        self.nodes.append(node)
        return Node("reshape", view.where, (len(self.nodes),), self.shape(view))

    def elementwise(self, view: View) -> Node:
        """ADD of two activations; ADD, SUB or MUL of a constant a channel becomes scale and shift."""
        view.inputs_are(2, 2)
        constants = [position for position in (0, 1) if view.input(position).constant_bytes]
        if not constants:
            view.require(view.kind == "ADD", "of two activations; the engine has ADD of two")
            view.check_equal_shapes()
            return Node("add", view.where, (self.source(view, 0), self.source(view, 1)), self.shape(view))
        position = constants[0]
        view.require(
            view.kind != "SUB" or position == 1, "a constant minus an activation; the engine has scale and shift"
        )
        channels = self.shape(view)[-1]
        values = self.floats(view, position)
        view.require(
            view.input(1 - position).shape == view.output.shape
            and values.size in (1, channels)
            and (values.ndim == 0 or values.shape[-1] == values.size),
            f"{view.input(position)} of shape {list(values.shape)} is not one value a channel",
        )
        vector = np.broadcast_to(values.reshape(-1), (channels,)).astype(np.float32)
        scale, shift = np.ones(channels, np.float32), -vector if view.kind == "SUB" else vector
        if view.kind == "MUL":
            scale, shift = vector, np.zeros(channels, np.float32)
        return Node("scale", view.where, (self.source(view, 1 - position),), self.shape(view), scale, shift)

    def reshape(self, view: View) -> Node:
        view.check_equal_counts()
        return Node("reshape", view.where, (self.source(view),), self.shape(view))

    def activation(self, view: View) -> Node:
        view.require(view.input(0).shape == view.output.shape, "input and output have different shapes")
        name = {"LOGISTIC": "sigmoid"}.get(view.kind, view.kind.lower())
        alpha = 0.0
        if view.kind == "LEAKY_RELU":
            alpha = float(view.operator.options["alpha"])
            view.require(0 < alpha < 1, f"alpha {alpha} must lie between 0 and 1")
        if view.kind == "SOFTMAX":
            view.require(view.operator.options["beta"] == 1, "beta must be 1")
            view.require(
                view.output.index == self.model.outputs[0],
                "a softmax inside the network; the engine has it at the end, with the loss",
            )
        return Node("activation", view.where, (self.source(view),), self.shape(view), activation=name, alpha=alpha)


_CONVERT: dict[str, Callable[[_Reader, View], Node]] = {
    "ADD": _Reader.elementwise,
    "AVERAGE_POOL_2D": _Reader.pool,
    "CONV_2D": _Reader.conv2d,
    "DEPTHWISE_CONV_2D": _Reader.depthwise,
    "EXPAND_DIMS": _Reader.reshape,
    "FULLY_CONNECTED": _Reader.dense,
    "LEAKY_RELU": _Reader.activation,
    "LOGISTIC": _Reader.activation,
    "MAX_POOL_2D": _Reader.pool,
    "MEAN": _Reader.mean,
    "MUL": _Reader.elementwise,
    "RELU": _Reader.activation,
    "RELU6": _Reader.activation,
    "RESHAPE": _Reader.reshape,
    "SOFTMAX": _Reader.activation,
    "SQUEEZE": _Reader.reshape,
    "SUB": _Reader.elementwise,
    "TANH": _Reader.activation,
}
