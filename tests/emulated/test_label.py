"""The whole chain on emulated boards: a person's raw recordings are played, each gesture is labelled from the command
line, and the board adapts to what it recorded exactly as a simulated device does with the shard of those windows."""

import dataclasses
import json
from pathlib import Path

import pytest
from conftest import require_tools
from tinyfed_host.cli.main import run_command
from tinyfed_host.device import discovery as devices
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import Emulators

from tinyfed.boards import read_board
from tinyfed.data.recording import write_recording
from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DoesNotFitError, UsageError
from tinyfed.model.image import encode
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.tasks import watch
from tinyfed.wire.order import Order

PERSON = (2, 0)  # held out
GESTURES = (3, 0, 6, 4)  # this wearer's own choice and order
WINDOWS = 12  # of each
SPEC = mlp(120, (32, 32), 4, "relu", loss="softmax_cross_entropy")


def played(period_us: int) -> bytes:
    own = watch.takes(PERSON)
    return write_recording([own[gesture] for gesture in GESTURES], watch.RATE_HZ, period_us)


@pytest.mark.parametrize("board", ["mps2_an386", "native", "raspberrypi"])
def test_label_by_command_and_learn_on_the_board(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    emulator = read_board(board).emulator
    assert emulator is not None
    require_tools(*([emulator.program] if emulator.program else []))
    order = Order("shard", 4, 10, queries=0, seed=11, learning_rate=0.025, checkpoints=(0, 1, 10))
    image = encode(SPEC, initialize(SPEC, 5))
    with Emulators() as emulators:
        emulated = emulators.start(board, "0" * 23 + "7", sensor=played(period_us=250))
        for label in range(len(GESTURES)):
            assert (
                run_command(["devices", "label", emulated.port, str(label), "--windows", str(WINDOWS), "--json"]) == 0
            )
            said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
            assert said[-1]["ended"] and said[-1]["windows"] == WINDOWS
            assert said[-1]["counts"] == [WINDOWS] * (label + 1)
        device = devices.connect(emulated.port)
        assert isinstance(device, RemoteDevice)
        try:
            info = device.info
            assert "sensor" in info.capabilities and "shard" in info.capabilities
            assert (info.class_count, info.feature_count) == (4, 120)
            device.load(image)
            there = device.visit(None, order, want_weights=True)
            samples = watch.samples(PERSON)
            simulated = SimulatedDevice(shard=write_shard([samples[gesture][:WINDOWS] for gesture in GESTURES]))
            simulated.load(image)
            here = simulated.visit(None, order, want_weights=True)
            assert there.weights == here.weights
            found = dataclasses.replace(there.result, train_us=0, train_instructions=0, stack_bytes=0)
            assert found == here.result
            device.reset()
            assert device.info.class_count == 0, "a restart drops what was recorded, and HELLO says so"
        finally:
            device.close()


def test_in_the_boards_own_time_it_takes_two_seconds_to_the_first_window() -> None:
    """At 50 readings a second a window of 2 s and one more second make two windows."""
    require_tools("qemu-system-arm")
    with Emulators() as emulators:
        emulated = emulators.start("mps2_an386", "0" * 23 + "8", sensor=played(period_us=20_000))
        device = devices.connect(emulated.port)
        assert isinstance(device, RemoteDevice)
        try:
            status = device.record(0, seconds=3.1)
            assert (status.windows, status.status) == (2, 0)
            with pytest.raises(UsageError, match="class 32: must be 0 to 31"):
                device.record(32)
        finally:
            device.close()


def test_a_board_without_a_sensor_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Emulators() as emulators:
        emulated = emulators.start("native", "0" * 23 + "9")
        assert run_command(["devices", "label", emulated.port, "0"]) == 2
        assert "has no sensor" in capsys.readouterr().err
        assert run_command(["devices", "label", emulated.port]) == 2
        assert "which CLASS" in capsys.readouterr().err
        with pytest.raises(DoesNotFitError, match="recording"):
            emulators.start("mps2_an386", "0" * 23 + "a", sensor=bytes(2**21 + 1))
        with pytest.raises(UsageError, match="no sensor"):
            emulators.start("stm32f405", "0" * 23 + "b", sensor=b"TFRC")
