"""What the events of a run add up to."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinyfed_host.run.events import Event
from tinyfed_host.view.units import show_bytes, show_time

CURVE_POINTS = 64
TROUBLES_KEPT = 4
SPARKS = "▁▂▃▄▅▆▇█"
RATE_OVER_ROUNDS = 200
# events that a person must hear of
TOLD = (
    *("device-failed", "device-back", "device-restarted", "device-joined", "device-left"),
    *("retry", "fallback", "late", "note"),
)
SAID = {  # of events that have no text
    "run-started": "{rounds:,} rounds, {done:,} of them done",
    "run-ended": "{rounds:,} rounds done, weights {weights_sha256}",
    "device-back": "answers again",
    "device-joined": "joined",
    "device-left": "left",
}


class Curve:
    """A value a round, of the whole run in at most `CURVE_POINTS` points: when they are full each two become one."""

    def __init__(self) -> None:
        self.last: float | None = None
        self._points: list[float] = []
        self._stride = 1
        self._waiting: list[float] = []

    def add(self, value: float) -> None:
        self.last = value
        self._waiting.append(value)
        if len(self._waiting) < self._stride:
            return
        self._points.append(sum(self._waiting) / self._stride)
        self._waiting.clear()
        if len(self._points) == CURVE_POINTS:
            self._points = _halved(self._points)
            self._stride *= 2

    def points(self, most: int = CURVE_POINTS) -> list[float]:
        """At most so many, evenly over the run."""
        points = [*self._points, *([sum(self._waiting) / len(self._waiting)] if self._waiting else [])]
        while len(points) > most:
            points = _halved(points)
        return points


def _halved(values: Sequence[float]) -> list[float]:
    return [sum(values[k : k + 2]) / len(values[k : k + 2]) for k in range(0, len(values), 2)]


@dataclass
class Share:
    """What a client has done in the run, or a device whose data nobody knows whose it is."""

    name: str  # the client's; "": the device's own data
    device: str  # unique id, of its last visit
    visits: int = 0
    loss: float | None = None  # `loss_last` of its last visit
    retries: int = 0
    failures: int = 0
    bytes: int = 0  # both ways
    moved: int = 0  # the event that last concerned it


@dataclass
class Progress:
    """What the events add up to. Not thread-safe: views lock."""

    clock: Callable[[], float] = time.monotonic
    until: float | None = None  # of the clock: the run is stopped then
    rounds: int = 0
    done: int = 0
    losses: Curve = field(default_factory=Curve)
    bytes_down: int = 0
    bytes_up: int = 0
    failures: int = 0
    retries: int = 0
    doing: dict[str, str] = field(default_factory=dict)  # by unique id
    shares: dict[str, Share] = field(default_factory=dict)  # by client, or device
    troubles: deque[str] = field(default_factory=lambda: deque(maxlen=TROUBLES_KEPT))
    waits_until: float | None = None  # of the clock, for any device to answer
    _begun: float = 0.0
    _events: int = 0
    _ends: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_OVER_ROUNDS))

    def add(self, event: Event) -> None:
        """Take one event into account."""
        data = event.data
        self._events += 1
        share = self._share(event.device, event.client) if event.device else None
        if event.kind == "run-started":
            self.rounds, self.done = data["rounds"], data["done"]
            self.doing = dict.fromkeys(data["devices"], "waiting")
            for device in data["devices"]:
                self._share(device, data.get("clients", {}).get(device, ""))
            self._begun = self.clock()
            self._ends.clear()
            self._ends.append((self.clock(), self.done))
        elif event.kind == "visit-started":
            self.doing[event.device] = "at work"
        elif event.kind == "waiting":
            self.waits_until = math.inf if data["left_s"] is None else self.clock() + data["left_s"]
        elif event.kind == "visit-ended":
            self.waits_until = None
            self.doing[event.device] = "waiting"
            self.bytes_down += data["bytes_down"]
            self.bytes_up += data["bytes_up"]
            if share is not None:
                share.visits += 1
                share.loss = data.get("loss_last", share.loss)
                share.bytes += data["bytes_down"] + data["bytes_up"]
        elif event.kind == "device-failed":
            self.failures += 1
            self.doing[event.device] = "failed"
            if share is not None:
                share.failures += 1
        elif event.kind == "retry":
            self.retries += 1
            if share is not None:
                self.doing[event.device] = "trying again"
                share.retries += 1
        elif event.kind == "late":
            self.doing[event.device] = "late"
        elif event.kind == "device-left":
            self.doing[event.device] = "left"
        elif event.kind == "device-joined":
            self.doing[event.device] = "waiting"
        elif event.kind == "round-ended":
            self.done = event.round
            self._ends.append((self.clock(), self.done))
            if data.get("loss") is not None:
                self.losses.add(data["loss"])
        elif event.kind == "run-ended":
            self.doing = {device: doing for device, doing in self.doing.items() if doing == "failed"}
        if event.kind in TOLD:
            self.troubles.append(told(event))

    def _share(self, device: str, client: str) -> Share:
        share = self.shares.setdefault(client or device, Share(client, device))
        share.device, share.moved = device, self._events
        return share

    def state(self, share: Share) -> str:
        """What it does now: nothing where its device works for another client."""
        holder = max((s for s in self.shares.values() if s.device == share.device), key=lambda s: s.moved)
        doing = self.doing.get(share.device, "") if holder is share else ""
        return f"failed ({share.failures})" if share.failures and doing in ("failed", "waiting", "") else doing

    def shown(self, most: int) -> list[Share]:
        """At most so many: those in trouble, those with the largest loss, and of the rest the last that did something;
        in the order of names."""
        shares = list(self.shares.values())

        def trouble(share: Share) -> tuple[int, float]:
            return share.failures + share.retries, -math.inf if share.loss is None else share.loss

        worst = sorted(shares, key=trouble, reverse=True)[: (most + 1) // 2]
        taken = {id(share) for share in worst}
        rest = sorted((s for s in shares if id(s) not in taken), key=lambda s: -s.moved)[: most - len(worst)]
        return sorted([*worst, *rest], key=lambda share: (share.name, share.device))

    def rounds_per_s(self) -> float | None:
        """Over the last rounds; None before the first."""
        if len(self._ends) < 2:
            return None
        (begun, first), (ended, last) = self._ends[0], self._ends[-1]
        return (last - first) / (ended - begun) if ended > begun else None

    def left_s(self) -> float | None:
        """Seconds until all rounds are done at the present rate, or the time is over."""
        rate = self.rounds_per_s()
        left = (self.rounds - self.done) / rate if rate else None
        if self.until is None:
            return left
        rest = max(0.0, self.until - self.clock())
        return rest if left is None else min(rest, left)

    def share(self) -> float:
        """How much is done, 0..1, of the rounds or of the time."""
        by_rounds = self.done / max(1, self.rounds)
        if self.until is None or not self._ends:
            return by_rounds
        span = self.until - self._begun
        return max(by_rounds, min(1.0, (self.clock() - self._begun) / span)) if span > 0 else 1.0

    def loss(self) -> float | None:
        """The run's, as docs/cli.md defines it."""
        return self.losses.last

    def line(self) -> str:
        """All of it in one line."""
        parts = [f"round {self.done:,}/{self.rounds:,}"]
        loss = self.loss()
        if loss is not None:
            parts.append(f"loss {loss:.4f}")
        if self.bytes_down or self.bytes_up:
            parts.append(f"{show_bytes(self.bytes_down)} down, {show_bytes(self.bytes_up)} up")
        if self.failures or self.retries:
            parts.append(f"{self.failures} failed visits, {self.retries} retries")
        if self.waits_until is not None:
            wait = self.waits_until - self.clock()
            parts.append("waiting for a device" + (f", {max(0.0, wait):.0f} s left" if math.isfinite(wait) else ""))
            return " · ".join(parts)
        rate, left = self.rounds_per_s(), self.left_s()
        if rate is not None and left is not None:
            parts.append(f"{rate:,.1f} rounds/s")
            done = f"done in {show_time(self.clock() - self._begun)}"
            parts.append(f"{show_time(left)} left" if self.done < self.rounds and left else done)
        return " · ".join(parts)


def told(event: Event) -> str:
    """An event as a sentence."""
    where = f"round {event.round}: " if event.round else ""
    what = event.text or SAID.get(event.kind, event.kind).format_map(event.data)
    who = f"device {event.device} " if event.device and event.device not in what else ""
    client = f"{event.client}: " if event.client else ""
    return f"{where}{client}{who}{what}"


def sparkline(values: Sequence[float], low: float | None = None, high: float | None = None) -> str:
    """A curve of blocks; the lowest value is the lowest block, or `low` is, which no value may be below."""
    if not values:
        return ""
    low, high = min(values) if low is None else low, max(values) if high is None else high
    span = (high - low) or 1.0
    return "".join(SPARKS[min(len(SPARKS) - 1, int((value - low) / span * len(SPARKS)))] for value in values)


def summary(metrics: Mapping[str, Any]) -> str:
    """A round's metrics for people."""
    loss = metrics.get("loss")
    return f"loss {loss:.4f}" if loss is not None else "no loss"
