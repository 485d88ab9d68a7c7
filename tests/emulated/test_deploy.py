"""A run onto a board in one command: the board's answers are the host's, and what is missing is said before a build."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require_tools
from run_helpers import Command
from tinyfed_host.cli.main import run_command
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.emulation.qemu import Emulators
from tinyfed_host.firmware import build
from tinyfed_host.run.run import STANDARDIZATION
from tinyfed_host.run.store import RunStore

BOARD = "mps2_an386"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a run of samples whose columns differ by a million, so that standardizing matters."""
    monkeypatch.chdir(tmp_path)
    assert run_command(["init", "own-data"]) == 0
    folder = tmp_path / "own-data"
    for path in folder.glob("data/*/*.csv"):
        header, *rows = path.read_text().splitlines()
        at = header.split(",").index("x")
        cells = [row.split(",") for row in rows]
        lines = [",".join(f"{1e6 * float(c)}" if k == at else c for k, c in enumerate(row)) for row in cells]
        path.write_text("\n".join([header, *lines]) + "\n")
    monkeypatch.chdir(folder)
    assert run_command(["run", "own-data.toml", "--rounds", "100", "--no-evaluate", "--json"]) == 0
    capsys.readouterr()
    return folder


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert run_command([*words, "--json"]) == code
    *_, last = capsys.readouterr().out.splitlines()
    return dict(json.loads(last))


def test_a_dry_run_builds_nothing_and_all_that_is_missing_is_one_message(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_build(*_: object, **__: object) -> Path:
        raise AssertionError("built")

    monkeypatch.setattr(build, "build", no_build)
    found = told(capsys, "deploy", "own-data", "--board", BOARD, "--dry-run")
    assert found["dry_run"] and found["model"] == "float32"
    assert [step["step"] for step in found["steps"]] == ["model", "plan", "build", "start", "check"]
    assert "as they are measured" in found["steps"][0]["what"]
    monkeypatch.setenv("PATH", "/nowhere")
    assert told(capsys, "deploy", "own-data", "--board", BOARD, "--dry-run") == found
    flashed = told(capsys, "deploy", "own-data", "--board", "stm32f405", "--dry-run")
    assert [step["step"] for step in flashed["steps"]] == ["model", "plan", "build", "flash", "check"]
    error = told(capsys, "deploy", "own-data", "--board", BOARD, code=3)["error"]
    assert "arm-none-eabi-gcc is not installed" in error and "qemu-system-arm is not installed" in error
    error = told(capsys, "deploy", "own-data", "--board", "stm32f405", "--clients", "dora", code=3)["error"]
    assert "st-flash" in error and "arm-none-eabi-gcc" in error
    assert (
        "is no client of the task"
        in told(capsys, "deploy", "own-data", "--board", BOARD, "--clients", "x", code=2)["error"]
    )


@pytest.mark.slow
def test_a_board_answers_held_out_samples_as_the_host_does(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    found = Command(here)("deploy", "own-data", "--board", BOARD, "-o", "out", "--json").result()
    assert found["on_board"] == found["on_host"] > 0.9 and found["samples"] == 40
    image = (here / "out/own_data.tfm").read_bytes()
    assert image == (here / "runs/own-data/model.tfm").read_bytes()
    assert f"OWN_DATA_IMAGE_BYTES {len(image)}u" in (here / "out/own_data.h").read_text()
    with Emulators() as emulators:
        port = emulators.start(BOARD, device_id(0)).port
        sent = told(capsys, "deploy", "own-data", "--board", BOARD, "--port", port)
        assert [step["step"] for step in sent["steps"]] == ["model", "plan", "send", "check"]
        assert sent["on_board"] == found["on_board"]
        error = told(capsys, "deploy", "own-data", "--board", "raspberrypi", "--port", port, code=2)["error"]
        assert f"a {BOARD} answers there" in error


@pytest.mark.slow
def test_int8_keeps_what_was_learned(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One column is a million times as large as the others: int8 of samples as measured would see that one alone."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    found = told(capsys, "deploy", "own-data", "--board", BOARD, "--int8", "-o", "out")
    assert found["model"] == "int8" and "standardized first" in found["steps"][0]["what"]
    assert found["on_board"] == found["on_host"] >= found["float_on_host"] - 0.05 > 0.85
    text = (here / "out/own_data_standardization.h").read_text()
    with RunStore.read(here / "runs/own-data") as store:
        made = store.header().extra[STANDARDIZATION]
    given = [np.float32(word.strip(" ,f")) for word in text.splitlines() if word.startswith("    ")]
    assert given == [*np.float32(made["mean"]), *np.float32(1 / np.array(made["deviation"]))]


@pytest.mark.slow
def test_an_initialization_is_checked_by_learning_on_the_board(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of sines: output 0 of the model means nothing before it has learned."""
    require_tools("qemu-system-arm", "arm-none-eabi-gcc")
    assert run_command(["run", "sine", "--rounds", "20", "--no-evaluate", "--json"]) == 0
    capsys.readouterr()
    assert "int8 does not learn" in told(capsys, "deploy", "sine", "--board", BOARD, "--int8", code=2)["error"]
    found = told(capsys, "deploy", "sine", "--board", BOARD, "--clients", "sine-new-3")
    (visit,) = found["visits"]
    assert visit["client"] == "sine-new-3" and visit["on_board"] == visit["on_host"]
    assert list(visit["on_board"]) == ["0", "8", "32"] and found["measure"] == "loss"
