"""LSTM and SVDF against TFLite Micro, bit for bit, over several runs: random shapes, scales and values."""

import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from conftest import ROOT, require, require_tools
from int8_oracle import Oracle
from numpy.typing import NDArray
from tinyfed_host.bench.infer import measure

from tinyfed.boards import read_board
from tinyfed.errors import UsageError
from tinyfed.model.convert import Int8Model, read_tflite
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.tflite.file import parse

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from tflite_builder import Builder
from tflite_models import path_of

try:
    import tflite_micro
except ImportError:
    tflite_micro = None

CASES = 25
RUNS = 6


@pytest.fixture(autouse=True)
def oracle_is_there() -> None:
    require(tflite_micro is not None, "the oracle, PyPI's tflite-micro, is not installed: run `make setup`")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    seed = zlib.crc32(request.node.name.encode())
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def scale(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.float32(np.exp(rng.uniform(low, high))))


def zero(rng: np.random.Generator) -> int:
    return int(rng.choice([-128, 127, 0, rng.integers(-128, 128)]))


def weights(b: Builder, rng: np.random.Generator, shape: tuple[int, ...], of: float | None = None) -> int:
    return b.constant(rng.integers(-127, 128, shape, np.int8), scale=of or scale(rng, -6, -4))


def lstm(rng: np.random.Generator, activation: int = 4) -> bytes:
    steps, inputs, units = (int(n) for n in rng.integers(1, 18, 3))
    b = Builder()
    x = b.tensor([1, steps, inputs], "INT8", scale(rng, -5, -1), zero(rng))
    hidden_scale, hidden_zero = scale(rng, -5.5, -4), zero(rng)
    hidden = b.tensor([1, units], "INT8", hidden_scale, hidden_zero, variable=True)
    cell = b.tensor([1, units], "INT16", 2.0 ** -int(rng.integers(9, 16)), variable=True)
    y = b.tensor([1, steps, units], "INT8", hidden_scale, hidden_zero)
    of_input = [weights(b, rng, (units, inputs)) for _ in range(4)]
    of_hidden = [weights(b, rng, (units, units)) for _ in range(4)]
    bias = [b.constant(rng.integers(-9000, 9000, units).astype(np.int32), scale=0.001) for _ in range(4)]
    operands = [x, *of_input, *of_hidden, -1, -1, -1, *bias, -1, -1, hidden, cell, -1, -1, -1, -1]
    clip = float(rng.choice([0.0, 0.5, 3.0]))
    b.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [y], fusedActivationFunction=activation, cellClip=clip)
    return b.content([x], [y])


def svdf(rng: np.random.Generator) -> bytes:
    rank, memory, inputs, units = (int(n) for n in rng.integers([1, 1, 1, 1], [4, 12, 40, 9]))
    wide = rng.random() < 0.5
    b = Builder()
    scales = scale(rng, -5, -1), scale(rng, -6, -4)
    x = b.tensor([1, inputs], "INT8", scales[0], zero(rng))
    y = b.tensor([1, units], "INT8", scale(rng, -4, 0), zero(rng))
    # An int8 state does not reach its ends: PyPI's TFLM wraps there, later ones saturate, and so does the engine.
    state_scale = scale(rng, -7, -5) if wide else float(np.float32(np.prod(scales) * inputs * 127 * 255 / 100))
    time_scale = scale(rng, -9, -7)
    dtype = "int16" if wide else "int8"
    most = np.iinfo(dtype).max // (32 if wide else 1)  # sums stay within 32 bits
    times = rng.integers(-most, most + 1, (units * rank, memory)).astype(dtype)
    size = [1, units * rank * memory]
    operands = [
        x,
        weights(b, rng, (units * rank, inputs), scales[1]),
        b.constant(times, scale=time_scale),
        b.constant(
            rng.integers(-20000, 20000, units).astype(np.int32), scale=np.float32(state_scale) * np.float32(time_scale)
        ),
        b.tensor(size, dtype.upper(), state_scale, 0 if wide else int(rng.integers(-20, 21)), variable=True),
    ]
    b.operator("SVDF", operands, [y], rank=rank, fusedActivationFunction=1)
    return b.content([x], [y])


def values(rng: np.random.Generator, shape: tuple[int, ...], kind: int) -> NDArray[np.int8]:
    if kind < 2:
        return np.full(shape, (-128, 127)[kind], np.int8)
    return rng.integers(-128, 128, shape, np.int8)


def engine_of(content: bytes) -> Int8Engine:
    model = read_tflite(parse(content))
    assert isinstance(model, Int8Model)
    return Int8Engine(model.content)


def check(rng: np.random.Generator, content: bytes) -> NDArray[np.int8]:
    """A stream of runs; the outputs that are wanted."""
    engine, oracle, wanted = engine_of(content), Oracle(content), []
    for run in range(RUNS):
        given = values(rng, engine.inputs[0].shape, run)
        wanted.append(oracle.run(given[None])[0])
        np.testing.assert_array_equal(engine.run(given)[0], wanted[-1], f"run {run}")
    return np.stack(wanted)


@pytest.mark.parametrize("case", range(CASES))
def test_lstm(rng: np.random.Generator, case: int) -> None:
    check(rng, lstm(rng))


@pytest.mark.parametrize("case", range(CASES))
def test_svdf(rng: np.random.Generator, case: int) -> None:
    check(rng, svdf(rng))


@pytest.mark.parametrize("name", ["trained_lstm_int8", "dtln_noise_suppression"])
def test_published_networks(rng: np.random.Generator, name: str) -> None:
    assert len(np.unique(check(rng, path_of(name).read_bytes()))) > 5


@pytest.mark.slow
@pytest.mark.parametrize("make", [lstm, svdf])
def test_the_emulated_cortex_m4(rng: np.random.Generator, make: Callable[[np.random.Generator], bytes]) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    for _ in range(3):
        content = make(rng)
        engine, oracle = engine_of(content), Oracle(content)
        given = [values(rng, engine.inputs[0].shape, run) for run in range(RUNS)]
        expected = [oracle.run(value[None]).reshape(-1) for value in given]
        cost = measure(read_board("mps2_an386"), engine.program, [value.reshape(-1) for value in given])
        np.testing.assert_array_equal(np.stack(cost.outputs), np.stack(expected))


def test_what_it_has_no_form_for_is_said(rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match="activation relu; the engine has tanh"):
        check(rng, lstm(rng, activation=1))
