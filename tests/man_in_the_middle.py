"""A transport that does to what passes what a bad line or a hostile one may: flips, losses, doubles, frames in another
order, truncation, stalls, and frames of this session and of earlier ones said again. By a seeded generator."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.transport.base import Transport

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import TinyfedError
from tinyfed.model.image import encode, read_weights
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.wire.order import Order

FAULTS = ("flip", "lose", "double", "swap", "cut", "stall", "replay")


class ManInTheMiddle:
    """Wraps a transport. Each frame, both ways, meets a fault with chance `rate`; `heard` keeps the frames that a host
    said and outlives the line, so that a later session meets them too."""

    def __init__(
        self, line: Transport, rng: random.Random, heard: list[bytes], *, rate: float, faults: tuple[str, ...] = FAULTS
    ) -> None:
        self.name = line.name
        self.bytes_per_s = line.bytes_per_s
        self.made = dict.fromkeys(FAULTS, 0)
        self._line = line
        self._rng = rng
        self._heard = heard
        self._rate = rate
        self._faults = faults
        self._rest = [b"", b""]
        self._held: list[bytes | None] = [None, None]  # a frame that comes after the next one

    def write(self, data: bytes) -> None:
        spoilt = self._pass(data, 0)
        if spoilt:
            self._line.write(spoilt)

    def read(self, timeout_s: float) -> bytes:
        return self._pass(self._line.read(timeout_s), 1)

    def close(self) -> None:
        self._line.close()

    def _pass(self, data: bytes, side: int) -> bytes:
        *parts, self._rest[side] = (self._rest[side] + data).split(b"\0")
        out = b""
        for part in parts:
            if not part:
                continue
            frame = b"\0" + part + b"\0"
            if side == 0:
                self._heard.append(frame)
            out += self._one(frame, side)
        return out

    def _one(self, frame: bytes, side: int) -> bytes:
        rng = self._rng
        held, self._held[side] = self._held[side], None
        after = held or b""
        if rng.random() >= self._rate:
            return frame + after
        fault = rng.choice(self._faults)
        self.made[fault] += 1
        if fault == "flip":
            at = rng.randrange(len(frame))
            frame = frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1 :]
        elif fault == "lose":
            frame = b""
        elif fault == "double":
            frame += frame
        elif fault == "swap":
            self._held[side] = frame
            frame = b""
        elif fault == "cut":
            frame = frame[: rng.randrange(1, len(frame))]
        elif fault == "stall":  # until something else passes
            self._rest[side] = frame[1:] + self._rest[side]
            frame = b""
        elif side == 0:
            # a frame, or a stretch of what was said: an opening, a transfer, a whole session
            first = rng.randrange(len(self._heard))
            frame += b"".join(self._heard[first : first + rng.choice((1, 2, 4, 16, 64))])
        else:
            self._line.write(b"".join(rng.choices(self._heard, k=2)) if self._heard else b"")
        return frame + after


@dataclass
class Outcome:
    """What a run came to."""

    visits: int = 0
    failed: int = 0  # visits that were made again
    wrong: int = 0  # silently other than on a good line
    faults: int = 0


def run_through(
    seed: int, connect: Callable[[], Transport], clock: Callable[[], float], *, visits: int = 4, limit_s: float = 2000.0
) -> Outcome:
    """Visits to one board over several connections with a man in the middle; a visit that fails is made again on a new
    connection, as a run does. Raises AssertionError when it takes more than `limit_s` of the clock."""
    rng = random.Random(seed)
    heard: list[bytes] = []
    outcome = Outcome()
    spec = mlp(1, (8,), 1, "tanh")
    image = encode(spec, initialize(spec, 4))
    good = SimulatedDevice()
    good.load(image)
    weights = read_weights(image).tobytes()
    rate = rng.choice((0.02, 0.1, 0.3))
    end_s = clock() + limit_s
    line: ManInTheMiddle | None = None
    device: RemoteDevice | None = None

    def leave() -> None:
        nonlocal device, line
        if line is not None:
            outcome.faults += sum(line.made.values())
            line.close()
        device = line = None

    for number in range(visits):
        answer = ("float32", "float16", "int8")[rng.randrange(3)]
        order = Order("sine", 1, 8, 4, number, 0.02, (8,), answer=answer)
        expected = good.visit(weights, order, want_weights=True)
        for _ in range(8):
            assert clock() < end_s, f"seed {seed} hangs"
            try:
                if device is None:
                    line = ManInTheMiddle(connect(), rng, heard, rate=rate)
                    device = RemoteDevice(line, clock=clock)
                    device.load(image)
                found = device.visit(weights, order, want_weights=True)
            except TinyfedError:
                outcome.failed += 1
                leave()
                continue
            outcome.visits += 1
            outcome.wrong += (found.weights, found.result.checkpoints) != (
                expected.weights,
                expected.result.checkpoints,
            )
            if rng.random() < 0.3:
                leave()  # another connection: another session
            break
        assert expected.weights is not None
        weights = expected.weights
    leave()
    return outcome


def total(outcomes: list[Outcome]) -> dict[str, int]:
    """Of each figure."""
    return {name: sum(getattr(outcome, name) for outcome in outcomes) for name in vars(Outcome())}
