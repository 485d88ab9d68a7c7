"""Serial ports that are PTYs: a device behind one, and things that are no device and must be left as they were."""

import contextlib
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import require
from tinyfed_host.device import discovery as devices
from tinyfed_host.device.line import probe
from tinyfed_host.firmware import flash
from tinyfed_host.transport import others
from tinyfed_host.transport import serial as serial_transport
from tinyfed_host.transport.serial import PortDescription, SerialTransport
from wire_pair import CDevice, library

from tinyfed.device import DeviceInfo
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


Server = Callable[[int, threading.Event], None]


@contextlib.contextmanager
def behind(serve: Server, *ports: Port) -> Iterator[None]:
    """Each port has a thread behind it that serves it meanwhile."""
    library()  # compiled before any clock runs
    stop = threading.Event()
    workers = [threading.Thread(target=serve, args=(port.other, stop)) for port in ports]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def heard_from(other: int, timeout_s: float = 0.01) -> bytes:
    """What came, if anything does."""
    with contextlib.suppress(OSError):
        if select.select([other], [], [], timeout_s)[0]:
            return os.read(other, 4096)
    return b""


def serve_device(other: int, stop: threading.Event) -> None:
    device = CDevice()
    while not stop.is_set():
        data = heard_from(other)
        now_ms = int(time.monotonic() * 1000)
        if data:
            device.receive(data, now_ms)
        device.work(now_ms)
        os.write(other, device.transmit(now_ms))


def serve_echo(other: int, stop: threading.Event) -> None:
    while not stop.is_set():
        os.write(other, heard_from(other))


class Modem:
    """Echoes what is typed and carries out V.250's command lines: "AT", words, CR; "A/" again; "+++" hangs up."""

    def __init__(self) -> None:
        self.heard = b""
        self.done: list[bytes] = []

    def serve(self, other: int, stop: threading.Event) -> None:
        line = b""
        while not stop.is_set():
            for byte in heard_from(other):
                self.heard += bytes([byte])
                os.write(other, bytes([byte]))
                line = (line + bytes([byte & 0x7F]))[-200:]
                begin = line.upper().rfind(b"AT")
                if line.upper().endswith(b"A/") or line.endswith(b"+++") or (byte == 13 and begin >= 0):
                    self.done.append(line)
                    os.write(other, b"\r\nOK\r\n")
                if byte == 13:
                    line = b""


class Satellites:
    """A GPS receiver: streams sentences, and obeys one that ends with a line's end or a binary message (0xB5)."""

    SENTENCES = (
        b"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n"
        b"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A\r\n"
    )

    def __init__(self) -> None:
        self.heard = b""
        self.done: list[bytes] = []

    def serve(self, other: int, stop: threading.Event) -> None:
        while not stop.is_set():
            os.write(other, self.SENTENCES)
            data = heard_from(other, 0.02)
            self.heard += data
            if set(data) & set(b"\r\n\xb5"):
                self.done.append(data)


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
    with behind(serve_device, port):
        line = SerialTransport(port.path)
        with pytest.raises(DeviceError, match="another program uses this port"):
            SerialTransport(port.path)
        session = probe(line)
        line.close()
        line.close()
    assert session is not None and session.hello is not None
    assert session.hello.board == "pair"
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


# All a probe may send: letters and signs, the frame's ends, its version and type, and what
# takes letters back in an editor. No end of line, nothing above 0x7E.
HARMLESS = {*range(0x20, 0x7F), 0x00, 0x01, 0x02, 0x0B, 0x15}


@pytest.mark.parametrize("what", [Modem, Satellites])
def test_a_modem_and_a_gps_do_nothing_and_are_as_before(what: type[Modem] | type[Satellites], port: Port) -> None:
    before = termios.tcgetattr(port._slave)
    before[3] &= ~termios.ECHO  # while nobody has it open the kernel would send the GPS its own lines
    termios.tcsetattr(port._slave, termios.TCSANOW, before)
    other = what()
    with behind(other.serve, port):
        with pytest.raises(DeviceError, match="no tinyfed device answers"):
            devices.probe_port(port.path)
        assert termios.tcgetattr(port._slave) == before
        if isinstance(other, Modem):  # it still listens, and what it does is what a person asks for
            with contextlib.closing(SerialTransport(port.path)) as line:
                line.write(b"\rATI\r")
                assert b"OK" in wait_for(line, b"OK")
    tried = other.heard.removesuffix(b"\rATI\r")
    assert set(tried) <= HARMLESS
    assert set(tried) & set(b"Aa+") == set()
    assert tried.count(b"\x00#\x02\x01") == 3  # greetings
    assert [line.endswith(b"ATI\r") for line in other.done] == [True] * (what is Modem)


@pytest.mark.slow
def test_who_is_on_many_ports_and_where_a_device_is_that_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve ports, a device on four."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(contextlib.closing(Port())) for _ in range(12)]
        gps, modem = Satellites(), Modem()
        for serve, some in ((serve_device, ports[:4]), (serve_echo, ports[4:5])):
            stack.enter_context(behind(serve, *some))
        stack.enter_context(behind(gps.serve, ports[5]))
        stack.enter_context(behind(modem.serve, ports[6]))
        listed = [PortDescription(port.path, "", "0000:0000", "") for port in ports]
        monkeypatch.setattr(serial_transport, "list_serial_ports", lambda: listed)
        found = devices.probe_all(())
        assert [entry["port"] for entry in found] == [port.path for port in ports]
        assert [entry["error"] == "" for entry in found] == [True] * 4 + [False] * 8
        # a device that is back on another port: the one it had is silent
        unique_id = found[3]["unique_id"]
        device = devices.find(unique_id, ports[11].path)
        assert device.info.unique_id == unique_id
        device.close()
        with pytest.raises(DeviceError, match=r"not found on .* nor on another port .*plug it in again"):
            devices.find("f" * 24, ports[11].path)


def test_many_ports_are_asked_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """No port is answered for before all are asked; then, in a search, all but the one that was asked first."""
    listed = [PortDescription(f"/dev/ttyFAKE{number}", "", "0000:0000", "") for number in range(12)]
    meeting = threading.Barrier(12)

    def meet(port: str) -> DeviceInfo:
        meeting.wait(60)
        raise DeviceError(f"{port}: nobody")

    monkeypatch.setattr(serial_transport, "list_serial_ports", lambda: listed)
    monkeypatch.setattr(devices, "probe_port", meet)
    assert [entry["error"] for entry in devices.probe_all(())] == [f"{entry.port}: nobody" for entry in listed]
    meeting = threading.Barrier(11)
    first = iter([DeviceError("nobody")])

    def meet_others(port: str) -> DeviceInfo:
        if port == listed[0].port:
            raise next(first)
        return meet(port)

    monkeypatch.setattr(devices, "probe_port", meet_others)
    with pytest.raises(DeviceError, match="not found on /dev/ttyFAKE0 nor on another port"):
        devices.find("f" * 24, listed[0].port)


def test_the_build_that_was_flashed_must_answer(port: Port) -> None:
    """The device behind the port says build 1122334455667788."""
    with behind(serve_device, port):
        info = flash.wait_for_answer(port.path, "1122334455667788")
        assert info.firmware_build == "1122334455667788"
        with pytest.raises(DeviceError, match="build 1122334455667788 answers, 1122334455667789 was flashed"):
            flash.wait_for_answer(port.path, "1122334455667789", timeout_s=0)


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
    with pytest.raises(DeviceError, match="the port is gone; plug the board in again"):
        for _ in range(10):
            line.read(0.05)
            line.write(b"x")
    line.close()


READER = """import fcntl, os, sys, time
port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
if sys.argv[2] == "alone":
    fcntl.flock(port, fcntl.LOCK_EX)
print("open", flush=True)
while sys.argv[2] == "reads":
    os.read(port, 1)
time.sleep(60)
"""


@contextlib.contextmanager
def reader(port: Port, way: str) -> Iterator[str]:
    """Another program that has the port open; gives what it is called."""
    command = [sys.executable, "-c", READER, port.path, way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "open\n"
            yield f"{Path(f'/proc/{process.pid}/comm').read_text().strip()} (process {process.pid})"
        finally:
            process.kill()


def test_a_port_that_another_program_keeps_for_itself_says_which(port: Port) -> None:
    with reader(port, "alone") as who, pytest.raises(DeviceError) as caught:
        SerialTransport(port.path)
    assert str(caught.value) == f"{port.path}: {who} uses this port; end it or choose another port"


def test_a_program_that_takes_what_the_device_says_is_named(port: Port) -> None:
    """Nothing comes, since the other has it; and it is not the device, which has a PTY's other end open too."""
    assert others.users(port.path) == ""
    with reader(port, "reads") as who, pytest.raises(DeviceError) as caught:
        devices.connect(port.path)
    assert f"no tinyfed device answers; {who} has this port open too and takes what the board says: end it" in str(
        caught.value
    )


def test_bytes_that_were_there_and_went_to_another_program_are_not_an_unplugged_board(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system said that there is a byte, and none was left: pyserial takes it for the port's end."""
    line = SerialTransport(port.path)
    ready = [line._serial.fileno()]
    monkeypatch.setattr(select, "select", lambda *_: (ready, [], []))
    monkeypatch.setattr(os, "read", lambda *_: b"")
    with pytest.raises(DeviceError, match="the port was closed at its other end"):
        line.read(1)
    with reader(port, "waits") as who, pytest.raises(DeviceError) as caught:
        line.read(1)
    assert str(caught.value) == f"{port.path}: {who} reads this port too; end it or choose another port"
    line.close()


def test_the_other_end_of_a_pty_is_the_device(port: Port) -> None:
    program = "import os, pty, time; print(os.ttyname(pty.openpty()[1]), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            path = process.stdout.readline().strip()
            assert Path(path).exists() and others.users(path) == ""
        finally:
            process.kill()
