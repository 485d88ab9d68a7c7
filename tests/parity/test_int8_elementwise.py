"""Functions of one and of two int8 values beside TFLite Micro: every value, every pair, and broadcasts of all kinds."""

import sys
import zlib

import numpy as np
import pytest
from conftest import ROOT, require
from int8_oracle import Oracle, same_as_tflm

from tinyfed.model.convert import read_tflite
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.tflite.file import parse

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from tflite_builder import Builder

try:
    import tflite_micro
except ImportError:
    tflite_micro = None

CASES = 8
TWO = ["ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE", "PRELU"]
FUSES = ("ADD", "SUB", "MUL")
# Shapes that broadcast, each as TFLM takes it: no, a channel, one value, the first, both.
SHAPES = [
    ([1, 3, 4, 5], [1, 3, 4, 5]), ([1, 3, 4, 5], [1, 1, 1, 5]), ([1, 3, 4, 5], [1, 1, 1, 1]),
    ([1, 1, 4, 5], [1, 3, 4, 5]),
    ([1, 3, 1, 5], [1, 1, 4, 1]), ([1, 6], [1, 1]), ([1, 3, 4, 5], [1, 3, 4, 1]), ([1, 3, 4, 5], [1, 3, 1, 1]),
]  # fmt: skip


@pytest.fixture(autouse=True)
def oracle_is_there() -> None:
    require(tflite_micro is not None, "the oracle, PyPI's tflite-micro, is not installed: run `make setup`")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    seed = zlib.crc32(request.node.name.encode())
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def quantization(rng: np.random.Generator, low: float = -5, high: float = 0) -> dict[str, object]:
    scale = float(np.float32(np.exp(rng.uniform(low, high))))
    return {"dtype": "INT8", "scale": scale, "zero_point": int(rng.choice([-128, 127, 0, rng.integers(-128, 128)]))}


def ends_of(name: str, rng: np.random.Generator) -> tuple[dict[str, object], dict[str, object], dict[str, object]]:
    """Quantization of both inputs and the output, at which most outputs are not clamped."""
    a, b, y = quantization(rng), quantization(rng), quantization(rng)
    if name in ("MINIMUM", "MAXIMUM"):
        return a, a, a
    sizes = float(a["scale"]), float(b["scale"])  # type: ignore[arg-type]
    typical = {"MUL": 60 * sizes[0] * sizes[1], "PRELU": max(sizes[0], 60 * sizes[0] * sizes[1])}
    typical["SQUARED_DIFFERENCE"] = 60 * max(sizes) ** 2
    y["scale"] = float(np.float32(typical.get(name, sum(sizes)) * rng.uniform(0.5, 2)))
    return a, b, y


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.parametrize("name", TWO)
def test_broadcast(name: str, case: int, rng: np.random.Generator) -> None:
    b = Builder()
    (shape_a, shape_b), (a, other, y) = SHAPES[case], ends_of(name, rng)
    shape = list(np.broadcast_shapes(tuple(shape_a), tuple(shape_b)))
    operands = [b.tensor(shape_a, **a)]
    if name == "PRELU" or rng.random() < 0.5:
        values = rng.integers(-128, 128, shape_b, np.int8)
        operands.append(b.constant(values, scale=other["scale"], zero_point=other["zero_point"]))
    else:
        operands.append(b.tensor(shape_b, **other))
    inputs = [index for index in operands if b.graph.tensors[index].buffer == 0]
    if name not in ("PRELU", "SUB", "SQUARED_DIFFERENCE") and rng.random() < 0.5:
        operands.reverse()
    result = b.tensor(shape, **y)
    fused = {"fusedActivationFunction": int(rng.integers(0, 4))} if name in FUSES else {}
    b.operator(name, operands, [result], **fused)
    same_as_tflm(b.content(inputs, [result]), rng)


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("name", TWO)
def test_every_pair(name: str, case: int, rng: np.random.Generator) -> None:
    """TFLM broadcasts one value of 256 against all of the other."""
    b = Builder()
    first, second, y = ends_of(name, rng)
    given = np.arange(-128, 128).astype(np.int8)
    x = b.tensor([1, 256, 1], **first)
    values = b.constant(given.reshape(1, 1, 256), scale=second["scale"], zero_point=second["zero_point"])
    if name == "PRELU":  # takes four dimensions in some of TFLM's bodies
        b = Builder()
        x = b.tensor([1, 1, 256, 1], **first)
        values = b.constant(given.reshape(1, 1, 1, 256), scale=second["scale"], zero_point=second["zero_point"])
    result = b.tensor([1, 1, 256, 256] if name == "PRELU" else [1, 256, 256], **y)
    b.operator(name, [x, values], [result])
    content = b.content([x], [result])
    shaped = given.reshape([1, 1, 256, 1] if name == "PRELU" else [1, 256, 1])
    model = read_tflite(parse(content))
    (found,) = Int8Engine(model.content).run(shaped[0])
    np.testing.assert_array_equal(found.reshape(-1), Oracle(content).run(shaped).reshape(-1))


@pytest.mark.parametrize("case", range(CASES))
@pytest.mark.parametrize("name", ["TANH", "ABS", "ELU", "HARD_SWISH", "RSQRT"])
def test_every_value(name: str, case: int, rng: np.random.Generator) -> None:
    b = Builder()
    source, y = quantization(rng, -6, -1), quantization(rng, -6, -1)
    given = np.arange(-128, 128).astype(np.int8)
    if name == "TANH":
        y |= {"scale": 1 / 128, "zero_point": 0}
    elif name == "RSQRT":
        source["zero_point"] = -128
        y |= {"scale": float(np.float32(0.3 * float(source["scale"]) ** -0.5 / 100)), "zero_point": -128}  # type: ignore[arg-type]
    else:
        y["scale"] = float(np.float32(float(source["scale"]) * rng.uniform(0.5, 1.5)))  # type: ignore[arg-type]
        if name == "ABS" and case % 2:
            y["scale"] = source["scale"]
    x, result = b.tensor([1, 256], **source), b.tensor([1, 256], **y)
    b.operator(name, [x], [result])
    content = b.content([x], [result])
    model = read_tflite(parse(content))
    (found,) = Int8Engine(model.content).run(given)
    np.testing.assert_array_equal(found, Oracle(content).run(given[None])[0])


@pytest.mark.parametrize(("align", "half"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("case", range(6))
def test_resize_bilinear(case: int, align: bool, half: bool, rng: np.random.Generator) -> None:
    b = Builder()
    height, width, channels, *size = (int(n) for n in rng.integers(1, 9, 5))
    ends = quantization(rng)
    x, y = b.tensor([1, height, width, channels], **ends), b.tensor([1, *size, channels], **ends)
    wanted = b.constant(np.array(size, np.int32))
    b.operator("RESIZE_BILINEAR", [x, wanted], [y], alignCorners=align, halfPixelCenters=half)
    same_as_tflm(b.content([x], [y]), rng)


@pytest.mark.parametrize("case", range(CASES))
def test_uint8_at_both_ends(case: int, rng: np.random.Generator) -> None:
    """Of the same scale as the network inside, and of another."""
    b = Builder()
    inside, outside = quantization(rng), quantization(rng)
    ends = [
        {"dtype": "UINT8", "scale": e["scale"], "zero_point": int(e["zero_point"]) + 128} for e in (inside, outside)
    ]  # type: ignore[call-overload]
    if case % 2 == 0:
        ends[1] |= {"scale": inside["scale"]}
    x, inner = b.tensor([1, 256], **ends[case % 3 != 0]), b.tensor([1, 256], **inside)
    end, y = b.tensor([1, 256], **outside), b.tensor([1, 256], **ends[1])
    b.operator("QUANTIZE", [x], [inner])
    b.operator("LEAKY_RELU", [inner], [end], alpha=0.25)
    b.operator("QUANTIZE", [end], [y])
    content = b.content([x], [y])
    given = np.arange(256).astype(np.uint8)
    model = read_tflite(parse(content))
    (found,) = Int8Engine(model.content).run(given)
    np.testing.assert_array_equal(found, Oracle(content).run(given[None])[0])


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [[1], [2], [3], [1, 2], [1, 3], [2, 3], [1, 2, 3]])
@pytest.mark.parametrize("name", ["MEAN", "REDUCE_MAX"])
def test_reductions(name: str, axes: list[int], keep: bool, rng: np.random.Generator) -> None:
    b = Builder()
    shape = [1, *(int(n) for n in rng.integers(2, 9, 3))]
    source, y = quantization(rng), quantization(rng)
    y["scale"] = float(np.float32(float(source["scale"]) * rng.uniform(0.5, 2)))  # type: ignore[arg-type]
    result = [1 if axis in axes else n for axis, n in enumerate(shape) if keep or axis not in axes]
    x, out = b.tensor(shape, **source), b.tensor(result, **(source if name == "REDUCE_MAX" else y))
    b.operator(name, [x, b.constant(np.array(axes, np.int32))], [out], keepDims=keep)
    same_as_tflm(b.content([x], [out]), rng)


@pytest.mark.parametrize("case", range(CASES))
def test_dense_of_several_rows(case: int, rng: np.random.Generator) -> None:
    b = Builder()
    rows, inputs, units = (int(n) for n in rng.integers(2, 12, 3))
    source, y = quantization(rng), quantization(rng)
    weights, scale = rng.integers(-127, 128, (units, inputs), np.int8), float(np.float32(np.exp(rng.uniform(-7, -3))))
    y["scale"] = float(np.float32(float(source["scale"]) * scale * 100 * inputs**0.5))  # type: ignore[arg-type]
    bias = rng.integers(-900, 900, units).astype(np.int32)
    operands = [b.tensor([1, rows, inputs], **source), b.constant(weights, scale=scale)]
    operands.append(b.constant(bias, scale=float(np.float32(source["scale"]) * np.float32(scale))))  # type: ignore[arg-type]
    out = b.tensor([1, rows, units], **y)
    b.operator("FULLY_CONNECTED", operands, [out], keepNumDims=True, fusedActivationFunction=case % 4)
    same_as_tflm(b.content([operands[0]], [out]), rng)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("case", range(CASES))
def test_transpose_conv(case: int, padding: int, rng: np.random.Generator) -> None:
    b = Builder()
    height, width, channels, units = (int(n) for n in rng.integers(1, 7, 4))
    kernel, stride = [int(n) for n in rng.integers(1, 5, 2)], [int(n) for n in rng.integers(1, 4, 2)]
    sizes = [
        n * s if padding == 0 else (n - 1) * s + k for n, s, k in zip((height, width), stride, kernel, strict=True)
    ]
    source, y = quantization(rng), quantization(rng)
    weights = rng.integers(-127, 128, (units, *kernel, channels), np.int8)
    scales = np.exp(rng.uniform(-7, -3, units)).astype(np.float32)
    y["scale"] = float(np.float32(float(source["scale"]) * float(scales.mean()) * 300))  # type: ignore[arg-type]
    bias = rng.integers(-900, 900, units).astype(np.int32)
    x, out = b.tensor([1, height, width, channels], **source), b.tensor([1, *sizes, units], **y)
    operands = [b.constant(np.array([1, *sizes, units], np.int32)), b.constant(weights, scale=scales), x]
    operands.append(b.constant(bias, scale=np.float32(source["scale"]) * scales))  # type: ignore[arg-type]
    b.operator("TRANSPOSE_CONV", operands, [out], padding=padding, strideH=stride[0], strideW=stride[1])
    same_as_tflm(b.content([x], [out]), rng)
