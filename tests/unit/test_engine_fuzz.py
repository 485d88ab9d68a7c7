"""A short run of `make fuzz`: the fuzzer builds, runs and finds nothing."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT, require_fuzzer


@pytest.mark.slow
def test_the_loader_survives_a_short_run_of_the_fuzzer():
    require_fuzzer()
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/fuzz-image", "250", "2000"], capture_output=True, text=True, timeout=290
    )
    assert done.returncode == 0, done.stdout + done.stderr
    executions = int(re.search(r"executions ([\d,]+)", done.stdout)[1].replace(",", ""))
    assert executions > 1000, done.stdout
