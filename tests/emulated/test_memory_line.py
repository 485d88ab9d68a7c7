"""An emulated board's line through memory carries what its UART does, and fails as plainly."""

import mmap
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import require_tools
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.emulation import memory_line as memory
from tinyfed_host.emulation.memory_line import DOWN, LINE_BYTES, RING_BYTES, UP, MemoryTransport
from tinyfed_host.emulation.qemu import start
from tinyfed_host.transport.socket import SocketTransport

from tinyfed.errors import DeviceError, UsageError
from tinyfed.model import encode, initialize, mlp
from tinyfed.wire.order import Order

ID = "a1b2c3d4e5f60718293a4b5d"
ORDER = Order("sine", ways=1, shots=32, queries=20, seed=7, learning_rate=0.02, checkpoints=(0, 32))
OFFSET = 4096


@dataclass
class Board:
    """The board's side of a line, in this process: counts at 0, 4, 8 and 12, as firmware/port/mps2 has them."""

    content: mmap.mmap
    bell: socket.socket

    def count(self, which: int) -> int:
        return int(struct.unpack_from("<I", self.content, OFFSET + which)[0])

    def set(self, which: int, value: int) -> None:
        struct.pack_into("<I", self.content, OFFSET + which, value % 2**32)

    def take(self, count: int) -> bytes:
        begin = self.count(4)
        data = bytes(self.content[OFFSET + DOWN + (begin + i) % RING_BYTES] for i in range(count))
        self.set(4, begin + count)
        return data

    def put(self, data: bytes) -> None:
        begin = self.count(8)
        for i, byte in enumerate(data):
            self.content[OFFSET + UP + (begin + i) % RING_BYTES] = byte
        self.set(8, begin + len(data))
        self.bell.send(b"\0")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[MemoryTransport, Board]]:
    """Both ends; the counts are about to wrap, the places in the rings too."""
    path = tmp_path / "psram"
    path.write_bytes(bytes(OFFSET + LINE_BYTES))
    ours, theirs = socket.socketpair()
    with path.open("r+b") as file:
        board = Board(mmap.mmap(file.fileno(), OFFSET + LINE_BYTES), theirs)
    for which in (0, 4, 8, 12):
        board.set(which, 2**32 - 10)
    line = MemoryTransport(SocketTransport(ours, "unix:///x/line"), path, OFFSET)
    try:
        yield line, board
    finally:
        line.close()
        theirs.close()


def test_bytes_pass_the_ends_of_rings_and_counts(pair: tuple[MemoryTransport, Board]) -> None:
    line, board = pair
    sent = bytes(range(256)) * 4
    line.write(sent)
    assert board.count(0) == len(sent) - 10 and board.take(len(sent)) == sent
    assert set(board.bell.recv(16)) == {0}
    for answer in (sent, b"x", sent[:300]):
        board.put(answer)
        assert line.read(1.0) == answer
    assert board.count(12) == board.count(8)


def test_nothing_to_read_takes_the_time_that_was_given(pair: tuple[MemoryTransport, Board]) -> None:
    """Also when the bell rings for bytes that were taken before."""
    line, board = pair
    board.put(b"once")
    assert line.read(1.0) == b"once"
    begun = time.monotonic()
    assert line.read(0.2) == b"" and time.monotonic() - begun >= 0.2


def test_a_full_ring_waits_for_the_board_and_then_says_so(
    pair: tuple[MemoryTransport, Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, board = pair
    monkeypatch.setattr(memory, "WRITE_TIMEOUT_S", 0.2)
    line.write(bytes(RING_BYTES))
    with pytest.raises(DeviceError, match=r"unix:///x/line: the board has taken no byte for 0 s; restart it"):
        line.write(b"more")
    board.take(3)
    with pytest.raises(DeviceError):
        line.write(b"more")
    board.take(RING_BYTES - 3)
    assert board.take(3) == b"mor"


def test_a_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "psram").write_bytes(b"short")
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(DeviceError, match="x: its memory cannot be shared"):
        MemoryTransport(SocketTransport(ours, "x"), tmp_path / "psram", OFFSET)


def test_a_visit_has_the_bits_of_one_over_the_uart() -> None:
    """And its bytes: what is said on the line is the same. Forty visits also pass the rings' ends."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    spec = mlp(1, (32, 32), 1, "tanh")
    image, weights = encode(spec, initialize(spec, 1)), initialize(spec, 2).tobytes()
    found = []
    for in_memory in (False, True):
        with start("mps2_an386", ID, in_memory=in_memory) as emulated:
            device = RemoteDevice(emulated.connect())
            assert device.info.unique_id == ID
            device.load(image)
            found.append(device.visit(weights, ORDER, want_weights=True))
            if in_memory:
                for _ in range(40):
                    again = device.visit(weights, ORDER, want_weights=True)
                    assert again.weights == found[0].weights
                emulated.reload(None)
                device.close()
                device = RemoteDevice(emulated.connect())
                device.load(image)
                assert device.visit(weights, ORDER, want_weights=True).weights == found[0].weights
            device.close()
    assert found[0].weights == found[1].weights and found[0].result.checkpoints == found[1].result.checkpoints


def test_a_board_that_ends_is_missed() -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    with start("mps2_an386", ID, in_memory=True) as emulated:
        line = emulated.connect()
        device = RemoteDevice(line)
        assert emulated.pid is not None
        os.kill(emulated.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match=f"the emulated mps2_an386 {ID} ended: exit code -9"):
            device.reset()
        device.close()


def test_boards_without_it_say_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="native cannot have its line in memory; mps2_an386 can"):
        start("native", ID, in_memory=True)
    with pytest.raises(UsageError, match="store: no store for saved models goes with a line in memory"):
        start("mps2_an386", ID, in_memory=True, store=tmp_path / "store")
