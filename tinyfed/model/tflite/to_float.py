"""A float32 .tflite file as a network that the engine runs and trains."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError
from tinyfed.model.graph import BINARY, Converted, Graph, Node, Program, convert_graph
from tinyfed.model.int8.move import is_run
from tinyfed.model.int8.spec import Piece
from tinyfed.model.tflite.file import Tensor, TfliteModel
from tinyfed.model.tflite.fold import fold_constants
from tinyfed.model.tflite.movement import MOVEMENT, moves
from tinyfed.model.tflite.recurrent import GATES, check_lstm
from tinyfed.model.tflite.shapes import settle_shapes
from tinyfed.model.tflite.state import LOOP_REMEDY, LOOPS, Variables
from tinyfed.model.tflite.view import View, check_sizes, short_name

_VARIABLES = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
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
    model = settle_shapes(fold_constants(model))
    for operator in model.operators:
        if operator.name not in (*_CONVERT, *MOVEMENT, *_VARIABLES, "DEQUANTIZE"):
            if operator.name in LOOPS:
                View(model, operator).refuse(LOOP_REMEDY)
            known = ", ".join(sorted({*_CONVERT, *MOVEMENT, *_VARIABLES}))
            View(model, operator).refuse(f"the float engine does not have this operator; it has {known}")
        if operator.name == "DEQUANTIZE":
            source = View(model, operator).input(0)
            View(model, operator).refuse(f"{source} is {_WRONG_TYPE.get(source.dtype, source.dtype)}")
    check_sizes(model)
    reader = _Reader(model)
    return convert_graph(reader.graph(), loss, tuple(reader.notes))


def _all(tensor: Tensor) -> Piece:
    """All of it."""
    return Piece((tensor.element_count,), (1,), (1,))


def _sample(tensor: Tensor) -> tuple[int, ...]:
    """Shape without a batch of 1."""
    return tensor.shape[1:] if _has_batch(tensor) else tensor.shape or (1,)


def _has_batch(tensor: Tensor) -> bool:
    return len(tensor.shape) > 1 and tensor.shape[0] == 1


class _Reader:
    def __init__(self, model: TfliteModel) -> None:
        self.model = model
        self.nodes: list[Node] = []
        self.notes: list[str] = []
        self.numbers: dict[int, int] = {}
        self.variables = Variables(model)
        self.states: dict[str, int] = {}

    def graph(self) -> Graph:
        inputs = self.model.input_tensors()
        for position, tensor in enumerate(inputs):
            self.check_float(tensor)
            if position:
                self.nodes.append(Node("input", short_name(tensor), (), _sample(tensor)))
            self.numbers[tensor.index] = len(self.nodes)
        done: set[int] = set()
        for operator in self.model.operators:
            view = View(self.model, operator)
            if operator.index in done:
                continue
            if view.kind in _VARIABLES:
                self.variable(view)
                continue
            if view.kind == "SPACE_TO_BATCH_ND" and (around := self.dilated(view)):
                done |= around
                continue
            for tensor in view.outputs:
                self.check_float(tensor)
            if view.kind in MOVEMENT and view.kind not in _CONVERT:
                self.moved(view)
                continue
            node = _CONVERT[view.kind](self, view)
            self.numbers[view.outputs[0].index] = self.add(node)
            self._fused(view)
        outputs = []
        for tensor in self.model.output_tensors():
            if tensor.index not in self.numbers:
                what = "written by no operator" if tensor.data is None else "a constant; leave it out of the outputs"
                raise ConvertError(f"output {tensor} is {what}", where=self.model.source)
            outputs.append(self.numbers[tensor.index])
        return Graph(self.model.source, _sample(inputs[0]), tuple(self.nodes), tuple(outputs))

    def state(self, name: str, values: NDArray[Any]) -> int:
        """The number of a state that begins with `values`."""
        if name not in self.states:
            first = np.ascontiguousarray(values, np.float32)
            self.states[name] = self.add(Node("state", name, (), first.shape or (1,), first))
        return self.states[name]

    def variable(self, view: View) -> None:
        """A variable that is read, or written."""
        if view.kind not in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
            return
        value = view.output if view.kind == "READ_VARIABLE" else view.input(1)
        self.check_float(value)
        name, shape = self.variables.name_of(view), _sample(value)
        first = self.variables.constant(name)
        number = self.state(name, np.zeros(shape) if first is None else first.reshape(shape))
        if view.kind == "ASSIGN_VARIABLE":
            self.add(Node("assign", view.where, (number, self.source(view, 1)), shape))
        elif self.variables.changes_before_last_use(view):
            self.numbers[value.index] = self.add(Node("move", view.where, (number,), shape, pieces=(_all(value),)))
        else:
            self.numbers[value.index] = number

    def svdf(self, view: View) -> Node:
        """Features of this step behind those of the steps before, weighted and added; `rank` filters make a unit."""
        features, times = self.floats(view, 1), self.floats(view, 2)
        (filters, memory), rank = times.shape, view.operator.options["rank"]
        view.require(rank >= 1 and filters % rank == 0, f"{filters} filters of rank {rank}")
        state = self.state(f"{short_name(view.output)}/state", np.zeros((filters, memory)))
        now = self.add(Node("dense", view.where, (self.source(view),), (filters,), features.T.copy()))
        older = Piece((filters, memory - 1), (memory, 1), (memory, 1), 1, 0)
        newest = Piece((filters,), (1,), (memory,), 0, memory - 1)
        sources, pieces = ((now,), (newest,)) if memory == 1 else ((state, now), (older, newest))
        kept = self.add(Node("move", view.where, sources, (filters, memory), pieces=pieces))
        self.add(Node("assign", view.where, (state, kept), (filters, memory)))
        weighted = (kept, self.constant(view, times))
        self.add(Node("mul", view.where, weighted, (filters, memory)))
        self.add(Node("reduce_sum", view.where, (len(self.nodes),), (filters,), axes=(1,)))
        units = filters // rank
        self.add(Node("reshape", view.where, (len(self.nodes),), (units, rank)))
        result = Node("reduce_sum", view.where, (len(self.nodes),), (units,), axes=(1,))
        if not view.has_input(3):
            return result
        return Node("add", view.where, (self.add(result), self.constant(view, self.floats(view, 3))), (units,))

    def lstm(self, view: View) -> Node:
        """Over the whole sequence, from a state of 0."""
        steps, _, units = check_lstm(view)
        forget, taken, cell, output = GATES
        gates = (taken, forget, cell, output)
        weights = [np.concatenate([self.floats(view, gate[part]) for gate in gates]).T for part in (0, 1)]
        zero = np.zeros(units, np.float32)
        bias = [self.floats(view, gate[2]) if view.has_input(gate[2]) else zero for gate in gates]
        return Node(
            "recurrent",
            view.where,
            (self.source(view),),
            (steps, units),
            weights=np.concatenate([part.reshape(-1) for part in weights]),
            bias=np.concatenate(bias),
            mode="lstm",
            alpha=float(view.operator.options["cell_clip"]),
            functions=(("tanh", 0.0, 0.0), ("sigmoid", 0.0, 0.0)),
        )

    def dilated(self, view: View) -> set[int]:
        """A convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND is a dilated one: indices of the operators that
        become it, or nothing where they are not those."""
        path = [view]
        while len(path) < 5 and path[-1].kind != "BATCH_TO_SPACE_ND":
            readers = [operator for operator in self.model.operators if path[-1].output.index in operator.inputs]
            if len(readers) != 1 or path[-1].output.index in self.model.outputs:
                return set()
            path.append(View(self.model, readers[0]))
        inner = [step for step in path[1:-1] if step.kind not in ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")]
        if path[-1].kind != "BATCH_TO_SPACE_ND" or [step.kind for step in inner] not in (
            ["CONV_2D"],
            ["DEPTHWISE_CONV_2D"],
        ):
            return set()
        conv, last = inner[0], path[-1]
        block = [int(size) for size in view.constant(1, "int32").reshape(-1)]
        before = [int(pair[0]) for pair in view.constant(2, "int32").reshape(-1, 2)]
        weights = self.floats(conv, 1)
        view.require(weights.ndim == 4 and len(block) in (1, 2) and len(before) == len(block), "a block of this shape")
        view.require(conv.pair("stride") == (1, 1) and conv.padding() == "valid", "around a stride or padding")
        first = [0] * (2 - len(block))  # an axis that a one-dimensional convolution does not have
        dilation = [1] * len(first) + block
        kernel = (weights.shape[1], weights.shape[2])
        shape, source = self.shape(last), (1, 1, 1, *_sample(view.input(0)))[-3:]
        result = (1, 1, 1, *shape)[-3:]
        pads = []
        for axis, start in enumerate(first + before):
            span = (kernel[axis] - 1) * dilation[axis] + 1
            pads.append((start, result[axis] - 1 + span - source[axis] - start))
        values: dict[str, Any] = {
            "kernel": kernel,
            "dilation": tuple(dilation),
            "padding": "explicit",
            "pads": tuple(pads),
        }
        depthwise = conv.kind == "DEPTHWISE_CONV_2D"
        values["weights"] = weights[0] if depthwise else np.ascontiguousarray(weights.transpose(1, 2, 3, 0))
        bias = self.bias(conv, weights.shape[3 if depthwise else 0])
        kind = "depthwise" if depthwise else "conv2d"
        self.add(Node(kind, conv.where, (self.source(view),), shape, bias=bias, **values))
        self._fused(conv)
        self.numbers[last.output.index] = len(self.nodes)
        return {step.operator.index for step in path}

    def moved(self, view: View) -> None:
        """What an operator puts elsewhere, a node an output."""
        for moved in moves(view):
            output = view.outputs[moved.output]
            sources = tuple(self.source(view, operand) for operand, _ in moved.pieces)
            pieces = tuple(piece for _, piece in moved.pieces)
            filled = "fill" if moved.filled else ""
            node = Node("move", view.where, sources, _sample(output), pieces=pieces, mode=filled)
            whole = len(pieces) == 1 and is_run(pieces[0]) and math.prod(pieces[0].counts) == output.element_count
            if whole and view.input(moved.pieces[0][0]).element_count == output.element_count:
                node = Node("reshape", view.where, sources, _sample(output))
            self.numbers[output.index] = self.add(node)

    def pad(self, view: View) -> Node:
        view.inputs_are(2, 3)
        amounts = view.constant(1, "int32", "int64")
        view.require(
            amounts.shape == (len(view.input(0).shape), 2),
            f"{view.input(1)} has shape {list(amounts.shape)} for an input of {len(view.input(0).shape)} dimensions",
        )
        pads = tuple((int(before), int(after)) for before, after in amounts)
        if _has_batch(view.input(0)):
            view.require(pads[0] == (0, 0), "padding of the batch")
            pads = pads[1:]
        value = float(self.floats(view, 2).reshape(-1)[0]) if view.has_input(2) else 0.0
        return Node("pad", view.where, (self.source(view),), self.shape(view), pads=pads, alpha=value)

    def add(self, node: Node) -> int:
        """Append a node; the number of what it gives."""
        self.nodes.append(node)
        return len(self.nodes)

    def constant(self, view: View, values: NDArray[np.float32]) -> int:
        return self.add(Node("constant", view.where, (), values.shape, values))

    def check_float(self, tensor: Tensor) -> None:
        if tensor.dtype != "float32":
            reason = _WRONG_TYPE.get(tensor.dtype, f"type {tensor.dtype}; the float engine has float32")
            raise ConvertError(f"{tensor} is {reason}", where=self.model.source)

    def _fused(self, view: View) -> None:
        """An activation that the operator carries, as a node of its own."""
        if "activation" not in view.operator.options or view.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM":
            return  # an LSTM's is of its cell
        name = view.activation()
        if name == "none":
            return
        if name not in ("relu", "relu6", "relu_n1_to_1", "tanh"):
            view.refuse(f"fused activation {name}; the float engine has relu, relu6, relu_n1_to_1 and tanh")
        node = Node("activation", view.where, (len(self.nodes),), self.nodes[-1].shape, activation=name)
        self.numbers[view.output.index] = self.add(node)

    def source(self, view: View, position: int = 0) -> int:
        tensor = view.input(position)
        self.check_float(tensor)
        if tensor.index not in self.numbers:
            return self.constant(view, self.floats(view, position).reshape(_sample(tensor)))
        return self.numbers[tensor.index]

    def shape(self, view: View) -> tuple[int, ...]:
        return _sample(view.output)

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
        units, inputs = weights.shape
        rows = view.input(0).element_count // inputs
        fits = rows * inputs == view.input(0).element_count and rows * units == view.output.element_count
        view.require(fits, f"weights {list(weights.shape)} between {view.input(0)} and {view.output}")
        view.require(view.operator.options["weights_format"] == 0, "weights are shuffled; convert the model again")
        values = np.ascontiguousarray(weights.T)
        ends = (view.where, (self.source(view),))
        if rows > 1 or self.shape(view) == (units,):
            return Node("dense", *ends, self.shape(view), values, self.bias(view, units))
        dense = self.add(Node("dense", *ends, (units,), values, self.bias(view, units)))
        return Node("reshape", view.where, (dense,), self.shape(view))

    def window(self, view: View, kernel: tuple[int, int], dilated: bool) -> dict[str, Any]:
        stride, dilation = view.pair("stride"), view.pair("dilation") if dilated else (1, 1)
        view.check_window(kernel, stride, dilation, view.padding())
        return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": view.padding()}

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
        return Node("depthwise", *ends, weights[0], self.bias(view, channels_out), **window)

    def pool(self, view: View) -> Node:
        view.inputs_are(1, 1)
        kind = "max_pool" if view.kind == "MAX_POOL_2D" else "average_pool"
        view.require(view.image(view.input(0))[2] == view.image(view.output)[2], "the numbers of channels differ")
        window = self.window(view, view.pair("filter"), False)
        return Node(kind, view.where, (self.source(view),), self.shape(view), **window)

    def reduce(self, view: View) -> Node:
        view.inputs_are(2, 2)
        axes, whole, shape = view.mean_axes(), {4: {1, 2}, 3: {1}}, self.shape(view)
        if view.kind == "MEAN" and axes == whole.get(len(view.input(0).shape)) and _has_batch(view.input(0)):
            channels = view.input(0).shape[-1]
            view.require(view.output.element_count == channels, "the output is not one value a channel")
            node = Node("global_average", view.where, (self.source(view),), (channels,))
            return node if shape == (channels,) else Node("reshape", view.where, (self.add(node),), shape)
        batch = int(_has_batch(view.input(0)))
        inside = tuple(sorted(axis - batch for axis in axes if axis >= batch))
        kind = f"reduce_{view.kind.removeprefix('REDUCE_').lower()}"
        return Node(kind, view.where, (self.source(view),), shape, axes=inside)

    def elementwise(self, view: View) -> Node:
        """ADD, SUB or MUL of a constant a channel becomes scale and shift; the rest is arithmetic of two tensors."""
        view.inputs_are(2, 2)
        constants = [position for position in (0, 1) if view.input(position).constant_bytes]
        scaled = len(constants) == 1 and view.kind in ("ADD", "SUB", "MUL") and self._is_scale(view, constants[0])
        if not scaled:
            sources = (self.source(view, 0), self.source(view, 1))
            return Node(view.kind.lower(), view.where, sources, self.shape(view))
        position = constants[0]
        channels = self.shape(view)[-1]
        values = self.floats(view, position)
        vector = np.broadcast_to(values.reshape(-1), (channels,)).astype(np.float32)
        scale, shift = np.ones(channels, np.float32), -vector if view.kind == "SUB" else vector
        if view.kind == "MUL":
            scale, shift = vector, np.zeros(channels, np.float32)
        return Node("scale", view.where, (self.source(view, 1 - position),), self.shape(view), scale, shift)

    def _is_scale(self, view: View, position: int) -> bool:
        """Whether the constant at `position` is one value a channel of the other operand."""
        shape, channels = view.input(position).shape, self.shape(view)[-1]
        count = math.prod(shape)
        return (
            (view.kind != "SUB" or position == 1)
            and view.input(1 - position).shape == view.output.shape
            and count in (1, channels)
            and (not shape or shape[-1] == count)
        )

    def reshape(self, view: View) -> Node:
        view.check_equal_counts()
        return Node("reshape", view.where, (self.source(view),), self.shape(view))

    def activation(self, view: View) -> Node:
        view.require(view.input(0).shape == view.output.shape, "input and output have different shapes")
        options, source, shape = view.operator.options, self.source(view), self.shape(view)
        name, alpha = _FUNCTIONS.get(view.kind, view.kind.lower()), 0.0
        if view.kind == "LEAKY_RELU":
            alpha = float(options["alpha"])
        if view.kind == "ELU":
            alpha = 1.0
        if view.kind == "GELU" and options["approximate"]:
            name = "gelu_tanh"
        if view.kind == "SOFTMAX" and options["beta"] != 1:
            beta = self.constant(view, np.array([options["beta"]], np.float32))
            source = self.add(Node("mul", view.where, (source, beta), shape))
        return Node("activation", view.where, (source,), shape, activation=name, alpha=alpha)

    def resize(self, view: View) -> Node:
        view.inputs_are(2, 2)
        options = view.operator.options
        mode = "align_corners" if options["align_corners"] else "half_pixel" if options["half_pixel_centers"] else ""
        kind = "resize_bilinear" if view.kind == "RESIZE_BILINEAR" else "resize_nearest"
        view.require(view.image(view.input(0))[2] == view.image(view.output)[2], "the numbers of channels differ")
        return Node(kind, view.where, (self.source(view),), self.shape(view), mode=mode)

    def transposed(self, view: View) -> Node:
        """Operands: the output's shape, weights (out, kernel height, kernel width, in), what is read, a bias."""
        view.inputs_are(3, 4)
        weights = self.floats(view, 1)
        view.check_rank(4)
        bias = None
        if view.has_input(3):
            bias = self.floats(view, 3).reshape(-1)
            view.require(len(bias) == len(weights), f"{view.input(3)} has {len(bias)} values")
        return Node(
            "conv2d_transpose",
            view.where,
            (self.source(view, 2),),
            self.shape(view),
            np.ascontiguousarray(weights.transpose(1, 2, 3, 0)),
            bias,
            kernel=(weights.shape[1], weights.shape[2]),
            stride=view.pair("stride"),
            padding=view.padding(),
        )

    def matmul(self, view: View) -> Node:
        view.inputs_are(2, 2)
        options = view.operator.options
        view.require(not options["adj_x"], "its first operand transposed; transpose it before")
        if not options["adj_y"]:
            return Node("matmul", view.where, (self.source(view), self.source(view, 1)), self.shape(view))
        shape = _sample(view.input(1))
        axes = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        turned = tuple(shape[axis] for axis in axes)
        second = self.add(Node("transpose", view.where, (self.source(view, 1),), turned, axes=axes))
        return Node("matmul", view.where, (self.source(view), second), self.shape(view))


_FUNCTIONS = {"LOGISTIC": "sigmoid"}
_ACTIVATIONS = """
    ABS ELU EXP GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC LOG_SOFTMAX NEG RELU RELU6 RELU_N1_TO_1 RSQRT SIN SOFTMAX SQRT
    SQUARE TANH
"""
_CONVERT: dict[str, Callable[[_Reader, View], Node]] = {
    "AVERAGE_POOL_2D": _Reader.pool,
    "BATCH_MATMUL": _Reader.matmul,
    "CONV_2D": _Reader.conv2d,
    "DEPTHWISE_CONV_2D": _Reader.depthwise,
    "FULLY_CONNECTED": _Reader.dense,
    "MAX_POOL_2D": _Reader.pool,
    "RESIZE_BILINEAR": _Reader.resize,
    "RESIZE_NEAREST_NEIGHBOR": _Reader.resize,
    "PAD": _Reader.pad,
    "PADV2": _Reader.pad,
    "TRANSPOSE_CONV": _Reader.transposed,
    "SVDF": _Reader.svdf,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _Reader.lstm,
    **dict.fromkeys(_ACTIVATIONS.split(), _Reader.activation),
    **dict.fromkeys((kind.upper() for kind in BINARY), _Reader.elementwise),
    **dict.fromkeys(("EXPAND_DIMS", "RESHAPE", "SQUEEZE"), _Reader.reshape),
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"), _Reader.reduce),
}
