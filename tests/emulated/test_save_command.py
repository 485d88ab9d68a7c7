"""`tinyfed devices save` on the real images: what was learnt is there after the emulator was killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require_tools
from test_device import ID, SINE, board_for, emulate, sine_model
from tinyfed_host.link import SerialDevice
from tinyfed_host.transport.emulator import start
from tinyfed_host.transport.socket import connect

from tinyfed.errors import DeviceError

SAVE = [sys.executable, "-c", "from tinyfed_host.cli.main import main; main()", "devices", "save"]


@pytest.mark.parametrize("name", ["mps2_an386", "raspberrypi", "native"])
def test_a_saved_model_outlives_a_killed_emulator(name: str, tmp_path: Path) -> None:
    board = board_for(name)
    require_tools(*filter(None, [board.compiler.prefix + "gcc", board.emulator.program if board.emulator else ""]))
    store = tmp_path / "board, with a comma.flash"
    with start(board, ID, store=store) as emulated:
        device = SerialDevice(connect(emulated.port))
        device.load(sine_model())
        device.visit(None, SINE, want_weights=False)
        learnt = device.visit(None, SINE, want_weights=True).weights
        device.close()
        done = subprocess.run([*SAVE, emulated.port, "--json"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["saved"] and told["unique_id"] == ID
        assert emulated.pid is not None
        os.kill(emulated.pid, signal.SIGKILL)
    with start(board, ID, store=store) as emulated:
        device = SerialDevice(connect(emulated.port))
        assert f"{device.info.weights_hash:016x}" == told["weights_hash"]
        try:
            device.reset()
            assert f"{device.info.weights_hash:016x}" == told["weights_hash"], "a restart starts with it too"
            assert learnt is not None
            assert device.visit(None, SINE, want_weights=True).weights != learnt, "it goes on from there"
        finally:
            device.close()
        done = subprocess.run([*SAVE, emulated.port, "--forget"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "keeps no model any more" in done.stdout
        emulated.reload(None)
        device = SerialDevice(connect(emulated.port))
        assert device.info.structure_hash == 0
        device.close()


def test_stm32_under_qemu_says_that_it_cannot() -> None:
    with emulate("stm32f405") as emulated:
        device = SerialDevice(connect(emulated.port))
        device.load(sine_model())
        with pytest.raises(DeviceError, match="keeps no model"):
            device.save()
        device.close()
