"""Networks that keep something from one run to the next, step by step beside TFLite Micro's interpreter."""

import sys

import numpy as np
import pytest
from conftest import ROOT, require
from int8_oracle import Oracle

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
