"""Nodes as float32 operators of a program (docs/int8.md)."""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.graph.nodes import BINARY, REDUCTIONS, Floats, Graph, Node
from tinyfed.model.int8 import spec as i8
from tinyfed.model.int8.image import nearest
from tinyfed.model.int8.spec import Piece

MOST_AXES = 6
BIAS = 1
CONSTANT = 1
# Numbers of functions in a record: firmware/core/float/float.h.
_BINARY = ("add", "sub", "sub_from", "mul", "div", "div_by", "minimum", "maximum", "squared_difference", "prelu")
_SWAPPED = {"sub": "sub_from", "div": "div_by"}
_REDUCE = ("reduce_mean", "reduce_sum", "reduce_max", "reduce_min")
_FUNCTIONS = """
    clip leaky_relu elu sigmoid tanh swish gelu gelu_tanh hard_swish hard_sigmoid softplus softsign mish exp log sqrt
    rsqrt abs neg square sin
"""
_UNARY = tuple(_FUNCTIONS.split())
_SELU = (1.6732632423543772, 1.0507009873554805)
# Names that stand for another function with these values of alpha and beta.
_AS = {
    "relu": ("clip", 0.0, math.inf),
    "relu6": ("clip", 0.0, 6.0),
    "relu_n1_to_1": ("clip", -1.0, 1.0),
    "selu": ("elu", _SELU[0] * _SELU[1], _SELU[1]),
}
_CELLS = ("simple", "lstm", "gru", "gru_reset_before")
_GATES = (1, 4, 3, 3)
ACTIVATIONS = (*_AS, *_UNARY, "softmax", "log_softmax")


def program_of(graph: Graph, outputs: Sequence[int]) -> i8.Int8Network:
    """What computes the tensors `outputs` of a graph. Raises ConvertError naming the node that no operator computes."""
    needed = set(outputs) | {index + 1 for index, node in enumerate(graph.nodes) if node.kind == "assign"}
    for index in range(len(graph.nodes), 0, -1):
        if index in needed:
            needed.update(graph.nodes[index - 1].inputs)
    return _Program(graph, needed).network(outputs)


class _Program:
    def __init__(self, graph: Graph, needed: set[int]) -> None:
        self.graph, self.needed = graph, needed
        self.tensors: list[i8.Int8Tensor] = []
        self.layers: list[i8.Int8Layer] = []
        self.numbers: dict[int, int] = {}
        self.constants: dict[int, Floats] = {}
        self.states: list[i8.Int8State] = []

    def network(self, outputs: Sequence[int]) -> i8.Int8Network:
        inputs = [self.tensor("input", self.graph.input_shape)]
        self.numbers[0] = inputs[0]
        for index, node in enumerate(self.graph.nodes):
            if node.kind == "input":
                inputs.append(self.tensor(node.where, node.shape))
                self.numbers[index + 1] = inputs[-1]
            elif index + 1 in self.needed:
                self.node(node, index + 1)
        found = tuple(self.numbers[output] for output in outputs)
        parts = (tuple(self.tensors), tuple(self.layers), tuple(inputs), found)
        return i8.Int8Network(*parts, self.graph.source, tuple(self.states))

    def node(self, node: Node, number: int) -> None:
        if node.kind == "constant":
            assert node.weights is not None
            self.constants[number] = node.weights.reshape(node.shape)
            return
        if node.kind == "state":
            assert node.weights is not None
            self.numbers[number] = self.tensor(node.where, node.shape)
            first = node.weights.astype("<f4").tobytes()
            self.states.append(i8.Int8State(node.where, self.numbers[number], first))
            return
        if node.kind == "assign":
            self.numbers[number] = self.source(node)
            value = self.operand(node, 1)
            self.layers.append(i8.Int8Copy((value,), self.numbers[number], name=node.where))
            return
        for array in (node.weights, node.bias):
            if array is not None and not np.isfinite(array).all():
                node.refuse("weights hold NaN or infinity; train the model again")
        lower = _LOWER.get(node.kind)
        if lower is None:
            node.refuse(f"the engine does not have {node.kind.replace('_', ' ')}; it has {', '.join(sorted(_LOWER))}")
        result = lower(self, node)
        if node.kind != "activation" and node.activation != "linear":
            result = self.activated(node, result)
        self.numbers[number] = result

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> int:
        self.tensors.append(i8.Int8Tensor(name, shape or (1,), dtype=dtype))
        return len(self.tensors) - 1

    def source(self, node: Node, position: int = 0) -> int:
        number = node.inputs[position]
        if number in self.constants and number not in self.numbers:
            count = self.constants[number].size
            piece = Piece((count,), (1,), (1,))
            copied = replace(node, shape=self.constants[number].shape)
            self.numbers[number] = self.moved(copied, [self.operand(node, position)], [piece])
        return self.numbers[number]

    def shape_of(self, tensor: int) -> tuple[int, ...]:
        return self.tensors[tensor].shape

    def count(self, tensor: int) -> int:
        return self.tensors[tensor].count

    def operator(self, node: Node, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], **fields: Any) -> int:
        """Append an operator whose output has `shape`; the output's number."""
        output = self.tensor(node.where, shape)
        flat = ((1, 1, self.count(inputs[0])), (1, 1, self.count(output)))
        shapes = (fields.pop("in_shape", flat[0]), fields.pop("out_shape", flat[1]))
        self.layers.append(i8.FloatOperator(inputs, output, kind, *shapes, name=node.where, **fields))
        return output

    def reshaped(self, node: Node, source: int, shape: tuple[int, ...]) -> int:
        """The same values under another shape."""
        output = self.tensor(node.where, shape)
        self.layers.append(i8.Int8Reshape((source,), output, name=node.where))
        return output

    def image(self, tensor: int) -> tuple[int, int, int]:
        return self.tensors[tensor].image_shape

    def activated(self, node: Node, source: int) -> int:
        name, alpha, beta = _function(node.activation, node.alpha, node.beta)
        shape = self.shape_of(source)
        if name in ("softmax", "log_softmax"):
            image = self.image(source)
            fields: dict[str, Any] = {"kernel": (1 + (name == "log_softmax"), 1), "in_place": True}
            return self.operator(node, "float softmax", (source,), shape, in_shape=image, out_shape=image, **fields)
        if name not in _UNARY:
            node.refuse(f"the engine does not have the activation {name}; it has {', '.join(ACTIVATIONS)}")
        values = {"kernel": (_UNARY.index(name) + 1, 1), "table": struct.pack("<2f", alpha, beta)}
        return self.operator(node, "float unary", (source,), shape, in_place=True, **values)

    def activation(self, node: Node) -> int:
        return self.activated(node, self.source(node))

    def dense(self, node: Node) -> int:
        """A convolution of one tap over rows."""
        assert node.weights is not None
        source = self.source(node)
        inputs, units = node.weights.shape
        rows = self.count(source) // inputs
        if rows * inputs != self.count(source) or rows * units != math.prod(node.shape):
            node.refuse(f"weights {list(node.weights.shape)} between {self.shape_of(source)} and {node.shape}")
        ends = {"in_shape": (1, rows, inputs), "out_shape": (1, rows, units)}
        return self.weighted(node, "float conv", source, rows * inputs * units, **ends)

    def weighted(self, node: Node, kind: str, source: int, macs: int, **fields: Any) -> int:
        assert node.weights is not None
        bias = b"" if node.bias is None else node.bias.astype("<f4").tobytes()
        weights = node.weights.astype("<f4").tobytes()
        flags = 0 if node.bias is None else BIAS
        values = {"weights": weights, "table": bias, "flags": flags, "multiply_adds": macs}
        return self.operator(node, kind, (source,), node.shape, **values, **fields)

    def window(self, node: Node, source: int) -> tuple[int, dict[str, Any]]:
        """(what is read, fields of a window over it). Explicit padding that no window may have becomes a pad before."""
        before: list[int] = []
        image, result = self.image(source), (1, 1, 1, *node.shape)[-3:]
        far = False
        for axis in (0, 1):
            size, stride = image[axis], node.stride[axis]
            span = (node.kernel[axis] - 1) * node.dilation[axis] + 1
            if node.padding == "same":
                total = max((-(-size // stride) - 1) * stride + span - size, 0)
                pads = (total // 2, total - total // 2)
            else:
                pads = (0, 0) if node.padding == "valid" else node.pads[axis]
            if (size + sum(pads) - span) // stride + 1 != result[axis] or size + sum(pads) < span:
                node.refuse(f"a window of {span} with padding {pads} over {size} does not give {result[axis]}")
            far |= pads[0] > span - 1 or (result[axis] - 1) * stride >= size + pads[0]
            before.append(pads[0])
        if far:
            padded = replace(node, kind="pad", pads=(*node.pads, (0, 0)), alpha=0.0)
            grown = tuple(size + sum(pair) for size, pair in zip(image, padded.pads, strict=True))
            return self.window(replace(node, padding="valid", pads=()), self.padded(padded, source, image, grown))
        values = {"kernel": node.kernel, "stride": node.stride, "dilation": node.dilation, "pad": tuple(before)}
        return source, {**values, "in_shape": image, "out_shape": result}

    def convolution(self, node: Node) -> int:
        assert node.weights is not None
        source, fields = self.window(node, self.source(node))
        channels, result = fields["in_shape"][2], fields["out_shape"][2]
        depthwise = node.kind == "depthwise"
        fits = result % channels == 0 if depthwise else node.weights.shape[2] == channels
        if not fits or node.weights.shape[-1] != result:
            node.refuse(f"weights {list(node.weights.shape)} between {channels} and {result} channels")
        kind = "float depthwise" if depthwise else "float conv"
        return self.weighted(node, kind, source, node.multiply_adds, **fields)

    def transposed(self, node: Node) -> int:
        assert node.weights is not None
        source = self.source(node)
        image, result = self.image(source), (1, 1, 1, *node.shape)[-3:]
        before = []
        for axis in (0, 1):
            total = (image[axis] - 1) * node.stride[axis] + node.kernel[axis] - result[axis]
            explicit = node.pads[axis][0] if node.padding == "explicit" else 0
            before.append(max(total, 0) // 2 if node.padding == "same" else explicit)
        if node.weights.shape[2:] != (image[2], result[2]):
            node.refuse(f"weights {list(node.weights.shape)} between {image[2]} and {result[2]} channels")
        macs = int(node.weights.size) * image[0] * image[1]
        window = {"kernel": node.kernel, "stride": node.stride, "pad": tuple(before)}
        ends = {"in_shape": image, "out_shape": result}
        return self.weighted(node, "float transposed conv", source, macs, **window, **ends)

    def pool(self, node: Node) -> int:
        source, fields = self.window(node, self.source(node))
        return self.operator(node, f"float {node.kind.replace('_', ' ')}", (source,), node.shape, **fields)

    def global_average(self, node: Node) -> int:
        rank = len(self.graph.shape(node.inputs[0]))
        return self.reduce(replace(node, kind="reduce_mean", axes=tuple(range(rank - 1))))

    def reduce(self, node: Node) -> int:
        """Neighbouring axes of one sort are one axis."""
        source = self.source(node)
        shape = self.graph.shape(node.inputs[0])
        axes: dict[bool, list[list[int]]] = {False: [], True: []}
        step, last = 1, None
        for axis in reversed(range(len(shape))):
            gone = axis in node.axes
            if shape[axis] > 1:
                if gone is last:
                    axes[gone][0][0] *= shape[axis]
                else:
                    axes[gone].insert(0, [shape[axis], step])
                last = gone
            step *= shape[axis]
        if max(map(len, axes.values())) > 3:
            node.refuse(f"over axes {list(node.axes)} of shape {list(shape)}: at most three runs of axes")
        table = []
        for kind in (False, True):
            filled = [[1, 0]] * (3 - len(axes[kind])) + axes[kind]
            table += [count for count, _ in filled] + [stride for _, stride in filled]
        kernel = (_REDUCE.index(node.kind) + 1, 1)
        return self.operator(node, "float reduce", (source,), node.shape, kernel=kernel, table=_u32(table))

    def binary(self, node: Node) -> int:
        first, second = node.inputs
        name = node.kind
        if first in self.constants and second not in self.constants and name != "prelu":
            first, second, name = second, first, _SWAPPED.get(name, name)
        elif first in self.constants:
            self.source(node)
        shapes = (self.graph.shape(first), self.graph.shape(second))
        try:
            fits = np.broadcast_shapes(*shapes) == node.shape
        except ValueError:
            fits = False
        if not fits:
            node.refuse(f"shapes {list(shapes[0])} and {list(shapes[1])} do not broadcast to {list(node.shape)}")
        table = _u32([value for part in collapsed(node, *shapes) for value in part])
        fields = {"kernel": (_BINARY.index(name) + 1, 1), "table": table, "chunk": math.prod(shapes[1])}
        if second in self.constants:
            values = self.constants[second].astype("<f4").tobytes()
            fields |= {"weights": values, "flags": CONSTANT}
            return self.operator(node, "float binary", (self.numbers[first],), node.shape, in_place=True, **fields)
        inputs = (self.numbers[first], self.numbers[second])
        return self.operator(node, "float binary", inputs, node.shape, in_place=True, **fields)

    def scale(self, node: Node) -> int:
        """Scale and shift of channels, as two operators with constants."""
        assert node.weights is not None
        result = self.source(node)
        shape = self.shape_of(result)
        for name, values in (("mul", node.weights), ("add", node.bias)):
            if values is None or np.all(values == (1 if name == "mul" else 0)):
                continue
            table = _u32([value for part in collapsed(node, shape, values.shape) for value in part])
            fields = {"kernel": (_BINARY.index(name) + 1, 1), "table": table, "chunk": values.size}
            constant = {"weights": values.astype("<f4").tobytes(), "flags": CONSTANT}
            result = self.operator(node, "float binary", (result,), shape, in_place=True, **fields, **constant)
        return result

    def matmul(self, node: Node) -> int:
        a, b = (self.graph.shape(tensor) for tensor in node.inputs)
        if node.inputs[1] in self.constants and len(b) == 2:
            return self.dense(replace(node, kind="dense", weights=self.constants[node.inputs[1]]))
        batch, rows, inner = math.prod(a[:-2]), a[-2], a[-1]
        if b[-2] != inner or math.prod(b[:-2]) not in (1, batch) or node.shape != (*a[:-1], b[-1]):
            node.refuse(f"a product of shapes {list(a)} and {list(b)}")
        sources = (self.source(node), self.source(node, 1))
        ends = {"in_shape": (batch, rows, inner), "out_shape": (batch, rows, b[-1]), "chunk": math.prod(b)}
        macs = batch * rows * inner * b[-1]
        return self.operator(node, "float matmul", sources, node.shape, multiply_adds=macs, **ends)

    def recurrent(self, node: Node) -> int:
        assert node.weights is not None and node.bias is not None
        source = self.source(node)
        (steps, inputs), units = self.shape_of(source), node.shape[-1]
        width = units * _GATES[_CELLS.index(node.mode)]
        both = 2 if node.mode == "gru" else 1
        if node.weights.size != (inputs + units) * width or node.bias.size != both * width:
            node.refuse(f"weights {node.weights.size} and {node.bias.size} of {inputs} inputs and {units} units")
        codes, numbers = [], list[float]()
        for function in node.functions:
            name, alpha, beta = _function(*function)
            if name not in _UNARY:
                node.refuse(f"the activation {name} in it; the engine has {', '.join(_UNARY)}")
            codes.append(_UNARY.index(name) + 1)
            numbers += [alpha, beta]
        return self.operator(
            node,
            "float recurrent",
            (source,),
            node.shape,
            in_shape=(1, steps, inputs),
            out_shape=(1, math.prod(node.shape[:-1]), units),
            kernel=(_CELLS.index(node.mode) + 1, codes[0]),
            stride=(codes[1], 1),
            flags=int(node.steps == (-1,)),
            weights=node.weights.astype("<f4").tobytes(),
            table=np.array([*numbers, node.alpha or math.inf, *node.bias.reshape(-1)], "<f4").tobytes(),
            scratch_bytes=8 * (units + width),
            multiply_adds=steps * (inputs + units) * width,
        )

    def reshape(self, node: Node) -> int:
        source = self.source(node)
        if self.count(source) != math.prod(node.shape):
            node.refuse(f"{list(self.shape_of(source))} cannot become {list(node.shape)}")
        return self.reshaped(node, source, node.shape)

    def resize(self, node: Node) -> int:
        source = self.source(node)
        image, result = self.image(source), (1, 1, 1, *node.shape)[-3:]
        find = _nearest if node.kind == "resize_nearest" else _between
        table = b"".join(find(image[axis], result[axis], node.mode) for axis in (0, 1))
        ends = {"in_shape": image, "out_shape": result}
        return self.operator(node, "float resize", (source,), node.shape, table=table, **ends)

    def moved(self, node: Node, sources: list[int], pieces: list[Piece], fill: float | None = None) -> int:
        """Append a move of `pieces`, one of each source; where nothing is put the output holds `fill`."""
        output = self.tensor(node.where, node.shape)
        if fill:  # the value everywhere first: a fill is of bytes
            count = math.prod(node.shape)
            value = i8.Int8Tensor(f"{node.where}, value", (1,), dtype="float32", constant=struct.pack("<f", fill))
            self.tensors.append(value)
            sources, pieces = [len(self.tensors) - 1, *sources], [Piece((count,), (0,), (1,)), *pieces]
        fills = None if fill is None or fill else 0
        self.layers.append(i8.Int8Move(tuple(sources), output, tuple(pieces), fills, name=node.where))
        return output

    def operand(self, node: Node, position: int) -> int:
        """A tensor, or a constant as one."""
        number = node.inputs[position]
        if number not in self.constants:
            return self.numbers[number]
        values = self.constants[number].astype("<f4")
        described = i8.Int8Tensor(node.where, values.shape or (1,), dtype="float32", constant=values.tobytes())
        self.tensors.append(described)
        return len(self.tensors) - 1

    def move(self, node: Node) -> int:
        sources = [self.operand(node, position) for position in range(len(node.inputs))]
        return self.moved(node, sources, list(node.pieces), node.alpha if node.mode == "fill" else None)

    def transpose(self, node: Node) -> int:
        return self.picked(node, lambda values: values.transpose(node.axes))

    def picked(self, node: Node, pick: Callable[[NDArray[np.int8]], NDArray[np.int8]]) -> int:
        """What `pick` makes of the input, as NumPy's view of it says where its values lie."""
        base = np.empty(self.graph.shape(node.inputs[0]), np.int8)
        try:
            found = pick(base)
        except (ValueError, IndexError) as error:
            node.refuse(f"of shape {list(base.shape)}: {error}")
        if math.prod(found.shape) != math.prod(node.shape):
            node.refuse(f"shape {list(found.shape)} instead of {list(node.shape)}")
        target = np.empty(found.shape, np.int8)
        return self.moved(node, [self.source(node)], [_piece(base, found, target, target)])

    def slice(self, node: Node) -> int:
        steps = node.steps or (1,) * len(node.begin)
        if len(node.shape) != len(node.begin):
            node.refuse(f"begins at {list(node.begin)} for {list(node.shape)}")
        ends = [first + count * step for first, count, step in zip(node.begin, node.shape, steps, strict=True)]
        index = tuple(
            slice(first, None if end < 0 else end, step)
            for first, end, step in zip(node.begin, ends, steps, strict=True)
        )
        return self.picked(node, lambda values: values[index])

    def tile(self, node: Node) -> int:
        def repeated(values: NDArray[np.int8]) -> NDArray[np.int8]:
            inner = (1,) * (len(node.shape) - values.ndim) + values.shape
            outer = [size // own for size, own in zip(node.shape, inner, strict=True)]
            both = tuple(size for pair in zip(outer, inner, strict=True) for size in pair)
            return np.broadcast_to(values.reshape([size for own in inner for size in (1, own)]), both)

        return self.picked(node, repeated)

    def concatenate(self, node: Node) -> int:
        target, at = np.empty(node.shape, np.int8), 0
        axis = node.axes[0]
        pieces, sources = [], []
        for position, number in enumerate(node.inputs):
            base = np.empty(self.graph.shape(number), np.int8)
            end = at + base.shape[axis]
            part = target[(slice(None),) * axis + (slice(at, end),)]
            if part.shape != base.shape:
                node.refuse(f"{list(base.shape)} along axis {axis} of {list(node.shape)}")
            pieces.append(_piece(base, base, target, part))
            sources.append(self.operand(node, position))
            at = end
        return self.moved(node, sources, pieces)

    def pad(self, node: Node) -> int:
        source = self.source(node)
        return self.padded(node, source, self.graph.shape(node.inputs[0]), node.shape)

    def padded(self, node: Node, source: int, shape: tuple[int, ...], result: tuple[int, ...]) -> int:
        base, target = np.empty(shape, np.int8), np.empty(result, np.int8)
        if any(min(pair) < 0 for pair in node.pads):
            node.refuse(f"pads {node.pads} below 0")
        sides = zip(node.pads, result, strict=True)
        part = target[tuple(slice(before, size - after) for (before, after), size in sides)]
        if part.shape != base.shape:
            node.refuse(f"pads {node.pads} of {list(shape)} do not give {list(result)}")
        piece = _piece(base, base, target, part)
        return self.moved(replace(node, shape=result), [source], [piece], node.alpha)


def collapsed(node: Node, *shapes: tuple[int, ...]) -> list[list[int]]:
    """Counts of the axes of what `shapes` broadcast to, then strides of each of them, MOST_AXES of each. Neighbours
    that all walk as one are one axis."""
    result = np.broadcast_shapes(*shapes)
    axes: list[list[int]] = []
    steps = [1] * len(shapes)
    for back in range(1, len(result) + 1):
        own = [shape[-back] if back <= len(shape) else 1 for shape in shapes]
        strides = [step if size > 1 else 0 for step, size in zip(steps, own, strict=True)]
        steps = [step * size for step, size in zip(steps, own, strict=True)]
        count = result[-back]
        if count == 1:
            continue
        if axes and all(now == before * axes[0][0] for now, before in zip(strides, axes[0][1:], strict=True)):
            axes[0][0] *= count
        else:
            axes.insert(0, [count, *strides])
    if len(axes) > MOST_AXES:
        node.refuse(f"shapes {[list(shape) for shape in shapes]}: at most {MOST_AXES} axes that walk apart")
    axes = [[1] + [0] * len(shapes)] * (MOST_AXES - len(axes)) + axes
    return [list(part) for part in zip(*axes, strict=True)]


def _piece(
    source_base: NDArray[np.int8], source: NDArray[np.int8], target_base: NDArray[np.int8], target: NDArray[np.int8]
) -> Piece:
    """What goes from one array's view to another's."""
    pairs = ((source, source_base), (target, target_base))
    first = [view.__array_interface__["data"][0] - base.__array_interface__["data"][0] for view, base in pairs]
    return Piece(source.shape, source.strides, target.strides, *first)


def _function(name: str, alpha: float, beta: float) -> tuple[str, float, float]:
    """The unary function that an activation is, and its numbers."""
    if name == "elu":
        return name, alpha, 1.0
    return _AS.get(name, (name, alpha, beta))


def _u32(values: Sequence[int]) -> bytes:
    return np.array(values, "<u4").tobytes()


def _entries(low: NDArray[Any], high: NDArray[Any], share: NDArray[Any]) -> bytes:
    entries = np.zeros(len(low), np.dtype([("low", "<u2"), ("high", "<u2"), ("share", "<f4")]))
    entries["low"], entries["high"], entries["share"] = low, high, share
    return entries.tobytes()


def _nearest(size_in: int, size_out: int, mode: str) -> bytes:
    at = nearest(size_in, size_out, mode == "align_corners", mode == "half_pixel")
    return _entries(at, at, np.zeros(size_out))


def _between(size_in: int, size_out: int, mode: str) -> bytes:
    """As LiteRT's ComputeInterpolationValues."""
    aligned = mode == "align_corners" and size_out > 1
    scale = (
        np.float32(size_in - 1) / np.float32(size_out - 1) if aligned else np.float32(size_in) / np.float32(size_out)
    )
    half = np.float32(0.5 if mode == "half_pixel" else 0.0)
    at = (np.arange(size_out, dtype=np.float32) + half) * scale - half
    low = np.maximum(np.floor(at), 0)
    return _entries(low, np.minimum(np.ceil(at), size_in - 1), at - low)


_LOWER: dict[str, Callable[[_Program, Node], int]] = {
    "activation": _Program.activation,
    "concatenate": _Program.concatenate,
    "move": _Program.move,
    "pad": _Program.pad,
    "slice": _Program.slice,
    "tile": _Program.tile,
    "transpose": _Program.transpose,
    "conv2d": _Program.convolution,
    "conv2d_transpose": _Program.transposed,
    "dense": _Program.dense,
    "depthwise": _Program.convolution,
    "global_average": _Program.global_average,
    "identity": _Program.reshape,
    "matmul": _Program.matmul,
    "recurrent": _Program.recurrent,
    "reshape": _Program.reshape,
    "resize_bilinear": _Program.resize,
    "resize_nearest": _Program.resize,
    "scale": _Program.scale,
    **dict.fromkeys(("average_pool", "max_pool"), _Program.pool),
    **dict.fromkeys(BINARY, _Program.binary),
    **dict.fromkeys(REDUCTIONS, _Program.reduce),
}
