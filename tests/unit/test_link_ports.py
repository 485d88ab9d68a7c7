"""Serial ports that are PTYs: a device behind one, and things that are no device and must be left as they were."""

import contextlib
import os
import pty
import select
import shutil
import subprocess
import termios
import threading
import time
import tty
from collections.abc import Iterator

import pytest
from conftest import require
from tinyfed_host.link import probe
from tinyfed_host.transport.serial import SerialTransport
from wire_pair import CDevice

from tinyfed.errors import DeviceError


class Port:
    """A PTY: `path` is the port; `other` the file descriptor of what is behind it."""

    def __init__(self) -> None:
        self.other, self._slave = pty.openpty()
        self.path = os.ttyname(self._slave)

    def close(self) -> None:
        for handle in (self.other, self._slave):
            with contextlib.suppress(OSError):
                os.close(handle)


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def pump(a: int, b: int, stop: threading.Event) -> None:
    """Carry bytes both ways between two file descriptors."""
    with contextlib.suppress(OSError):
        while not stop.is_set():
            for handle in select.select([a, b], [], [], 0.02)[0]:
                os.write(b if handle == a else a, os.read(handle, 4096))


def wait_for(line: SerialTransport, words: bytes, timeout_s: float = 20.0) -> bytes:
    """What came until `words` did."""
    heard = b""
    end = time.monotonic() + timeout_s
    while words not in heard and time.monotonic() < end:
        heard += line.read(0.2)
    return heard


def test_a_device_behind_a_pty_is_found_and_the_terminal_is_as_before(port: Port) -> None:
    before = termios.tcgetattr(port._slave)
    stop = threading.Event()
    device = CDevice()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                if select.select([port.other], [], [], 0.01)[0]:
                    device.receive(os.read(port.other, 4096), int(time.monotonic() * 1000))
                device.work(int(time.monotonic() * 1000))
                os.write(port.other, device.transmit(int(time.monotonic() * 1000)))

    worker = threading.Thread(target=serve)
    worker.start()
    try:
        line = SerialTransport(port.path)
        with pytest.raises(DeviceError, match="another program uses this port"):
            SerialTransport(port.path)
        info = probe(line)
        line.close()
        line.close()
    finally:
        stop.set()
        worker.join()
    assert info is not None
    assert info.board == "pair"
    assert termios.tcgetattr(port._slave) == before


@pytest.mark.parametrize("shell", [["bash", "--norc", "--noprofile", "-i"], ["sh", "-i"]])
def test_a_shell_behind_a_port_executes_nothing_and_is_as_before(shell: list[str], port: Port) -> None:
    require(shutil.which(shell[0]), f"{shell[0]} is not on PATH")
    tty.setraw(port._slave)  # a serial port's terminal would echo the shell's words back to it
    line = SerialTransport(port.path)
    master, terminal = pty.openpty()
    stop = threading.Event()
    process = subprocess.Popen(
        shell,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={"PS1": "$ ", "TERM": "dumb"},
    )
    worker = threading.Thread(target=pump, args=(master, port.other, stop))
    worker.start()
    try:
        heard = wait_for(line, b"$ ")  # it is ready
        for _ in range(3):
            assert probe(line, timeout_s=0.2) is None
        heard += line.read(0.1)
        # what was typed by the probe is gone: the next command is only this one
        line.write(b"echo answer is $((6*7))\r")
        heard += wait_for(line, b"answer is 42")
        line.close()
    finally:
        process.kill()
        process.wait()
        stop.set()
        worker.join()
        os.close(master)
        os.close(terminal)
    assert b"answer is 42" in heard
    assert b"not found" not in heard


@pytest.mark.parametrize(
    ("path", "why"),
    [("/dev/no-such-port", "there is no such port"), ("/etc/hostname", "this is no serial port")],
)
def test_a_port_that_cannot_be_opened_says_why(path: str, why: str) -> None:
    with pytest.raises(DeviceError, match=f"{path}: {why}"):
        SerialTransport(path)


def test_a_port_that_goes_away_is_told(port: Port) -> None:
    line = SerialTransport(port.path)
    port.close()
    with pytest.raises(DeviceError, match="the port is gone; is the board unplugged"):
        for _ in range(10):
            line.read(0.05)
            line.write(b"x")
    line.close()
