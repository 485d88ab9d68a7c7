"""A run that is killed or runs out of disk, again and again, ends with the bits of one that was not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from preload import full_disk

HARNESS = Path(__file__).with_name("resume_harness.py")
SEED = 20261
KILLS = 200
FILLS = 200


def told(command: list[str], environment: dict[str, str] | None = None) -> dict[str, Any]:
    """What the harness says; it fails by itself when a run differs from the undisturbed one in any round."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["finished"] >= 1
    return found


@pytest.mark.slow
def test_killed_at_200_random_moments(tmp_path: Path) -> None:
    found = told([sys.executable, str(HARNESS), "kill", str(tmp_path), "1500", str(KILLS), str(SEED)])
    assert found["hits"] == KILLS
    assert found["hits_with_progress"] >= KILLS / 4


@pytest.mark.slow
def test_disk_refusing_at_random_moments(tmp_path: Path) -> None:
    """As below, where nobody may mount anything: a library refuses what the run writes."""
    runs, full = tmp_path / "runs", tmp_path / "full"
    words = ["refuse", str(runs), "500", str(FILLS), str(SEED), str(full)]
    found = told([sys.executable, str(HARNESS), *words], full_disk(tmp_path, runs, when=full))
    assert found["hits"] == FILLS
    assert found["hits_with_progress"] >= FILLS / 4


@pytest.mark.slow
def test_disk_full_at_random_moments(tmp_path: Path) -> None:
    """A tmpfs of 12 MB in a mount namespace of its own, filled to the last byte 200 times."""
    require(shutil.which("unshare"), "unshare (util-linux) is not installed")
    probe = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)], capture_output=True)
    require(probe.returncode == 0, "this machine does not let a user mount a tmpfs in a namespace of their own")
    script = 'mount -t tmpfs -o size=12m none "$1" && exec "$2" "$3" fill "$1/runs" 500 "$5" "$4"'
    words = [str(tmp_path), sys.executable, str(HARNESS), str(SEED), str(FILLS)]
    found = told(["unshare", "-rm", "sh", "-c", script, "sh", *words])
    assert found["hits"] == FILLS
    assert found["hits_with_progress"] >= FILLS / 4
