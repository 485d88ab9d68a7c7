"""Networks that keep something from one run to the next, step by step beside TFLite Micro's interpreter."""

import os
import sys
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from conftest import ROOT, require, require_tools
from int8_oracle import Oracle, schema
from tinyfed_host.bench.infer import measure
from tinyfed_host.cli.main import run_command

from tinyfed.boards import read_board
from tinyfed.errors import UsageError
from tinyfed.model.convert import Int8Model, read_tflite
from tinyfed.model.int8.engine import Int8Engine, Kernels
from tinyfed.model.tflite.file import parse

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from streaming import SCALE, accumulator, delay_line
from tflite_builder import Builder

try:
    import tflite_micro
except ImportError:
    tflite_micro = None

STEPS = 100
FULLY_CONNECTED = 9


@pytest.fixture(autouse=True)
def oracle_is_there() -> None:
    require(tflite_micro is not None, "the oracle, PyPI's tflite-micro, is not installed: run `make setup`")


def program_of(content: bytes) -> bytes:
    model = read_tflite(parse(content))
    assert isinstance(model, Int8Model)
    return model.content


def same_steps(content: bytes, shape: tuple[int, ...], steps: int = STEPS) -> Int8Engine:
    """Every output of a stream is TFLM's; so is that of a second stream after a reset."""
    engine = Int8Engine(program_of(content))
    engines = (engine, Int8Engine(engine.program, Kernels.PLAIN))
    rng = np.random.default_rng(5)
    for _ in range(2):
        oracle = Oracle(content)
        for step in range(steps):
            given = rng.integers(-128, 128, shape, np.int8)
            expected = oracle.run(given)
            for one in engines:
                found = one.run(given[0])[0]
                np.testing.assert_array_equal(found.reshape(-1), expected.reshape(-1), f"step {step}")
        for one in engines:
            one.reset()
    return engine


def test_states_in_place_and_copied() -> None:
    engine = same_steps(accumulator(), (1, 5))
    assert [(state.name, state.byte_count) for state in engine.states] == [("sum", 5)]
    assert len(engine.program) and engine.program[16:18] == b"\x02\x00", "the write of the state was not elided"
    engine = same_steps(delay_line(), (1, 3))
    assert [state.name for state in engine.states] == ["one", "two"]


def with_features(content: bytes) -> bytes:
    """The file with another output: what its last dense layer reads. The answer alone is nearly always 0."""
    s = schema()
    model = s.ModelT.InitFromObj(s.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    dense = [op for op in graph.operators if model.operatorCodes[op.opcodeIndex].builtinCode == FULLY_CONNECTED]
    graph.outputs = [*graph.outputs, dense[-1].inputs[0]]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["okay_nabu", "vad"])
def test_microwakeword_step_by_step(name: str, tmp_path: Path) -> None:
    """A hundred steps of three feature rows, in this process, on the bare Cortex-M4, and as a stream over the line."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    path = Path(os.environ.get("TINYFED_DATA", "nowhere")) / "microwakeword" / f"{name}.tflite"
    require(path.exists(), f"TINYFED_DATA names no folder with microwakeword/{name}.tflite in it")
    content = with_features(path.read_bytes())
    oracle, program, rng = Oracle(content), program_of(content), np.random.default_rng(6)
    x = np.clip(rng.integers(-128, 90, (STEPS, 1, 40)) + rng.integers(-30, 30, (STEPS, 3, 40)), -128, 127)
    x, expected = x.astype(np.int8), []
    for step in x:
        answer, features = oracle.run(step[None]), oracle._interpreter.get_output(1)
        expected.append(np.concatenate([answer.astype(np.uint8).reshape(-1), features.view(np.uint8).reshape(-1)]))
    assert len(np.unique(np.stack(expected)[:, 1:])) > 50, "the steps say too little"
    for kernels in Kernels:
        engine = Int8Engine(program, kernels)
        for step, wanted in zip(x, expected, strict=True):
            found = np.concatenate([values.view(np.uint8).reshape(-1) for values in engine.run(step)])
            np.testing.assert_array_equal(found, wanted)
    cost = measure(read_board("mps2_an386"), program, [step.reshape(-1) for step in x])
    for output, wanted in zip(cost.outputs, expected, strict=True):
        found = output.view(np.uint8).reshape(-1).copy()
        found[0] ^= 128  # the work area holds a uint8 answer as int8
        np.testing.assert_array_equal(found, wanted)
    np.save(tmp_path / "x.npy", x.reshape(-1, 40))
    (tmp_path / "m.tflite").write_bytes(content)
    command = ["model", "run", str(tmp_path / "m.tflite"), "--input", str(tmp_path / "x.npy"), "--stream", "--raw"]
    assert run_command([*command, "-o", str(tmp_path / "y.npy"), "--board", "mps2_an386"]) == 0
    features = np.load(tmp_path / "y.1.raw.npy").reshape(STEPS, -1).view(np.uint8)
    np.testing.assert_array_equal(features, np.stack(expected)[:, 1:])


def test_a_state_is_reset_by_its_name() -> None:
    content = delay_line()
    engine, given = Int8Engine(program_of(content)), np.array([5, 6, 7], np.int8)
    engine.run(given)
    engine.run(given)
    (both,) = engine.run(given)
    engine.reset("two")
    (first,) = engine.run(given)
    np.testing.assert_array_equal(both, 2 * given + 3)
    np.testing.assert_array_equal(first, given)
    with pytest.raises(UsageError, match="three"):
        engine.reset("three")


def test_a_loop_is_refused_with_what_works() -> None:
    b = Builder()
    x, y = b.tensor([1, 5], **SCALE), b.tensor([1, 5], **SCALE)
    b.operator("WHILE", [x], [y])
    with pytest.raises(UsageError, match="unroll=True"):
        read_tflite(parse(b.content([x], [y])))
