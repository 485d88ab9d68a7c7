"""Held-out clients on emulated boards, and on boards that are connected: the simulated devices' answers."""

import json
from pathlib import Path

import pytest
from conftest import require_tools
from run_helpers import Command
from tinyfed_host.cli.main import run_command
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.emulation.qemu import Emulators
from tinyfed_host.run.parts import read_experiment

BOARD = "mps2_an386"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a run of the small samples of `tinyfed init`."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    monkeypatch.chdir(tmp_path)
    assert run_command(["init", "own-data"]) == 0
    monkeypatch.chdir(tmp_path / "own-data")
    assert run_command(["run", "own-data.toml", "--rounds", "30", "--no-evaluate", "--json"]) == 0
    capsys.readouterr()
    return Path.cwd()


@pytest.mark.slow
def test_boards_give_the_answers_of_simulated_devices(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("evaluate", "own-data", "--shots", "0,1,3", "--seeds", "2", "--beside", "random", "--json")
    simulated = Command(here)(*common).result()
    emulated = Command(here)(*common, "--fleet", "emulated").result()
    assert emulated.pop("confirmed") == {"visits": 2, "on": [f"emulated {BOARD}"]}
    assert emulated == simulated

    task = read_experiment(here / "own-data.toml").task.make()
    with Emulators() as emulators:
        held, other = (
            emulators.start(BOARD, device_id(number), client.shard).port
            for number, client in enumerate((task.held_out[0], task.train[0]))
        )
        assert run_command([*common, "--clients", "dora", "--port", held]) == 0
        connected = json.loads(capsys.readouterr().out)
        assert connected.pop("confirmed") == {"visits": 2, "on": [f"the device on {held}"]}
        assert connected == simulated
        assert run_command([*common, "--clients", "dora", "--port", other]) == 1
        assert "does its flash not hold the samples of dora?" in capsys.readouterr().err
        assert run_command([*common, "--clients", "dora", "--port", held, "--port", other]) == 2
        capsys.readouterr()
        # without a client's name it is the device that is judged, on samples that only it knows: dora's, here
        assert run_command([*common, "--port", held]) == 0
        own = json.loads(capsys.readouterr().out)
    assert own["clients"] == [device_id(0)] and not own["confusion"]
    assert own["kinds"] == simulated["kinds"]
