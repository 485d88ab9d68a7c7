"""Carries out the runs of a sweep, several at a time, each as a `tinyfed run` in a process of its own."""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfed_host.run.store import StoreError, is_locked
from tinyfed_host.sweep.grid import Trial

PROGRAM = (sys.executable, "-c", "from tinyfed_host.cli.main import main; main()")
ENDS_WITHIN_S = 10.0  # a run that is told to end, or whose sweep was killed


@dataclass(frozen=True)
class Told:
    """Something a run said: one of its events, or how it ended."""

    trial: Trial
    event: Mapping[str, Any]
    ended: bool = False
    exit_code: int = 0


class Workers:
    """As a context manager: none of its processes outlives it."""

    def __init__(self, file: Path, trials: Sequence[Trial], jobs: int) -> None:
        self._file = file
        self._waiting = list(trials)
        self._jobs = jobs
        self._told: queue.Queue[Told] = queue.Queue()
        self._running: dict[Path, subprocess.Popen[str]] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            with contextlib.suppress(OSError):
                process.terminate()
        until = time.monotonic() + ENDS_WITHIN_S
        for process in self._running.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def go(self, tell: Callable[[Told], None]) -> None:
        """All of them; `tell` hears what each says, in this thread."""
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._jobs:
                self._start(self._waiting.pop(0))
            told = self._told.get()
            if told.ended:
                self._running.pop(told.trial.folder).wait()
            tell(told)

    def _start(self, trial: Trial) -> None:
        words = trial.command(self._file)
        _wait_for_lock(trial.folder)
        if trial.rounds():
            words = ["run", "--resume", str(trial.folder)]
        process = subprocess.Popen(
            [*PROGRAM, *words, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what is wrong is told on standard output too
            text=True,
            start_new_session=True,  # Ctrl-C is for the sweep, which ends its runs in order
        )
        self._running[trial.folder] = process
        threading.Thread(
            target=self._listen, args=(trial, process), name=f"sweep-{trial.folder.name}", daemon=True
        ).start()

    def _listen(self, trial: Trial, process: "subprocess.Popen[str]") -> None:
        last: dict[str, Any] = {}
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with contextlib.suppress(ValueError):
                    last = json.loads(line)
                    if "event" in last:
                        self._told.put(Told(trial, last))
        self._told.put(Told(trial, last, ended=True, exit_code=process.wait()))


def _wait_for_lock(folder: Path) -> None:
    """A run whose sweep was killed ends when it next says something."""
    until = time.monotonic() + ENDS_WITHIN_S
    while is_locked(folder):
        if time.monotonic() > until:
            raise StoreError("another tinyfed process is working on this run", where=str(folder), remedy="wait for it")
        time.sleep(0.05)
