"""Every course that a small case can take: the real C link and the real Python session, with somebody on the line who
may lose, swap and say again any frame of this session or an earlier one, and cut the device's power.

    python tests/unit/wire_search.py --moves 3 --visits 2

A state is a picture of the device, the host pickled, the frames under way, those heard so far and the moves left. The
search goes breadth first, each state once; without a move the line is a good one. A course ends when the host has what
it wants or gives up, and must not end well with other weights.
"""

import argparse
import hashlib
import json
import pickle
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from wire_pair import CDevice

from tinyfed.wire.frames import Frame, decode, encode
from tinyfed.wire.messages import Kind, MessageType, hash64
from tinyfed.wire.session import ANSWERS_AT_ONCE, HelloOperation, HostSession, LineCount, Operation
from tinyfed.wire.transfer import TransferOperation, UploadOperation
from tinyfed.wire.visit import VisitOperation

IMAGE = b"untrained"
STRUCTURE = 77  # of the pair device
ORDER = b"\x05 order"
NOW_S = 1000.0
Upload = Callable[[VisitOperation], UploadOperation]


def named_upload(visit: VisitOperation) -> UploadOperation:
    """As `RemoteDevice` asks for it."""
    assert visit.number is not None
    return UploadOperation(len(IMAGE), visit=visit.number, content_hash=visit.answer_hash)


def nameless_upload(visit: VisitOperation) -> UploadOperation:
    """As version 1 did."""
    return UploadOperation(len(IMAGE))


@dataclass
class Host:
    """A session and what it does: greet, load, then visits, each with the weights that the last one gave."""

    session: HostSession
    visits: int
    upload: Upload = named_upload
    operation: Operation = field(default_factory=HelloOperation)
    weights: bytes = IMAGE
    failed: bool = False
    wrong: bool = False

    @property
    def over(self) -> bool:
        return self.failed or self.visits == 0

    def poll(self, now_s: float) -> bytes:
        """What it says now, going on to the next operation where one is done."""
        said = self.session.poll(now_s)
        while self.operation.done and not self.over:
            if self.operation.failure is not None:
                self.failed = True
                break
            self.operation = self._next()
            if not self.over:
                self.session.start(self.operation, now_s)
                said += self.session.poll(now_s)
        self.session.count = LineCount()  # of no consequence: states that differ in them alone are one
        self.session._answers = ANSWERS_AT_ONCE
        return said

    def _next(self) -> Operation:
        last = self.operation
        if isinstance(last, HelloOperation):
            return TransferOperation(Kind.IMAGE, IMAGE)
        if isinstance(last, TransferOperation):
            return VisitOperation(ORDER, hash64(self.weights))
        if isinstance(last, VisitOperation):
            return self.upload(last)
        assert isinstance(last, UploadOperation)
        right = bytes((byte + ORDER[0]) & 0xFF for byte in self.weights)
        self.wrong = self.wrong or last.content != right
        self.visits -= 1
        self.weights = last.content
        return TransferOperation(Kind.WEIGHTS, self.weights, structure_hash=STRUCTURE)


@dataclass(frozen=True)
class State:
    """Where a course has come to."""

    device: bytes
    host: bytes
    down: tuple[bytes, ...]  # frames under way
    up: tuple[bytes, ...]
    heard: frozenset[tuple[bool, bytes]]  # frames said so far, and whether down
    now_s: float
    moves: int

    def digest(self) -> bytes:
        """16 bytes that no other state has."""
        parts = (self.device, self.host, self.down, self.up, sorted(self.heard), self.now_s, self.moves)
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def frames_of(data: bytes) -> tuple[bytes, ...]:
    return tuple(b"\0" + part + b"\0" for part in data.split(b"\0") if part)


@dataclass
class Found:
    """What a search came upon."""

    states: int = 0
    courses: int = 0  # that ended
    well: int = 0
    wrong: int = 0  # ended well with weights that the visit did not make of those sent
    twice: int = 0  # an order was carried out again, or a broken model was used
    trace: list[str] = field(default_factory=list)  # the first course that should not be


class Search:
    """All courses from the moment at which a host finds a device that an earlier host has left."""

    def __init__(
        self,
        *,
        visits: int = 1,
        earlier: int = 1,
        upload: Upload = named_upload,
        forgetful: bool = False,
    ) -> None:
        """`visits` of the host, and of the `earlier` one. `forgetful`: a device that takes the frames of any session as
        if they were new, as version 1 did after each greeting."""
        self._device = CDevice(arena_bytes=64, steps=1)
        self._forgetful = forgetful
        before = Host(HostSession(0x1234_5678_9ABC_DEF0), earlier)
        state = self._first(before, State(self._save(), b"", (), (), frozenset(), NOW_S, 0))
        while not pickle.loads(state.host).over:
            state = self._fair(state)
        assert not pickle.loads(state.host).failed
        while state.down or state.up:
            state = self._fair(state)
        self._begin = self._first(Host(HostSession(0x0FED_CBA9_8765_4321), visits, upload), state)

    def run(self, moves: int, *, states_max: int = 1 << 62, until_found: bool = False) -> Found:
        """Look at every course with at most so many moves of the adversary; or stop at the first bad one."""
        found = Found()
        begin = replace(self._begin, moves=moves)
        came: dict[bytes, tuple[bytes, str]] = {begin.digest(): (b"", "")}
        waiting = deque([begin])
        violations = self._violations(begin)
        while waiting and found.states < states_max:
            state = waiting.popleft()
            found.states += 1
            host: Host = pickle.loads(state.host)
            bad = self._violations(state) != violations
            if bad or host.over:
                found.courses += 1
                found.twice += bad
                found.well += host.over and not host.failed
                found.wrong += host.wrong
                if (bad or host.wrong) and not found.trace:
                    found.trace = self._trace(came, state)
                    if until_found:
                        break
                continue
            mine = state.digest()
            for name, after in self._after(state):
                digest = after.digest()
                if digest not in came:
                    came[digest] = (mine, name)
                    waiting.append(after)
        return found

    # ---- inside ----

    def _save(self) -> bytes:
        return zlib.compress(self._device.save(), 1)

    def _violations(self, state: State) -> int:
        self._device.restore(zlib.decompress(state.device))
        return self._device.violations

    def _trace(self, came: dict[bytes, tuple[bytes, str]], state: State) -> list[str]:
        names: list[str] = []
        digest = state.digest()
        while digest:
            digest, name = came[digest]
            names.append(name)
        return [name or "." for name in names[-2::-1]]

    def _first(self, host: Host, before: State) -> State:
        host.session.start(host.operation, before.now_s)
        return self._said(before, host, before.now_s)

    def _said(self, before: State, host: Host, now_s: float) -> State:
        """After the host has been given something, or time."""
        said = frames_of(host.poll(now_s))
        heard = before.heard | {(True, frame) for frame in said}
        return replace(before, host=pickle.dumps(host), down=before.down + said, heard=heard, now_s=now_s)

    def _answered(self, before: State, now_s: float) -> State:
        """After the device has been given something, or time; it is as it is now."""
        said = b""
        while piece := self._device.transmit(int(now_s * 1000)):
            said += piece
        frames = frames_of(said)
        heard = before.heard | {(False, frame) for frame in frames}
        return replace(before, device=self._save(), up=before.up + frames, heard=heard, now_s=now_s)

    def _to_device(self, state: State, frame: bytes) -> State:
        self._device.restore(zlib.decompress(state.device))
        self._device.receive(self._renewed(frame) if self._forgetful else frame, int(state.now_s * 1000))
        return self._answered(state, state.now_s)

    def _renewed(self, frame: bytes) -> bytes:
        """The frame as of the session that the device is in, and as its newest request."""
        told = decode(frame.strip(b"\0"))
        assert told is not None
        if told.is_greeting:
            return frame
        hello, newest = self._session()
        if told.session == hello:
            return frame
        sequence = newest if told.type in (MessageType.CHUNK_DOWN, MessageType.ACK) else newest + 1
        return encode(Frame(told.type, hello, sequence, told.payload))

    def _session(self) -> tuple[int, int]:
        """The device's session, and its newest request's number."""
        return self._device.session, self._device.sequence

    def _to_host(self, state: State, frame: bytes) -> State:
        host: Host = pickle.loads(state.host)
        host.session.feed(frame, state.now_s)
        return self._said(state, host, state.now_s)

    def _fair(self, state: State) -> State:
        """One step on a good line."""
        if state.down:
            return self._to_device(replace(state, down=state.down[1:]), state.down[0])
        if state.up:
            return self._to_host(replace(state, up=state.up[1:]), state.up[0])
        self._device.restore(zlib.decompress(state.device))
        idle_ms = self._device.idle_ms(int(state.now_s * 1000))
        if idle_ms == 0:
            self._device.work(int(state.now_s * 1000))
            return self._answered(state, state.now_s)
        host: Host = pickle.loads(state.host)
        now_s = (
            state.now_s
            if host.over
            else max(state.now_s + 1e-3, min(host.session.deadline(), state.now_s + idle_ms / 1000))
        )
        self._device.work(int(now_s * 1000))
        return self._said(self._answered(state, now_s), host, now_s)

    def _after(self, state: State) -> Iterator[tuple[str, State]]:
        yield "", self._fair(state)
        if state.moves == 0:
            return
        state = replace(state, moves=state.moves - 1)
        if state.moves == 0:  # what was heard matters no more
            known, state = state.heard, replace(state, heard=frozenset())
        else:
            known = state.heard
        for line in ("down", "up"):
            frames: tuple[bytes, ...] = getattr(state, line)
            for at in range(len(frames)):
                yield f"lose {line} {at}", replace(state, **{line: frames[:at] + frames[at + 1 :]})
            if len(frames) > 1:
                yield f"swap {line}", replace(state, **{line: (frames[1], frames[0], *frames[2:])})
        for down, frame in sorted(known):
            after = self._to_device(state, frame) if down else self._to_host(state, frame)
            if after.moves == 0:
                after = replace(after, heard=frozenset())
            yield f"say again {'down' if down else 'up'} {describe(frame)}", after
        self._device.restore(zlib.decompress(state.device))
        self._device.power_cycle()
        yield "cut the power", replace(state, device=self._save())


def describe(frame: bytes) -> str:
    """Type, session and number of a frame."""
    told = decode(frame.strip(b"\0"))
    assert told is not None
    return f"{MessageType(told.type).name} of {told.session:#x} {told.sequence}"


def main() -> int:
    """Exit code 1 when a course ends well that should not, or an order is carried out twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=2)
    parser.add_argument("--visits", type=int, default=1)
    parser.add_argument("--states", type=int, default=1 << 62, help="stop after so many")
    chosen = parser.parse_args()
    found = Search(visits=chosen.visits).run(chosen.moves, states_max=chosen.states)
    print(json.dumps(vars(found)))
    return int(found.wrong > 0 or found.twice > 0)


if __name__ == "__main__":
    sys.exit(main())
