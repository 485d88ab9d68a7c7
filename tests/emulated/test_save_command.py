"""`tinyfed devices save` on the real images: what was learnt is there after the emulator was killed."""

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from conftest import require_tools
from test_device import ID, SINE, board_for, emulate, sine_model
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.transport.socket import connect

from tinyfed.boards import read_board
from tinyfed.errors import DeviceError
from tinyfed.model.image import read_weights, weights_hash

SAVE = [sys.executable, "-c", "from tinyfed_host.cli.main import main; main()", "devices", "save"]


@pytest.mark.parametrize("name", ["mps2_an386", "raspberrypi", "native"])
def test_a_saved_model_outlives_a_killed_emulator(name: str, tmp_path: Path) -> None:
    board = board_for(name)
    require_tools(*filter(None, [board.compiler.prefix + "gcc", board.emulator.program if board.emulator else ""]))
    store = tmp_path / "board, with a comma.flash"
    with start(board, ID, store=store) as emulated:
        device = RemoteDevice(connect(emulated.port))
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
        device = RemoteDevice(connect(emulated.port))
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
        device = RemoteDevice(connect(emulated.port))
        assert device.info.structure_hash == 0
        device.close()


def slot(content: bytes, sequence: int) -> bytes:
    """As docs/store.md has it."""
    head = struct.pack("<4sIIIQB35x", b"TFS1", sequence, len(content), zlib.crc32(content), 0, 1)
    return head + struct.pack("<I", zlib.crc32(head)) + content


def test_the_image_for_the_stm32_starts_with_the_newest_slot(tmp_path: Path) -> None:
    """QEMU cannot write flash, but it can start with something in it: the part of the way that it has."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    old, new = sine_model(1), sine_model(2)
    manifest = json.loads(read_board("stm32f405").path.read_text())
    words = manifest["tinyfed"]["emulator"]["command"]
    for address, data in ((0x08040000, slot(new, 9)), (0x08060000, slot(old, 8))):
        file = tmp_path / f"{address:x}"
        file.write_bytes(data)
        words += ["-device", f"loader,file={file},addr={address:#x},force-raw=on"]
    (tmp_path / "stm32_saved.json").write_text(json.dumps(manifest))
    with start(read_board("stm32_saved", tmp_path), ID) as emulated:
        device = RemoteDevice(connect(emulated.port))
        assert device.info.weights_hash == weights_hash(read_weights(new))
        device.close()


def test_stm32_under_qemu_says_that_it_cannot() -> None:
    with emulate("stm32f405") as emulated:
        device = RemoteDevice(connect(emulated.port))
        device.load(sine_model())
        with pytest.raises(DeviceError, match="keeps no model"):
            device.save()
        device.close()
