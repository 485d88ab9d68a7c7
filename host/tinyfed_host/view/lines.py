"""A run as lines: for people where there is no terminal, for programs, for the run's log."""

import datetime
import json
import sys
import threading
import time
from pathlib import Path
from typing import IO, Self

from tinyfed.text import printable
from tinyfed_host.run.events import Event
from tinyfed_host.view.progress import TOLD, Progress, told

PLAIN_EVERY_S = 5.0


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
        print(printable(text), file=self._stream, flush=True)


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
            self._stream.write(json.dumps(event.to_json(), allow_nan=False) + "\n")
            self._stream.flush()


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
                self._file.write(f"{stamp} {event.kind} {printable(told(event))}\n")
                self._file.flush()
            except OSError:  # the disk is full: the store tells
                return
