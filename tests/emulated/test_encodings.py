"""Shortened weights to the real image and back: it trains from exactly what Python says it makes of them, and
answers in the bits of a simulated device."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import Emulators
from tinyfed_host.transport.socket import connect

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.model.image import encode, read_weights
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.wire.encodings import FORMATS, WeightsEncoding, shorten
from tinyfed.wire.order import Order

ID = "0e0e0d0c0b0a090807060504"
SIZES = (32, 32, 1024, 32, 32, 1)  # the tensors of the model below
# Of a visit whose bytes are counted: where a machine does other things, what is slow is sent again, and counts.
TRIES = 8
ORDER = Order("sine", 1, 8, 4, 11, 0.02, (8,))
TOOLS = {
    "mps2_an386": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "raspberrypi": ("aarch64-linux-gnu-gcc", "qemu-aarch64"),
}


@pytest.mark.parametrize("board", ["mps2_an386", "raspberrypi"])
def test_a_board_trains_from_the_weights_that_python_decodes(board: str) -> None:
    require_tools(*TOOLS[board])
    spec = mlp(1, (32, 32), 1, "tanh")
    image = encode(spec, initialize(spec, 4))
    simulated = SimulatedDevice()
    simulated.load(image)
    wanted = np.float32(0.9) * initialize(spec, 5).astype(np.float32)
    with Emulators() as emulators:
        emulated = emulators.start(board, ID)
        for name in FORMATS:
            for delta in (False, True):
                how = WeightsEncoding(name, delta)
                most = 1153 * {"float32": 4, "float16": 2, "int8": 1}[name] * 1.04 + 400
                for _ in range(TRIES):
                    device = RemoteDevice(connect(emulated.port))
                    device.load(image)
                    held = device.visit(None, ORDER, want_weights=True).weights
                    assert held is not None
                    shortened = shorten(how, wanted.tobytes(), SIZES, held)
                    outcome = device.visit(shortened.weights, ORDER, want_weights=True, shortened=shortened)
                    device.close()
                    good = simulated.visit(shortened.weights, ORDER, want_weights=True)
                    assert outcome.weights == good.weights, how
                    assert outcome.result.checkpoints == good.result.checkpoints
                    if outcome.bytes_down < most:
                        break
                assert outcome.bytes_down < most, how


@pytest.mark.parametrize("board", ["mps2_an386", "raspberrypi"])
def test_a_board_answers_in_the_bits_of_a_simulated_device(board: str) -> None:
    require_tools(*TOOLS[board])
    spec = mlp(1, (32, 32), 1, "tanh")
    image = encode(spec, initialize(spec, 4))
    weights = read_weights(image).tobytes()
    simulated = SimulatedDevice()
    simulated.load(image)
    with Emulators() as emulators:
        device = RemoteDevice(connect(emulators.start(board, ID).port))
        device.load(image)
        plain = device.visit(weights, ORDER, want_weights=True).weights
        for name in ("float16", "int8", "float16-delta", "int8-delta"):
            order = replace(ORDER, answer=name)
            expected = simulated.visit(weights, order, want_weights=True).weights
            assert expected != plain
            most = 1153 * (2 if "16" in name else 1) * 1.04 + 400
            for _ in range(TRIES):
                outcome = device.visit(weights, order, want_weights=True)
                assert outcome.weights == expected, name
                if outcome.bytes_up < most:
                    break
            assert outcome.bytes_up < most, name
        device.close()
