"""`tinyfed bench step`: the figures of the benchmark nets on the emulated Cortex-M4, and their targets."""

import json

import pytest
from conftest import require_tools
from tinyfed_host.bench import board as on_board
from tinyfed_host.bench.layers import measure as measure_layer
from tinyfed_host.bench.nets import bench_net
from tinyfed_host.bench.pipeline import CAUSES
from tinyfed_host.cli.bench import app
from typer.testing import CliRunner

from tinyfed.boards import read_board
from tinyfed.errors import UsageError
from tinyfed.model import Conv2D, Dense, ModelSpec, encode, initialize

# Estimated cycles of the core a step, and bytes of parameters, arena and stack: at most.
LIMITS = {
    "mlp-relu": (12_950, 5_734),
    "mlp-tanh": (23_700, 5_734),
    "cnn-omniglot": (1_001_000, 34 * 1024),
}
ENGINE_CODE_BYTES = 24 * 1024
DENSE_CODE_BYTES = 8 * 1024


def invoke(*options):
    require_tools("arm-none-eabi-gcc", "qemu-system-arm", "gcc")
    result = CliRunner().invoke(app, ["step", *options])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


@pytest.mark.parametrize("name", LIMITS)
def test_a_step_stays_within_its_limits(name):
    facts = json.loads(invoke("--model", name, "--json"))
    cycles, ram_bytes = LIMITS[name]
    assert facts["instructions"] < facts["cycles_estimated"] <= cycles
    assert sum(facts["causes_estimated"].values()) == pytest.approx(facts["cycles_estimated"], abs=len(CAUSES))
    # The plugin and SysTick count the same, but for the call and the reading of SysTick themselves.
    assert facts["causes_estimated"]["instructions"] == pytest.approx(facts["instructions"], abs=8)
    for chip in facts["chips_estimated"].values():
        assert 0 < chip["flash"] < 0.3 * chip["cycles"]
        assert chip["cycles"] == pytest.approx(facts["cycles_estimated"] + chip["flash"], abs=1)
    assert facts["ram_bytes"] == facts["arena_bytes"] + facts["stack_bytes"] <= ram_bytes
    assert facts["code_bytes"] <= ENGINE_CODE_BYTES
    assert facts["host_steps_per_s"] > 0


def test_a_build_for_dense_nets_stays_small_and_trains_the_same():
    require_tools("arm-none-eabi-gcc", "qemu-system-arm")
    board = read_board("mps2_an386")
    image = on_board.build_bench(board, ("-DTINYFED_DENSE_ONLY",), keep_all=False)
    assert image.code_bytes <= DENSE_CODE_BYTES
    for name in ("mlp-relu", "mlp-tanh"):
        count = on_board.run(board, image, bench_net(name))  # raises where the weights are not the full engine's
        assert min(count.instructions) > 0


def test_the_figures_are_the_same_on_every_run():
    runs = [json.loads(invoke("--model", "mlp-tanh", "--json")) for _ in range(2)]
    for facts in runs:
        del facts["host_steps_per_s"]
    assert runs[0] == runs[1]


def test_a_model_of_ones_own_and_what_its_instructions_go_to(tmp_path):
    spec = ModelSpec((6, 6, 2), (Conv2D(4, 3, activation="relu"), Dense(3)), "softmax_cross_entropy")
    path = tmp_path / "own.tfm"
    path.write_bytes(encode(spec, initialize(spec, 0)))
    output = invoke("--model", str(path), "--by-function")
    assert "own.tfm" in output and "tinyfed_conv2d" in output


def test_a_layer_is_what_a_net_takes_more_with_it():
    """32 x 32 weights: a pass forward and one back over them is at least 2 loads, 3 products and 3 sums each."""
    require_tools("arm-none-eabi-gcc", "qemu-system-arm", "gcc")
    found = measure_layer(read_board("mps2_an386"), "dense 32")
    assert found.units == 1024
    assert 5 * found.units < found.cycles < 20 * found.units
    assert sum(found.by_function.values()) > 0.9 * found.cycles


def test_an_unknown_net_is_one_line():
    result = CliRunner().invoke(app, ["step", "--model", "mlp-elu"])
    assert isinstance(result.exception, UsageError) and "mlp-elu" in str(result.exception)
