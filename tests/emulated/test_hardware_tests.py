"""The tests for a person with a board, on an emulated one: so that they work when somebody has one."""

import subprocess
import sys

import numpy as np
from conftest import ROOT, require_tools
from tinyfed_host.emulation.qemu import start

from tinyfed.data.recording import write_recording


def test_they_pass_on_an_emulated_board() -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    take = np.random.default_rng(1).normal(0, 1, (400, 6))
    with start("mps2_an386", "0" * 22 + "77", sensor=write_recording([take], 50, 1000)) as board:
        words = ["-m", "hardware", "--port", board.port, "--board", "mps2_an386", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/hardware", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout and done.stdout.count("SKIPPED") == 6, done.stdout
    for reason in ("no debug probe compares its flash", "no openocd makes", "no serial line", "nobody unplugs it"):
        assert reason in done.stdout
