"""A few seconds of the fuzzer that `make fuzz` runs for longer."""

import subprocess
import sys

import pytest
from conftest import ROOT, require_fuzzer


@pytest.mark.slow
def test_the_fuzzer_finds_nothing() -> None:
    require_fuzzer()
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/fuzz-wire", "250", "1000"], capture_output=True, text=True, timeout=290
    )
    assert done.returncode == 0, done.stdout + done.stderr
    executions = int(done.stdout.split()[1].replace(",", ""))
    assert executions > 500
