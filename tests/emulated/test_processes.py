"""Emulated boards are processes: they end with the one that started them, whatever ends it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import require_tools
from run_helpers import TINYFED
from tinyfed_host.emulation import qemu as emulator
from tinyfed_host.emulation.qemu import Emulators, start

from tinyfed.boards import read_board
from tinyfed.errors import DeviceError, DoesNotFitError, MissingToolError, UsageError

ID = "0102030405060708090a0b0c"
# Starts two boards, says their process ids, and waits for its end.
HOLDER = """
import sys, threading, time
from tinyfed_host.emulation.qemu import Emulators
with Emulators() as emulators:
    def work():  # coordinators start devices from worker threads, which end
        for number in range(2):
            device = emulators.start(sys.argv[1], f"{number:024x}")
            print(device.pid, device.port, flush=True)
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    print("ready", flush=True)
    time.sleep(60)
"""


def is_running(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.mark.slow
@pytest.mark.parametrize("board", ["mps2_an386", "native"])
def test_a_flash_file_is_one_boards_at_a_time(board: str, tmp_path: Path) -> None:
    """Two processes; the file is free again when the first has ended, also when it was killed."""
    require_tools("gcc") if board == "native" else require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    command = [TINYFED, "emulate", "--board", board, "--store", tmp_path / "flash"]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        try:
            pid = json.loads(first.stdout.readline())["pid"]
            second = subprocess.run([*command, "--for", "2"], capture_output=True, text=True, timeout=120)
            assert second.returncode == 2, second.stderr
            assert "is the flash of an emulated board that runs" in second.stderr and second.stderr.count("\n") == 1
            assert is_running(pid)
        finally:
            first.kill()
    assert wait_until(lambda: not is_running(pid))
    third = subprocess.run([*command, "--for", "0"], capture_output=True, text=True, timeout=120)
    assert third.returncode == 0, third.stderr


def kill_quietly(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("board", ["mps2_an386", "native"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_emulator_outlives_its_host(board: str, number: signal.Signals) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc", "setpriv")
    host = subprocess.Popen([sys.executable, "-c", HOLDER, board], stdout=subprocess.PIPE, text=True)
    pids: list[int] = []
    folders: list[Path] = []
    try:
        assert host.stdout is not None
        for line in host.stdout:
            if line.strip() == "ready":
                break
            pid, port = line.split()
            pids.append(int(pid))
            folders.append(Path(port.removeprefix("unix://")).parent)
        assert len(pids) == 2 and all(is_running(pid) for pid in pids), "the thread that started them has ended"
        host.send_signal(number)
        assert wait_until(lambda: not any(is_running(pid) for pid in pids)), f"left behind after {number.name}"
    finally:
        host.kill()
        host.wait()
        for pid in pids:
            kill_quietly(pid)
        for folder in folders:  # who is killed cannot tidy up
            shutil.rmtree(folder, ignore_errors=True)


def test_a_group_ends_its_devices_on_an_exception() -> None:
    pids = []
    with pytest.raises(ZeroDivisionError), Emulators() as emulators:
        for number in range(3):
            pid = emulators.start("native", f"{number:024x}").pid
            assert pid is not None
            pids.append(pid)
        raise ZeroDivisionError
    assert not any(is_running(pid) for pid in pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids), "no zombies"


def test_reload_keeps_the_port() -> None:
    with start("native", ID) as device:
        port, first = device.port, device.pid
        device.reload(b"no shard, but that is the device's business")
        assert device.port == port and device.pid != first
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(port.removeprefix("unix://"))
    assert not Path(port.removeprefix("unix://")).exists()


def test_one_that_ended_by_itself_is_told_with_its_last_words() -> None:
    with start("native", ID) as device:
        device.check()
        assert device.pid is not None
        os.kill(device.pid, signal.SIGKILL)
        assert wait_until(lambda: device.pid is None)
        with pytest.raises(DeviceError, match=f"the emulated native {ID} ended: exit code -9$"):
            device.check()


def test_what_cannot_be_started_is_told_before() -> None:
    with pytest.raises(UsageError, match="24 hexadecimal digits"):
        start("native", "12")
    with pytest.raises(UsageError, match="native cannot count instructions"):
        start("native", ID, counting=True)
    with pytest.raises(UsageError, match=r"none\.shard: the shard cannot be read: No such file"):
        start("native", ID, Path("none.shard"))
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    size = read_board("mps2_an386").memory["data_flash"].size_bytes
    with pytest.raises(DoesNotFitError, match="does not fit the data flash of mps2_an386: 5 bytes too many"):
        start("mps2_an386", ID, bytes(size + 5))


def test_a_missing_emulator_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator.shutil, "which", lambda name: None)
    with pytest.raises(
        MissingToolError, match="qemu-system-arm is not installed: sudo apt-get install qemu-system-arm"
    ):
        start("mps2_an386", ID)


def test_an_inherited_line_takes_one_host_after_another() -> None:
    with start("native", ID) as device:
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(device.port.removeprefix("unix://"))
        device.check()


def test_emulate_prints_ports_and_ends_with_ctrl_c() -> None:
    command = [sys.executable, "-c", "from tinyfed_host.cli.main import main; main()"]
    command += ["emulate", "--board", "native", "--count", "2", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pids = []
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        pids = [line["pid"] for line in lines[:2]]
        assert lines[2] == {"ports": [line["port"] for line in lines[:2]]}
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert process.returncode == 130
        assert "Traceback" not in errors and errors.count("\n") <= 1
        assert not any(is_running(pid) for pid in pids)
    finally:
        process.kill()
        process.wait()
        for pid in pids:
            kill_quietly(pid)


def test_emulate_ends_by_itself_and_refuses_too_many_shards() -> None:
    command = [sys.executable, "-c", "from tinyfed_host.cli.main import main; main()", "emulate", "--board", "native"]
    done = subprocess.run([*command, "--for", "0.1"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("unix:///")
    done = subprocess.run([*command, "--shard", "a", "--shard", "b"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "tinyfed: --shard was given 2 times for 1 devices; raise --count\n"
