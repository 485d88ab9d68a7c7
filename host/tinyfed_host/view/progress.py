"""What the events of a run add up to."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tinyfed_host.run.events import Event
from tinyfed_host.view.units import show_bytes, show_time

LOSS_KEPT = 60
TROUBLES_KEPT = 4
SPARKS = "▁▂▃▄▅▆▇█"
RATE_OVER_ROUNDS = 200
# events that a person must hear of
TOLD = ("device-failed", "device-back", "device-joined", "device-left", "retry", "fallback", "late", "note")


@dataclass
class Progress:
    """What the events add up to. Not thread-safe: views lock."""

    clock: Callable[[], float] = time.monotonic
    until: float | None = None  # of the clock: the run is stopped then
    rounds: int = 0
    done: int = 0
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=LOSS_KEPT))
    bytes_down: int = 0
    bytes_up: int = 0
    failures: int = 0
    retries: int = 0
    doing: dict[str, str] = field(default_factory=dict)  # by unique id
    troubles: deque[str] = field(default_factory=lambda: deque(maxlen=TROUBLES_KEPT))
    waits_until: float | None = None  # of the clock, for any device to answer
    _begun: float = 0.0
    _ends: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_OVER_ROUNDS))

    def add(self, event: Event) -> None:
        """Take one event into account."""
        data = event.data
        if event.kind == "run-started":
            self.rounds, self.done = data["rounds"], data["done"]
            self.doing = dict.fromkeys(data["devices"], "waiting")
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
        elif event.kind == "device-failed":
            self.failures += 1
            self.doing[event.device] = "failed"
        elif event.kind == "retry":
            self.retries += 1
            if event.device:
                self.doing[event.device] = "trying again"
        elif event.kind == "late":
            self.doing[event.device] = "late"
        elif event.kind == "device-left":
            self.doing.pop(event.device, None)
        elif event.kind == "device-joined":
            self.doing[event.device] = "waiting"
        elif event.kind == "round-ended":
            self.done = event.round
            self._ends.append((self.clock(), self.done))
            if data.get("loss") is not None:
                self.losses.append(data["loss"])
        if event.kind in TOLD:
            self.troubles.append(told(event))

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
        return self.losses[-1] if self.losses else None

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
            parts.append(f"{show_time(left)} left" if self.done < self.rounds and left else "done")
        return " · ".join(parts)


def told(event: Event) -> str:
    """An event as a sentence."""
    where = f"round {event.round}: " if event.round else ""
    what = event.text or {"device-back": "answers again", "device-joined": "joined", "device-left": "left"}.get(
        event.kind, event.kind
    )
    who = f"device {event.device} " if event.device and event.device not in what else ""
    client = f"{event.client}: " if event.client else ""
    return f"{where}{client}{who}{what}"


def sparkline(values: Sequence[float]) -> str:
    """A curve of blocks; the lowest value is the lowest block."""
    if not values:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(SPARKS[min(len(SPARKS) - 1, int((value - low) / span * len(SPARKS)))] for value in values)


def summary(metrics: Mapping[str, Any]) -> str:
    """A round's metrics for people."""
    loss = metrics.get("loss")
    return f"loss {loss:.4f}" if loss is not None else "no loss"
