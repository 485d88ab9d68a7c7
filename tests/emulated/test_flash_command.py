"""`tinyfed firmware flash` from end to end: a stand-in for the flasher, and the emulated board as what was flashed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation.qemu import start
from tinyfed_host.firmware import build
from tinyfed_host.transport.socket import connect

from tinyfed.model.image import encode, structure_hash
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp

ID = "00112233445566778899aabb"
TINYFED = [sys.executable, "-c", "from tinyfed_host.cli.main import main; main()"]


# The last two words are -D FILE or -U FILE.
FLASHER = """#!/bin/sh
echo "$*" >> {folder}/calls
while [ $# -gt 2 ]; do shift; done
case $1 in -D) cp "$2" {folder}/flash ;; *) cp {folder}/flash "$2" ;; esac
echo "Download [====] 100%"
"""


@pytest.fixture
def flasher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dfu-util that notes how it was called, and reads back what it was given."""
    program = tmp_path / "dfu-util"
    program.write_text(FLASHER.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "calls"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*TINYFED, "firmware", "flash", *arguments], capture_output=True, text=True, timeout=120)


def test_flash_writes_waits_and_says_who_is_there(flasher: Path) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    with start("stm32f405", ID) as device:
        options = ["--board", "stm32f405", "--port", device.port, "--method", "dfu-util", "--json"]
        done = run(*options)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert (result["board"], result["unique_id"], result["written"]) == ("stm32f405", ID, False)
        assert not flasher.exists(), "the image is on the board already"

        done = run(*options, "--force")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["written"] is True
        assert "firmware: 100 %" in done.stdout
        assert "comparison: 100 %" in done.stdout
        assert [line.split()[-2] for line in flasher.read_text().splitlines()] == ["-D", "-U"]


def test_a_failing_tool_is_one_line_and_its_exit_code(flasher: Path) -> None:
    require_tools("arm-none-eabi-gcc")
    tool = flasher.with_name("dfu-util")
    tool.write_text('#!/bin/sh\necho "Error during download (LIBUSB_ERROR_NO_DEVICE)"; exit 74\n')
    build.build("stm32f405")  # that it is being built would be told
    done = run("--board", "stm32f405", "--method", "dfu-util", "--force")
    assert done.returncode == 6
    assert done.stderr.startswith("tinyfed: dfu-util: the connection broke off; check cable and power and flash again")
    assert len(done.stderr.splitlines()) == 1


def test_another_build_on_the_port_is_told(flasher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinyfed_host.firmware import flash

    from tinyfed.errors import DeviceError

    with start("native", ID) as device, pytest.raises(DeviceError, match="was flashed; is this the port of another"):
        flash.wait_for_answer(device.port, "0123456789abcdef", timeout_s=0)


def test_dry_run_only_prints(flasher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tools("arm-none-eabi-gcc")
    done = run("--board", "stm32f405", "--method", "dfu-util", "--dry-run")
    assert done.returncode == 0, done.stderr
    write, check = done.stdout.splitlines()
    assert write.startswith("dfu-util -a 0 -d 0483:df11 -s 0x08000000 -D ")
    assert re.search(r"-s 0x08000000:(\d+|SIZE):leave -U \S+tinyfed-\S+/readback\.bin$", check)
    assert not flasher.exists()
    flasher.with_name("dfu-util").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("--board", "stm32f405", "--method", "dfu-util", "--dry-run")
    assert done.stdout.startswith("dfu-util -a 0 -d 0483:df11 -s 0x08000000 -D ") and "stm32f405-BUILD" in done.stdout
    done = run("--board", "nano33ble", "--port", "/dev/ttyACM7", "--dry-run")
    assert done.stdout.endswith(" -e nano33ble -t upload\n"), "neither tool nor compiler nor build"
    done = run("--board", "mps2_an386", "--dry-run")
    assert done.stdout == "tinyfed emulate --board mps2_an386\n"


def test_flashing_an_emulated_board_starts_it_with_the_model_in_its_firmware(tmp_path: Path) -> None:
    require_tools("gcc")
    spec = mlp(1, (8,), 1)
    model = tmp_path / "net.tfm"
    model.write_bytes(encode(spec, initialize(spec, 3)))
    command = [*TINYFED, "firmware", "flash", "--board", "native", "--model", str(model), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        device = RemoteDevice(connect(port))
        assert device.info.structure_hash == structure_hash(model.read_bytes())
        device.close()
    finally:
        process.terminate()
        process.communicate(timeout=20)
