"""Operators whose result is known before any sample comes, computed at conversion: arithmetic on shapes, which every
`Flatten` and `Reshape` of Keras 3 brings, and constants stored in another type."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.tflite.file import ABSENT, Operator, Tensor, TfliteModel
from tinyfed.model.tflite.schema import NUMPY_TYPES

Array = NDArray[Any]
# Of one result: shapes are small; the largest is a weight stored as float16.
MOST_ELEMENTS = 1 << 24


def fold_constants(model: TfliteModel) -> TfliteModel:
    """`model` without the operators whose operands are all constants: their outputs are constants now.

    A shape counts as a constant where only the batch is left open, which is 1.
    """
    tensors = list(model.tensors)
    kept: list[Operator] = []
    for operator in model.operators:
        values = _evaluated(operator, tensors) if operator.outputs else None
        if values is None or any(index in model.outputs for index in operator.outputs):
            kept.append(operator)
            continue
        for index, value in zip(operator.outputs, values, strict=True):
            tensors[index] = _constant(tensors[index], value)
    if len(kept) == len(model.operators):
        return model
    return dataclasses.replace(model, tensors=tuple(tensors), operators=tuple(_read(model, kept)))


def _read(model: TfliteModel, kept: list[Operator]) -> list[Operator]:
    """`kept` without those that only an operator computed here has read."""
    there = {operator.index for operator in kept}
    orphans = {index for operator in model.operators if operator.index not in there for index in operator.inputs}
    needed = set(model.outputs).union(*(operator.inputs for operator in kept))
    found: list[Operator] = []
    for operator in reversed(kept):
        if orphans.intersection(operator.outputs) and not needed.intersection(operator.outputs):
            orphans.update(operator.inputs)
            needed = set(model.outputs).union(*(other.inputs for other in kept if other.index < operator.index))
            needed.update(*(other.inputs for other in found))
        else:
            found.insert(0, operator)
    return found


def strided_index(options: Mapping[str, Any], begin: Array, end: Array, strides: Array) -> tuple[Any, ...]:
    """What STRIDED_SLICE reads, as an index of a NumPy array."""
    index: list[Any] = []
    for axis, (first, last, step) in enumerate(zip(begin.tolist(), end.tolist(), strides.tolist(), strict=True)):
        bit = 1 << axis
        if options["ellipsis_mask"] & bit:
            index.append(Ellipsis)
        elif options["new_axis_mask"] & bit:
            index.append(None)
        elif options["shrink_axis_mask"] & bit:
            index.append(0 if options["begin_mask"] & bit else first)
        else:
            stop = first + last if options["offset"] else last
            index.append(
                slice(None if options["begin_mask"] & bit else first, None if options["end_mask"] & bit else stop, step)
            )
    return tuple(index)


def _constant(tensor: Tensor, value: Array) -> Tensor:
    value.flags.writeable = False
    return dataclasses.replace(
        tensor, shape=value.shape, data=value, constant_bytes=max(value.nbytes, 1), dynamic_dimensions=()
    )


def _evaluated(operator: Operator, tensors: list[Tensor]) -> list[Array] | None:
    """The values of the outputs; None where they are not known, or not computed here."""
    rule = _RULES.get(operator.name)
    operands = [None if index == ABSENT else tensors[index] for index in operator.inputs]
    results = [tensors[index] for index in operator.outputs]
    if rule is None or any(tensor.dtype not in NUMPY_TYPES for tensor in results):
        return None
    if operator.name == "SHAPE":
        source = operands[0] if operands else None
        if source is None or any(dimension > 0 for dimension in source.dynamic_dimensions):
            return None
        return [np.array(source.shape, results[0].dtype)]
    if any(tensor is None or tensor.data is None or tensor.sparse for tensor in operands):
        return None
    if operator.name in ("DEQUANTIZE", "QUANTIZE"):
        return _stored_otherwise(operands[0], results[0])
    try:
        with np.errstate(all="ignore"):
            values = rule([t.data for t in operands if t is not None and t.data is not None], operator.options)
    except (ValueError, IndexError, TypeError, KeyError, ZeroDivisionError, MemoryError):
        return None  # whoever converts the operator says what is wrong with it
    found = values if isinstance(values, list) else [values]
    if len(found) != len(results) or any(np.size(value) > MOST_ELEMENTS for value in found):
        return None
    return [np.array(value, result.dtype) for value, result in zip(found, results, strict=True)]


def _stored_otherwise(source: Tensor | None, result: Tensor) -> list[Array] | None:
    """float16 weights as float32, int8 ones with a scale as float32."""
    if source is None or source.data is None or result.dtype != "float32":
        return None
    if source.dtype == "float16":
        return [source.data.astype(np.float32)]
    found = source.quantization
    if found is None or source.dtype not in ("int8", "uint8", "int16", "int32"):
        return None
    along = [1] * source.data.ndim
    if found.per_channel:
        along[found.axis] = -1
    return [
        ((source.data.astype(np.float64) - found.zero_point.reshape(along)) * found.scale.reshape(along)).astype(
            np.float32
        )
    ]


def _axes(values: Array) -> tuple[int, ...]:
    return tuple(int(axis) for axis in values.reshape(-1))


def _reduced(function: Callable[..., Any]) -> Callable[[list[Array], Mapping[str, Any]], Any]:
    return lambda v, o: function(v[0], axis=_axes(v[1]), keepdims=bool(o["keep_dims"]))


def _both(function: Callable[[Array, Array], Any]) -> Callable[[list[Array], Mapping[str, Any]], Any]:
    def rule(values: list[Array], options: Mapping[str, Any]) -> Any:
        if options.get("activation", 0) or np.broadcast(*values).size > MOST_ELEMENTS:
            raise ValueError("not arithmetic of shapes")
        return function(values[0], values[1])

    return rule


def _filled(shape: Array, value: Array) -> Array:
    if int(np.prod(shape.astype(np.int64))) > MOST_ELEMENTS or (shape < 0).any():
        raise ValueError("too large")
    return np.broadcast_to(value, _axes(shape))


def _gathered(values: list[Array], options: Mapping[str, Any]) -> Array:
    if options["batch_dims"] or (values[1] < 0).any():
        raise ValueError("batches of indices")
    return np.take(values[0], values[1].astype(np.intp), axis=options["axis"])


def _ranged(values: list[Array], _: Mapping[str, Any]) -> Array:
    first, limit, step = (value.item() for value in values)
    if abs(limit - first) > MOST_ELEMENTS * abs(step):
        raise ValueError("too large")
    return np.arange(first, limit, step)


_RULES: dict[str, Callable[[list[Array], Mapping[str, Any]], Any]] = {
    "ADD": _both(np.add),
    "BROADCAST_TO": lambda v, o: _filled(v[1], v[0]),
    "CAST": lambda v, o: v[0],
    "CONCATENATION": lambda v, o: np.concatenate(v, axis=o["axis"]),
    "DEQUANTIZE": lambda v, o: v[0],
    "DIV": _both(lambda a, b: np.divide(a, b) if a.dtype.kind == "f" else np.trunc(np.divide(a, b))),
    "EXPAND_DIMS": lambda v, o: np.expand_dims(v[0], int(v[1].item())),
    "FILL": lambda v, o: _filled(v[0], v[1]),
    "FLOOR_DIV": _both(np.floor_divide),
    "GATHER": _gathered,
    "MAXIMUM": _both(np.maximum),
    "MINIMUM": _both(np.minimum),
    "MUL": _both(np.multiply),
    "PACK": lambda v, o: np.stack(v, axis=o["axis"]),
    "RANGE": _ranged,
    "REDUCE_MAX": _reduced(np.max),
    "REDUCE_MIN": _reduced(np.min),
    "REDUCE_PROD": _reduced(np.prod),
    "RESHAPE": lambda v, o: v[0].reshape(_axes(v[1])),
    "SHAPE": lambda v, o: v[0],
    "SLICE": lambda v, o: v[0][
        tuple(
            slice(b, None if n == -1 else b + n)
            for b, n in zip(v[1].reshape(-1).tolist(), v[2].reshape(-1).tolist(), strict=True)
        )
    ],
    "SQUEEZE": lambda v, o: np.squeeze(v[0]),
    "STRIDED_SLICE": lambda v, o: v[0][strided_index(o, v[1], v[2], v[3])],
    "SUB": _both(np.subtract),
    "SUM": _reduced(np.sum),
    "TRANSPOSE": lambda v, o: np.transpose(v[0], _axes(v[1])),
    "UNPACK": lambda v, o: list(np.moveaxis(v[0], o["axis"], 0)),
}
