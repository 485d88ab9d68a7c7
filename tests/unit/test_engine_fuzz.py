"""A short run of `make fuzz`: the fuzzer builds, runs and finds nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, require, require_tools


@pytest.mark.slow
def test_the_loader_survives_a_short_run_of_the_fuzzer():
    require_tools("clang")
    folder = subprocess.run(["clang", "-print-runtime-dir"], capture_output=True, text=True).stdout.strip()
    require(Path(folder).is_dir(), "clang's fuzzer is missing: install libclang-rt-dev")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/fuzz-image"), "8"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    executions = int(re.search(r"executions ([\d,]+)", done.stdout)[1].replace(",", ""))
    assert executions > 1000, done.stdout
