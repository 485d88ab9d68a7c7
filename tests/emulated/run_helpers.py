"""The `tinyfed` command as a process that is watched: what it told, and whether it left an emulator behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
TINYFED = Path(sys.executable).with_name("tinyfed")
MARK = "TINYFED_TEST_MARK"


@dataclass
class Command:
    """A folder to work in, and a mark that every process started there carries in its environment."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, MARK: self.mark, "COLUMNS": "200", **more}

    def __call__(self, *arguments: str | Path, timeout_s: float = 240, **environment: str) -> "Ended":
        """Run to the end. Fails the test when a process is left behind."""
        done = subprocess.run(
            [TINYFED, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
        self.nothing_left()
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def started(self, *arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
        """While it runs; it is killed at the end when it still does."""
        process = subprocess.Popen(
            [TINYFED, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def processes(self) -> list[int]:
        """Those alive that carry the mark, other than this one."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def nothing_left(self, within_s: float = 20.0) -> None:
        """Fails, and ends them, when processes are left."""
        end = time.monotonic() + within_s
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        left = self.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not left, f"processes left behind: {left}"

    def metrics(self, name: str) -> list[dict[str, Any]]:
        """What `metrics.jsonl` of a run says."""
        lines = (self.folder / "runs" / name / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def result(self) -> dict[str, Any]:
        """The last JSON line."""
        assert self.code == 0, self.err
        last: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return last

    def error(self, code: int) -> str:
        """The one line of an error; whatever was told of the run's progress before is left out."""
        assert self.code == code, (self.code, self.err)
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("tinyfed: ")]
        assert len(lines) == 1, self.err
        assert self.err.splitlines()[-1] == lines[0]
        return lines[0]
