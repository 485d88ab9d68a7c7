"""A small CNN learns handwritten characters on the emulated Cortex-M4: in less than 256 KB, with the simulated bits."""

import numpy as np
import pytest
from conftest import require
from tinyfed_host import firmware
from tinyfed_host.bench.nets import bench_net
from tinyfed_host.link import SerialDevice
from tinyfed_host.transport.emulator import start
from tinyfed_host.transport.socket import connect

from tinyfed import tasks
from tinyfed.boards import read_board
from tinyfed.engine.device import SimulatedDevice
from tinyfed.errors import TinyfedError
from tinyfed.model import encode, initialize
from tinyfed.tasks.order import Order

RAM_BYTES = 256 * 1024
ORDER = Order("shard", ways=5, shots=10, queries=0, seed=11, learning_rate=0.05, checkpoints=(0, 40), passes=4)


@pytest.mark.slow
def test_a_cnn_learns_characters_on_the_board_with_the_simulated_bits() -> None:
    try:
        client = tasks.get("omniglot", set_size=12).train[0]
        shard = client.shard
    except TinyfedError as error:
        require(False, str(error))
        raise
    board = read_board("mps2_an386")
    spec = bench_net("cnn-omniglot").spec
    image = encode(spec, initialize(spec, 4))

    simulated = SimulatedDevice(arena_bytes=board.arena_bytes, shard=shard)
    simulated.load(image)
    expected = simulated.visit(None, ORDER, want_weights=True)

    with start(board, "0123456789abcdef01234567", shard) as emulated:
        device = SerialDevice(connect(emulated.port))
        try:
            device.load(image)
            got = device.visit(None, ORDER, want_weights=True)
        finally:
            device.close()
    assert got.weights == expected.weights
    assert got.result.checkpoints == expected.result.checkpoints
    before, after = got.result.checkpoints
    assert got.result.samples == 5 * 10 * 4
    assert after.accuracy > before.accuracy + 0.2, "it knows drawings it has not seen"
    assert np.isfinite(np.frombuffer(got.weights or b"", "<f4")).all()
    # All the board has for data: the arena it announced, and everything else of the image, its stack included.
    taken = firmware.size(board)
    assert device.info.arena_bytes + taken.ram <= RAM_BYTES
    assert 0 < got.result.stack_bytes <= taken.stack
