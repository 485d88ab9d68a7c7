"""Orders that share a part of the weights, on the real images: the simulated devices' bits, and fewer on the line."""

from dataclasses import replace

import pytest
from conftest import require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import Emulators
from tinyfed_host.transport.socket import connect

from tinyfed import meta
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.meta.strategy import Reply
from tinyfed.model import encode, initialize, mlp
from tinyfed.wire.order import Order

ID = "0e0e0d0c0b0a090807060506"
TOOLS = {
    "mps2_an386": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "raspberrypi": ("aarch64-linux-gnu-gcc", "qemu-aarch64"),
}


@pytest.mark.parametrize("board", TOOLS)
def test_tinymetafed_on_a_board_gives_the_simulated_bits(board: str) -> None:
    require_tools(*TOOLS[board])
    spec = mlp(1, (32, 32), 1, "tanh")
    first = initialize(spec, 4)
    image = encode(spec, first)
    order = Order("sine", 1, 16, 4, 11, 0.02, (0, 16))
    simulated = SimulatedDevice()
    simulated.load(image)
    with Emulators() as emulators:
        device = RemoteDevice(connect(emulators.start(board, ID).port))
        device.load(image)
        whole = device.visit(first.astype("<f4").tobytes(), order, want_weights=True)
        choices: tuple[dict[str, object], ...] = (
            {}, {"zero_local": False, "keep_local": True}, {"local_layers": 0}, {"top_percent": 100.0},
        )  # fmt: skip
        for options in choices:
            strategy = meta.make("tinymetafed", order, 5, **{"top_percent": 5.0, **options})
            state = strategy.begin(first, 1)
            down, up = [], []
            for _ in range(3):
                assignment = strategy.configure(state, "one")
                sent = assignment.weights
                one = device.visit(sent, assignment.order, want_weights=True)
                two = simulated.visit(sent, assignment.order, want_weights=True)
                assert one.weights == two.weights is not None, options
                assert one.result.checkpoints == two.result.checkpoints
                state = strategy.aggregate(state, [Reply("one", one.result, one.weights)])
                down.append(one.bytes_down)
                up.append(one.bytes_up)
            # a busy computer repeats what came late: the least of three
            if assignment.order.top:
                assert min(up) < whole.bytes_up / 4
            if assignment.order.is_partial:
                # 33 weights less; the order is 16 bytes longer, two messages 12
                assert min(down) < whole.bytes_down - 4 * 33 + 16 + 12 + 8
        again = device.visit(first.astype("<f4").tobytes(), replace(order, seed=12), want_weights=True)
        device.close()
    good = simulated.visit(first.astype("<f4").tobytes(), replace(order, seed=12), want_weights=True)
    assert again.weights == good.weights
