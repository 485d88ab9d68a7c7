""".tflite files, read without TensorFlow and without an interpreter; and the interpreter, where one is installed.

The reader takes the tensors and operators of every subgraph in order, checks every offset and every reference between
them, and names the tensor or operator that is wrong.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import MissingToolError, UsageError
from tinyfed.model.tflite import schema
from tinyfed.model.tflite.flatbuffer import Table, root
from tinyfed.reading import read_model_file

MOST_TENSORS = 4096
MOST_OPERATORS = 4096
MOST_BUFFERS = 8192
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 2**31
MOST_OPERANDS = 256
# An optional operand that is left out (a layer without bias).
ABSENT = -1


class TfliteError(UsageError):
    """A .tflite file that cannot be used; the message names the file and the tensor or operator."""


@dataclass(frozen=True)
class Quantization:
    """Affine quantization: real = scale * (stored - zero_point).

    `scale` is float32[n] and `zero_point` int64[n] with n = 1 (per tensor) or the size of dimension `axis`
    (per channel)."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int

    @property
    def per_channel(self) -> bool:
        return len(self.scale) > 1


@dataclass(frozen=True)
class Tensor:
    """A tensor: `shape` as the file says it (batch first), `dtype` a name of `schema.TENSOR_TYPES`.

    `data` is a read-only view of the constant's values with that shape, or None for an activation or a type NumPy
    does not have. `dynamic_dimensions` are those whose size the file leaves open."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    data: NDArray[Any] | None
    constant_bytes: int
    quantization: Quantization | None
    dynamic_dimensions: tuple[int, ...]
    sparse: bool

    def __str__(self) -> str:
        return f'tensor {self.index} "{self.name}"'

    @property
    def element_count(self) -> int:
        return math.prod(self.shape)

    @property
    def scaled(self) -> tuple[float, int] | None:
        """(scale, zero point) of an integer tensor that has one of each."""
        found = self.quantization
        if found is None or found.per_channel or self.dtype.startswith("float"):
            return None
        return float(found.scale[0]), int(found.zero_point[0])


@dataclass(frozen=True)
class Operator:
    """One operator; `inputs` and `outputs` are tensor indices, an input may be ABSENT."""

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return f"operator {self.index} {self.name}"


@dataclass(frozen=True)
class Subgraph:
    """What an operator calls: CALL_ONCE to set variables, or a loop. `inputs` and `outputs` are indices."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class TfliteModel:
    """A .tflite file: its tensors, its operators in order of execution, the indices of its inputs and outputs, all of
    the first subgraph; `others` are the subgraphs behind it."""

    source: str
    content: bytes
    description: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    others: tuple[Subgraph, ...] = ()

    def input_tensors(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[index] for index in self.inputs)

    def output_tensors(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[index] for index in self.outputs)


def load(path: Path) -> TfliteModel:
    """`parse` of a file. Raises UsageError too where it cannot be read."""
    return parse(read_model_file(path), str(path))


def parse(content: bytes, source: str = "model") -> TfliteModel:
    """Read and check the bytes of a .tflite file; `source` names it in messages. Raises TfliteError."""
    try:
        return _model(root(content, b"TFL3", "the .tflite header"), content, source)
    except UsageError as error:
        raise TfliteError(f"not a usable .tflite file: {error.detail}", where=source) from error


def parse_ends(content: bytes, source: str = "model") -> TfliteModel:
    """`parse` without a look at what lies between the inputs and the outputs: no operators, and tensors that nothing
    is asked of. Raises TfliteError."""
    try:
        model = root(content, b"TFL3", "the .tflite header")
        graph, buffers = _subgraphs(model)[0], model.tables(4, "buffer", MOST_BUFFERS)
        tables = graph.tables(0, "tensor", MOST_TENSORS)
        ends = [_indices(graph, slot) for slot in (1, 2)]
        if not all(0 <= index < len(tables) for index in itertools.chain(*ends)):
            raise UsageError("an input or output that is no tensor")
        for buffer in buffers:
            buffer.vector(0, "u1")
        for operator in graph.tables(3, "operator", MOST_OPERATORS):
            operator.vector(1, "i4")
        named = {index: _tensor(tables[index], index, buffers, content) for index in itertools.chain(*ends)}
        tensors = tuple(named.values())
        inputs, outputs = (tuple(list(named).index(index) for index in some) for some in ends)
        return TfliteModel(source, content, model.string(3), tensors, (), inputs, outputs)
    except UsageError as error:
        raise TfliteError(f"not a usable .tflite file: {error.detail}", where=source) from error


def _subgraphs(model: Table) -> list[Table]:
    version = model.scalar(0, "I", 0)
    if version != 3:
        raise UsageError(f"schema version {version}; only version 3 is known")
    subgraphs = model.tables(2, "subgraph", 64)
    if not subgraphs:
        raise UsageError("no subgraph")
    return subgraphs


def _model(model: Table, content: bytes, source: str) -> TfliteModel:
    subgraphs = _subgraphs(model)
    buffers = model.tables(4, "buffer", MOST_BUFFERS)
    codes = model.tables(1, "operator code", MOST_OPERATORS)
    first, *others = (_subgraph(graph, buffers, codes, content) for graph in subgraphs)
    if not first.inputs or not first.outputs:
        raise UsageError("the model has no input or no output")
    return TfliteModel(
        source, content, model.string(3), first.tensors, first.operators, first.inputs, first.outputs, tuple(others)
    )


def _subgraph(graph: Table, buffers: list[Table], codes: list[Table], content: bytes) -> Subgraph:
    tensors = tuple(
        _tensor(table, index, buffers, content) for index, table in enumerate(graph.tables(0, "tensor", MOST_TENSORS))
    )
    operators = tuple(
        _operator(table, index, codes) for index, table in enumerate(graph.tables(3, "operator", MOST_OPERATORS))
    )
    result = Subgraph(tensors, operators, _indices(graph, 1), _indices(graph, 2))
    _check_references(result)
    return result


def _indices(table: Table, slot: int) -> tuple[int, ...]:
    values = table.vector(slot, "i4")
    if len(values) > MOST_OPERANDS:
        raise UsageError(f"{len(values)} operands; at most {MOST_OPERANDS} are read", key=table.what)
    return tuple(int(value) for value in values)


def _tensor(table: Table, index: int, buffers: list[Table], content: bytes) -> Tensor:
    name = table.string(3)
    table = Table(table.buffer, table.position, f'tensor {index} "{name}"')
    type_number = table.scalar(1, "b", 0)
    if not 0 <= type_number < len(schema.TENSOR_TYPES):
        raise UsageError(f"type number {type_number} is not known", key=table.what)
    dtype = schema.TENSOR_TYPES[type_number]
    dimensions = table.vector(0, "i4")
    signature = table.vector(7, "i4")
    if max(len(dimensions), len(signature)) > MOST_DIMENSIONS:
        raise UsageError(f"more than {MOST_DIMENSIONS} dimensions", key=table.what)
    shape = tuple(int(size) for size in dimensions)
    if any(size < 0 for size in shape) or math.prod(shape) > MOST_ELEMENTS:
        raise UsageError(f"shape {list(shape)} is not possible", key=table.what)
    data, constant_bytes = _constant(table, dtype, shape, buffers, content)
    return Tensor(
        index,
        name,
        shape,
        dtype,
        data,
        constant_bytes,
        _quantization(table, shape),
        tuple(int(dimension) for dimension in np.flatnonzero(signature < 0)),
        table.table(6, table.what) is not None,
    )


def _constant(
    table: Table, dtype: str, shape: tuple[int, ...], buffers: list[Table], content: bytes
) -> tuple[NDArray[Any] | None, int]:
    number = table.scalar(2, "I", 0)
    if number >= len(buffers):
        raise UsageError(f"buffer {number} of {len(buffers)}", key=table.what)
    buffer = buffers[number]
    values = buffer.vector(0, "u1")
    offset, size = buffer.scalar(1, "Q", 0), buffer.scalar(2, "Q", 0)
    if offset > 1:  # larger models keep their weights behind the flatbuffer
        if offset + size > len(content):
            raise UsageError(f"its {size} bytes at offset {offset} leave the file", key=table.what)
        values = np.frombuffer(content, np.uint8, size, offset)
    if len(values) == 0:
        return None, 0
    if dtype not in schema.NUMPY_TYPES:
        return None, len(values)
    element = np.dtype(dtype).newbyteorder("<")
    if len(values) != math.prod(shape) * element.itemsize:
        raise UsageError(f"{len(values)} bytes of values for shape {list(shape)} of {dtype}", key=table.what)
    if dtype == "bool" and (values > 1).any():
        raise UsageError("a bool that is neither 0 nor 1", key=table.what)
    return values.view(element).reshape(shape), len(values)


def _quantization(table: Table, shape: tuple[int, ...]) -> Quantization | None:
    parameters = table.table(4, f"quantization of {table.what}")
    if parameters is None:
        return None
    scale = parameters.vector(2, "f4")
    zero_point = parameters.vector(3, "i8")
    if len(scale) == 0:
        return None
    axis = parameters.scalar(6, "i", 0)
    # Writers before 2020 put the axis of the filter on its bias, and on tensors with a single scale.
    if len(shape) == 1:
        axis = 0
    if len(scale) > 1 and (not 0 <= axis < len(shape) or len(scale) != shape[axis]):
        raise UsageError(f"{len(scale)} scales for dimension {axis} of shape {list(shape)}", key=table.what)
    if len(zero_point) == 0:
        zero_point = np.zeros(len(scale), np.int64)
    if len(zero_point) == 1 and len(scale) > 1:
        zero_point = np.repeat(zero_point, len(scale))
    if len(zero_point) != len(scale):
        raise UsageError(f"{len(scale)} scales but {len(zero_point)} zero points", key=table.what)
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise UsageError("a quantization scale that is negative or not finite", key=table.what)
    return Quantization(scale.astype(np.float32), zero_point.astype(np.int64), axis if len(scale) > 1 else 0)


def _operator(table: Table, index: int, codes: list[Table]) -> Operator:
    number = table.scalar(0, "I", 0)
    if number >= len(codes):
        raise UsageError(f"operator code {number} of {len(codes)}", key=table.what)
    code = codes[number]
    # Files from before 2020 have the number in the first field only, a byte.
    builtin = max(code.scalar(0, "b", 0), code.scalar(3, "i", 0))
    if builtin == schema.CUSTOM_OPERATOR:
        name = code.string(1) or "CUSTOM"
    elif 0 <= builtin < len(schema.OPERATORS):
        name = schema.OPERATORS[builtin]
    else:
        raise UsageError(f"builtin operator number {builtin} is not known", key=table.what)
    table = Table(table.buffer, table.position, f"operator {index} {name}")
    options: dict[str, Any] = {}
    if builtin != schema.CUSTOM_OPERATOR and name in schema.OPTIONS:
        kind, fields = schema.OPTIONS[name]
        written = table.scalar(3, "B", 0)
        found = table.table(4, f"options of {table.what}") if written else None
        if found is not None and written != kind:
            raise UsageError(f"options of kind {written}, expected {kind}", key=table.what)
        for slot, field in enumerate(fields):
            if field is not None:
                label, layout, default = field
                if found is None:
                    options[label] = default
                else:
                    options[label] = found.string(slot) if layout == "string" else found.scalar(slot, layout, default)
    return Operator(index, name, code.scalar(2, "i", 1), _indices(table, 1), _indices(table, 2), options)


def _check_references(model: Subgraph) -> None:
    """Every operand exists, is written before it is read, and is written once."""
    count = len(model.tensors)

    def check(owner: str, indices: tuple[int, ...], lowest: int) -> None:
        for index in indices:
            if not lowest <= index < count:
                raise UsageError(f"tensor {index} of {count}", key=owner)

    check("the model's inputs", model.inputs, 0)
    check("the model's outputs", model.outputs, 0)
    written = {tensor.index for tensor in model.tensors if tensor.constant_bytes}
    for index in model.inputs:
        if index in written:
            raise UsageError(f"{model.tensors[index]} is an input and a constant")
    written.update(model.inputs)
    read_before: set[int] = set()
    for operator in model.operators:
        check(str(operator), operator.inputs, ABSENT)
        check(str(operator), operator.outputs, 0)
        read_before.update(index for index in operator.inputs if index != ABSENT and index not in written)
        for index in operator.outputs:
            if index in written:
                raise UsageError(f"writes {model.tensors[index]}, which has a value already", key=str(operator))
            written.add(index)
    # State of recurrent operators (is_variable) is read and never written by an operator.
    for index in sorted(read_before & written):
        raise UsageError(f"{model.tensors[index]} is read before it is written")
    for index in model.outputs:
        if index not in written:
            raise UsageError(f"{model.tensors[index]} is an output that no operator writes")


def interpreter(content: bytes) -> Any:
    """A TFLite interpreter of the model, whichever is installed: ai-edge-litert's, else tflite-runtime's.

    Raises MissingToolError, which says what to install where there is none.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise MissingToolError(
                "no TFLite interpreter is installed: pip install 'tinyfed[tflite]' (ai-edge-litert), "
                "or tflite-runtime where a Raspberry Pi has that"
            ) from error
    return Interpreter(model_content=content)
