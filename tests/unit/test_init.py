"""`tinyfed init` and bundled examples: from any folder to a run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tinyfed_host.cli import main as cli


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("start", ["sine", "gestures", "own-data"])
def test_what_it_writes_runs(start: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.run_command(["init", start]) == 0
    assert (elsewhere / start / "README.md").is_file()
    monkeypatch.chdir(elsewhere / start)
    assert cli.run_command(["run", f"{start}.toml", "--rounds", "3"]) == 0
    assert (elsewhere / start / "runs" / start / "model.tfm").is_file()


def test_own_data_reaches_the_device_it_names(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_command(["init", "own-data", "mine", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert "mine/data/train/anna.csv" in files
    assert "mine/data/held_out/dora.csv" in files
    monkeypatch.chdir(elsewhere / "mine")
    assert cli.run_command(["run", "own-data.toml", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    assert metrics["loss"] < 0.4  # ln 2 = 0.69 is a guess between two classes; the samples are far apart


def test_no_file_is_replaced(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "sine").mkdir()
    mine = elsewhere / "sine" / "README.md"
    mine.write_text("mine")
    assert cli.run_command(["init", "sine"]) == 2
    assert "sine/README.md is there already" in capsys.readouterr().err
    assert [path.name for path in (elsewhere / "sine").iterdir()] == ["README.md"]
    assert mine.read_text() == "mine"


def test_a_disk_that_is_full_leaves_nothing(elsewhere: Path) -> None:
    """No file may be larger than 900 bytes: the last of the samples is, and the README."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))"
    program = f"{limit}; from tinyfed_host.cli.main import main; main()"
    words = ["init", "own-data", "deep/down"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith("cannot write the file: File too large\n")
    assert not list(elsewhere.iterdir())


def test_an_unknown_start_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(["init", "gesture"]) == 2
    assert "gestures, sine, own-data" in capsys.readouterr().err


def test_a_bundled_example_runs_by_name(elsewhere: Path) -> None:
    assert cli.run_command(["run", "sine", "--rounds", "3"]) == 0
    assert (elsewhere / "runs" / "sine" / "model.tfm").is_file()


def test_the_list_and_an_unknown_name_tell_the_bundled_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_command(["run", "--list"]) == 0
    assert "sine" in capsys.readouterr().out
    assert cli.run_command(["run", "sinus"]) == 2
    assert "head, omniglot, sine, watch, words" in capsys.readouterr().err


def test_a_file_of_the_name_goes_before_the_example(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "sine").write_text("rounds = -1\n")
    assert cli.run_command(["run", "sine"]) == 2
    assert "sine:1" in capsys.readouterr().err
