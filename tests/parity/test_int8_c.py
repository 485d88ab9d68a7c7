"""Programs under sanitizers and on other processors: the same bytes as in-process, and nothing a damaged one can do."""

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIRMWARE, RECIPE, ROOT, require_tools

from tinyfed.model.graph import Graph, Node
from tinyfed.model.graph.program import ACTIVATIONS, program_of
from tinyfed.model.int8 import spec
from tinyfed.model.int8.engine import Int8Engine, Kernels
from tinyfed.model.int8.image import encode_int8

FLAGS = [*RECIPE.C_FLAGS, *RECIPE.include_flags(FIRMWARE, "core")]
FLAGS.append("-DTINYFED_FLOAT")
PARTS = ("core/int8", "core/float", "core/kernels", "core/math")
SANITIZERS = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SPOILED = 10_000

pytestmark = pytest.mark.xdist_group("int8_c")  # one build with sanitizers for all


def network(rng: np.random.Generator) -> spec.Int8Network:
    """Every kind of operator, in place and not, fast and general, with padded windows and partial blocks."""
    shapes = [(9, 7, 3), (5, 4, 6), (5, 4, 6), (5, 4, 6), (5, 4, 6), (6, 6, 7), (3, 3, 7), (2, 2, 7), (4, 5, 7), (7,)]
    shapes += [(1, 1, 7), (7,), (10,), (10,), (10,)]
    scales = [0.02, 0.05, 0.04, 0.04, 0.06, 0.06, 0.06, 0.06, 0.06, 0.05, 0.05, 0.05, 0.1, 0.1, 1 / 256]
    zeros = [-3, -128, 5, 5, -7, -7, -7, -7, -7, 4, 4, 4, 9, 9, -128]
    tensors = tuple(spec.Int8Tensor(f"t{i}", *each) for i, each in enumerate(zip(shapes, scales, zeros, strict=True)))

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape, np.int8)

    def bias(count: int) -> np.ndarray:
        return rng.integers(-900, 900, count).astype(np.int32)

    small = np.full(6, 0.003, np.float32)
    general = weights(6, 1, 1, 6)
    general[0], general[1] = -5, -128
    relu, relu6 = spec.Activation.RELU, spec.Activation.RELU6
    layers: tuple[spec.Int8Layer, ...] = (
        spec.Int8Conv2D((0,), 1, weights(6, 3, 3, 3), small, bias(6), (2, 2), activation=relu),
        spec.Int8DepthwiseConv2D((1,), 2, weights(3, 3, 6), small, bias(6), activation=relu6),
        spec.Int8Conv2D((2,), 3, general, small, None),
        spec.Int8Add((2, 3), 4, relu6),
        spec.Int8Pad((4,), 5, ((0, 1), (1, 1), (0, 1))),
        spec.Int8MaxPool2D((5,), 6),
        spec.Int8AveragePool2D((6,), 7, (2, 2), (2, 2), spec.Padding.SAME),
        spec.Int8ResizeNearest((7,), 8),
        spec.Int8Mean((8,), 9),
        spec.Int8Reshape((9,), 10),
        spec.Int8LeakyRelu((10,), 11, 0.2),
        spec.Int8Dense((11,), 12, weights(10, 7), np.full(1, 0.02, np.float32), bias(10)),
        spec.Int8Requantize((12,), 13),
        spec.Int8Softmax((13,), 14),
    )
    return spec.Int8Network(tensors, layers, (0,), (14,))


def moving_network(rng: np.random.Generator) -> spec.Int8Network:
    """`network` with values moved, multiplied and resized before the mean, and constants among the inputs."""
    whole = network(rng)
    rows, factors = (rng.integers(-128, 128, count, np.int8).tobytes() for count in (70, 7))
    tensors = (
        *whole.tensors,
        spec.Int8Tensor("moved", (4, 5, 7), 0.06, -7),
        spec.Int8Tensor("rows", (2, 5, 7), 0.06, -7, constant=rows),
        spec.Int8Tensor("factors", (7,), 0.04, 5, constant=factors),
        spec.Int8Tensor("product", (4, 5, 7), 0.06, -7),
        spec.Int8Tensor("resized", (3, 6, 7), 0.06, -7),
    )
    # Columns swapped with rows of a constant, then the last rows of another tensor the wrong way round.
    pieces = (spec.Piece((5, 2, 7), (7, 35, 1), (7, 35, 1)), spec.Piece((2, 35), (-35, 1), (35, 1), 105, 70))
    between: tuple[spec.Int8Layer, ...] = (
        spec.Int8Move((16, 8), 15, pieces=pieces, fill=3),
        spec.Int8Binary((15, 17), 18, spec.Binary.MUL, ((4, 5, 7), (7,))),
        spec.Int8ResizeBilinear((18,), 19, half_pixel_centers=True),
        spec.Int8Mean((19,), 9),
    )
    layers = tuple(
        part for layer in whole.layers for part in (between if isinstance(layer, spec.Int8Mean) else (layer,))
    )
    return spec.Int8Network(tensors, layers, (0,), (14,))


def recurrent_network(rng: np.random.Generator) -> spec.Int8Network:
    """An LSTM over three steps, SVDF with states of both widths, a variable in place and one that is copied."""

    def weights(*shape: int) -> np.ndarray:
        return rng.integers(-127, 128, shape, np.int8)

    def bias(count: int) -> np.ndarray:
        return rng.integers(-900, 900, count).astype(np.int32)

    each = [((9, 7, 3), 0.02, 3), ((3, 6), 0.008, 5), ((6,), 0.008, 5), ((6,), 2.0**-11, 0, "int16"), ((8,), 0.05, -3)]
    each += [((80,), 0.002, 0, "int16"), ((4,), 0.05, 9), ((20,), 0.3, -4), ((4,), 0.05, 9), ((4,), 0.05, 9)]
    each += [((4,), 0.05, 9), ((3, 63), 0.02, 3)]
    tensors = tuple(spec.Int8Tensor(f"t{i}", *fields) for i, fields in enumerate(each))
    gates = [spec.LstmGate(weights(6, 63), weights(6, 6), bias(6), 0.002, 0.006) for _ in range(4)]
    times = rng.integers(-900, 900, (16, 5)).astype(np.int16)
    layers: tuple[spec.Int8Layer, ...] = (
        spec.Int8Reshape((0,), 11),
        spec.Int8Lstm((11, 2, 3), 1, (gates[0], gates[1], gates[2], gates[3]), 3.0),
        spec.Int8Svdf((1, 5), 4, weights(16, 18), times, bias(8), 0.004, 0.0008, 2),
        spec.Int8Svdf((4, 7), 6, weights(4, 8), weights(4, 5), None, 0.03, 0.004, 1),
        spec.Int8Add((6, 9), 8),
        spec.Int8Copy((8,), 9),
        spec.Int8Copy((6,), 10),
    )
    first = weights(4).tobytes()
    kept = {2: bytes(6), 3: bytes(12), 5: bytes(160), 7: bytes([252]) * 20, 9: first, 10: first}
    states = tuple(spec.Int8State(f"s{tensor}", tensor, values) for tensor, values in kept.items())
    return spec.Int8Network(tensors, layers, (0,), (8, 1), states=states)


def float_network(rng: np.random.Generator) -> spec.Int8Network:
    """Every kind of float32 operator and every function."""
    nodes: list[Node] = []

    def add(kind: str, shape: tuple[int, ...], *inputs: int, **fields: Any) -> int:
        nodes.append(Node(kind, kind, inputs or (len(nodes),), shape, **fields))
        return len(nodes)

    def normal(*shape: int) -> np.ndarray:
        return (0.2 * rng.normal(size=shape)).astype(np.float32)

    window = {"weights": normal(3, 3, 3, 6), "bias": normal(6), "kernel": (3, 3)}
    start = add("conv2d", (9, 7, 6), 0, **window, dilation=(2, 2), padding="same")
    add("conv2d", (5, 4, 6), 0, **window, stride=(2, 2), padding="same")
    wide = {"weights": normal(2, 3, 12), "kernel": (2, 3)}
    add("depthwise", (4, 4, 12), **wide, padding="explicit", pads=((0, 0), (1, 1)))
    taps = {"weights": normal(3, 3, 12, 5), "kernel": (3, 3), "stride": (2, 2)}
    add("conv2d_transpose", (8, 8, 5), **taps, padding="same")
    add("max_pool", (4, 4, 5), kernel=(2, 2), stride=(2, 2))
    add("average_pool", (4, 4, 5), kernel=(3, 3), padding="same")
    last = add("resize_bilinear", (9, 7, 5), mode="half_pixel")
    base = last = add("activation", (9, 7, 5), activation="sigmoid")
    for name in ACTIVATIONS:
        value = add("activation", (9, 7, 5), base, activation=name, alpha=0.4, beta=0.9)
        last = add("add", (9, 7, 5), last, value)
    constant = add("constant", (7, 1), 0, weights=normal(7, 1))
    for kind in ("mul", "maximum", "squared_difference", "sub", "minimum", "prelu", "add", "div"):
        last = add(kind, (9, 7, 5), last, constant)
    rows = add("reduce_mean", (9, 5), last, axes=(1,))
    other = add("reduce_max", (9, 6), start, axes=(1,))
    turned = add("transpose", (6, 9), other, axes=(1, 0))
    product = add("matmul", (6, 5), turned, rows)
    padded = add("pad", (8, 5), product, pads=((1, 1), (0, 0)), alpha=-0.25)
    joined = add("concatenate", (17, 5), padded, rows, axes=(0,))
    add("slice", (6, 5), joined, begin=(16, 0), steps=(-3, 1))
    add("dense", (6, 4), weights=normal(5, 4))
    add("activation", (6, 4), activation="log_softmax")
    return program_of(Graph("floats", (9, 7, 3), tuple(nodes)), (len(nodes),))


@pytest.fixture(scope="module", params=["int8", "float", "recurrent"])
def case(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, str]:
    """(file for infer.c, what it must print)."""
    rng = np.random.default_rng(5)
    values: list[np.ndarray]
    if request.param != "float":
        program, _ = encode_int8(moving_network(rng) if request.param == "int8" else recurrent_network(rng))
        values = [rng.integers(-128, 128, (9, 7, 3), np.int8) for _ in range(20)]
    else:
        program, _ = encode_int8(float_network(rng))
        values = [rng.normal(size=(9, 7, 3)).astype(np.float32) for _ in range(20)]
    file = tmp_path_factory.mktemp(request.param) / "case.bin"
    head = struct.pack("<2I", len(program), len(values))
    file.write_bytes(head + program + b"".join(v.tobytes() for v in values))
    engine = Int8Engine(program, Kernels.PLAIN)
    assert np.isfinite(engine.run(values[0])[0]).all()
    engine.reset()
    expected = [b"".join(output.tobytes() for output in engine.run(value)).hex() for value in values]
    assert len(set(expected)) > 15
    return file, "\n".join(expected) + "\n"


def build(compiler: str, flags: list[str], folder: Path) -> Path:
    require_tools(compiler)
    program = folder / "infer"
    sources = [ROOT / "tests" / "c" / "int8" / "infer.c", *RECIPE.sources(FIRMWARE, *PARTS)]
    done = subprocess.run(
        [compiler, *FLAGS, *flags, *map(str, sources), "-o", str(program)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # Plain float kernels: GCC takes minutes for the vector ones with sanitizers, which test_kernels.py holds.
    yield build("gcc", [*SANITIZERS, "-DTINYFED_PLAIN_ONLY"], tmp_path_factory.mktemp("sanitized"))


def output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("kernels", Kernels)
def test_no_sanitizer_complains_and_the_bytes_agree(sanitized: Path, case: tuple[Path, str], kernels: Kernels) -> None:
    assert output([str(sanitized), "run", str(int(kernels)), str(case[0])]) == case[1]


@pytest.mark.parametrize("kernels", [Kernels.PLAIN, Kernels.BUILT])
def test_aarch64_gives_the_same_bytes(tmp_path: Path, case: tuple[Path, str], kernels: Kernels) -> None:
    require_tools("qemu-aarch64")
    program = build("aarch64-linux-gnu-gcc", ["-O2", "-static", "-mcpu=cortex-a72"], tmp_path)
    assert output(["qemu-aarch64", str(program), "run", str(int(kernels)), str(case[0])]) == case[1]


@pytest.mark.parametrize("optimize", ["-O0", "-Os", "-O3"])
def test_clang_gives_the_same_bytes_at_every_optimization(
    tmp_path: Path, case: tuple[Path, str], optimize: str
) -> None:
    program = build("clang", [optimize], tmp_path)
    assert output([str(program), "run", "2", str(case[0])]) == case[1]


def test_a_damaged_program_is_refused_or_runs_within_its_memory(sanitized: Path, case: tuple[Path, str]) -> None:
    taken = int(output([str(sanitized), "spoil", str(SPOILED), "1", str(case[0])]).split()[1])
    # Weights and biases may take any value; most other damage must be refused.
    assert 0 < taken < SPOILED * 0.7
    print(f"{taken} of {SPOILED} damaged programs were taken and ran")
