"""From the sensor to a model of one's own: emulated devices record their own labelled samples, `tinyfed run` learns
from them what it learns from simulated devices that hold the same samples, and a newcomer's device adapts from that
run. What the devices say on the way is searched for samples."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require_tools
from tinyfed_host.cli.main import run_command
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.emulation.qemu import Emulators
from tinyfed_host.run.parts import PLAYED_US
from tinyfed_host.run.personal import learned, personal_order
from tinyfed_host.transport.socket import SocketTransport

from tinyfed.data.recording import write_recording
from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.tasks import watch
from tinyfed.wire.frames import FrameDecoder

EXPERIMENT = """rounds = 4
seed = 3
[model]
inputs = 120
loss = "softmax_cross_entropy"
layers = [{ outputs = 16, activation = "relu" }, { outputs = 4 }]
[task]
name = "watch"
[strategy]
name = "tinyreptile"
alpha = 0.5
[fleet]
boards = { mps2_an386 = 1, native = 1 }
samples = "recorded"
"""
NEWCOMER, GESTURES, WINDOWS = (2, 0), (3, 0, 6, 4), 9


class Heard:
    """All frames that devices sent to this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoders: dict[int, FrameDecoder] = {}
        self.payloads: list[bytes] = []
        self._lines: list[SocketTransport] = []  # kept, so that no two have one id
        read = SocketTransport.read

        def noted(line: SocketTransport, timeout_s: float) -> bytes:
            data = read(line, timeout_s)
            if id(line) not in self.decoders:
                self._lines.append(line)
            for frame in self.decoders.setdefault(id(line), FrameDecoder()).feed(data):
                self.payloads.append(frame.payload)
            return data

        monkeypatch.setattr(SocketTransport, "read", noted)

    def holds_any(self, needles: set[bytes]) -> bool:
        """Whether 8 bytes of any message are one of the needles."""
        return any(
            payload[at : at + 8] in needles for payload in self.payloads for at in range(max(0, len(payload) - 7))
        )


def needles(person: tuple[int, int]) -> set[bytes]:
    """8 bytes of each reading, and of each two neighbouring values of a sample."""
    found = {reading.tobytes() for take in watch.takes(person) for reading in take.reshape(-1) if reading != 0.0}
    for windows in watch.samples(person):
        flat = windows.reshape(-1)
        found.update(flat[at : at + 2].tobytes() for at in range(0, len(flat), 2))
    return found


def command(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """The JSON lines of a command that went well."""
    assert run_command([*words, "--json"]) == 0, capsys.readouterr().err
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_record_run_and_adapt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(EXPERIMENT)
    heard = Heard(monkeypatch)
    simulated = command(capsys, "run", "x.toml", "--name", "simulated")[-1]
    people = [(1, 0), (1, 1)]  # whom the first two simulated devices stand for
    with Emulators() as emulators:
        ports = []
        for number, (board, person) in enumerate(zip(("mps2_an386", "native"), people, strict=True)):
            played = write_recording(watch.takes(person), watch.RATE_HZ, PLAYED_US)
            ports.append(emulators.start(board, device_id(number), sensor=played).port)
        words = ["run", "x.toml", *(word for port in ports for word in ("--port", port))]
        assert run_command([*words, "--name", "early"]) == 4
        said = capsys.readouterr().err
        assert "has recorded 0 windows of class 0, the watch task needs 10: `tinyfed devices label PORT 0" in said
        for port in ports:
            for label in range(len(watch.EXERCISES)):
                command(capsys, "devices", "label", port, str(label))
        over_ports = command(capsys, *words, "--name", "ports")[-1]
    assert over_ports["weights_sha256"] == simulated["weights_sha256"]
    assert sum(map(len, heard.payloads)) > 10_000
    assert not heard.holds_any(needles(people[0]) | needles(people[1]))

    heard.payloads.clear()
    own = watch.takes(NEWCOMER)
    played = write_recording([own[gesture] for gesture in GESTURES], watch.RATE_HZ, PLAYED_US)
    with Emulators() as emulators:
        port = emulators.start("mps2_an386", device_id(9), sensor=played).port
        for label in range(len(GESTURES)):
            command(capsys, "devices", "label", port, str(label), "--windows", str(WINDOWS))
        *judged, last = command(capsys, "devices", "adapt", port, "ports", "--save")
        held = command(capsys, "devices", port)[0]["weights_hash"]
    assert (last["samples"], last["saved"]) == (4 * (WINDOWS - 1), True)
    parts, image = learned(Path("runs/ports"))
    samples = watch.samples(NEWCOMER)
    twin = SimulatedDevice(shard=write_shard([samples[gesture][:WINDOWS] for gesture in GESTURES]))
    twin.load(image)
    outcome = twin.visit(None, personal_order(parts, "twin", 4, (WINDOWS,) * 4), want_weights=True)
    assert [(p["samples_a_class"], p["accuracy"], p["loss"]) for p in judged] == [
        (p.shots, p.accuracy, p.loss) for p in outcome.result.checkpoints
    ]
    assert held == f"{twin.info.weights_hash:016x}", "the device holds, to the bit, what it learned here"
    assert not heard.holds_any(needles(NEWCOMER))
    # and the search does find what is there
    heard.payloads.append(bytes(3) + np.ascontiguousarray(samples[0][0][:2]).tobytes())
    assert heard.holds_any(needles(NEWCOMER))


def test_an_emulated_fleet_records_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(EXPERIMENT.replace("[fleet]\n", "[fleet]\nrotate_every = 2\n"))
    simulated = command(capsys, "run", "x.toml", "--name", "simulated")[-1]
    emulated = command(capsys, "run", "x.toml", "--name", "emulated", "--fleet", "emulated")[-1]
    assert emulated["weights_sha256"] == simulated["weights_sha256"]


def test_a_board_without_a_sensor_cannot_take_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(EXPERIMENT)
    assert run_command(["run", "x.toml", "--fleet", "emulated", "--board", "netduinoplus2"]) == 2
    assert "the emulated netduinoplus2 has no sensor to play a recording" in capsys.readouterr().err
