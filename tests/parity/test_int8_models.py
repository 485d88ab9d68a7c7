"""The real int8 models against TFLite Micro: 200 random and edge inputs each in this process, 3 on the emulated
Cortex-M4, where the figures of docs/int8.md are counted too. Equal means every byte."""

import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import RECIPE, ROOT, require, require_tools
from int8_oracle import Oracle
from numpy.typing import NDArray
from tinyfed_host.bench.infer import edge_inputs, measure, operator_bytes
from tinyfed_host.firmware import build

from tinyfed.boards import read_board
from tinyfed.errors import DeviceError
from tinyfed.model.convert import Int8Model, read_model
from tinyfed.model.int8 import spec
from tinyfed.model.int8.engine import Int8Engine, Kernels
from tinyfed.model.int8.image import KINDS, encode_int8
from tinyfed.model.run import frozen_alone

INPUTS = 200
# file: most cycles (estimated) of the core a multiply-add, most bytes of work area; None where nothing is promised.
MODELS: dict[str, tuple[float, int] | None] = {
    "mlperf-tiny/kws_ref_model": (2.2, 22_820),
    "mlperf-tiny/pretrainedResnet_quant": (1.72, 54_996),
    "mlperf-tiny/ad01_int8": (1.57, 2_580),
    "mlperf-tiny/vww_96_int8": (2.4, 100_708),
    "mlperf-tiny/str_ww_ref_model": None,
    "tflite-micro/hello_world_int8": None,
    "tflite-micro/micro_speech_quantized": None,
    "tflite-micro/person_detect": None,
    "tflite-micro/simple_add_model": None,
}
KINDS_BY_NUMBER = {number: name for name, number in KINDS.items()}
MOST_CODE_BYTES = 24 * 1024


def model_path(name: str) -> Path:
    path = Path(os.environ.get("TINYFED_DATA", "nowhere")) / "tflite" / f"{name}.tflite"
    require(path.exists(), f"TINYFED_DATA names no folder with tflite/{name}.tflite in it")
    return path


def program_of(path: Path) -> bytes:
    model = read_model(path)
    assert isinstance(model, Int8Model)
    return model.content


def split(engine: Int8Engine, values: NDArray[np.int8]) -> list[NDArray[np.int8]]:
    """The values of every input."""
    ends = np.cumsum([port.count for port in engine.inputs])
    parts = np.split(values, ends[:-1])
    return [part.reshape(port.shape) for part, port in zip(parts, engine.inputs, strict=True)]


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_tflm(name: str) -> None:
    path = model_path(name)
    engine = Int8Engine(program_of(path))
    plain = Int8Engine(engine.program, Kernels.PLAIN)
    oracle = Oracle(path.read_bytes())
    count = sum(port.count for port in engine.inputs)
    for index, values in enumerate(edge_inputs(INPUTS, count, seed=7)):
        given = split(engine, values)
        expected = oracle.run(*[part[None] for part in given]).reshape(-1)
        np.testing.assert_array_equal(engine.run(*given)[0].reshape(-1), expected, f"{name}, input {index}")
        if index < 5:
            np.testing.assert_array_equal(plain.run(*given)[0].reshape(-1), expected, f"{name}, input {index}, plain")


@pytest.mark.parametrize("name", MODELS)
def test_the_emulated_board_gives_the_same_bytes_within_the_figures(name: str) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    path = model_path(name)
    program = program_of(path)
    engine = Int8Engine(program)
    oracle = Oracle(path.read_bytes())
    values = edge_inputs(3, sum(port.count for port in engine.inputs), seed=11)
    cost = measure(read_board("mps2_an386"), program, values, estimate=True)
    for value, output in zip(values, cost.outputs, strict=True):
        expected = oracle.run(*[part[None] for part in split(engine, value)])
        np.testing.assert_array_equal(output, expected.reshape(-1))
    print(cost.figures())
    assert cost.code_bytes <= MOST_CODE_BYTES
    promised = MODELS[name]
    if promised is not None:
        most_per_mac, most_arena = promised
        assert cost.figures()["cycles_per_mac_estimated"]["core"] <= most_per_mac
        assert cost.arena_bytes <= most_arena


def test_dense_layers_of_every_remainder_on_the_emulated_board() -> None:
    """Wide and narrow ones whose inputs are no whole quads; a wide one's input lies in its scratch."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    rng = np.random.default_rng(3)
    counts = (1003, 13, 6, 12, 31, 7, 1)
    tensors = tuple(spec.Int8Tensor(f"t{i}", (count,), 0.1, i - 3) for i, count in enumerate(counts))
    layers = tuple(
        spec.Int8Dense(
            (i,), i + 1, rng.integers(-127, 128, (b, a), np.int8), np.full(1, 0.02 / a**0.5, np.float32), None
        )
        for i, (a, b) in enumerate(pairwise(counts))
    )
    program, plan = encode_int8(spec.Int8Network(tensors, layers, (0,), (len(layers),)))
    assert plan.work_bytes == 1008 + 1008 + 16
    values = edge_inputs(8, counts[0], seed=5)
    engine = Int8Engine(program)
    cost = measure(read_board("mps2_an386"), program, values)
    expected = [engine.run(value)[0].reshape(-1) for value in values]
    assert len({int(output[0]) for output in expected}) > 3
    np.testing.assert_array_equal(np.stack(cost.outputs), np.stack(expected))


def test_counts_are_the_same_on_every_run() -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    program = program_of(model_path("tflite-micro/hello_world_int8"))
    board = read_board("mps2_an386")
    costs = [measure(board, program, edge_inputs(3, 1)) for _ in range(2)]
    assert costs[0].figures() == costs[1].figures()


def test_a_model_links_its_own_operators_alone() -> None:
    """And a program with another one is refused, not run."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    board = read_board("mps2_an386")
    hello = program_of(model_path("tflite-micro/hello_world_int8"))
    words = program_of(model_path("mlperf-tiny/kws_ref_model"))
    values = edge_inputs(1, Int8Engine(hello).inputs[0].count)
    assert measure(board, hello, values).code_bytes < 5_500
    kinds = RECIPE.program_kinds(hello)
    assert kinds == {KINDS["dense"]} and kinds < RECIPE.program_kinds(words)
    image = frozen_alone(words)
    assert RECIPE.operator_kinds(image) == RECIPE.program_kinds(words)
    assert RECIPE.operator_kinds(None) > RECIPE.program_kinds(words)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DeviceError, match="the program is not valid"):
        patch.setattr(RECIPE, "program_kinds", lambda program: kinds)
        patch.setattr(build, "recipe", lambda: RECIPE)
        measure(board, words, edge_inputs(1, Int8Engine(words).inputs[0].count))


@pytest.mark.slow
def test_the_bytes_of_each_operator_are_those_of_the_docs() -> None:
    require_tools("arm-none-eabi-gcc")
    text = (ROOT / "docs" / "int8.md").read_text()
    stated = {
        int(number): int(size.replace(",", "")) for number, size in re.findall(r"\| (\d+) \w+[\w ]* \| ([\d,]+) ", text)
    }
    found = operator_bytes(read_board("mps2_an386"))
    print({KINDS_BY_NUMBER.get(kind, "general"): size for kind, size in sorted(found.items())})
    for kind, size in stated.items():
        assert abs(found[kind] - size) <= 64 + size // 20, (kind, size, found[kind])
    assert {kind for kind in found if kind < 40} <= set(stated)
