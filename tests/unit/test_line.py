"""RemoteDevice and probe over a transport whose other end is the real C link; time is a number that reading passes."""

import socket
import struct
import threading
from pathlib import Path

import pytest
from tinyfed_host.device.line import KILL_LINE, PROBE_S, RemoteDevice, probe
from tinyfed_host.transport import socket as socket_transport
from tinyfed_host.transport.base import Transport
from tinyfed_host.transport.socket import SocketTransport, connect
from wire_pair import CDevice, Fault, no_fault

from tinyfed.errors import DeviceError, DoesNotFitError, UsageError
from tinyfed.wire.frames import Frame, FrameDecoder, encode
from tinyfed.wire.messages import MessageType, hash64
from tinyfed.wire.order import Order, Result
from tinyfed.wire.session import HelloOperation, HostSession

ORDER = Order("sine", 1, 4, 2, 7, 0.02)
LONG = Order("sine", 1, 4, 1000, 7, 0.02, checkpoints=(0, 4))  # 2000 judged samples: as many steps may be told
# What the pair device makes of an order: its first byte, the version, is added to each byte in each of 3 steps.
ADDED = 3 * ORDER.encode()[0]
RESULT = Result(4, 1.0, 0.5, 10, 20, 30, ())


class CLine:
    """A `Transport` to a CDevice. `now_s` is the clock of both."""

    name = "/dev/ttyFAKE0"
    bytes_per_s = 11_520.0

    def __init__(self, device: CDevice | None = None, down: Fault = no_fault) -> None:
        self.device = device or CDevice()
        self.device.set_samples(ORDER.ways * ORDER.shots * ORDER.passes)
        self.now_s = 50.0
        self.closed = False
        self.written = b""
        self._down = down

    def clock(self) -> float:
        return self.now_s

    def _now_ms(self) -> int:
        return int(self.now_s * 1000)

    def read(self, timeout_s: float) -> bytes:
        self.device.work(self._now_ms())
        data = self.device.transmit(self._now_ms())
        if not data:
            self.now_s += max(timeout_s, 0.001)
        return data

    def write(self, data: bytes) -> None:
        if self.closed:
            raise DeviceError(f"{self.name}: gone")
        spoiled = self._down(data, len(self.written))
        self.written += data
        self.device.receive(spoiled, self._now_ms())

    def close(self) -> None:
        self.closed = True


def open_device(line: CLine) -> RemoteDevice:
    line.device.set_result(RESULT.encode())
    return RemoteDevice(line, clock=line.clock)


def test_the_lines_are_transports() -> None:
    line: Transport = CLine()
    assert line.name


def test_it_is_a_device_that_loads_visits_and_counts() -> None:
    line = CLine()
    device = open_device(line)
    assert device.info.unique_id == "0102030405060708090a0b0c"
    assert device.info.board == "pair"
    assert device.info.firmware_build == "1122334455667788"
    assert device.info.capabilities == {"train", "reset"}
    image = struct.pack("<4f", 1, 2, 3, 4)
    device.load(image)
    assert device.info.structure_hash == 77
    weights = struct.pack("<4f", 5, 6, 7, 8)
    outcome = device.visit(weights, ORDER, want_weights=True)
    assert outcome.weights == bytes((byte + ADDED) & 255 for byte in weights)
    assert outcome.result == RESULT
    again = device.visit(None, ORDER, want_weights=True)
    assert again.weights == bytes((byte + 2 * ADDED) & 255 for byte in weights)
    last = device.visit(weights, ORDER, want_weights=False)
    assert last.weights is None
    assert outcome.bytes_down + again.bytes_down + last.bytes_down < device.traffic.down == len(line.written)
    assert outcome.bytes_up > len(weights)
    assert device.traffic.retries == 0
    device.close()
    assert line.closed


def test_nobody_there_is_told_with_the_port_and_closes_it() -> None:
    line = CLine(down=lambda data, offset: b"")
    with pytest.raises(DeviceError, match="/dev/ttyFAKE0: no tinyfed device answers; is the firmware flashed"):
        open_device(line)
    assert line.closed
    assert line.now_s - 50 < 10.2


def test_a_device_that_is_gone_is_told_with_its_name() -> None:
    line = CLine()
    device = open_device(line)
    line._down = lambda data, offset: b""
    with pytest.raises(DeviceError, match=r"ttyFAKE0 \(pair 0102030405060708090a0b0c\): no answer for 10 s"):
        device.load(b"image")


def test_a_model_that_does_not_fit_says_how_many_bytes_are_short() -> None:
    device = open_device(CLine(CDevice(arena_bytes=1000)))
    with pytest.raises(DoesNotFitError, match="are 24 bytes too large for the arena of 1000 bytes"):
        device.load(bytes(1024))
    device.load(bytes(1000))


def test_an_order_without_a_model_is_refused_with_the_reason() -> None:
    device = open_device(CLine())
    with pytest.raises(DeviceError, match="the order was refused: asked for in the wrong state"):
        device.visit(None, ORDER, want_weights=False)


def test_a_device_that_restarts_is_told() -> None:
    line = CLine(CDevice(steps=100_000))
    device = open_device(line)
    device.load(b"image123")
    reads = []
    original = line.read

    def read(timeout_s: float) -> bytes:
        reads.append(1)
        if len(reads) == 5:
            line.device.power_cycle()
        line.now_s += 0.05
        return original(timeout_s)

    line.read = read  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match=r"it restarted in the middle .*; load the model again"):
        device.visit(None, ORDER, want_weights=False)
    device.load(b"image123")


def test_cancel_ends_a_visit_soon_and_the_device_is_free_again() -> None:
    line = CLine(CDevice(steps=10**9))
    device = open_device(line)
    device.load(b"image123")
    reads = []
    original = line.read

    def read(timeout_s: float) -> bytes:
        reads.append(1)
        if len(reads) == 20:
            device.cancel()
        return original(timeout_s)

    line.read = read  # type: ignore[method-assign]
    before = line.now_s
    with pytest.raises(DeviceError, match="given up on request"):
        device.visit(None, LONG, want_weights=False)
    assert line.now_s - before < 3
    line.device.set_steps(2)
    device.load(b"another1")
    device.visit(None, ORDER, want_weights=False)


def test_progress_is_what_the_heartbeat_says() -> None:
    line = CLine(CDevice(steps=ORDER.steps_max))
    line.device.set_result(RESULT.encode())
    seen: list[tuple[int, int]] = []
    device = RemoteDevice(line, clock=line.clock, progress=lambda done, total: seen.append((done, total)))
    device.load(b"image123")
    original = line.read

    def read(timeout_s: float) -> bytes:
        line.now_s += 1.0
        return original(timeout_s)

    line.read = read  # type: ignore[method-assign]
    device.visit(None, ORDER, want_weights=False)
    assert {total for _, total in seen} == {4}
    assert len({done for done, _ in seen}) >= 3


def test_a_visit_of_a_host_that_died_is_ended_first() -> None:
    line = CLine(CDevice(steps=10**9))
    first = open_device(line)
    first.load(b"image123")
    started = threading.Event()
    original = line.read

    def read(timeout_s: float) -> bytes:
        if len(line.written) > 200 and started.is_set():
            raise KeyboardInterrupt  # the host dies here
        started.set()
        return original(timeout_s)

    line.read = read  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.visit(None, ORDER, want_weights=False)
    line.read = original  # type: ignore[method-assign]
    second = open_device(line)
    line.device.set_steps(1)
    second.load(b"image456")
    second.visit(None, ORDER, want_weights=False)
    assert line.device.trained == 1


def test_reset_brings_the_device_back() -> None:
    line = CLine()
    device = open_device(line)
    device.load(b"image123")
    device.reset()
    assert line.device.resets == 1
    assert device.info.structure_hash == 0


# ---- probing ------------------------------------------------------------------------------------------


class Script:
    """A `Transport` whose other end is a function of what was written."""

    name = "/dev/ttyOTHER0"
    bytes_per_s = 11_520.0

    def __init__(self, answer: bytes = b"", *, echo: bool = False) -> None:
        self.written = b""
        self.now_s = 0.0
        self._answer = answer
        self._echo = echo
        self._waiting = b""

    def clock(self) -> float:
        return self.now_s

    def read(self, timeout_s: float) -> bytes:
        data, self._waiting = self._waiting, b""
        if not data:
            self.now_s += timeout_s
        return data

    def write(self, data: bytes) -> None:
        self.written += data
        self._waiting += (data if self._echo else b"") + self._answer

    def close(self) -> None:
        pass


def test_a_probe_finds_a_device() -> None:
    line = CLine()
    session = probe(line)
    assert session is not None and session.hello is not None
    assert session.hello.unique_id == bytes(range(1, 13))
    assert KILL_LINE not in line.written


@pytest.mark.parametrize(
    "other",
    [Script(), Script(echo=True), Script(b"$GPGGA,123519,4807.038,N\r\n"), Script(b"\r\nERROR\r\n"), Script(b"\0")],
)
def test_something_else_is_no_device_and_gets_nothing_it_could_act_on(other: Script) -> None:
    assert probe(other, clock=other.clock) is None
    assert other.now_s <= PROBE_S
    frames = FrameDecoder().feed(other.written)
    assert 1 <= len(frames) <= 3
    assert {frame.type for frame in frames} == {MessageType.HELLO_REQUEST}
    assert other.written.endswith(KILL_LINE)
    acted_on = set(range(1, 32)) | {127}
    assert set(other.written[: -len(KILL_LINE)]) & acted_on <= {0x01, 0x02}
    assert max(other.written) < 127


def test_every_probe_is_quiet() -> None:
    """Whatever the random numbers: no control byte but the fixed ones, in 100 probes."""
    for seed in range(100):
        session = HostSession(seed * 0x9E3779B97F4A7C15 & (2**64 - 1), bytes_per_s=1e4, patience_s=1)
        operation = HelloOperation(interval_s=0.3, attempts=3)
        session.start(operation, 0.0)
        sent = b"".join(session.poll(0.31 * step) for step in range(4))
        assert sent.count(b"\x00#\x02\x01") == 3
        assert set(sent) - set(range(32, 127)) == {0x00, 0x01, 0x02}
        assert not set(sent) & set(b"Aa+")


def test_a_probe_tells_a_device_of_another_protocol_version() -> None:
    class Newer(Script):
        def write(self, data: bytes) -> None:
            for frame in FrameDecoder().feed(data):
                self._waiting += encode(Frame(MessageType.HELLO, frame.session, payload=bytes(90), version=3))

    with pytest.raises(DeviceError, match="version 3 of the protocol; this tinyfed speaks version 2: flash"):
        probe(Newer(), clock=Script().clock)


def test_a_probe_changes_nothing_on_a_device() -> None:
    line = CLine()
    device = open_device(line)
    device.load(b"image123")
    outcome = device.visit(b"weights1", ORDER, want_weights=True)
    assert outcome.weights is not None
    session = probe(line)
    assert session is not None and session.hello is not None
    assert session.hello.weights_hash == hash64(outcome.weights)
    assert RemoteDevice(line, clock=line.clock, session=session).info.weights_hash == hash64(outcome.weights)
    assert line.device.trained == 1
    assert line.device.valid


# ---- sockets ------------------------------------------------------------------------------------------


def test_a_socket_carries_bytes_and_tells_its_end() -> None:
    ours, theirs = socket.socketpair()
    line = SocketTransport(ours, "unix://x")
    line.write(b"hello")
    assert theirs.recv(16) == b"hello"
    theirs.sendall(b"back")
    assert line.read(1.0) == b"back"
    assert line.read(0.0) == b""
    theirs.close()
    with pytest.raises(DeviceError, match="unix://x: the connection was closed"):
        line.read(1.0)
    line.close()
    line.close()


@pytest.mark.parametrize("url", ["socket://", "socket://host", "http://x:1", "unix://", "socket://h:99999999"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(UsageError, match="socket://HOST:PORT"):
        connect(url)


def test_nobody_listening_is_told(tmp_path: object) -> None:
    with pytest.raises(DeviceError, match="nothing listens there; start the emulator or serial server"):
        connect(f"unix://{tmp_path}/nothing")


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_the_second_at_a_line_for_one_is_told_and_the_next_is_taken(
    family: socket.AddressFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an emulator does: a connection is accepted after the one before it was closed."""
    monkeypatch.setattr(socket_transport, "TURN_S", 0.0)
    with socket.socket(family) as listening:
        listening.bind(str(tmp_path / "line") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listening.listen(4)
        name = listening.getsockname()
        url = f"unix://{name}" if family == socket.AF_UNIX else f"socket://127.0.0.1:{name[1]}"
        early = connect(url)  # it has not accepted anybody yet: that is no reason to go
        first, _ = listening.accept()
        with pytest.raises(DeviceError, match="another program is connected to it, and it talks to one at a time"):
            connect(url)
        early.close()
        first.close()
        second, _ = listening.accept()  # the one that was told and went
        second.close()
        connect(url).close()
