"""Shared by all tests: what to do when something the project installs is not there."""

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from tinyfed_host.cli import working
from tinyfed_host.firmware.build import recipe

ROOT = Path(__file__).parent.parent
FIRMWARE = ROOT / "firmware"
RECIPE = recipe()  # sources, includes and flags of the C code

# Real data sets and models, where a checkout has them beside it; whoever sets the variable decides.
SHARED_DATA = ROOT.parent / "shared" / "data"
if "TINYFED_DATA" not in os.environ and SHARED_DATA.is_dir():
    os.environ["TINYFED_DATA"] = str(SHARED_DATA)

# A shell's background job ignores Ctrl-C and its children inherit that: the tests that press it need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_notes_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine makes anything take a second: what a command says must not depend on that."""
    monkeypatch.setattr(working, "QUICK_S", float(threading.TIMEOUT_MAX))


def require(condition: object, reason: str) -> None:
    """Skip with the reason where `condition` is false; in CI, where set-up installs everything, fail."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must have what set-up installs: {reason}")
    pytest.skip(reason)


def require_tools(*names: str) -> None:
    """`require` each program on PATH."""
    for name in names:
        require(shutil.which(name), f"{name} is not on PATH: run `make setup`")


def require_fuzzer() -> None:
    """`require` clang and the library of its fuzzer, wherever that lies."""
    require_tools("clang")
    target = "int LLVMFuzzerTestOneInput(const unsigned char *x, unsigned long n) { return n > 9 && x == 0; }"
    tried = ["clang", "-fsanitize=fuzzer,address", "-x", "c", "-", "-o", os.devnull]
    linked = subprocess.run(tried, input=target, text=True, capture_output=True).returncode == 0
    require(linked, "clang's fuzzer is missing: install libclang-rt-dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    """For tests/hardware."""
    parser.addoption("--port", help="port of a real board, for -m hardware")
    parser.addoption("--board", help="its name in boards/, for -m hardware")
    parser.addoption("--unplug", action="store_true", help="ask to unplug the board, for -m hardware -s")
