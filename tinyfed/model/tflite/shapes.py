"""Shapes that a file leaves open because its batch is: with a batch of 1 the others follow, operator by operator."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from tinyfed.model.tflite.file import ABSENT, Operator, Tensor, TfliteModel
from tinyfed.model.tflite.fold import strided_index

Shape = tuple[int, ...]


def settle_shapes(model: TfliteModel) -> TfliteModel:
    """`model` with the shape of every tensor that an operator writes as it is for a batch of 1. A size that is open
    in an input, or that no rule here gives, stays open."""
    tensors = list(model.tensors)
    changed = {index for index in model.inputs if any(axis > 0 for axis in tensors[index].dynamic_dimensions)}
    changed = {tensor.index for tensor in tensors if tensor.dynamic_dimensions} - changed
    for operator in model.operators:
        if not changed.intersection((*operator.inputs, *operator.outputs)):
            continue
        for index, shape in zip(operator.outputs, _shapes(operator, tensors), strict=False):
            if shape is not None and all(size > 0 for size in shape):
                tensors[index] = dataclasses.replace(tensors[index], shape=shape, dynamic_dimensions=())
    return dataclasses.replace(model, tensors=tuple(tensors))


def _shapes(operator: Operator, tensors: list[Tensor]) -> list[Shape | None]:
    """Of the outputs; nothing where an operand is missing or does not fit: what reads the file then says so."""
    if any(
        index != ABSENT and any(axis > 0 for axis in tensors[index].dynamic_dimensions) for index in operator.inputs
    ):
        return []
    operands = [None if index == ABSENT else tensors[index] for index in operator.inputs]
    stored = [tensors[index].shape for index in operator.outputs]
    try:
        return _RULES.get(operator.name, _batched)(operator, operands, stored)
    except (ValueError, IndexError, TypeError, AttributeError, KeyError, OverflowError):
        return []


Operands = list[Tensor | None]
Rule = Callable[[Operator, Operands, list[Shape]], list[Shape | None]]


def _of(operands: Operands, position: int) -> Shape:
    found = operands[position]
    if found is None:
        raise ValueError("an operand is missing")
    return found.shape


def _values(operands: Operands, position: int) -> list[int]:
    found = operands[position]
    if found is None or found.data is None:
        raise ValueError("no constant")
    return [int(value) for value in found.data.reshape(-1)]


def _batched(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    """What is stored, with the first operand's batch, where that alone may be open."""
    batch = _of(operands, 0)[0]
    return [(batch, *shape[1:]) if len(shape) > 1 and shape[0] == 1 else shape for shape in stored]


def _same(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    return [_of(operands, 0)]


def _broadcast(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    return [np.broadcast_shapes(_of(operands, 0), _of(operands, 1))]


def _reshape(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    wanted = _values(operands, 1)
    known = math.prod(size for size in wanted if size != -1)
    return [tuple(math.prod(_of(operands, 0)) // known if size == -1 else size for size in wanted)]


def _dense(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    source, (units, inputs) = _of(operands, 0), _of(operands, 1)
    if operator.options["keep_dims"]:
        return [(*source[:-1], units)]
    return [(math.prod(source) // inputs, units)]


def _transpose(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    source = _of(operands, 0)
    return [tuple(source[axis] for axis in _values(operands, 1))]


def _concatenation(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    axis = operator.options["axis"]
    shapes = [list(_of(operands, position)) for position in range(len(operands))]
    shapes[0][axis] = sum(shape[axis] for shape in shapes)
    return [tuple(shapes[0])]


def _strided_slice(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    begin, end, strides = (np.array(_values(operands, position)) for position in (1, 2, 3))
    return [np.empty(_of(operands, 0), np.int8)[strided_index(operator.options, begin, end, strides)].shape or (1,)]


def _pack(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    shape = list(_of(operands, 0))
    axis = operator.options["axis"]
    shape.insert(axis if axis >= 0 else axis + len(shape) + 1, len(operands))
    return [tuple(shape)]


def _unpack(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    shape = list(_of(operands, 0))
    del shape[operator.options["axis"]]
    return [tuple(shape)] * len(stored)


def _matmul(operator: Operator, operands: Operands, stored: list[Shape]) -> list[Shape | None]:
    a, b, options = _of(operands, 0), _of(operands, 1), operator.options
    rows, columns = a[-1 if options["adj_x"] else -2], b[-2 if options["adj_y"] else -1]
    return [(*np.broadcast_shapes(a[:-2], b[:-2]), rows, columns)]


_SAME = """
    ABS ELU EXP GELU HARD_SWISH LEAKY_RELU LOG LOGISTIC LOG_SOFTMAX NEG PRELU QUANTIZE DEQUANTIZE RELU RELU6
    RELU_N1_TO_1 RSQRT SIN SOFTMAX SQRT SQUARE TANH
"""
_BROADCAST = "ADD DIV MAXIMUM MINIMUM MUL SQUARED_DIFFERENCE SUB"
_RULES: dict[str, Rule] = {
    "BATCH_MATMUL": _matmul,
    "CONCATENATION": _concatenation,
    "FULLY_CONNECTED": _dense,
    "PACK": _pack,
    "RESHAPE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_BROADCAST.split(), _broadcast),
}
