"""An int8 network as the bytes the engine runs (docs/int8.md): a table of operators whose buffers are placed, and
weights laid out as the kernels read them."""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model.int8 import arithmetic, spec
from tinyfed.model.int8.fold import with_repeated_channels, without_pads
from tinyfed.model.int8.move import merged, pack_move
from tinyfed.model.int8.pack import PackedLayer, pack_convolution, pack_dense, pack_depthwise
from tinyfed.model.int8.plan import ALIGNMENT, Buffer, aligned, place
from tinyfed.model.int8.recurrent import pack_lstm, pack_svdf

MAGIC = 0x38494654  # "TFI8"
VERSION = 1
HEADER = struct.Struct("<IHHIIHHBBHIIQIHH16x")  # magic .. multiply-adds, states
RECORD = struct.Struct("<10B5bxHHIHHI7I4x")
PORT = struct.Struct("<IIHHIfiBB6x")  # of an input or output
STATE = struct.Struct("<5IB11x")  # place, bytes, first values, name, its bytes, fill
MOST_OPERATORS = 512
MOST_STATES = 256
MOST_PORTS = 16  # inputs and outputs

KINDS = {
    "conv": 1,
    "dense": 2,
    "depthwise": 3,
    "max_pool": 4,
    "average_pool": 5,
    "mean": 6,
    "add": 7,
    "pad": 8,
    "softmax": 9,
    "table": 10,
    "resize": 11,
    "lstm": 30,
    "svdf": 31,
    "move": 12,
    "binary": 13,
    "bilinear": 14,
}
FLOAT_KINDS = {
    "float conv": 40,
    "float depthwise": 41,
    "float transposed conv": 42,
    "float max pool": 43,
    "float average pool": 44,
    "float reduce": 45,
    "float binary": 46,
    "float unary": 47,
    "float softmax": 48,
    "float resize": 49,
    "quantize": 50,
    "dequantize": 51,
    "float matmul": 52,
    "float recurrent": 53,
}
KINDS |= FLOAT_KINDS
FLAG_GENERAL = 1
TYPES = ("int8", "uint8", "float32")  # of a port, by number
FLAG_CONSTANT, FLAG_CONSTANT_B = 2, 4
BINARY_DIMENSIONS = 4
# Row by row: the output may reach into the input from below.
WRITE_BEHIND = frozenset({"conv", "max_pool", "average_pool"})
TAKE_CONSTANTS = frozenset({"move", "binary"})


@dataclass(frozen=True)
class SlowLayer:
    """A layer that takes the general form of its kernel, five times the instructions of the fast one, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Int8Plan:
    """What running the program takes and does. `slow` is known where the program was made, not where it is read."""

    program_bytes: int
    work_bytes: int
    multiply_adds: int
    slow: tuple[SlowLayer, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Int8Port:
    """An input or output of a program. real = scale * (q - zero_point), or of float32 the value itself."""

    offset: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    dtype: str = "int8"

    @property
    def scaled(self) -> tuple[float, int] | tuple[()]:
        """(scale, zero point); nothing of float32."""
        return () if self.dtype == "float32" else (self.scale, self.zero_point)

    @property
    def count(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Int8OperatorPlace:
    """An operator's output: `shape` as (height, width, channels), and where in the work area its bytes lie."""

    kind: str
    shape: tuple[int, int, int]
    offset: int
    byte_count: int


@dataclass(frozen=True)
class Int8StatePlace:
    """What a network keeps from one run to the next: `byte_count` bytes of the work area."""

    name: str
    offset: int
    byte_count: int


def read_plan(program: bytes) -> Int8Plan:
    """What an encoded program takes; the program must be a valid one."""
    fields = HEADER.unpack_from(program)
    return Int8Plan(fields[3], fields[4], fields[12])


def read_ports(program: bytes) -> tuple[tuple[Int8Port, ...], tuple[Int8Port, ...]]:
    """(inputs, outputs) of an encoded program; the program must be a valid one."""
    fields = HEADER.unpack_from(program)
    inputs, outputs, at = fields[7], fields[8], fields[10]
    ports = []
    for index in range(inputs + outputs):
        values = PORT.unpack_from(program, at + index * PORT.size)
        offset, _, height, width, channels, scale, zero_point, rank, kind = values
        # uint8 lies in the work area as int8, 128 lower.
        zero_point += 128 if TYPES[kind] == "uint8" else 0
        ports.append(Int8Port(offset, (height, width, channels)[3 - rank :], scale, zero_point, TYPES[kind]))
    return tuple(ports[:inputs]), tuple(ports[inputs:])


def read_operators(program: bytes) -> tuple[Int8OperatorPlace, ...]:
    """What each operator of an encoded program writes, and where; the program must be a valid one."""
    fields = HEADER.unpack_from(program)
    names = {number: name for name, number in KINDS.items()}
    found = []
    for index in range(fields[5]):
        record = RECORD.unpack_from(program, HEADER.size + index * RECORD.size)
        kind, shape = names[record[0]], record[18:21]
        element = 4 if kind in FLOAT_KINDS and kind != "quantize" else 1
        found.append(Int8OperatorPlace(kind, shape, record[23], element * math.prod(shape)))
    return tuple(found)


def read_states(program: bytes) -> tuple[Int8StatePlace, ...]:
    """What an encoded program keeps; the program must be a valid one."""
    states_at, count = HEADER.unpack_from(program)[13:15]
    places = []
    for index in range(count):
        offset, size, _, name_at, name_bytes, _ = STATE.unpack_from(program, states_at + index * STATE.size)
        name = program[name_at : name_at + name_bytes].decode("utf-8", "replace")
        places.append(Int8StatePlace(name, offset, size))
    return tuple(places)


@dataclass
class _Operator:
    """A record before its offsets are known. `packed` carries weights, table and window."""

    kind: str
    inputs: tuple[int, ...]
    output: int
    packed: PackedLayer
    scratch_bytes: int = 0
    in_place: bool = False
    clamp: tuple[int, int] = (arithmetic.INT8_MIN, arithmetic.INT8_MAX)
    flags: int = 0
    data_at: int = 0
    table_at: int = 0
    shapes: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None  # None: the tensors'


def encode_int8(network: spec.Int8Network) -> tuple[bytes, Int8Plan]:
    """The program of `network`, and what it needs. UsageError names a layer that cannot be carried."""
    network, aliases, operators = _with_repeats(_with_own_outputs(without_pads(network)))
    if len(operators) > MOST_OPERATORS:
        raise UsageError(f"{len(operators)} operators; at most {MOST_OPERATORS}", key=network.name or "the network")
    offsets, scratch, work_bytes = _place(network, operators, aliases)
    macs = sum(op.packed.multiply_adds for op in operators)
    ports = [*network.inputs, *network.outputs]
    if len(ports) > MOST_PORTS:
        raise UsageError(
            f"{len(network.inputs)} inputs and {len(network.outputs)} outputs; at most {MOST_PORTS} together",
            key=network.name or "the network",
        )
    ports_at = HEADER.size + len(operators) * RECORD.size
    data_start = aligned(ports_at + len(ports) * PORT.size)
    data, states_at = _lay_out(network, operators, data_start, offsets)  # adds constants to `offsets`
    total = data_start + len(data)
    header = HEADER.pack(
        MAGIC, VERSION, HEADER.size, total, work_bytes, len(operators), RECORD.size,
        len(network.inputs), len(network.outputs), PORT.size, ports_at, data_start, macs,
        states_at, len(network.states), STATE.size if network.states else 0,
    )  # fmt: skip
    records = b"".join(_record(network, op, offsets, scratch[index], aliases) for index, op in enumerate(operators))
    port_bytes = b"".join(_port(network.tensors[index], offsets[aliases[index]]) for index in ports)
    head = header + records + port_bytes
    slow = tuple(SlowLayer(network.tensors[op.output].name, op.packed.slow) for op in operators if op.packed.slow)
    return head + bytes(data_start - len(head)) + data, Int8Plan(total, work_bytes, macs, slow)


def _with_repeats(network: spec.Int8Network) -> tuple[spec.Int8Network, dict[int, int], list[_Operator]]:
    """`network`, its aliases and operators. A depthwise convolution with a depth multiplier is one of an input whose
    channels are repeated, where that makes no layer slow and the work area no larger; a convolution with zeros else."""

    def cost(operators: list[_Operator], placed: tuple[dict[int, int], list[int], int]) -> tuple[int, int]:
        return sum(bool(op.packed.slow) for op in operators), placed[2]

    aliases, operators = _operators(network)
    for layer in network.layers:
        other = with_repeated_channels(network, layer)
        if other is None or len(operators) == MOST_OPERATORS:
            continue
        other_aliases, other_operators = _operators(other)
        pairs = zip(
            cost(other_operators, _place(other, other_operators, other_aliases)),
            cost(operators, _place(network, operators, aliases)),
            strict=True,
        )
        if all(new <= old for new, old in pairs):
            network, aliases, operators = other, other_aliases, other_operators
    return network, aliases, operators


def _operators(network: spec.Int8Network) -> tuple[dict[int, int], list[_Operator]]:
    aliases = _aliases(network)
    operators = [op for layer in network.layers for op in _lower(network, layer)]
    return aliases, _without_copies(network, operators, aliases)


def _lower(network: spec.Int8Network, layer: spec.Int8Layer) -> list[_Operator]:
    """The operators of a layer; none for a reshape, which is another name for the same bytes."""
    tensors = network.tensors
    source, output = tensors[layer.inputs[0]], tensors[layer.output]
    try:
        if isinstance(layer, spec.Int8Move):
            return list(_lower_move(layer, output, tensors))
        operator = _lower_checked(layer, source, output, tensors)
        for index in layer.inputs:
            if tensors[index].constant is not None and (operator is None or operator.kind not in TAKE_CONSTANTS):
                raise UsageError(f"input {tensors[index].name!r} is a constant; fold it into a layer's weights")
        return [] if operator is None else [operator]
    except UsageError as error:
        raise error.located(key=f"{type(layer).__name__} {layer.name!r}") from error


def _lower_move(
    layer: spec.Int8Move, output: spec.Int8Tensor, tensors: Sequence[spec.Int8Tensor]
) -> Iterator[_Operator]:
    for number, (index, piece) in enumerate(zip(layer.inputs, layer.pieces, strict=True)):
        source = tensors[index]
        element = spec.BYTES[output.dtype]
        table = pack_move(piece, source.count, output.count, layer.fill if number == 0 else None, element)
        yield _Operator("move", (index,), layer.output, PackedLayer(table=table))


def _lower_checked(
    layer: spec.Int8Layer,
    source: spec.Int8Tensor,
    output: spec.Int8Tensor,
    tensors: Sequence[spec.Int8Tensor],
) -> _Operator | None:
    match layer:
        case spec.FloatOperator():
            window = (layer.kernel, layer.stride, layer.dilation, layer.pad, layer.chunk)
            packed = PackedLayer(layer.weights, layer.table, *window, multiply_adds=layer.multiply_adds)
            return _Operator(
                layer.kind, layer.inputs, layer.output, packed, in_place=layer.in_place, flags=layer.flags,
                shapes=(layer.in_shape, layer.out_shape), scratch_bytes=layer.scratch_bytes,
            )  # fmt: skip
        case spec.Int8Reshape():
            _same_count(source, output)
            return None
        case spec.Int8Copy():
            _same_count(source, output)
            whole = spec.Piece((source.count,), (1,), (1,))
            element = source.byte_count // source.count
            packed = PackedLayer(table=pack_move(whole, source.count, output.count, None, element))
            return _Operator("move", layer.inputs, layer.output, packed)
        case spec.Int8Lstm():
            packed = pack_lstm(layer, source, tensors[layer.inputs[1]], tensors[layer.inputs[2]])
            shapes = tuple((t.count // n, 1, n) for t, n in ((source, source.shape[-1]), (output, output.shape[-1])))
            return _Operator(
                "lstm", layer.inputs, layer.output, packed, packed.scratch_bytes, shapes=(shapes[0], shapes[1])
            )
        case spec.Int8Svdf():
            packed = pack_svdf(layer, source, tensors[layer.inputs[1]], output)
            shapes = ((1, 1, source.count), (1, 1, output.count))
            return _Operator("svdf", layer.inputs, layer.output, packed, shapes=(shapes[0], shapes[1]))
        case spec.Int8Conv2D():
            return _weighted(layer, "conv", pack_convolution(layer, source, output), output)
        case spec.Int8DepthwiseConv2D():
            multiplier = output.image_shape[2] // source.image_shape[2]
            if multiplier != 1 or source.image_shape[2] == 1:
                # With one input channel it is a convolution; with more, one with zeros between (see `_with_repeats`).
                as_conv = _depthwise_as_convolution(layer, source.image_shape[2])
                return _weighted(layer, "conv", pack_convolution(as_conv, source, output), output)
            return _weighted(layer, "depthwise", pack_depthwise(layer, source, output), output)
        case spec.Int8Dense():
            return _weighted(layer, "dense", pack_dense(layer, source, output), output)
        case spec.Int8MaxPool2D() | spec.Int8AveragePool2D():
            _same_quantization(source, output)
            kind = "max_pool" if isinstance(layer, spec.Int8MaxPool2D) else "average_pool"
            packed = PackedLayer.window(layer.pool, layer.stride, (1, 1), layer.padding, source, output)
            _same_channels(source, output)
            clamp = arithmetic.activation_range(layer.activation, output)
            return _Operator(kind, layer.inputs, layer.output, packed, clamp=clamp)
        case spec.Int8Mean():
            if output.count not in [math.prod(source.shape[axis:]) for axis in range(len(source.shape) + 1)]:
                raise UsageError(f"output {output.shape} is no mean over the first dimensions of {source.shape}")
            pair = arithmetic.mean_multiplier(source, output, source.count // output.count)
            packed = PackedLayer(table=struct.pack("<2i", *pair))
            return _Operator("mean", layer.inputs, layer.output, packed)
        case spec.Int8Add():
            other = tensors[layer.inputs[1]]
            if not source.image_shape == other.image_shape == output.image_shape:
                raise UsageError(f"shapes {source.shape} + {other.shape}: make them equal (no broadcasting)")
            pairs = arithmetic.add_multipliers(source, other, output)
            packed = PackedLayer(table=b"".join(struct.pack("<2i", *p) for p in pairs))
            clamp = arithmetic.activation_range(layer.activation, output)
            return _Operator("add", layer.inputs, layer.output, packed, in_place=True, clamp=clamp)
        case spec.Int8Binary():
            return _lower_binary(layer, source, tensors[layer.inputs[1]], output)
        case spec.Int8Unary():
            return _table(layer, arithmetic.TABLES[layer.function](source, output), source, output)
        case spec.Int8ResizeBilinear():
            return _lower_bilinear(layer, source, output)
        case spec.Int8Pad():
            return _lower_pad(layer, source, output)
        case spec.Int8Softmax():
            _same_count(source, output)
            packed = PackedLayer(table=struct.pack("<3i", *arithmetic.softmax_multiplier(source, layer.beta)))
            return _Operator("softmax", layer.inputs, layer.output, packed, in_place=True)
        case spec.Int8Logistic():
            return _table(layer, arithmetic.logistic_table(source), source, output)
        case spec.Int8Relu():
            return _table(layer, arithmetic.relu_table(layer.activation, source, output), source, output)
        case spec.Int8LeakyRelu():
            return _table(layer, arithmetic.leaky_relu_table(layer.alpha, source, output), source, output)
        case spec.Int8Requantize():
            return _table(layer, arithmetic.requantize_table(source, output), source, output)
        case spec.Int8ResizeNearest():
            return _lower_resize(layer, source, output)
        case spec.Int8Move():
            raise AssertionError("a move makes several operators")


def _weighted(
    layer: spec.Int8Conv2D | spec.Int8DepthwiseConv2D | spec.Int8Dense,
    kind: str,
    packed: PackedLayer,
    output: spec.Int8Tensor,
) -> _Operator:
    return _Operator(
        kind,
        layer.inputs,
        layer.output,
        packed,
        scratch_bytes=packed.scratch_bytes,
        in_place=kind == "depthwise" and not packed.general,
        clamp=arithmetic.activation_range(layer.activation, output),
        flags=FLAG_GENERAL if packed.general else 0,
    )


def _depthwise_as_convolution(layer: spec.Int8DepthwiseConv2D, channels_in: int) -> spec.Int8Conv2D:
    kernel_h, kernel_w, channels_out = layer.weights.shape
    weights = np.zeros((channels_out, kernel_h, kernel_w, channels_in), np.int8)
    multiplier = channels_out // channels_in
    for out in range(channels_out):
        weights[out, :, :, out // multiplier] = layer.weights[:, :, out]
    return spec.Int8Conv2D(
        layer.inputs, layer.output, weights, layer.weight_scales, layer.bias, layer.stride, layer.dilation,
        layer.padding, layer.activation, layer.around, name=layer.name,
    )  # fmt: skip


def _table(
    layer: spec.Int8Layer, values: NDArray[np.int8], source: spec.Int8Tensor, output: spec.Int8Tensor
) -> _Operator:
    _same_count(source, output)
    # Indexed by the byte itself: 0..127 first, then -128..-1.
    packed = PackedLayer(table=np.roll(values, 128).tobytes())
    return _Operator("table", layer.inputs, layer.output, packed, in_place=True)


def _lower_binary(layer: spec.Int8Binary, a: spec.Int8Tensor, b: spec.Int8Tensor, output: spec.Int8Tensor) -> _Operator:
    steps = []
    shape = np.broadcast_shapes(*layer.shapes)
    for given, tensor in zip(layer.shapes, (a, b), strict=True):
        view = np.broadcast_to(np.empty(given, np.int8), shape)
        if math.prod(given) != tensor.count:
            raise UsageError(f"shape {given} of {tensor.count} values")
        steps.append(view.strides)
    if math.prod(shape) != output.count:
        raise UsageError(f"shapes {layer.shapes[0]} and {layer.shapes[1]} do not make {output.shape}")
    dimensions = merged(spec.Piece(shape, steps[0], steps[1]))
    if len(dimensions) > BINARY_DIMENSIONS:
        raise UsageError(f"shapes {layer.shapes[0]} and {layer.shapes[1]} broadcast over more than 4 dimensions")
    dimensions = [(1, 0, 0)] * (BINARY_DIMENSIONS - len(dimensions)) + dimensions
    counts, a_steps, b_steps = zip(*dimensions, strict=True)
    pairs = arithmetic.binary_multipliers(layer.function, a, b, output)
    table = struct.pack(
        f"<{2 + 3 * BINARY_DIMENSIONS}I6i", layer.function.value, b.count, *counts, *a_steps, *b_steps,
        *(number for pair in pairs for number in pair),
    )  # fmt: skip
    clamp = arithmetic.activation_range(layer.activation, output)
    return _Operator("binary", layer.inputs, layer.output, PackedLayer(table=table), in_place=True, clamp=clamp)


def _lower_bilinear(layer: spec.Int8ResizeBilinear, source: spec.Int8Tensor, output: spec.Int8Tensor) -> _Operator:
    _same_quantization(source, output)
    _same_channels(source, output)
    table = b""
    for axis in (0, 1):
        size_in, size_out = source.image_shape[axis], output.image_shape[axis]
        for neighbours in arithmetic.between(size_in, size_out, layer.align_corners, layer.half_pixel_centers):
            table += struct.pack("<3i", *neighbours)
    return _Operator("bilinear", layer.inputs, layer.output, PackedLayer(table=table))


def _lower_pad(layer: spec.Int8Pad, source: spec.Int8Tensor, output: spec.Int8Tensor) -> _Operator:
    _same_quantization(source, output)
    expected = tuple(n + a + b for n, (a, b) in zip(source.image_shape, layer.pads, strict=True))
    if output.image_shape != expected or min(min(p) for p in layer.pads) < 0:
        raise UsageError(f"pads {layer.pads} of {source.shape} do not give {output.shape}")
    value = source.zero_point if layer.value is None else layer.value
    before = [p[0] for p in layer.pads]
    packed = PackedLayer(table=struct.pack("<3ii", *before, value))
    return _Operator("pad", layer.inputs, layer.output, packed)


def _lower_resize(layer: spec.Int8ResizeNearest, source: spec.Int8Tensor, output: spec.Int8Tensor) -> _Operator:
    """The rows and columns that are read, found here: the engine needs no float division."""
    _same_quantization(source, output)
    _same_channels(source, output)
    lists = [
        nearest(source.image_shape[axis], output.image_shape[axis], layer.align_corners, layer.half_pixel_centers)
        for axis in (0, 1)
    ]
    packed = PackedLayer(table=np.concatenate(lists).astype("<u2").tobytes())
    return _Operator("resize", layer.inputs, layer.output, packed)


def nearest(size_in: int, size_out: int, align_corners: bool, half_pixel: bool) -> NDArray[np.int64]:
    """The input's row (or column) of each of the output's, as TFLite finds them."""
    if align_corners and size_out > 1:
        scale = np.float32(size_in - 1) / np.float32(size_out - 1)
    else:
        scale = np.float32(size_in) / np.float32(size_out)
    offset = np.float32(0.5) if half_pixel else np.float32(0)
    at = (np.arange(size_out, dtype=np.float32) + offset) * scale
    index: NDArray[np.float32] = np.floor(at + np.float32(0.5)) if align_corners else np.floor(at)
    return np.array([min(max(int(i), 0), size_in - 1) for i in index], np.int64)


def _same_count(source: spec.Int8Tensor, output: spec.Int8Tensor) -> None:
    if source.count != output.count:
        raise UsageError(f"{source.shape} has {source.count} values and {output.shape} has {output.count}")


def _same_channels(source: spec.Int8Tensor, output: spec.Int8Tensor) -> None:
    if source.image_shape[2] != output.image_shape[2]:
        raise UsageError(f"{source.shape} and {output.shape} differ in channels")


def _same_quantization(source: spec.Int8Tensor, output: spec.Int8Tensor) -> None:
    if (np.float32(source.scale), source.zero_point) != (np.float32(output.scale), output.zero_point):
        raise UsageError(
            f"input {source.scale}/{source.zero_point} and output {output.scale}/{output.zero_point} "
            "must have the same scale and zero point"
        )


def _aliases(network: spec.Int8Network) -> dict[int, int]:
    """The tensor whose bytes each tensor is: itself, or what it is a reshape of."""
    aliases = {index: index for index in range(len(network.tensors))}
    for layer in network.layers:
        if isinstance(layer, spec.Int8Reshape):
            aliases[layer.output] = aliases[layer.inputs[0]]
    return aliases


def _with_own_outputs(network: spec.Int8Network) -> spec.Int8Network:
    """`network` with a copy behind each output that is an input or a constant under another name."""
    aliases, tensors, outputs = _aliases(network), list(network.tensors), list(network.outputs)
    layers, inputs = list(network.layers), {aliases[index] for index in network.inputs}
    for position, index in enumerate(network.outputs):
        if aliases[index] in inputs or tensors[aliases[index]].constant is not None:
            outputs[position] = len(tensors)
            layers.append(spec.Int8Copy((index,), len(tensors), name=tensors[index].name))
            tensors.append(replace(tensors[index], constant=None))
    return replace(network, tensors=tuple(tensors), layers=tuple(layers), outputs=tuple(outputs))


def _without_copies(
    network: spec.Int8Network, operators: Sequence[_Operator], aliases: dict[int, int]
) -> list[_Operator]:
    """Writes of a state that need no copy fall away, and `aliases` says so: what makes the new value makes it in the
    state's place, where nobody wants the old one then."""
    states = {state.tensor for state in network.states}
    kept = list(operators)
    for op in operators:
        state, value = op.output, aliases[op.inputs[0]]
        if state not in states or value in states or [o.output for o in operators].count(state) != 1:
            continue
        writer = next((step for step, o in enumerate(operators) if aliases[o.output] == value), None)
        if writer is None or network.tensors[value].byte_count != network.tensors[state].byte_count:
            continue
        early = writer + (1 if operators[writer].in_place else 0)
        late = any(aliases[index] == state for o in operators[early:] for index in o.inputs)
        if late or state in {aliases[index] for index in network.outputs}:
            continue
        for index, root in list(aliases.items()):
            if root == value:
                aliases[index] = state
        kept.remove(op)
    return kept


def _place(
    network: spec.Int8Network, operators: Sequence[_Operator], aliases: dict[int, int]
) -> tuple[dict[int, int], list[int], int]:
    """(offset of each tensor, offset of each operator's scratch, bytes of the work area)."""
    first: dict[int, int] = {aliases[index]: 0 for index in network.inputs}
    last: dict[int, int] = dict(first)
    for step, op in enumerate(operators):
        first.setdefault(aliases[op.output], step)
        for index in (*op.inputs, op.output):
            if network.tensors[index].constant is None:
                last[aliases[index]] = step
    for index in network.outputs:
        last[aliases[index]] = len(operators)
    for state in network.states:
        first[state.tensor], last[state.tensor] = 0, len(operators)
    states = {state.tensor for state in network.states}
    # An operator that may run in place takes over the bytes of an input nobody reads later.
    holder = {index: index for index in first}
    size = {index: network.tensors[index].byte_count for index in first}
    for step, op in enumerate(operators):
        output = aliases[op.output]
        for index in op.inputs if op.in_place and output not in states else ():
            if network.tensors[index].constant is not None:
                continue
            held = holder[aliases[index]]
            if last[held] == step and size[held] >= network.tensors[output].byte_count and held != holder[output]:
                holder[output] = held
                last[held] = last[output]
                break
    held_by = sorted(set(holder.values()))
    buffers = [Buffer(size[index], first[index], last[index]) for index in held_by]
    buffers += [Buffer(op.scratch_bytes, step, step) for step, op in enumerate(operators)]
    number = {index: position for position, index in enumerate(held_by)}
    behind = {}
    for step, op in enumerate(operators):
        output, source = aliases[op.output], holder.get(aliases[op.inputs[0]])
        if source is None or last[source] != step or source in states:
            continue
        if op.kind == "dense" and op.scratch_bytes:
            behind[len(held_by) + step, number[source]] = aligned(op.scratch_bytes // 2)
        elif op.kind in WRITE_BEHIND and holder[output] == output and first[output] == step and source != output:
            behind[number[output], number[source]] = aligned(_distance(network, op))
    placed, work_bytes = place(buffers, behind)
    at = dict(zip(held_by, placed, strict=False))
    return {index: at[holder[index]] for index in holder}, placed[len(held_by) :], max(work_bytes, ALIGNMENT)


def _distance(network: spec.Int8Network, op: _Operator) -> int:
    """Bytes that the output of a window's operator has to begin below its input, so that no row of it is written over
    rows of the input that are still read; as firmware/core/int8/open.c checks it."""
    (_, in_w, in_c), (out_h, out_w, out_c) = (network.tensors[i].image_shape for i in (op.inputs[0], op.output))
    stride, pad = op.packed.stride[0], op.packed.pad[0]
    return max((y + 1) * out_w * out_c - max(y * stride - pad, 0) * in_w * in_c for y in range(out_h))


def _lay_out(
    network: spec.Int8Network, operators: Sequence[_Operator], start: int, offsets: dict[int, int]
) -> tuple[bytes, int]:
    """Weights, tables and what states need, which begin at `start` in the program; where the table of states is."""
    data = bytearray()
    seen: dict[bytes, int] = {}

    def put(part: bytes) -> int:
        if not part:
            return 0
        if part not in seen:
            data.extend(bytes(-len(data) % ALIGNMENT))
            seen[part] = start + len(data)
            data.extend(part)
        return seen[part]

    for op in operators:
        op.data_at = put(op.packed.weights)
        op.table_at = put(op.packed.table)
        for index, flag in zip(op.inputs, (FLAG_CONSTANT, FLAG_CONSTANT_B), strict=False):
            constant = network.tensors[index].constant
            if constant is not None:
                offsets[index] = put(constant)
                op.flags |= flag
    states = b""
    for state in network.states:
        name = state.name.encode()
        even = len(set(state.first)) == 1
        first_at = 0 if even else put(state.first)
        states += STATE.pack(
            offsets[state.tensor], len(state.first), first_at, put(name), len(name), state.first[0] if even else 0
        )
    states_at = put(states)
    data.extend(bytes(-len(data) % ALIGNMENT))
    return bytes(data), states_at


def _record(
    network: spec.Int8Network, op: _Operator, offsets: dict[int, int], scratch_at: int, aliases: dict[int, int]
) -> bytes:
    source, output = network.tensors[op.inputs[0]], network.tensors[op.output]
    packed = op.packed
    second = offsets[aliases[op.inputs[1]]] if len(op.inputs) > 1 else 0
    second_zero = network.tensors[op.inputs[1]].zero_point if len(op.inputs) > 1 else 0
    in_shape = source.image_shape
    out_shape = output.image_shape
    if op.shapes is not None:
        in_shape, out_shape = op.shapes
    if op.kind == "move":
        in_shape, out_shape = (1, 1, source.byte_count), (1, 1, output.byte_count)
    if op.kind in ("dense", "binary"):
        in_shape, out_shape = (1, 1, source.count), (1, 1, output.count)
    if op.kind == "mean":
        out_shape = (1, 1, output.count)
        if in_shape[2] != output.count:
            in_shape = (source.count // output.count, 1, output.count)
    fields = (*packed.kernel, *packed.stride, *packed.dilation, *packed.pad)
    if max(fields) > 255 or max(in_shape[:2] + out_shape[:2]) > 65535:
        raise UsageError(f"{op.kind} of {source.shape} to {output.shape}: a window or an image side is too large")
    return RECORD.pack(
        KINDS[op.kind], op.flags, *fields, source.zero_point, output.zero_point, *op.clamp, second_zero,
        *in_shape, *out_shape, offsets[aliases[op.inputs[0]]], second, offsets[aliases[op.output]], scratch_at,
        op.data_at, op.table_at, offsets[aliases[op.inputs[2]]] if op.kind == "lstm" else packed.chunk,
    )  # fmt: skip


def _port(tensor: spec.Int8Tensor, offset: int) -> bytes:
    ends = (min(len(tensor.shape), len(tensor.image_shape)), TYPES.index(tensor.dtype))
    return PORT.pack(offset, tensor.count, *tensor.image_shape, tensor.scale, tensor.zero_point, *ends)
