"""Handwritten characters on the emulated Cortex-M4, training included: in less than 256 KB, with the simulated bits."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT, require, require_tools
from run_helpers import Command
from tinyfed_host.bench.nets import bench_net
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.firmware import build
from tinyfed_host.transport.socket import connect

from tinyfed import tasks
from tinyfed.boards import Board, read_board
from tinyfed.data import datasets
from tinyfed.data.shard import write_shard
from tinyfed.device import VisitOutcome
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.model import encode, initialize
from tinyfed.tasks import omniglot
from tinyfed.wire.order import Order

RAM_BYTES = 256 * 1024
ONLINE = Order("shard", ways=5, shots=10, queries=0, seed=11, learning_rate=0.05, checkpoints=(0, 40), passes=4)


@pytest.fixture(autouse=True)
def board() -> Board:
    require(datasets.folder("omniglot"), "TINYFED_DATA names no folder with omniglot in it")
    found = read_board("mps2_an386")
    require_tools(found.compiler.prefix + "gcc", "qemu-system-arm")
    return found


@pytest.fixture
def bench() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("omniglot_benchmark", ROOT / "studies" / "omniglot.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module


def both(board: Board, shard: bytes, *visits: tuple[bytes, Order]) -> list[VisitOutcome]:
    """What the emulated board gives back, after it was found to be what the simulated device does."""
    simulated = SimulatedDevice(arena_bytes=board.arena_bytes, shard=shard)
    outcomes = []
    with start(board, "0123456789abcdef01234567", shard) as emulated:
        device = RemoteDevice(connect(emulated.port))
        try:
            assert device.info.arena_bytes == board.arena_bytes
            for image, order in visits:
                got, expected = (
                    (it.load(image), it.visit(None, order, want_weights=True))[1] for it in (device, simulated)
                )
                assert got.weights is not None and got.weights == expected.weights
                assert np.isfinite(np.frombuffer(got.weights, "<f4")).all()
                assert got.result.checkpoints == expected.result.checkpoints
                outcomes.append(got)
        finally:
            device.close()
    # All the board has for data: the arena it announced, and everything else of the image, its stack included.
    taken = build.size(board)
    assert board.arena_bytes + taken.ram <= RAM_BYTES
    assert all(0 < outcome.result.stack_bytes <= taken.stack for outcome in outcomes)
    return outcomes


@pytest.mark.slow
def test_a_cnn_learns_characters_on_the_board_with_the_simulated_bits(board: Board) -> None:
    spec = bench_net("cnn-omniglot").spec
    shard = tasks.get("omniglot", set_size=12).train[0].shard
    (outcome,) = both(board, shard, (encode(spec, initialize(spec, 4)), ONLINE))
    before, after = outcome.result.checkpoints
    assert outcome.result.samples == 5 * 10 * 4
    assert after.accuracy > before.accuracy + 0.2, "it knows drawings it has not seen"


@pytest.mark.slow
def test_the_net_of_the_figures_trains_and_adapts_on_the_board(board: Board, bench: ModuleType) -> None:
    """A visit of 20 characters that gives back the gradient, and a newcomer's of five: studies/omniglot.py's."""
    shard = write_shard([drawn.reshape(-1, 28 * 28) for drawn in omniglot.drawings()[:20, :8]])
    spec = bench.net(bench.OPTIONS, bench.OPTIONS["ways"])
    weights = initialize(spec, 1, "he_uniform")
    order = bench.strategy(bench.OPTIONS).configure(bench.strategy(bench.OPTIONS).begin(weights, 1), "a").order
    assert order.meta_gradient and order.ways == 20
    newcomer = bench.newcomer(bench.OPTIONS, weights)
    adapt = bench.adapting(1, bench.RATE, (bench.STEPS,), queries=5)
    trained, adapted = both(board, shard, (encode(spec, weights), replace(order, queries=1)), (newcomer, adapt))
    assert np.any(np.frombuffer(trained.weights or b"", "<f4"))
    assert adapted.result.loss_last < adapted.result.loss_first


@pytest.mark.slow
def test_the_example_gives_the_same_bits_on_emulated_boards(board: Board, tmp_path: Path) -> None:
    text = (ROOT / "examples" / "omniglot.toml").read_text()
    for few, many in (("= 1 }", "= 4 }"), ("devices = 1", "devices = 4"), ("queries = 1", "queries = 5")):
        assert many in text
        text = text.replace(many, few)
    (tmp_path / "few.toml").write_text(text)
    tinyfed = Command(tmp_path)
    one, other = (
        tinyfed("run", "few.toml", "--fleet", fleet, "--rounds", "2", "--name", fleet, "--json").result()
        for fleet in ("simulated", "emulated")
    )
    assert one["rounds"] == 2 and one["weights_sha256"] == other["weights_sha256"]
