"""Operators that only put values elsewhere (concatenations, slices and the like), on random shapes beside TFLM."""

import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from conftest import ROOT, require
from int8_oracle import same_as_tflm

from tinyfed.errors import UsageError
from tinyfed.model.convert import read_tflite
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.tflite.file import parse

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from tflite_builder import Builder

try:
    import tflite_micro
except ImportError:
    tflite_micro = None

CASES = 6
SCALE = {"dtype": "INT8", "scale": 0.25, "zero_point": -3}


@pytest.fixture(autouse=True)
def oracle_is_there() -> None:
    require(tflite_micro is not None, "the oracle, PyPI's tflite-micro, is not installed: run `make setup`")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    seed = zlib.crc32(request.node.name.encode())
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def sides(rng: np.random.Generator, rank: int, most: int = 6) -> list[int]:
    """A random shape with the batch of 1 in front."""
    return [1, *(int(n) for n in rng.integers(1, most, rank - 1))]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


Case = tuple[list[int], list[int]]  # inputs and outputs of the file


def concatenation(b: Builder, rng: np.random.Generator) -> Case:
    rank = int(rng.integers(2, 5))
    shape, axis = sides(rng, rank), int(rng.integers(1, rank))
    lengths = [int(n) for n in rng.integers(1, 5, int(rng.integers(2, 5)))]
    inputs = [b.tensor([*shape[:axis], n, *shape[axis + 1 :]], **SCALE) for n in lengths]
    y = b.tensor([*shape[:axis], sum(lengths), *shape[axis + 1 :]], **SCALE)
    b.operator("CONCATENATION", inputs, [y], axis=axis if rng.random() < 0.5 else axis - rank)
    return inputs, [y]


def concatenation_with_a_constant(b: Builder, rng: np.random.Generator) -> Case:
    shape = sides(rng, 4)
    x, y = b.tensor(shape, **SCALE), b.tensor([*shape[:3], 2 * shape[3]], **SCALE)
    constant = b.constant(rng.integers(-128, 128, shape, np.int8), scale=0.25, zero_point=-3)
    b.operator("CONCATENATION", [constant, x], [y], axis=3)
    return [x], [y]


def slice_(b: Builder, rng: np.random.Generator) -> Case:
    shape = sides(rng, int(rng.integers(2, 5)))
    begin = [int(rng.integers(0, n)) for n in shape]
    size = [int(rng.integers(1, n - first + 1)) for n, first in zip(shape, begin, strict=True)]
    x, y = b.tensor(shape, **SCALE), b.tensor(size, **SCALE)
    asked = [-1 if first + n == whole else n for n, first, whole in zip(size, begin, shape, strict=True)]
    b.operator("SLICE", [x, b.constant(ints(*begin)), b.constant(ints(*asked))], [y])
    return [x], [y]


def strided_slice(b: Builder, rng: np.random.Generator) -> Case:
    shape = sides(rng, int(rng.integers(2, 5)))
    steps = [1, *(int(n) for n in rng.choice([1, 1, 2, 3, -1], len(shape) - 1))]
    begin = [int(rng.integers(0, n)) if step > 0 else n - 1 for n, step in zip(shape, steps, strict=True)]
    end = [n if step > 0 else -n - 1 for n, step in zip(shape, steps, strict=True)]
    shrunk = int(rng.integers(1, len(shape))) if rng.random() < 0.4 else None
    index = [slice(i, None, s) for i, s in zip(begin, steps, strict=True)]
    if shrunk is not None:
        begin[shrunk], end[shrunk], steps[shrunk] = 0, 1, 1
        index[shrunk] = 0
    x = b.tensor(shape, **SCALE)
    y = b.tensor(list(np.empty(shape)[tuple(index)].shape), **SCALE)
    b.operator(
        "STRIDED_SLICE", [x, *(b.constant(ints(*part)) for part in (begin, end, steps))], [y],
        shrinkAxisMask=0 if shrunk is None else 1 << shrunk, beginMask=1, endMask=1,
    )  # fmt: skip
    return [x], [y]


def split(b: Builder, rng: np.random.Generator) -> Case:
    rank = int(rng.integers(2, 5))
    shape, axis, count = sides(rng, rank), int(rng.integers(1, rank)), int(rng.integers(2, 4))
    x = b.tensor([*shape[:axis], shape[axis] * count, *shape[axis + 1 :]], **SCALE)
    outputs = [b.tensor(shape, **SCALE) for _ in range(count)]
    b.operator("SPLIT", [b.constant(ints(axis).reshape(())), x], outputs, numSplits=count)
    return [x], outputs


def split_v(b: Builder, rng: np.random.Generator) -> Case:
    rank = int(rng.integers(2, 5))
    shape, axis = sides(rng, rank), int(rng.integers(1, rank))
    lengths = [int(n) for n in rng.integers(1, 5, 3)]
    x = b.tensor([*shape[:axis], sum(lengths), *shape[axis + 1 :]], **SCALE)
    outputs = [b.tensor([*shape[:axis], n, *shape[axis + 1 :]], **SCALE) for n in lengths]
    b.operator("SPLIT_V", [x, b.constant(ints(*lengths)), b.constant(ints(axis).reshape(()))], outputs, numSplits=3)
    return [x], outputs


def unpack(b: Builder, rng: np.random.Generator) -> Case:
    rank = int(rng.integers(2, 5))
    shape, axis = sides(rng, rank), int(rng.integers(1, rank))
    x = b.tensor(shape, **SCALE)
    outputs = [b.tensor([*shape[:axis], *shape[axis + 1 :]], **SCALE) for _ in range(shape[axis])]
    b.operator("UNPACK", [x], outputs, num=shape[axis], axis=axis)
    return [x], outputs


def pack(b: Builder, rng: np.random.Generator) -> Case:
    rank, count = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    shape, axis = sides(rng, rank), int(rng.integers(1, rank + 1))
    inputs = [b.tensor(shape, **SCALE) for _ in range(count)]
    y = b.tensor([*shape[:axis], count, *shape[axis:]], **SCALE)
    b.operator("PACK", inputs, [y], valuesCount=count, axis=axis)
    return inputs, [y]


def transpose(b: Builder, rng: np.random.Generator) -> Case:
    rank = int(rng.integers(2, 6))
    shape, order = sides(rng, rank, 5), [0, *(int(n) for n in 1 + rng.permutation(rank - 1))]
    x, y = b.tensor(shape, **SCALE), b.tensor([shape[axis] for axis in order], **SCALE)
    b.operator("TRANSPOSE", [x, b.constant(ints(*order))], [y])
    return [x], [y]


def space_to_batch_and_back(b: Builder, rng: np.random.Generator) -> Case:
    """As a dilated convolution is written: pads and blocks, then crops that take the pads away. TFLM leaves the pads
    to what lay in memory: they are looked at below."""
    height, width, channels = (int(n) for n in rng.integers(2, 8, 3))
    block = [int(n) for n in rng.integers(1, 4, 2)]
    before = [int(n) for n in rng.integers(0, 3, 2)]
    after = [
        -(size + first) % n + n * int(rng.integers(0, 2))
        for size, first, n in zip((height, width), before, block, strict=True)
    ]
    grown = [(size + i + j) // n for size, i, j, n in zip((height, width), before, after, block, strict=True)]
    edges = b.constant(np.array([before, after], np.int32).T)
    x, y = (b.tensor([1, height, width, channels], **SCALE) for _ in range(2))
    batches = b.tensor([block[0] * block[1], *grown, channels], **SCALE)
    sizes = b.constant(ints(*block))
    b.operator("SPACE_TO_BATCH_ND", [x, sizes, edges], [batches])
    b.operator("BATCH_TO_SPACE_ND", [batches, sizes, edges], [y])
    flat = b.tensor([1, block[0] * block[1] * grown[0] * grown[1] * channels], **SCALE)
    b.operator("RESHAPE", [batches, b.constant(ints(1, -1))], [flat])
    return [x], [y, flat] if not any(before + after) else [y]


def depth_to_space(b: Builder, rng: np.random.Generator) -> Case:
    size = int(rng.integers(2, 4))
    height, width, channels = (int(n) for n in rng.integers(1, 5, 3))
    x = b.tensor([1, height, width, channels * size * size], **SCALE)
    y = b.tensor([1, height * size, width * size, channels], **SCALE)
    b.operator("DEPTH_TO_SPACE", [x], [y], blockSize=size)
    return [x], [y]


def space_to_depth(b: Builder, rng: np.random.Generator) -> Case:
    size = int(rng.integers(2, 4))
    height, width, channels = (int(n) for n in rng.integers(1, 5, 3))
    x = b.tensor([1, height * size, width * size, channels], **SCALE)
    y = b.tensor([1, height, width, channels * size * size], **SCALE)
    b.operator("SPACE_TO_DEPTH", [x], [y], blockSize=size)
    return [x], [y]


def gather(b: Builder, rng: np.random.Generator) -> Case:
    shape = sides(rng, 3, 8)
    axis = int(rng.integers(1, 3))
    wanted = rng.integers(0, shape[axis], 5).astype(np.int32)
    x = b.tensor(shape, **SCALE)
    y = b.tensor([*shape[:axis], 5, *shape[axis + 1 :]], **SCALE)
    b.operator("GATHER", [x, b.constant(wanted)], [y], axis=axis)
    return [x], [y]


MAKERS: list[Callable[[Builder, np.random.Generator], Case]] = [
    concatenation, concatenation_with_a_constant, slice_, strided_slice, split, split_v, unpack, pack, transpose,
    space_to_batch_and_back, depth_to_space, space_to_depth, gather,
]  # fmt: skip


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_values_go_where_tflm_puts_them(
    make: Callable[[Builder, np.random.Generator], Case], case: int, rng: np.random.Generator
) -> None:
    b = Builder()
    same_as_tflm(b.content(*make(b, rng)), rng)


def test_pads_of_blocks_hold_real_zero() -> None:
    b = Builder()
    x, y = b.tensor([1, 3, 1, 1], **SCALE), b.tensor([1, 6], **SCALE)
    batches = b.tensor([2, 3, 1, 1], **SCALE)
    b.operator(
        "SPACE_TO_BATCH_ND", [x, b.constant(ints(2, 1)), b.constant(np.array([[2, 1], [0, 0]], np.int32))], [batches]
    )
    b.operator("RESHAPE", [batches, b.constant(ints(1, -1))], [y])
    model = read_tflite(parse(b.content([x], [y])))
    (found,) = Int8Engine(model.content).run(np.array([10, 20, 30], np.int8).reshape(3, 1, 1))
    assert found.reshape(-1).tolist() == [-3, 10, 30, -3, 20, -3]


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_windows_on_blocks_stay_within_each(name: str, padding: int, rng: np.random.Generator) -> None:
    """As a dilated convolution is written."""
    b = Builder()
    x, blocks = b.tensor([1, 8, 6, 3], **SCALE), b.tensor([4, 4, 3, 3], **SCALE)
    sizes, edges = b.constant(ints(2, 2)), b.constant(np.zeros((2, 2), np.int32))
    b.operator("SPACE_TO_BATCH_ND", [x, sizes, edges], [blocks])
    height, width = (4, 3) if padding == 0 else (3, 2)
    pooled, y = b.tensor([4, height, width, 3], **SCALE), b.tensor([1, 2 * height, 2 * width, 3], **SCALE)
    options = {"padding": padding, "strideH": 1, "strideW": 1}
    operands = [blocks]
    if "POOL" in name:
        options |= {"filterHeight": 2, "filterWidth": 2}
    else:
        shape = (3, 2, 2, 3) if name == "CONV_2D" else (1, 2, 2, 3)
        axis = 0 if name == "CONV_2D" else 3
        operands.append(b.constant(rng.integers(-127, 128, shape, np.int8), scale=[0.01] * 3, axis=axis))
        operands.append(b.constant(rng.integers(-99, 99, 3).astype(np.int32), scale=[0.0025] * 3))
        options |= {"dilationHFactor": 1, "dilationWFactor": 1}
        options |= {"depthMultiplier": 1} if name == "DEPTHWISE_CONV_2D" else {}
    b.operator(name, operands, [pooled], **options)
    b.operator("BATCH_TO_SPACE_ND", [pooled, sizes, edges], [y])
    same_as_tflm(b.content([x], [y]), rng)


def output_is_an_input(b: Builder) -> Case:
    x, y, z = b.tensor([1, 6], **SCALE), b.tensor([1, 2, 3], **SCALE), b.tensor([1, 6], **SCALE)
    b.operator("RESHAPE", [x, b.constant(ints(1, 2, 3))], [y], newShape=[1, 2, 3])
    b.operator("RELU", [x], [z])
    return [x], [y, z, x]


def output_is_a_constant(b: Builder) -> Case:
    x, y = b.tensor([1, 4], **SCALE), b.tensor([1, 4], **SCALE)
    b.operator("RELU", [x], [y])
    return [x], [y, b.constant(np.array([[1, -2, 3, -4]], np.int8), scale=0.25, zero_point=-3)]


def output_is_a_uint8_input(b: Builder) -> Case:
    x, y = b.tensor([1, 4], **SCALE), b.tensor([1, 4], "UINT8", scale=0.25, zero_point=125)
    b.operator("QUANTIZE", [x], [y])
    return [x], [y]


def output_begins_with_no_batch(b: Builder) -> Case:
    x, y, z = b.tensor([1, 3, 4], **SCALE), b.tensor([4, 3, 1], **SCALE), b.tensor([2, 6], **SCALE)
    b.operator("TRANSPOSE", [x, b.constant(ints(2, 1, 0))], [y])
    b.operator("RESHAPE", [y, b.constant(ints(2, 6))], [z], newShape=[2, 6])
    return [x], [y, z]


ENDS = [output_is_an_input, output_is_a_constant, output_begins_with_no_batch]


@pytest.mark.parametrize("build", ENDS, ids=lambda build: build.__name__)
def test_outputs_that_no_layer_makes_or_without_a_batch(
    build: Callable[[Builder], Case], rng: np.random.Generator
) -> None:
    b = Builder()
    inputs, outputs = build(b)
    engine = same_as_tflm(b.content(inputs, outputs), rng)
    if build is output_begins_with_no_batch:
        assert [port.shape for port in engine.outputs] == [(4, 3, 1), (2, 6)]


def test_a_network_that_only_makes_uint8_of_int8() -> None:
    b = Builder()
    model = read_tflite(parse(b.content(*output_is_a_uint8_input(b))))
    (found,) = Int8Engine(model.content).run(np.array([-128, -1, 0, 127], np.int8))
    np.testing.assert_array_equal(found.view(np.uint8), np.array([0, 127, 128, 255], np.uint8))


def test_more_ends_than_a_program_has_are_counted() -> None:
    b = Builder()
    inputs, y = [b.tensor([1, 2], **SCALE) for _ in range(17)], b.tensor([1, 34], **SCALE)
    b.operator("CONCATENATION", inputs, [y], axis=1)
    with pytest.raises(UsageError, match="17 inputs and 1 outputs; at most 16 together"):
        read_tflite(parse(b.content(inputs, [y])))
