"""`tinyfed demo`, short: everything real, only fewer rounds on the emulated boards."""

import importlib.util
import json
import signal
import threading
from pathlib import Path

import pytest
from conftest import require, require_tools
from run_helpers import Command

from tinyfed.model import decode
from tinyfed.weights import Weights


@pytest.mark.slow
def test_demo_keeps_its_promises(tmp_path: Path) -> None:
    """The thresholds are those the project promises for the whole demo: 2,000 rounds, 3 seeds, all held-out clients,
    20 draws each; the emulated boards do as many of the rounds as fit in 8 s."""
    require_tools("qemu-system-arm", "qemu-aarch64", "arm-none-eabi-gcc", "aarch64-linux-gnu-gcc")
    require(importlib.util.find_spec("seglearn"), "the watch data is in the package seglearn")
    tinyfed = Command(tmp_path)
    ended = tinyfed("demo", "--budget", "8", "--json")
    result = ended.result()
    told = [json.loads(line) for line in ended.out.splitlines()[:-1]]
    texts = [entry["text"] for entry in told if entry["event"] == "told"]
    assert any("the same bits after each of" in text for text in texts)
    assert any("24 draws on emulated boards gave exactly the simulated devices' answers" in text for text in texts)

    assert set(result) == {"adaptation", "weights_sha256", "fleet"}
    accuracy = result["adaptation"]
    assert list(accuracy) == ["learned", "random", "global", "transfer"]
    assert all(list(points) == ["1", "3", "5", "10"] for points in accuracy.values())
    assert accuracy["learned"]["1"] >= 0.75
    assert accuracy["learned"]["1"] >= accuracy["random"]["1"] + 0.3
    assert accuracy["learned"]["1"] >= accuracy["transfer"]["1"] + 0.05
    assert accuracy["learned"]["5"] >= 0.87

    fleet = result["fleet"]
    assert sorted(device["board"] for device in fleet) == ["mps2_an386"] * 4 + ["raspberrypi"]
    assert len({device["unique_id"] for device in fleet}) == 5
    assert all(0 < device["ram_bytes"] < device["arena_bytes"] for device in fleet)
    assert sum(device["bytes_down"] for device in fleet) > 20_000

    folder = tmp_path / "runs" / "demo"
    rounds = tinyfed.metrics("demo")
    assert len(rounds) == 2000
    assert rounds[-1]["weights_sha256"] == result["weights_sha256"]
    _, weights = decode((folder / "model.tfm").read_bytes())
    # a scale and a shift for 120 values as measured, then 120 x 32 + 32, 32 x 32 + 32, 32 x 4 + 4
    assert weights.shape == (240 + 5060,)
    assert Weights.of(weights[240:]).sha256 == result["weights_sha256"]
    report = (folder / "report.html").read_text()
    assert report.count("<svg") == 4
    assert all(device["unique_id"] in report for device in fleet)

    # a second demo replaces the first, not a run of another kind
    assert tinyfed("run", "--resume", "demo", "--fleet", "simulated", "--json").result()["rounds"] == 2000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_interrupted_leaves_no_emulator(tmp_path: Path, number: signal.Signals) -> None:
    require_tools("qemu-system-arm", "qemu-aarch64", "arm-none-eabi-gcc", "aarch64-linux-gnu-gcc")
    require(importlib.util.find_spec("seglearn"), "the watch data is in the package seglearn")
    tinyfed = Command(tmp_path)
    with tinyfed.started("demo", "--json") as process:
        assert process.stdout is not None
        assert any('"round-ended"' in line for line in process.stdout)
        # The host and five devices, of which two at a time may just be given other data: between two emulators.
        assert len(tinyfed.processes()) > 3
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        process.send_signal(number)
        assert process.wait(60) == (130 if number == signal.SIGINT else 143)
        drain.join()
        assert process.stderr is not None
        assert len(process.stderr.read().splitlines()) == 1
    tinyfed.nothing_left()
    assert tinyfed.metrics("demo")  # nothing of the run so far is lost
