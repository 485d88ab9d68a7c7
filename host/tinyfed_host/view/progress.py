"""Watching a run: a live view in a terminal, plain lines elsewhere, JSON lines for programs, a log in the folder."""

import datetime
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

from tinyfed_host.run.events import Event, Observer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PLAIN_EVERY_S = 5.0
LOSS_KEPT = 60
TROUBLES_KEPT = 4
SPARKS = "▁▂▃▄▅▆▇█"
RATE_OVER_ROUNDS = 200
# events that a person must hear of
TOLD = ("device-failed", "device-back", "device-joined", "device-left", "retry", "fallback", "late")


class View(Protocol):
    """Something that watches; a context manager and an observer."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, event: Event) -> None: ...


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
        elif event.kind == "visit-ended":
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
            if data.get("loss_last") is not None:
                self.losses.append(data["loss_last"])
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
        """Mean of the last rounds: a single one says little."""
        recent = list(self.losses)[-20:]
        return sum(recent) / len(recent) if recent else None

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
    return f"{where}{who}{what}"


def show_bytes(count: float) -> str:
    """999 B, 12.3 KB, 4.56 MB: three digits, powers of 1,000."""
    units = ["B", "KB", "MB", "GB", "TB"]
    while count >= 999.5 and len(units) > 1:
        count /= 1000
        units.pop(0)
    return f"{count:.3g} {units[0]}"


def show_time(seconds: float) -> str:
    """8 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def sparkline(values: Sequence[float]) -> str:
    """A curve of blocks; the lowest value is the lowest block."""
    if not values:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(SPARKS[min(len(SPARKS) - 1, int((value - low) / span * len(SPARKS)))] for value in values)


class PlainView:
    """A line now and then, and at once when something goes wrong."""

    def __init__(
        self, stream: IO[str] | None = None, every_s: float = PLAIN_EVERY_S, until: float | None = None
    ) -> None:
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._lock = threading.Lock()
        self._progress = Progress(until=until)
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __call__(self, event: Event) -> None:
        """Print what a person wants to know."""
        with self._lock:
            self._progress.add(event)
            if event.kind in TOLD:
                self._print(told(event))
            now = time.monotonic()
            due = event.kind == "round-ended" and now - self._last >= self._every_s
            if due or event.kind == "run-ended":
                self._last = now
                self._print(self._progress.line())

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class JsonView:
    """Each event as a line of standard output. Starts of visits are left out."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __call__(self, event: Event) -> None:
        """Write it."""
        if event.kind == "visit-started":
            return
        with self._lock:
            self._stream.write(json.dumps(event.to_json()) + "\n")
            self._stream.flush()


class LiveView:
    """A panel that is redrawn in place: bar, loss, bytes, each device, the last troubles."""

    def __init__(
        self, title: str, console: "Console", names: Mapping[str, str] | None = None, until: float | None = None
    ) -> None:
        """`names` says what each device is, by unique id."""
        from rich.live import Live

        self._title = title
        self._names = names or {}
        self._lock = threading.Lock()
        self._progress = Progress(until=until)
        self._live = Live(
            console=console, refresh_per_second=8, get_renderable=self._draw, transient=True, redirect_stderr=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Remember it; the screen follows by itself."""
        with self._lock:
            self._progress.add(event)

    def _draw(self) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            progress = self._progress
            head = Text(self._title, style="bold")
            bar = Table.grid()  # a bar by itself does not end its line
            bar.add_row(ProgressBar(total=1.0, completed=progress.share(), width=60))
            spark = Text.assemble(("loss ", "dim"), (sparkline(list(progress.losses)), "cyan"))
            line = Text(progress.line())
            devices = Table(box=None, pad_edge=False, show_header=False)
            shown = sorted(progress.doing.items())
            for unique_id, doing in shown[:12]:
                style = {"at work": "green", "failed": "red", "trying again": "yellow"}.get(doing, "dim")
                devices.add_row(Text(unique_id, "dim"), self._names.get(unique_id, ""), Text(doing, style))
            if len(shown) > 12:
                devices.add_row("", f"and {len(shown) - 12} more", "")
            troubles = [Text(text, style="yellow", no_wrap=True, overflow="ellipsis") for text in progress.troubles]
            return Group(head, bar, line, spark, devices, *troubles)


class LogView:
    """`run.log` in the run's folder: each retry, failure and return with its reason and time."""

    KINDS = ("run-started", *TOLD, "run-ended")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:  # the disk is full: the store tells
                return

    def __call__(self, event: Event) -> None:
        """Write what explains the run."""
        if event.kind not in self.KINDS:
            return
        stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(f"{stamp} {event.kind} {told(event)}\n")
                self._file.flush()
            except OSError:  # the disk is full: the store tells
                return


class Views:
    """Several at once."""

    def __init__(self, *views: View) -> None:
        self._views = views

    def __enter__(self) -> Self:
        for view in self._views:
            view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for view in reversed(self._views):
            view.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Tell all."""
        for view in self._views:
            view(event)


def choose_view(*, as_json: bool, title: str, names: Mapping[str, str], until: float | None = None) -> View:
    """JSON lines when asked for, the live view on a terminal, else plain lines."""
    if as_json:
        return JsonView()
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(title, console, names, until)
    return PlainView(until=until)


def watch_with(views: Sequence[Observer]) -> Observer:
    """One observer that tells several."""

    def tell(event: Event) -> None:
        for view in views:
            view(event)

    return tell


def summary(metrics: Mapping[str, Any]) -> str:
    """A round's metrics for people."""
    loss = metrics.get("loss_last")
    return f"loss {loss:.4f}" if loss is not None else "no loss"
