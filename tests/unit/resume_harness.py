"""A run that is killed, or whose disk is filled, at random moments. Run as a program: see `main`.

Forked from a process that has everything imported, a run starts in milliseconds, so hundreds of kills take seconds.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sine_toml import sine_toml
from tinyfed_host.experiment.file import parse
from tinyfed_host.experiment.schema import Experiment
from tinyfed_host.run.parts import make_fleet
from tinyfed_host.run.run import Run
from tinyfed_host.run.store import RunStore, StoreError


def experiment(rounds: int) -> Experiment:
    return parse(sine_toml(rounds), "x.toml", ("mps2_an386",))


def go(folder: Path, rounds: int) -> str:
    """Begin the run or go on with it, to its end. Returns the weights' SHA-256."""
    with (
        Run.resume(folder) if begun(folder) else Run.begin(folder, experiment(rounds), "") as run,
        make_fleet(run.parts) as fleet,
    ):
        return run.go(fleet).weights_sha256


def begun(folder: Path) -> bool:
    """False also for a run that was killed while it was made."""
    try:
        RunStore.read(folder).close()
    except StoreError:
        return False
    return True


def in_child(folder: Path, rounds: int) -> int:
    """Fork; the child runs and ends with 0, or 7 when the store cannot be written. Returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        go(folder, rounds)
        os._exit(0)
    except StoreError as error:
        os.write(2, f"{error}\n".encode())
        os._exit(7)
    except BaseException as error:
        os.write(2, f"unexpected {error!r}\n".encode())
        os._exit(1)


def rounds_done(folder: Path) -> int:
    """0 also for a run that was killed while it was made."""
    try:
        with RunStore.read(folder) as store:
            snapshot = store.snapshot()
    except StoreError:
        return 0
    return snapshot.round if snapshot else 0


class Disturber:
    """Starts the run again and again, disturbs it at random moments, and begins another when it is over.

    The moments adapt to the machine: later when a run did not get on at all, earlier when it came to its end.
    """

    def __init__(self, folder: Path, rounds: int, rng: random.Random, expected: list[str]) -> None:
        self.folder, self.rounds, self.rng, self.expected = folder, rounds, rng, expected
        self.window_s = 0.05
        self.hits = 0
        self.hits_with_progress = 0
        self.finished = 0
        self.number = 0

    def go_on(self, hits: int, disturb: Callable[[int], bool]) -> None:
        """Until so many runs were disturbed. `disturb` is told the process id, and whether it hit."""
        for _ in range(20 * hits):
            if self.hits >= hits:
                break
            folder = self.folder / str(self.number)
            before = rounds_done(folder)
            pid = in_child(folder, self.rounds)
            time.sleep(self.rng.random() * self.window_s)
            hit = disturb(pid)
            progress = rounds_done(folder) - before
            self.hits += hit
            self.hits_with_progress += bool(hit and progress)
            if not hit:
                self.window_s *= 0.8
                self.check(folder)
            elif not progress:
                self.window_s *= 1.25
        last = self.folder / str(self.number)
        go(last, self.rounds)
        self.check(last)

    def check(self, folder: Path) -> None:
        """A run that has come to its end is as if nothing had happened. The next one gets another folder."""
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        if [line["round"] for line in lines] != list(range(1, self.rounds + 1)):
            raise SystemExit("metrics.jsonl lacks rounds, or has them twice")
        if [line["weights_sha256"] for line in lines] != self.expected:
            raise SystemExit("the weights differ from those of a run that was not disturbed")
        shutil.rmtree(folder)
        self.finished += 1
        self.number += 1


def kill(pid: int) -> bool:
    """SIGKILL; false when the run was over before."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit("a run failed")
    return False


def fill(folder: Path, pid: int) -> bool:
    """Fill the disk, wait until the run ends by itself, free the disk; false when the run came to its end."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 10, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return _ends_by_itself(pid, filler)


def refuse(full: Path, pid: int) -> bool:
    """The same with tests/full_disk.c, for which the disk is full while this file exists."""
    full.touch()
    return _ends_by_itself(pid, full)


def _ends_by_itself(pid: int, filler: Path) -> bool:
    end = time.monotonic() + 60
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise SystemExit("a run hangs on a full disk")
        time.sleep(0.002)
    filler.unlink()
    code = os.waitstatus_to_exitcode(ended[1])
    if code not in (0, 7):
        raise SystemExit(f"exit code {code}: a run failed otherwise than by its store")
    return code == 7


def main() -> None:
    """Usage: resume_harness.py kill|fill|refuse FOLDER ROUNDS TIMES SEED [FLAG]. Prints JSON."""
    kind, folder, rounds, times, seed = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])
    folder.mkdir(parents=True, exist_ok=True)
    go(folder / "undisturbed", rounds)  # it imports and caches everything as well
    lines = (folder / "undisturbed" / "metrics.jsonl").read_text().splitlines()
    disturber = Disturber(folder, rounds, random.Random(seed), [json.loads(line)["weights_sha256"] for line in lines])
    kinds = {"kill": kill, "fill": partial(fill, folder), "refuse": partial(refuse, Path(sys.argv[-1]))}
    disturber.go_on(times, kinds[kind])
    told = {
        "hits": disturber.hits,
        "hits_with_progress": disturber.hits_with_progress,
        "finished": disturber.finished,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
