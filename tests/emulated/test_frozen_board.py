"""Firmware that carries a frozen int8 network in its flash: the head learns on the emulated board to the bits of the
simulated device, and the arena holds the head alone."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from conftest import ROOT, require_tools
from tinyfed_host import firmware
from tinyfed_host.link import SerialDevice
from tinyfed_host.transport.emulator import start
from tinyfed_host.transport.socket import connect

from tinyfed.boards import read_board
from tinyfed.engine.device import SimulatedDevice
from tinyfed.model import encode
from tinyfed.model.image import structure_hash
from tinyfed.tasks.order import Order
from tinyfed.tasks.shard import write_shard

sys.path.insert(0, str(ROOT / "tests" / "parity"))
from test_frozen import attach
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
    with start(board, ID, samples, image=firmware.build(board, model=tmp_path / "head.tfm")) as emulated:
        device = SerialDevice(connect(emulated.port))
        try:
            assert device.info.structure_hash == structure_hash(image)
            for seed in (9, 10):
                expected = simulated.visit(None, replace(order, seed=seed), want_weights=True)
                found = device.visit(None, replace(order, seed=seed), want_weights=True)
                assert found.weights == expected.weights != weights.tobytes()
                assert found.result.checkpoints == expected.result.checkpoints
        finally:
            device.close()
