"""`tinyfed sweep`: ordinary runs, several at a time; what is done is not done again, whatever ended the sweep."""

import json
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sine_toml import sine_toml
from tinyfed_command import Tinyfed
from tinyfed_host.cli.main import run_command
from tinyfed_host.experiment.settings import read_settings, with_settings
from tinyfed_host.run.store import RunStore, is_locked
from tinyfed_host.sweep.grid import make_trials

from tinyfed.errors import UsageError
from tinyfed.fields import Source, Table

EXPERIMENT = sine_toml(12, seed=2)
RATES = ("--set", "task.learning_rate=0.01,0.03")
PROGRAM = (sys.executable, "-c", "from tinyfed_host.cli.main import main; main()")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.toml").write_text(EXPERIMENT)
    return tmp_path


@pytest.fixture
def tinyfed(capsys: pytest.CaptureFixture[str], folder: Path) -> Tinyfed:
    return Tinyfed(capsys)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("task.learning_rate=0.01,0.03", [0.01, 0.03]),
        ("strategy.name=reptile,fedavg", ["reptile", "fedavg"]),
        ('strategy.name="a,b"', ["a,b"]),
        ("model.inputs=[1, 2],[3]", [[1, 2], [3]]),
        ("a.b=true,x", [True, "x"]),
        ("fleet.boards={ mps2_an386 = 2, native = 1 },{ native = 3 }", [{"mps2_an386": 2, "native": 1}, {"native": 3}]),
        ('a="5","true",1e-5,"say \\"so\\""', ["5", "true", 1e-5, 'say "so"']),
        ("max=inf,-0.5", [math.inf, -0.5]),
        ("rounds=5", [5]),
    ],
)
def test_a_setting_is_read_as_toml(text: str, values: list[Any]) -> None:
    assert [setting.value for setting in read_settings(text)] == values
    for setting in read_settings(text):
        assert read_settings(str(setting)) == [setting]  # as a sweep tells it to its runs


@pytest.mark.parametrize("text", ["", "x", "=1", "x=", "a b=1", "é=1", "x[y]=1"])
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(UsageError, match=r"--set = .*must be KEY=VALUE"):
        read_settings(text)


def test_settings_stand_in_place_of_what_the_file_says() -> None:
    root = Table({"a": {"b": [{"c": 1}, {"c": 2}]}}, Source("x.toml", {}))
    (one,), (two,) = read_settings("a.b[1].c=7"), read_settings("d.e=8")
    made = with_settings(root, [one, two])
    assert made.values == {"a": {"b": [{"c": 1}, {"c": 7}]}, "d": {"e": 8}}
    assert root.values == {"a": {"b": [{"c": 1}, {"c": 2}]}}
    assert (made.source.where(("a", "b", 1, "c")), made.source.where(("a", "b", 0, "c"))) == ("--set", "x.toml:1")
    for text in ("a.b[2].c=1", "a[0]=1", "a.b.c=1", "a.b[0].c.d=1"):
        with pytest.raises(UsageError, match="there is no such place in the file"):
            with_settings(root, read_settings(text))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--set", "task.learning_rate=0.01,0"), 2, "--set: task.learning_rate = 0: must be a number"),
        (("--set", "task.learning=1"), 2, 'no such key; allowed'),
        (("--set", "rounds=5", "--set", "rounds=6"), 2, "is given twice"),
        (("--set", "seed=1,2"), 2, "is given twice"),
        (("--set", "task.learning_rate=0.1,0.10"), 2, "task.learning_rate=0.1: is given twice"),
        (("--seeds", "0"), 2, "--seeds = 0: must be"),
        (("--set", 'fleet.ports=["/dev/ttyNOPE"]', "--set", "fleet.kind=ports"), 2, "devices on ports cannot"),
        (("--name", "../evil"), 2, "is no name for a run"),
        (("--seeds", "1000", "--set", "task.shots=" + ",".join(map(str, range(1, 20)))), 2, "19,000 runs"),
    ],
)  # fmt: skip
def test_what_no_sweep_can_do_is_told_before_it_begins(
    tinyfed: Tinyfed,
    folder: Path,
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    assert said in tinyfed.error(code, "sweep", "x.toml", *words)
    assert not (folder / "runs").exists()


def test_a_file_in_a_sweeps_place_is_named(tinyfed: Tinyfed, folder: Path) -> None:
    (folder / "runs").mkdir()
    (folder / "runs" / "mine").write_text("mine")
    said = "runs/mine: is a file, and runs need a folder; choose another --name"
    assert tinyfed.error(2, "sweep", "x.toml", *RATES, "--name", "mine").endswith(said)
    assert (folder / "runs" / "mine").read_text() == "mine"


def test_runs_are_called_by_their_values(tmp_path: Path) -> None:
    """Whole where that is a name, else shortened, with what tells those apart that are alike then."""
    (tmp_path / "x.toml").write_text(EXPERIMENT.partition("[fleet]")[0])
    sets = ["task.learning_rate=0.01", "fleet.boards={mps2_an386 = 2},{mps2_an386 = 3}"]
    trials = make_trials(tmp_path / "x.toml", [read_settings(text) for text in sets], 2, None, Path("runs/s"))
    names = [trial.folder.name for trial in trials]
    assert len(set(names)) == 4 and [name.rpartition("_")[2] for name in names] == ["seed-2"] * 2 + ["seed-3"] * 2
    assert all(
        re.fullmatch(r"learning_rate-0\.01_boards-mps2_an386-[23]-[0-9a-f]{8}_seed-[23]", name) for name in names
    )
    sets = [
        "task.learning_rate=0.0123456789012345",
        "task.shots=8",
        "strategy.alpha=0.123456789012345,0.123456789012346",
    ]
    long = [read_settings(text) for text in sets]
    names = [trial.folder.name for trial in make_trials(tmp_path / "x.toml", long, 1, None, Path("runs/s"))]
    assert len(set(names)) == 2 and max(map(len, names)) <= 64
    (trial,) = make_trials(tmp_path / "x.toml", [], 1, None, Path("runs/s"))
    assert trial.folder == Path("runs/s/seed-2")


@pytest.mark.slow
def test_a_sweep_is_ordinary_runs_and_a_table(tinyfed: Tinyfed, folder: Path) -> None:
    """With the bits of the same run by hand; started again it tells the table; more seeds are what is left."""
    words = ("sweep", "x.toml", *RATES, "--name", "s")
    first = tinyfed.lines(*words, "--seeds", "2")
    runs, groups, last = first[:4], first[4:-1], first[-1]
    assert {run["run"] for run in runs} == {
        f"runs/s/learning_rate-{rate}_seed-{seed}" for rate in (0.01, 0.03) for seed in (2, 3)
    }
    assert [group["values"] for group in groups] == [{"task.learning_rate": rate} for rate in ("0.01", "0.03")]
    assert (last["sweep"], last["runs"], last["failed"], last["differs"]) == ("runs/s", 4, 0, ["task.learning_rate"])
    losses = {run["run"]: run["metrics"]["loss"] for run in runs}
    by_hand = tinyfed.lines("run", "x.toml", "--set", "task.learning_rate=0.03", "--seed", "3", "--name", "hand")[-1]
    with RunStore.read(folder / "runs/s/learning_rate-0.03_seed-3") as store:
        assert store.last_round()["weights_sha256"] == by_hand["weights_sha256"]  # type: ignore[index]
    assert losses["runs/s/learning_rate-0.03_seed-3"] == by_hand["metrics"]["loss"]
    pair = [losses[f"runs/s/learning_rate-0.01_seed-{seed}"] for seed in (2, 3)]
    assert groups[0]["figures"]["loss"]["mean"] == pytest.approx(sum(pair) / 2)
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs/s").rglob("model.tfm")}
    assert tinyfed.lines(*words, "--seeds", "2") == first[4:]
    with sqlite3.connect(folder / "runs/s/learning_rate-0.01_seed-2/run.sqlite") as killed_before_it_was_judged:
        killed_before_it_was_judged.execute("DELETE FROM result")
    told = tinyfed.lines("compare", "s")[-1]
    assert told["by"] == "loss" and "runs/s/learning_rate-0.01_seed-2 has none" in " ".join(told["remarks"])
    more = tinyfed.lines(*words, "--seeds", "3")
    assert sum("exit_code" in line for line in more) == 3 and more[-1]["runs"] == 6
    assert more[-1]["by"].startswith("held-out loss after") and tinyfed.lines("runs")[-1]["folders"] == {"runs/s": 6}
    before.pop(folder / "runs/s/learning_rate-0.01_seed-2/model.tfm")  # written again
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert tinyfed.lines("compare", "s")[-1]["best"] == more[-1]["best"]
    (folder / "x.toml").write_text(EXPERIMENT.replace("shots = 8", "shots = 9"))
    told = tinyfed.error(7, *words, "--seeds", "3")
    assert "there is a run of another experiment (its task); choose another --name for this sweep" in told


@pytest.mark.slow
def test_runs_that_fail_do_not_end_the_others(tinyfed: Tinyfed, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["sweep", "x.toml", "--set", "task.learning_rate=999,0.01", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ends = {line["run"].rpartition("/")[2]: line["exit_code"] for line in lines if "run" in line}
    assert ends == {"learning_rate-999_seed-2": 4, "learning_rate-0.01_seed-2": 0}
    assert (lines[-2]["runs"], lines[-2]["failed"]) == (1, 1)
    assert "1 of 2 runs failed" in lines[-1]["error"] and "learning diverges" in lines[-1]["error"]


def begun(place: Path) -> dict[str, int]:
    """Rounds done by the run's name."""
    found = {}
    for path in place.glob("*/run.sqlite"):
        try:
            with RunStore.read(path.parent) as store:
                last = store.last_round()
        except Exception:
            continue
        found[path.parent.name] = last["round"] if last else 0
    return found


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_that_is_ended_goes_on(tinyfed: Tinyfed, folder: Path, number: signal.Signals) -> None:
    """In order after Ctrl-C, with all its runs; a kill leaves none behind either. Then to the bits of a whole one."""
    (folder / "x.toml").write_text(EXPERIMENT.replace("rounds = 12", "rounds = 40"))
    place, words = folder / "runs/s", ["sweep", "x.toml", "--seeds", "3", "--jobs", "1", "--name", "s", "--json"]
    with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        first = json.loads(process.stdout.readline())
        assert first["exit_code"] == 0
        until = time.monotonic() + 120
        while len(begun(place)) < 2 or max(begun(place).values()) < 1:
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(process.pid, number)
        said = process.stderr.read()
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(number, -9)
    if number != signal.SIGKILL:
        word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
        assert said.splitlines()[-1].startswith(f"tinyfed: {word}; ") and "Traceback" not in said
        assert said.splitlines()[-1].endswith(" of 3 runs are done and kept: the same command goes on")
        assert not any(is_locked(path.parent) for path in place.glob("*/run.sqlite"))
    done = (folder / first["run"] / "model.tfm").stat().st_mtime_ns
    again = tinyfed.lines(*words[:-1])
    assert (folder / first["run"] / "model.tfm").stat().st_mtime_ns == done
    assert begun(place) == {f"seed-{seed}": 40 for seed in (2, 3, 4)} and again[-1]["runs"] == 3
    for seed in (2, 3, 4):
        whole = tinyfed.lines("run", "x.toml", "--seed", str(seed), "--name", f"w{seed}")[-1]["weights_sha256"]
        with RunStore.read(place / f"seed-{seed}") as store:
            assert store.last_round()["weights_sha256"] == whole  # type: ignore[index]
