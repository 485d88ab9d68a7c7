"""The image that an nRF52840 DK is flashed with, on a model of the chip (nrf52840.py), against the same engine
in-process, over the host's own session: the same bits, also over a line with faults."""

from contextlib import suppress
from typing import Any

import pytest
from conftest import require, require_tools
from tinyfed_host.device.line import RemoteDevice, probe
from tinyfed_host.firmware import build

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError
from tinyfed.model import mlp
from tinyfed.model.image import encode
from tinyfed.model.initialize import initialize
from tinyfed.wire.messages import hash64
from tinyfed.wire.order import Order

try:
    from nrf52840 import ERASED, UICR, Nrf52840
except ImportError:
    Nrf52840 = None  # type: ignore[assignment, misc]

pytestmark = pytest.mark.slow

ORDER = Order("sine", ways=1, shots=32, queries=20, seed=7, learning_rate=0.02, checkpoints=(0, 32))
STACK_BYTES = 4096


def chip(**options: Any) -> "Nrf52840":
    require(Nrf52840, "unicorn, which executes the image, is not installed: run `make setup`")
    require_tools("arm-none-eabi-gcc")
    return Nrf52840(build.build("nrf52840dk"), **options)


def connect(chip: "Nrf52840") -> RemoteDevice:
    """As `tinyfed_host.device.discovery.connect`, by the chip's clock."""
    session = probe(chip, clock=chip.clock)
    assert session is not None
    return RemoteDevice(chip, clock=chip.clock, session=session)


def learn(device: RemoteDevice, width: int) -> bytes:
    """A visit there and here: the same bits, which are returned."""
    simulated = SimulatedDevice(arena_bytes=device.info.arena_bytes)
    spec = mlp(1, (width, width), 1, "tanh")
    image = encode(spec, initialize(spec, 1))
    simulated.load(image)
    device.load(image)
    there = device.visit(None, ORDER, want_weights=True)
    here = simulated.visit(None, ORDER, want_weights=True)
    assert there.weights == here.weights
    assert there.result.checkpoints == here.result.checkpoints
    assert 0 < there.result.stack_bytes < STACK_BYTES
    assert there.weights is not None
    return there.weights


def test_a_chip_of_build_f0_that_was_erased_is_opened_and_learns_the_same_bits() -> None:
    running = chip()
    device = connect(running)
    assert (device.info.board, device.info.unique_id[:16]) == ("nrf52840dk", "0102030405060708")
    assert running.resets == 1, "UICR counts from the next reset on"
    assert running.debug_port_is_open
    assert [running.word(UICR + at) for at in (0x200, 0x204, 0x208)] == [18, 18, 0xFFFFFF5A]
    learn(device, 8)


def test_a_chip_before_build_f0_has_no_word_written_that_would_lock_it() -> None:
    running = chip(variant=4)
    assert connect(running).info.board == "nrf52840dk"
    assert running.word(UICR + 0x208) == ERASED


def test_it_keeps_what_it_has_learned_through_a_restart() -> None:
    device = connect(chip())
    learned = learn(device, 8)
    device.save()
    device.reset()
    assert device.info.weights_hash == hash64(learned)


@pytest.mark.parametrize(
    ("fault", "stops"),
    [
        ({"framing": frozenset({50, 300, 800, 801, 1200})}, 3),
        ({"stalls": {300: 60}}, 1),  # 690 bytes come meanwhile
    ],
    ids=["framing", "stalls"],
)
def test_it_goes_on_after_faults_of_the_line(fault: dict[str, Any], stops: int) -> None:
    running = chip(**fault)
    learn(connect(running), 16)
    assert running.receiver_stops >= stops


def test_a_main_loop_that_stands_still_is_reset_and_told() -> None:
    running = chip(variant=4, stalls={300: 9000})
    device = connect(running)
    assert device.info.reset_cause == "software", "for UICR"
    with suppress(DeviceError):
        learn(device, 8)  # a host may load the model anew
    assert running.resets == 2
    again = connect(running)
    assert again.info.reset_cause == "watchdog"
    again.reset()
    assert again.info.reset_cause == "software"
