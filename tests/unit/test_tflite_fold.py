"""What is known before any sample comes is computed at conversion."""

import numpy as np
import pytest
from tflite_builder import Builder

from tinyfed.model.tflite.file import parse
from tinyfed.model.tflite.fold import fold_constants
from tinyfed.model.tflite.to_float import convert_float


def flatten_of_keras_3(b: Builder) -> tuple[int, int]:
    """(input, output): SHAPE, STRIDED_SLICE, PACK, REDUCE_PROD, CONCATENATION and RESHAPE in front of a dense layer."""
    x = b.tensor([1, 2, 3], signature=[-1, 2, 3])
    shape, batch, packed = b.tensor([3], "INT32"), b.tensor([], "INT32"), b.tensor([1], "INT32")
    count, rest, wanted = b.tensor([1], "INT32"), b.tensor([2], "INT32"), b.tensor([2], "INT32")
    b.operator("SHAPE", [x], [shape])
    one = b.constant(np.array([1], np.int32))
    ends = [b.constant(np.array([n], np.int32)) for n in (0, 1)]
    b.operator("STRIDED_SLICE", [shape, *ends, one], [batch], shrinkAxisMask=1)
    b.operator("PACK", [batch], [packed], valuesCount=1, axis=0)
    b.operator("STRIDED_SLICE", [shape, ends[1], ends[1], one], [rest], endMask=1)
    b.operator("REDUCE_PROD", [rest, ends[0]], [count], keepDims=True)
    b.operator("CONCATENATION", [packed, count], [wanted], axis=0)
    flat, y = b.tensor([1, 6], signature=[-1, 6]), b.tensor([1, 2], signature=[-1, 2])
    b.operator("RESHAPE", [x, wanted], [flat])
    b.operator("FULLY_CONNECTED", [flat, b.constant(np.ones((2, 6), np.float32)), -1], [y])
    return x, y


def test_the_shape_arithmetic_of_a_flatten_is_computed() -> None:
    b = Builder()
    x, y = flatten_of_keras_3(b)
    model = fold_constants(parse(b.content([x], [y])))
    assert [operator.name for operator in model.operators] == ["RESHAPE", "FULLY_CONNECTED"]
    wanted = model.tensors[model.operators[0].inputs[1]]
    assert wanted.data is not None and wanted.data.tolist() == [1, 6]
    assert convert_float(model).spec.output_shape == (2,)


def test_an_operator_that_only_a_shape_was_read_of_goes_too() -> None:
    b = Builder()
    x = b.tensor([1, 2, 3])
    squeezed, shape = b.tensor([1, 6]), b.tensor([2], "INT32")
    b.operator("RELU", [x], [unread := b.tensor([1, 2, 3])])
    b.operator("RESHAPE", [unread], [squeezed])
    b.operator("SHAPE", [squeezed], [shape])
    y = b.tensor([1, 6])
    b.operator("RESHAPE", [x, shape], [y])
    assert [operator.name for operator in fold_constants(parse(b.content([x], [y]))).operators] == ["RESHAPE"]


def test_an_open_size_behind_the_batch_is_no_constant() -> None:
    b = Builder()
    x = b.tensor([1, 1], signature=[-1, -1])
    shape, y = b.tensor([2], "INT32"), b.tensor([1, 1], signature=[-1, -1])
    b.operator("SHAPE", [x], [shape])
    b.operator("RESHAPE", [x, shape], [y])
    model = parse(b.content([x], [y]))
    assert fold_constants(model) is model


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_weights_stored_smaller_are_float32_again(dtype: str) -> None:
    b = Builder()
    x, y = b.tensor([1, 3]), b.tensor([1, 2])
    stored = np.array([[1, -2, 4], [0, 3, -5]], dtype)
    scale = {"scale": [0.5, 0.25], "axis": 0} if dtype == "int8" else {}
    weights = b.tensor([2, 3])
    b.operator("DEQUANTIZE", [b.constant(stored, **scale)], [weights])
    b.operator("FULLY_CONNECTED", [x, weights, -1], [y])
    factor = np.array([[0.5], [0.25]]) if dtype == "int8" else 1
    found = convert_float(parse(b.content([x], [y])), "mse").weights
    np.testing.assert_array_equal(found, (stored * factor).T.astype(np.float32).reshape(-1))
