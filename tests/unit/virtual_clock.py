"""A clock for tests of a run: time passes only when everybody waits for it, and then at once."""

import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any


class VirtualClock:
    """Implements `tinyfed_host.run.clock.Clock`.

    The thread that makes it is the run's; the others are visits, each with a future that the run waits for. A visit
    that takes time says so by `pause` or `waiting`. What the run sees is then the same on a loaded machine.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._changed = threading.Condition()
        self._run = threading.current_thread()
        self._unfinished: set[Future[Any]] = set()
        self._asleep: dict[threading.Thread, float] = {}  # until when

    def now(self) -> float:
        """Seconds since it was made."""
        with self._changed:
            return self._now

    def wait(self, futures: Collection["Future[Any]"], timeout_s: float) -> set["Future[Any]"]:
        """Those that are done; none only when all visits wait for a later moment than the end of the time."""
        with self._changed:
            end = self._now + timeout_s
            for future in futures:
                if future not in self._unfinished and not future.done():
                    self._unfinished.add(future)
                    future.add_done_callback(self._finish)
            while True:
                if done := {future for future in futures if future.done()}:
                    return done
                if self._still():
                    first = min(self._asleep.values())
                    self._set(min(first, end))
                    if first > end:
                        return set()
                self._changed.wait()

    def pause(self, seconds: float, end: threading.Event | None = None) -> None:
        """Take so long; the run's own pause lets the visits go on meanwhile."""
        if threading.current_thread() is self._run:
            self.advance(seconds)
            return
        with self._changed:
            self._asleep[threading.current_thread()] = self._now + seconds
            self._changed.notify_all()
            while threading.current_thread() in self._asleep:
                self._changed.wait()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A visit waits in here for something else than time."""
        with self._changed:
            self._asleep[threading.current_thread()] = float("inf")
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                del self._asleep[threading.current_thread()]

    def advance(self, seconds: float) -> None:
        """Let so much time pass, and those that wake up do all they do before they wait again."""
        with self._changed:
            end = self._now + seconds
            while True:
                while not self._still():
                    self._changed.wait()
                first = min(self._asleep.values(), default=float("inf"))
                self._set(min(first, end))
                if first > end:
                    return

    def _still(self) -> bool:
        """Whether every visit waits."""
        return len(self._asleep) == len(self._unfinished)

    def _set(self, now: float) -> None:
        self._now = now
        for thread in [thread for thread, until in self._asleep.items() if until <= now]:
            del self._asleep[thread]
        self._changed.notify_all()

    def _finish(self, future: "Future[Any]") -> None:
        with self._changed:
            self._unfinished.discard(future)
            self._changed.notify_all()
