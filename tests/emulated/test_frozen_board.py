"""Firmware that carries a frozen int8 network in its flash: the head learns on the emulated board to the bits of the
simulated device, and the arena holds the head alone."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.firmware import build
from tinyfed_host.transport.socket import connect

from tinyfed.boards import read_board
from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import UsageError
from tinyfed.meta.fedavg import FedAvg
from tinyfed.meta.strategy import Reply, Strategy
from tinyfed.meta.tinyreptile import TinyReptile
from tinyfed.model import encode, head, mlp
from tinyfed.model.convert import FloatModel
from tinyfed.model.image import structure_hash, weights_hash
from tinyfed.wire.order import Order

sys.path.insert(0, str(ROOT / "tests" / "parity"))
from test_frozen import attach, feature_network
from test_int8_c import network

ID = "0f0e0d0c0b0a090807060504"


def test_a_head_learns_on_a_network_in_flash(tmp_path: Path) -> None:
    board = read_board("mps2_an386")
    require_tools(board.compiler.prefix + "gcc", "qemu-system-arm")
    rng = np.random.default_rng(10)
    model = attach(network(rng), 3, hidden=(6,))
    weights = rng.normal(0, 0.3, model.parameter_count).astype(np.float32)
    image = encode(model, weights)
    samples = write_shard([rng.normal(c, 1, (12, 9 * 7 * 3)).astype(np.float32) for c in range(3)])
    order = Order("shard", ways=3, shots=6, queries=3, seed=9, learning_rate=0.05, checkpoints=(0, 6))
    (tmp_path / "head.tfm").write_bytes(image)
    simulated = SimulatedDevice("simulated", shard=samples)
    simulated.load(image)
    with start(board, ID, samples, image=build.build(board, model=tmp_path / "head.tfm")) as emulated:
        device = RemoteDevice(connect(emulated.port))
        try:
            assert device.info.structure_hash == structure_hash(image)
            for seed in (9, 10):
                expected = simulated.visit(None, replace(order, seed=seed), want_weights=True)
                found = device.visit(None, replace(order, seed=seed), want_weights=True)
                assert found.weights == expected.weights != weights.tobytes()
                assert found.result.checkpoints == expected.result.checkpoints
            # an image of the same structure: its weights go over the line, not the network
            before = device.traffic.down
            device.load(image)
            assert device.traffic.down - before < weights.nbytes + 400 < len(image)
            assert device.info.weights_hash == weights_hash(weights)
            # a reset that the host has not heard of is no obstacle
            emulated.reset()
            device.load(image)
            assert device.info.weights_hash == weights_hash(weights)
        finally:
            device.close()


def kws(classes: int) -> FloatModel:
    """A head with its statistics on a small int8 network."""
    rng = np.random.default_rng(12)
    base = network(rng)
    return head.attach(feature_network(base, 12), "small", classes, features=base.tensors[base.layers[11].output].name)


def shards(count: int) -> list[bytes]:
    rng = np.random.default_rng(13)
    return [
        write_shard([rng.normal(c + k / 4, 1, (12, 9 * 7 * 3)).astype(np.float32) for c in range(4)])
        for k in range(count)
    ]


@contextlib.contextmanager
def boards(samples: list[bytes], **how: Path) -> Iterator[list[RemoteDevice]]:
    """Emulated boards with these shards and stock firmware."""
    with contextlib.ExitStack() as stack:
        found = []
        for k, shard in enumerate(samples):
            emulated = stack.enter_context(start("mps2_an386", f"{k:024x}", shard, **how))
            found.append(stack.enter_context(contextlib.closing(RemoteDevice(connect(emulated.port)))))
        yield found


def tools() -> None:
    require_tools(read_board("mps2_an386").compiler.prefix + "gcc", "qemu-system-arm")


def test_a_frozen_network_goes_over_the_wire_to_stock_firmware_and_a_class_is_added() -> None:
    """The device learns three classes, is sent the grown image with what it learned, and learns the fourth."""
    tools()
    order = Order("shard", ways=3, shots=8, queries=4, seed=3, learning_rate=0.1, checkpoints=(0, 8), in_time=True)
    simulated = SimulatedDevice("simulated", shard=shards(1)[0])
    with boards(shards(1)) as (board,):
        assert "frozen" in board.info.capabilities
        model = kws(3)
        outcomes = []
        for device in (simulated, board):
            device.load(model.content)
            outcomes.append(device.visit(None, order, want_weights=True))
        assert outcomes[0].weights == outcomes[1].weights != model.weights.tobytes()
        learned = np.frombuffer(outcomes[1].weights or b"", "<f4")
        # the statistics of 24 samples came home
        assert learned[2 * model.spec.input_shape[0]] == 24
        grown = head.grow(replace(model, weights=learned, content=encode(model.spec, learned)), 4)
        four = replace(order, ways=4, true_labels=True, passes=4, checkpoints=(0, 32))
        outcomes = []
        for device in (simulated, board):
            device.load(grown.content)
            outcomes.append(device.visit(None, four, want_weights=True))
        assert outcomes[0].weights == outcomes[1].weights
        before, after = outcomes[1].result.checkpoints
        assert outcomes[0].result.checkpoints == outcomes[1].result.checkpoints
        assert after.correct > 8 > before.correct  # of 16; 4 by chance
        # the new class began at zero and has learned: 4 biases at the end, the last its own
        assert grown.weights[-1] == 0 != np.frombuffer(outcomes[1].weights or b"", "<f4")[-1]


@pytest.mark.parametrize("make", [lambda o: TinyReptile(o, rounds=4), lambda o: FedAvg(o, rounds=2, devices=2)])
def test_strategies_train_heads_on_boards_to_the_bits_of_simulated_devices(make: Callable[[Order], Strategy]) -> None:
    tools()
    order = Order("shard", ways=4, shots=4, queries=2, seed=0, learning_rate=0.05)
    model, samples, finals = kws(4), shards(2), []
    with boards(samples) as emulated:
        simulated = [SimulatedDevice(f"d{k}", shard=shard) for k, shard in enumerate(samples)]
        for devices in (dict(zip(("a", "b"), emulated, strict=True)), dict(zip(("a", "b"), simulated, strict=True))):
            for device in devices.values():
                device.load(model.content)
            strategy = make(order)
            state = strategy.begin(model.weights, 5)
            for _ in range(strategy.rounds):
                replies = []
                for name in strategy.select(state, list(devices)):
                    work = strategy.configure(state, name)
                    outcome = devices[name].visit(work.weights, work.order, want_weights=True)
                    replies.append(Reply(name, outcome.result, outcome.weights))
                state = strategy.aggregate(state, replies)
            finals.append(state.weights.array)
    np.testing.assert_array_equal(finals[0], finals[1])
    assert not np.array_equal(finals[0], model.weights)


def test_firmware_without_int8_kernels_is_sent_no_frozen_network() -> None:
    tools()
    lean = build.build("mps2_an386", dense_only=True)
    with boards(shards(1), image=lean) as (board,):
        assert "frozen" not in board.info.capabilities
        with pytest.raises(UsageError, match=r"has no int8 kernels.*firmware build --board mps2_an386"):
            board.load(kws(3).content)
        board.load(encode(mlp(9 * 7 * 3, (4,), 3), np.zeros(9 * 7 * 3 * 4 + 4 + 15, np.float32)))
