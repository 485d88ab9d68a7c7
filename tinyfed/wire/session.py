"""The host's end of the session, sans-I/O: hand in bytes and the time, take bytes to send.

    session = HostSession(secrets.randbits(64))
    operation = HelloOperation()
    session.start(operation, now)
    while not operation.done:
        write(session.poll(now))
        session.feed(read(until=session.deadline()), now)

One operation at a time; its outcome is in the operation. Times are seconds of any clock that does not go back.
"""

import zlib
from dataclasses import dataclass
from enum import Enum

from tinyfed.status import Status
from tinyfed.wire import messages
from tinyfed.wire.frames import CHUNK_BYTES_MAX, CRC, GREETING, VERSION, Frame, FrameDecoder, encode
from tinyfed.wire.messages import MalformedError, MessageType

# Retransmission: this and twice the time that a chunk takes on the line, doubling up to the limit.
RETRY_BASE_S = 0.2
KEEP_ALIVE_S = 1.0
RETRY_MAX_S = 2.0
# A greeting costs little, and nothing goes on without it.
GREETING_RETRY_MAX_S = 0.8
# Chunks on a bad line are no smaller than this, in bytes; so many must pass before larger ones are tried again.
CHUNK_BYTES_MIN = 64
GROW_AFTER = 16
# Without a frame an operation ends after the session's patience, without progress after so many times that: an emulated
# board on a busy computer is slow.
STALL_FACTOR = 3.0
# An operation that is told to greet again does so no sooner than this after the last time, and no more often.
GREET_AGAIN_S = 0.25
GREETINGS_MAX = 32
# What a device says that is no progress is answered so often: at once, and a second.
ANSWERS_AT_ONCE = 32.0
ANSWERS_PER_S = 50.0
# Requests of a session are numbered from 1 and never anew: from here on the next operation begins another one.
SEQUENCE_LAST = 0xF000
# A greeting may end up in a terminal: no byte that one acts on. "A/" has a modem do its last command again, "+++"
# leaves a call.
QUIET = bytes(byte for byte in range(32, 127) if byte not in b"Aa+")
# Behind the nonce, ignored: it makes COBS' first byte "#", not the one that stops a terminal's output.
GREETING_TEXT = b"tinyfed greeting"


class Reason(Enum):
    """Why an operation failed."""

    SILENT = "silent"  # nothing came for `patience_s`
    STALLED = "stalled"  # it talks, but gets no further, or wants to be greeted again and again
    REFUSED = "refused"  # `status` and `detail` say why
    RESET = "reset"  # the device has started anew
    VERSION = "version"  # it speaks another version of the protocol: `detail`
    DAMAGED = "damaged"  # whole transfers arrived damaged, again and again
    FOREIGN = "foreign"  # what came is whole, but not what the visit left
    CHANGED = "changed"  # another device answers on this line
    IMPLAUSIBLE = "implausible"  # it says numbers that cannot be


@dataclass(frozen=True)
class Failure:
    """What ended an operation."""

    reason: Reason
    status: int = 0
    detail: int = 0
    field: str = ""  # IMPLAUSIBLE: which number cannot be `detail`


@dataclass
class LineCount:
    """What passed the line, as a session counts it."""

    bytes_sent: int = 0
    bytes_received: int = 0
    retries: int = 0  # requests and chunks sent again


class RetryTimer:
    """When to send something again: after `first_s`, each time twice as long, at most `max_s`."""

    def __init__(self, first_s: float, max_s: float = RETRY_MAX_S) -> None:
        self._max_s = max_s
        self._first_s = min(first_s, max_s)
        self._interval_s = self._first_s
        self.due_s: float | None = None  # None: not running

    def start(self, now_s: float) -> None:
        """Run from now with the first interval."""
        self._interval_s = self._first_s
        self.due_s = now_s + self._interval_s

    def stop(self) -> None:
        """Not due until started."""
        self.due_s = None

    def expired(self, now_s: float) -> bool:
        """Whether it is due; if so, it runs on with a longer interval."""
        if self.due_s is None or now_s < self.due_s:
            return False
        self._interval_s = min(2 * self._interval_s, self._max_s)
        self.due_s = now_s + self._interval_s
        return True


class ChunkSize:
    """The size of chunks in one direction of this line: halved at a loss, doubled after some that passed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = limit
        self._passed = 0

    def within(self, limit: int) -> int:
        """Bytes of the next chunk, at most `limit`."""
        return min(self._bytes, limit)

    def passed(self) -> None:
        """A chunk arrived."""
        self._passed += 1
        if self._passed >= GROW_AFTER:
            self._bytes = min(2 * self._bytes, self._limit)
            self._passed = 0

    def lost(self) -> None:
        """A chunk did not."""
        self._passed = 0
        self._bytes = max(self._bytes // 2, min(CHUNK_BYTES_MIN, self._limit))


class Operation:
    """Something asked of a device. `done` when it is over; `failure` is None when it went well."""

    stall_factor = STALL_FACTOR  # times the session's patience: so long it may go on without progress

    def __init__(self, *, survives_reset: bool = False) -> None:
        """`survives_reset`: it can start anew on a device that has just been reset."""
        self.survives_reset = survives_reset
        self.done = False
        self.failure: Failure | None = None
        self._session: HostSession
        self._timer: RetryTimer
        self.sequence = 0

    def bind(self, session: "HostSession") -> None:
        """Called by the session once."""
        self._session = session

    def begin(self, now_s: float) -> None:
        """Start, or start anew after the device was greeted again: with a new sequence number."""
        self.sequence = self._session.next_sequence()
        self._timer = self._session.retry_timer()  # stopped once there is an answer
        self._timer.start(now_s)
        self.ask()

    def ask(self) -> None:
        """Send the request."""
        raise AssertionError("an operation says what it asks")

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """A good frame of this session that is not the session's own business."""
        raise AssertionError("an operation says what it listens to")

    def on_damaged(self, now_s: float) -> None:
        """A damaged frame came."""

    def on_time(self, now_s: float) -> None:
        """Send what is due: the request again while nothing answers it."""
        if self._timer.expired(now_s):
            self._session.count.retries += 1
            self.ask()

    def due_s(self) -> float | None:
        """When `on_time` must be called at the latest."""
        return self._timer.due_s

    def finish(self) -> None:
        """It went well."""
        self.done = True

    def fail(self, reason: Reason, status: int = 0, detail: int = 0) -> None:
        """It did not."""
        self.done = True
        self.failure = Failure(reason, status, detail)

    def implausible(self, **told: tuple[int, bool]) -> bool:
        """Fail at the first number that cannot be: of each field what the device says, and whether it can be."""
        for field, (number, possible) in told.items():
            if not possible:
                self.done = True
                self.failure = Failure(Reason.IMPLAUSIBLE, detail=number, field=field)
                return True
        return False

    def send(self, kind: MessageType, payload: bytes = b"") -> None:
        """Queue a frame with this operation's sequence number."""
        self._session.queue(Frame(kind, self._session.session_id, self.sequence, payload))


class LongOperation(Operation):
    """One that a device works on for long: its request is repeated meanwhile, so that each end hears the other."""

    def begin(self, now_s: float) -> None:
        self._alive_s = now_s + KEEP_ALIVE_S  # when to ask again once there is an answer
        super().begin(now_s)

    def on_time(self, now_s: float) -> None:
        if self._timer.due_s is not None:
            super().on_time(now_s)
        elif now_s >= self._alive_s:
            self._alive_s = now_s + KEEP_ALIVE_S
            self.ask()

    def due_s(self) -> float | None:
        return self._alive_s if self._timer.due_s is None else self._timer.due_s


class HostSession:
    """The host's state of one line."""

    def __init__(
        self,
        seed: int,
        *,
        bytes_per_s: float = 11_520.0,
        chunk_bytes: int = CHUNK_BYTES_MAX,
        window_chunks: int = 3,
        patience_s: float = 10.0,
    ) -> None:
        """`seed`: 64 random bits, so that nothing meant for an earlier host is taken for this one's. `patience_s`:
        silence that ends an operation. `bytes_per_s`: what the line carries, for timers."""
        if not 16 <= chunk_bytes <= CHUNK_BYTES_MAX:
            raise ValueError(f"a chunk has 16 to {CHUNK_BYTES_MAX} bytes")
        self.session_id = 0  # as the device gave it; 0: not greeted yet
        self.bytes_per_s = bytes_per_s
        self.chunk_bytes = chunk_bytes
        self.chunk_down = ChunkSize(chunk_bytes)
        self.chunk_up = ChunkSize(chunk_bytes)
        self.window_chunks = window_chunks
        self.patience_s = patience_s
        self.hello: messages.Hello | None = None
        self.count = LineCount()
        self._seed = seed
        self._draw_nonce()
        self._tag = seed & 0xFFFFFFFF
        self._sequence = 0
        self._visit = seed >> 32 & 0xFFFFFFFF
        self._decoder = FrameDecoder()
        self._out = bytearray()
        self._operation: Operation | None = None
        self._greeting: Operation | None = None
        self._greetings = 0  # again, for this operation
        self._greet_after_s = 0.0
        self._moved_s = 0.0  # progress was made
        self._heard_s = 0.0
        self._answers = ANSWERS_AT_ONCE
        self._answered_s = 0.0
        self._boot_before: int | None = None
        self._visits_done: set[int] = set()

    def start(self, operation: "Operation", now_s: float) -> None:
        """Begin an operation; the one before must be done or is given up."""
        self._operation = operation
        self._greeting = None
        self._greetings = 0
        self._greet_after_s = now_s
        self.moved(now_s)
        operation.bind(self)
        if isinstance(operation, HelloOperation):
            operation.begin(now_s)
            return
        if self._sequence >= SEQUENCE_LAST:
            self._draw_nonce()
            self.session_id = 0
        if self.session_id == 0:
            self._greet(now_s)
        else:
            operation.begin(now_s)

    def feed(self, data: bytes, now_s: float) -> None:
        """Take what was received."""
        self.count.bytes_received += len(data)
        damaged = self._decoder.damaged
        for frame in self._decoder.feed(data):
            try:
                self._on_frame(frame, now_s)
            except MalformedError:
                self._decoder.damaged += 1
        active = self._active()
        if self._decoder.damaged > damaged and active is not None:
            active.on_damaged(now_s)

    def poll(self, now_s: float) -> bytes:
        """The bytes to send now."""
        active = self._active()
        if active is not None:
            active.on_time(now_s)
            if now_s - self._heard_s >= self.patience_s:
                self._fail(Reason.SILENT)
            elif now_s - self._moved_s >= self._stall_s():
                self._fail(Reason.STALLED)
        out = bytes(self._out)
        self._out.clear()
        self.count.bytes_sent += len(out)
        return out

    def deadline(self) -> float:
        """When `poll` must be called at the latest."""
        end = min(self._heard_s + self.patience_s, self._moved_s + self._stall_s())
        active = self._active()
        due = None if active is None else active.due_s()
        return end if due is None else min(end, due)

    def next_visit(self) -> int:
        """A visit number that this session has not used, not 0."""
        self._visit = (self._visit + 1) & 0xFFFFFFFF or 1
        return self._visit

    def next_sequence(self) -> int:
        """A sequence number newer than all before in this session."""
        self._sequence = min(self._sequence + 1, 0xFFFF)
        return self._sequence

    def moved(self, now_s: float) -> None:
        """Progress was made: the patience begins anew."""
        self._moved_s = self._heard_s = now_s

    def may_answer(self, now_s: float) -> bool:
        """Whether to send something for what is no progress: a flood is not answered frame by frame."""
        self._answers = min(ANSWERS_AT_ONCE, self._answers + (now_s - self._answered_s) * ANSWERS_PER_S)
        self._answered_s = now_s
        if self._answers < 1:
            return False
        self._answers -= 1
        return True

    def queue_greeting(self) -> int:
        """Send a HELLO_REQUEST; returns its tag, which no other of this host has."""
        while True:
            self._tag = (self._tag + 1) & 0xFFFFFFFF
            tag = int.from_bytes(_quiet(self._tag, 4), "little")
            head = GREETING.pack(VERSION, MessageType.HELLO_REQUEST, tag) + self._nonce + GREETING_TEXT
            if not set(CRC.pack(zlib.crc32(head))) - set(QUIET):
                self.queue(Frame(MessageType.HELLO_REQUEST, tag, payload=self._nonce + GREETING_TEXT))
                return tag

    def greeted(self, hello: messages.Hello) -> bool:
        """Go on in the session that the device gave; False: it is not for this host."""
        if hello.nonce != int.from_bytes(self._nonce, "little") or hello.session == 0:
            return False
        known = self.hello is not None and self.hello.boot == hello.boot and self.session_id == hello.session
        if not known:
            self.session_id = hello.session
            self._sequence = 0
        self.hello = hello
        return True

    def queue(self, frame: Frame) -> None:
        """Send this when `poll` is next called."""
        self._out += encode(frame)

    def retry_timer(self, max_s: float = RETRY_MAX_S) -> RetryTimer:
        """A timer for this line."""
        return RetryTimer(RETRY_BASE_S + 2 * self.chunk_bytes / self.bytes_per_s, max_s)

    def chunk_limit(self) -> int:
        """The largest chunk both ends take, in bytes."""
        return self.chunk_bytes if self.hello is None else min(self.chunk_bytes, self.hello.chunk_bytes)

    def received_result(self, visit: int) -> None:
        """Tell the device, now and whenever it repeats itself, that the result of this visit is here."""
        self._visits_done = {visit}
        self.queue(Frame(MessageType.RESULT_RECEIVED, self.session_id, self._sequence, messages.pack_number(visit)))

    def _draw_nonce(self) -> None:
        """Another number of this host for the device to know it by."""
        self._seed = messages.hash64(self._seed.to_bytes(8, "little"))
        self._nonce = _quiet(self._seed, 8)

    def _stall_s(self) -> float:
        return self.patience_s * (STALL_FACTOR if self._operation is None else self._operation.stall_factor)

    def _active(self) -> Operation | None:
        for operation in (self._greeting, self._operation):
            if operation is not None and not operation.done:
                return operation
        return None

    def _fail(self, reason: Reason, detail: int = 0) -> None:
        self._greeting = None
        if self._operation is not None and not self._operation.done:
            self._operation.fail(reason, 0, detail)

    def _on_frame(self, frame: Frame, now_s: float) -> None:
        active = self._active()
        if frame.is_greeting:
            if isinstance(active, HelloOperation):
                active.on_frame(frame, now_s)
            if self._greeting is not None and self._greeting.done:
                self._greeted(now_s)
            return
        if frame.version != VERSION or frame.type < 0x80 or frame.session != self.session_id or frame.session == 0:
            return
        self._heard_s = max(self._heard_s, now_s)
        if frame.type == MessageType.ERROR:
            error = messages.ErrorMessage.unpack(frame.payload)
            if error.code == Status.STATE:
                self._greet_again(now_s)
            elif active is not None and frame.sequence == active.sequence:
                active.fail(Reason.REFUSED, error.code, error.detail)
            return
        if frame.type == MessageType.RESULT:
            visit = messages.VisitResult.unpack(frame.payload).visit
            if visit in self._visits_done:
                if self.may_answer(now_s):
                    self.received_result(visit)
                return
        if active is not None:
            active.on_frame(frame, now_s)

    def _greet_again(self, now_s: float) -> None:
        """The device does not know this session: it was reset, or somebody else spoke to it."""
        if self._greeting is not None or self._operation is None or self._operation.done:
            return
        if isinstance(self._operation, HelloOperation) or now_s < self._greet_after_s:
            return
        if self._greetings >= GREETINGS_MAX:
            self._fail(Reason.STALLED)
            return
        self._greetings += 1
        self._greet(now_s)

    def _greet(self, now_s: float) -> None:
        self._greet_after_s = now_s + GREET_AGAIN_S
        self._boot_before = None if self.hello is None else self.hello.boot
        self._greeting = HelloOperation()
        self._greeting.bind(self)
        self._greeting.begin(now_s)

    def _greeted(self, now_s: float) -> None:
        assert self._greeting is not None and self.hello is not None
        failure = self._greeting.failure
        self._greeting = None
        operation = self._operation
        if operation is None or operation.done:
            return
        if failure is not None:
            operation.fail(failure.reason, failure.status, failure.detail)
        elif self._boot_before not in (None, self.hello.boot) and not operation.survives_reset:
            operation.fail(Reason.RESET)
        else:
            self.count.retries += self._greetings > 0
            operation.begin(now_s)


def _quiet(number: int, count: int) -> bytes:
    """`count` bytes of QUIET for a number, another one for each of the first 92 ** count."""
    out = bytearray()
    for _ in range(count):
        number, digit = divmod(number, len(QUIET))
        out.append(QUIET[digit])
    return bytes(out)


class HelloOperation(Operation):
    """Ask who is there. The answer is in `hello`, and in the session's `hello`."""

    stall_factor = 1.0

    def __init__(self, *, interval_s: float | None = None, attempts: int | None = None) -> None:
        """`interval_s` between attempts (None: the line's retry time), of which there are at most `attempts`."""
        super().__init__(survives_reset=True)
        self.hello: messages.Hello | None = None
        self._interval_s = interval_s
        self._left = attempts
        self._asked: set[int] = set()

    def begin(self, now_s: float) -> None:
        self._timer = (
            self._session.retry_timer(GREETING_RETRY_MAX_S)
            if self._interval_s is None
            else RetryTimer(self._interval_s, self._interval_s)
        )
        self._timer.start(now_s)
        self.ask()

    def ask(self) -> None:
        if self._left is not None:
            if self._left == 0:
                return
            self._left -= 1
        # a new tag for each attempt: the device makes its boot number from the first one it sees
        self._asked.add(self._session.queue_greeting())

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if frame.type != MessageType.HELLO or frame.session not in self._asked:
            return
        if frame.version != VERSION:
            self.fail(Reason.VERSION, detail=frame.version)
            return
        hello, before = messages.Hello.unpack(frame.payload), self._session.hello
        if before is not None and (before.unique_id, before.board) != (hello.unique_id, hello.board):
            self.fail(Reason.CHANGED)
        elif self._session.greeted(hello):
            self.hello = hello
            self.finish()


class CancelOperation(Operation):
    """End whatever the device is doing for this host."""

    stall_factor = 1.0

    def __init__(self) -> None:
        super().__init__(survives_reset=True)

    def ask(self) -> None:
        self.send(MessageType.CANCEL)

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if frame.type == MessageType.CANCELLED and frame.sequence == self.sequence:
            self.finish()


class ResetOperation(Operation):
    """Restart the device. Nothing is answered; done once the device, greeted again, has another boot number."""

    def __init__(self) -> None:
        super().__init__(survives_reset=True)

    def begin(self, now_s: float) -> None:
        self.sequence = self._session.next_sequence()
        self.send(MessageType.RESET, messages.pack_number(messages.RESET_MAGIC))
        self.finish()

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """Nothing is expected."""
