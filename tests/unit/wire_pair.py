"""The real C link and the Python session, joined by a line that a test may spoil, with a clock that is a number."""

import ctypes
import functools
import math
import random
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

from conftest import FIRMWARE, RECIPE, ROOT, require_tools

from tinyfed.wire import messages
from tinyfed.wire.frames import VERSION, Frame, encode
from tinyfed.wire.messages import Kind, MessageType, hash64
from tinyfed.wire.record import FORGET, STOP, LabelOperation
from tinyfed.wire.save import SaveOperation
from tinyfed.wire.session import CancelOperation, HelloOperation, HostSession, Operation
from tinyfed.wire.transfer import TransferOperation, UploadOperation
from tinyfed.wire.visit import VisitOperation

FLAGS = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC", "-shared"]
SANITIZE = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]


@functools.cache
def library() -> ctypes.CDLL:
    """firmware/wire and the test's application around it, compiled for this machine with UBSan."""
    require_tools("gcc")
    folder = Path(tempfile.mkdtemp(prefix="tinyfed-wire-"))
    target = folder / "libpair.so"
    sources = [*RECIPE.sources(FIRMWARE, "base", "wire"), ROOT / "tests/c/wire/pair_device.c"]
    subprocess.run(
        ["gcc", *FLAGS, *SANITIZE, *RECIPE.include_flags(FIRMWARE, "wire"), *map(str, sources), "-o", str(target)],
        check=True,
    )
    loaded = ctypes.CDLL(str(target))
    loaded.device_new.restype = ctypes.c_void_p
    for name in ("transmit", "idle_ms", "counter", "picture_bytes"):
        getattr(loaded, f"device_{name}").restype = ctypes.c_uint32
    return loaded


class CDevice:
    """tests/c/wire/pair_device.c."""

    def __init__(self, arena_bytes: int = 1 << 20, chunk_bytes: int = 1024, steps: int = 3) -> None:
        self._c = library()
        self._handle = ctypes.c_void_p(self._c.device_new(arena_bytes, chunk_bytes))
        self._out = ctypes.create_string_buffer(4096)
        self._c.device_set_steps(self._handle, steps)

    def __del__(self) -> None:
        self._c.device_free(self._handle)

    def receive(self, data: bytes, now_ms: int) -> None:
        self._c.device_receive(self._handle, data, len(data), now_ms & 0xFFFFFFFF)

    def work(self, now_ms: int) -> None:
        self._c.device_work(self._handle, now_ms & 0xFFFFFFFF)

    def transmit(self, now_ms: int, capacity: int = 4096) -> bytes:
        count = self._c.device_transmit(self._handle, self._out, capacity, now_ms & 0xFFFFFFFF)
        return self._out.raw[:count]

    def idle_ms(self, now_ms: int) -> int:
        return int(self._c.device_idle_ms(self._handle, now_ms & 0xFFFFFFFF))

    def power_cycle(self) -> None:
        self._c.device_power_cycle(self._handle)

    def set_result(self, data: bytes) -> None:
        self._c.device_set_result(self._handle, data, len(data))

    def set_capabilities(self, bits: int) -> None:
        self._c.device_set_capabilities(self._handle, bits)

    def set_image(self, data: bytes) -> None:
        self._c.device_set_image(self._handle, data, len(data))

    def save(self) -> bytes:
        """A picture of all it is, without what is written before it is read again."""
        self._c.device_tidy(self._handle)
        picture = ctypes.create_string_buffer(self._c.device_picture_bytes(self._handle))
        self._c.device_save(self._handle, picture)
        return picture.raw

    def restore(self, picture: bytes) -> None:
        """Be as it was when the picture of it was made."""
        self._c.device_restore(self._handle, picture)

    def set_samples(self, samples: int) -> None:
        self._c.device_set_samples(self._handle, samples)

    def set_steps(self, steps: int) -> None:
        self._c.device_set_steps(self._handle, steps)

    @property
    def trained(self) -> int:
        return int(self._c.device_counter(self._handle, 0))

    @property
    def violations(self) -> int:
        return int(self._c.device_counter(self._handle, 1))

    @property
    def resets(self) -> int:
        return int(self._c.device_counter(self._handle, 2))

    @property
    def hosts_gone(self) -> int:
        return int(self._c.device_counter(self._handle, 3))

    @property
    def transfers(self) -> int:
        return int(self._c.device_counter(self._handle, 4))

    @property
    def saves(self) -> int:
        return int(self._c.device_counter(self._handle, 6))

    @property
    def inferred(self) -> int:
        return int(self._c.device_counter(self._handle, 7))

    @property
    def session(self) -> int:
        return int(self._c.device_counter(self._handle, 8))

    @property
    def sequence(self) -> int:
        return int(self._c.device_counter(self._handle, 9))

    @property
    def valid(self) -> bool:
        return bool(self._c.device_counter(self._handle, 5))


# Takes the bytes of one write and their offset in all bytes of this direction; gives what arrives.
Fault = Callable[[bytes, int], bytes]


def no_fault(data: bytes, offset: int) -> bytes:
    return data


class Channel:
    """One direction of a line: `bytes_per_s` (infinite: at once) and `latency_s`, with a fault."""

    def __init__(self, fault: Fault = no_fault, bytes_per_s: float = math.inf, latency_s: float = 0.0) -> None:
        self.fault = fault
        self.sent = 0
        self._rate = bytes_per_s
        self._latency = latency_s
        self._free_s = 0.0
        self._queue: deque[tuple[float, bytes]] = deque()  # when its first byte starts, and the bytes

    def send(self, data: bytes, now_s: float) -> None:
        arriving = self.fault(data, self.sent)
        self.sent += len(data)
        start = max(now_s, self._free_s)
        self._free_s = start + len(data) / self._rate
        if arriving:
            self._queue.append((start + self._latency, arriving))

    def _arrived(self, now_s: float) -> int:
        start, data = self._queue[0]
        if math.isinf(self._rate):
            return len(data) if now_s >= start else 0
        return max(0, min(len(data), int((now_s - start) * self._rate + 1e-6)))

    def receive(self, now_s: float) -> bytes:
        out = b""
        while self._queue and (count := self._arrived(now_s)) > 0:
            start, data = self._queue.popleft()
            out += data[:count]
            if count < len(data):
                self._queue.appendleft((start + count / self._rate, data[count:]))
                break
        return out

    def next_s(self) -> float:
        """When a good part of what is under way will have arrived."""
        if not self._queue:
            return math.inf
        start, data = self._queue[0]
        return start + (0.0 if math.isinf(self._rate) else min(len(data), 128) / self._rate)


class Pair:
    """A host session and a C device with a line between."""

    def __init__(
        self,
        device: CDevice | None = None,
        session: HostSession | None = None,
        *,
        down: Channel | None = None,
        up: Channel | None = None,
        seed: int = 0x1234567890ABCDEF,
    ) -> None:
        self.device = device or CDevice()
        self.session = session or HostSession(seed)
        self.down = down or Channel()
        self.up = up or Channel()
        self.now_s = 1000.0
        self.room = 4096  # bytes the device's port takes at once
        self.quiet_s = 0.0  # longest silence of the line in both directions
        self.on_turn: Callable[[], None] | None = None
        self._busy_s = self.now_s

    def _now_ms(self) -> int:
        return int(self.now_s * 1000)

    def turn(self) -> bool:
        """Let everybody do what can be done now; False when nothing moved."""
        moved = False
        out = self.session.poll(self.now_s)
        if out:
            self.down.send(out, self.now_s)
            moved = True
        data = self.down.receive(self.now_s)
        if data:
            self.device.receive(data, self._now_ms())
            moved = True
        self.device.work(self._now_ms())
        while data := self.device.transmit(self._now_ms(), self.room):
            self.up.send(data, self.now_s)
            moved = True
        data = self.up.receive(self.now_s)
        if data:
            self.session.feed(data, self.now_s)
            moved = True
        if moved:
            self.quiet_s = max(self.quiet_s, self.now_s - self._busy_s)
            self._busy_s = self.now_s
        return moved

    def wait(self) -> None:
        """Go to the next moment at which something happens."""
        device_s = (self._now_ms() + max(1, self.device.idle_ms(self._now_ms()))) / 1000
        moment = min(self.session.deadline(), device_s, self.down.next_s(), self.up.next_s())
        self.now_s = max(self.now_s + 1e-4, moment)

    def pass_time(self, seconds: float) -> None:
        """Without a host operation."""
        end = self.now_s + seconds
        while self.now_s < end:
            if not self.turn():
                self.wait()

    def run(self, operation: Operation, limit_s: float = 120.0) -> float:
        """Carry out an operation; returns how long it took in seconds of the simulated clock."""
        begin = self.now_s
        self._busy_s = begin
        self.session.start(operation, begin)
        while not operation.done:
            assert self.now_s - begin < limit_s, f"not over after {limit_s} s"
            if not self.turn() and not operation.done:
                self.wait()
            if self.on_turn is not None:
                self.on_turn()
        self.turn()
        return self.now_s - begin

    def greet(self) -> HelloOperation:
        operation = HelloOperation()
        self.run(operation)
        assert operation.failure is None
        return operation


def answer_greeting(
    request: Frame, session: int, *, boot: int = 1, board: bytes = b"pair", version: int = VERSION
) -> bytes:
    """The HELLO to a HELLO_REQUEST, on the line."""
    nonce = int.from_bytes(request.payload[:8], "little")
    payload = messages._HELLO.pack(boot, nonce, session, 0, 65536, 0, 0, 0, 1024, 0, 0, 0, len(board)) + board
    return encode(Frame(MessageType.HELLO, request.session, payload=payload, version=version))


def bit_errors(rng: random.Random, rate: float) -> Fault:
    """Each bit flips with probability `rate`."""

    def spoil(data: bytes, offset: int) -> bytes:
        out = bytearray(data)
        position = -1
        while True:
            # the distance to the next error is geometric
            position += 1 + int(math.log(1 - rng.random()) / math.log(1 - rate))
            if position >= 8 * len(out):
                return bytes(out)
            out[position // 8] ^= 1 << position % 8

    return spoil


DIALOGUE_SEED = 0x0000_0001_1000_4321


def dialogue_operations() -> list[Operation]:
    """What the host does in the dialogue of tests/golden/wire.txt."""
    image = bytes(range(1, 61)) + bytes(240) + b"\xff" * 1000
    weights = image[::-1]
    return [
        HelloOperation(),
        TransferOperation(Kind.IMAGE, image),
        TransferOperation(Kind.WEIGHTS, weights, structure_hash=77),
        VisitOperation(b"\x03 an order", hash64(weights)),
        UploadOperation(len(weights), visit=(DIALOGUE_SEED >> 32) + 1),
        TransferOperation(Kind.INPUT, b"an input", structure_hash=77),
        UploadOperation(input_hash=hash64(b"an input")),
        SaveOperation(),
        LabelOperation(2, windows=2, milliseconds=70_000),
        LabelOperation(0, windows=3),
        LabelOperation(STOP),
        LabelOperation(FORGET),
        CancelOperation(),
        HelloOperation(),
    ]
