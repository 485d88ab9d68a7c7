"""`tinyfed run`, `runs` and `report` on simulated devices, from the command line on."""

import contextlib
import json
import math
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from sine_toml import sine_toml
from test_folder import csv as write_csv
from tinyfed_command import Tinyfed
from tinyfed_host.cli.main import run_command
from tinyfed_host.cli.run import _seconds
from tinyfed_host.device import discovery as devices
from tinyfed_host.device.port_choice import choose
from tinyfed_host.experiment.schema import override
from tinyfed_host.run.parts import Parts, make_fleet, read_experiment
from tinyfed_host.run.run import Run
from tinyfed_host.run.store import RoundRecord, RunStore, StoreError

from tinyfed import meta
from tinyfed.device import Device
from tinyfed.errors import DeviceError
from tinyfed.model import decode

EXPERIMENT = sine_toml(12, seed=2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.toml").write_text(EXPERIMENT)
    return tmp_path


@pytest.fixture
def tinyfed(capsys: pytest.CaptureFixture[str]) -> Tinyfed:
    return Tinyfed(capsys)


OWN_DATA = """rounds = 40
[model]
inputs = 2
loss = "softmax_cross_entropy"
layers = [{ outputs = 2 }]
[task]
name = "folder"
path = "data"
[strategy]
name = "tinyreptile"
[fleet]
kind = "simulated"
"""


@pytest.mark.parametrize(
    ("fleet", "devices", "seen", "said"),
    [
        ("", 6, 6, None),
        ("devices = 2", 2, 6, "6 clients on 2 devices: they take turns, others each round"),
        ("devices = 2\nrotate_every = 3", 2, 6, "6 clients on 2 devices: they take turns, others after 3 rounds"),
        (
            "devices = 4\nrotate_every = 0",
            4,
            4,
            "6 clients on 4 devices: with fleet.rotate_every = 0 these take no part: p4, p5",
        ),
        ("devices = 7", 7, 6, "6 clients on 7 devices: some hold the same client's data"),
    ],
)
def test_own_data_has_a_device_for_each_client_or_they_take_turns(
    folder: Path, tinyfed: Tinyfed, fleet: str, devices: int, seen: int, said: str | None
) -> None:
    for number in range(6):
        write_csv(folder / f"data/train/p{number}.csv", number)
    write_csv(folder / "data/held_out/q.csv", 6)
    (folder / "own.toml").write_text(OWN_DATA + fleet)
    lines = tinyfed.lines("run", "own.toml")
    started = next(line for line in lines if line["event"] == "run-started")
    assert len(started["devices"]) == devices
    assert started["clients"] == {unique_id: f"p{k % 6}" for k, unique_id in enumerate(started["devices"])}
    assert [line["text"] for line in lines[:-1] if line["event"] == "note"] == ([said] if said else [])
    names = {line["client"] for line in lines[:-1] if line["event"] == "visit-ended"}
    assert names == {f"p{number}" for number in range(seen)}
    stored = [json.loads(line) for line in (folder / "runs/own/metrics.jsonl").read_text().splitlines()]
    assert {visit["client"] for entry in stored for visit in entry["visits"]} == names
    assert lines[-1]["weights_sha256"] == stored[-1]["weights_sha256"]
    tinyfed.text("report", "own")
    page = (folder / "runs/own/report.html").read_text()
    assert ("in turn" in page) == (devices == 2) and ("p0" in page) == (devices != 2)


def test_devices_on_ports_have_samples_of_their_own(folder: Path) -> None:
    for part, name in (("train", "p"), ("train", "q"), ("held_out", "r")):
        write_csv(folder / f"data/{part}/{name}.csv")
    (folder / "own.toml").write_text(OWN_DATA)
    parts = Parts.make(override(read_experiment(folder / "own.toml"), ports=("/dev/ttyACM0",)))
    assert parts.turns(1) == "2 clients on 1 device: each learns from the samples that it holds"
    assert parts.turns(2) == ""


@pytest.mark.parametrize(
    ("task", "strategy", "said"),
    [
        ("", 'name = "tinymetafed"\nlocal_layers = 2', "local_layers = 2: the model has 2 layers with parameters"),
        ("", 'name = "fomaml"\nzero_last = 99', "zero_last = 99: the model has 42 parameters"),
        (
            "queries = 12",
            'name = "tinyreptile"',
            "anna has 8 samples of class 0, a visit takes 5 to learn from and 12",
        ),
        (
            "",
            'name = "fomaml"\nqueries = 4',
            "anna has 8 samples of class 0, a visit takes 5 to learn from and 4 to",
        ),
    ],
)
def test_what_no_device_could_do_is_told_before_the_run(
    tinyfed: Tinyfed, folder: Path, task: str, strategy: str, said: str
) -> None:
    """In one line and no folder left, not by every device in turn."""
    for name in ("train/anna", "train/bert", "held_out/cleo"):
        write_csv(folder / f"mydata/{name}.csv")
    text = EXPERIMENT.replace("inputs = 1", "inputs = 2").replace('"mse"', '"softmax_cross_entropy"')
    text = text.replace("{ outputs = 1 }", "{ outputs = 2 }")
    text = text.replace('name = "sine"\nshots = 8', f'name = "folder"\npath = "mydata"\nshots = 5\n{task}')
    (folder / "x.toml").write_text(text.replace('name = "tinyreptile"', strategy))
    assert said in tinyfed.error(2, "run", "x.toml")
    assert not (folder / "runs/x").exists()


@pytest.mark.parametrize("name", ["./", "./precious", "../evil", "precious", "..", "/tmp/evil"])
def test_what_was_there_before_a_run_failed_is_there_after_it(
    tinyfed: Tinyfed, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A port that is not there ends a run before its first round."""
    project = folder / "project"
    for path in ("project/runs/precious/notes.txt", "project/precious/notes.txt", "project/deep/notes.txt"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("mine")
    (project / "s.toml").write_text(EXPERIMENT)
    monkeypatch.chdir(project)
    before = sorted(folder.rglob("*"))
    for command in (["run", "s.toml", "--port", "/dev/ttyNOPE"], ["demo"]):
        assert run_command([*command, "--name", name]) in (2, 7)
        assert sorted(folder.rglob("*")) == before
        assert not Path("/tmp/evil").exists()


def test_a_run_that_fails_before_its_first_round_takes_only_its_own_files(tinyfed: Tinyfed, folder: Path) -> None:
    (folder / "runs/mine").mkdir(parents=True)
    for name in ("mine", "new"):
        tinyfed.error(4, "run", "x.toml", "--name", name, "--port", "/dev/ttyNOPE")
    assert [path.name for path in (folder / "runs").iterdir()] == ["mine"]  # it was there, and is empty as it was
    assert list((folder / "runs/mine").iterdir()) == []
    tinyfed.lines("run", "x.toml", "--name", "mine")


@pytest.mark.parametrize(("file", "name"), [("my exp.toml", "my-exp"), ("größe.toml", "groesse"), ("-x.toml", "x")])
def test_a_file_whose_name_is_no_run_s_gives_one_all_the_same(
    tinyfed: Tinyfed, folder: Path, file: str, name: str
) -> None:
    (folder / file).write_text(EXPERIMENT)
    first = tinyfed.lines("run", f"./{file}")[-1]
    assert [path.name for path in (folder / "runs").iterdir()] == [name]
    assert tinyfed.lines("run", "--resume", f"./{file}")[-1] == first
    assert tinyfed.lines("run", "--resume", name)[-1] == first


def test_an_error_says_what_is_kept_and_how_to_go_on(
    tinyfed: Tinyfed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = "no round was done, so nothing is kept: start it again"
    assert tinyfed.error(4, "run", "x.toml", "--port", "/dev/ttyNOPE").endswith(nothing)
    (folder / "nan.toml").write_text(EXPERIMENT.replace("shots = 8", "shots = 8\nlearning_rate = 999"))
    told = tinyfed.error(4, "run", "nan.toml")
    assert "round 1: learning diverges on all 3 devices" in told
    assert f"lower learning_rate (999 now), or scale the samples to values around 1; {nothing}" in told
    assert not (folder / "runs/nan").exists()
    assert "there is no run" in tinyfed.error(7, "run", "--resume", "nan")

    commit = RunStore.commit_round

    def full_in_round_5(store: RunStore, record: RoundRecord) -> None:
        if record.number == 5:
            raise StoreError("the disk is full", where=str(store.folder), remedy="free some space")
        commit(store, record)

    with monkeypatch.context() as during:
        during.setattr(RunStore, "commit_round", full_in_round_5)
        told = tinyfed.error(7, "run", "x.toml")
    assert told == (
        "tinyfed: runs/x: the disk is full; free some space; 4 of 12 rounds are done and kept: "
        "go on with `tinyfed run --resume x`"
    )
    assert tinyfed.lines("run", "--resume", "x")[-1]["rounds"] == 12


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("10m", 600), ("2h", 7200), ("5", 5), ("0", 0), ("1.5m", 90), ("forever", math.inf)],
)
def test_how_long_to_wait(text: str, seconds: float) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1s", "1d", "ten", "nan", "inf", "1e9", "٣s", "1 m", "9999999"])
def test_what_is_no_time_to_wait(tinyfed: Tinyfed, text: str) -> None:
    assert "--wait" in tinyfed.error(2, "run", "x.toml", "--wait", text)


def test_an_error_is_an_object_too(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """The last line of standard output, whatever kind it is; standard error has its line as ever."""
    for code, words in (
        (2, ["run", "nothing.toml", "--json"]),
        (2, ["run", "--json", "--no-such-option"]),
        (2, ["nonsense", "--json"]),
        (4, ["run", "x.toml", "--port", "/dev/ttyNOPE", "--json"]),
        (7, ["report", "nothing", "--json"]),
        (2, ["data", "shard", "nothing", "--json"]),
        (7, ["model", "inspect", "nothing", "--json"]),
        (2, ["boards", "nothing", "--json"]),
        (2, ["firmware", "build", "--board", "nothing", "--json"]),
    ):
        assert run_command(words) == code, words
        told = capsys.readouterr()
        error = json.loads(told.out.splitlines()[-1])
        assert error["exit_code"] == code
        assert told.err.splitlines()[-1] == f"tinyfed: {error['error']}"
    (folder / "bad.toml").write_text(EXPERIMENT.replace("shots = 8", "shots = 0"))
    assert run_command(["run", "bad.toml", "--json"]) == 2
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert error["where"].startswith("bad.toml:") and error["key"] == "task.shots" and error["value"] == "0"
    assert run_command(["run", "bad.toml"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("number", "word", "code"), [(2, "interrupted", 130), (15, "terminated", 143)])
def test_ctrl_c_says_where_the_run_stands_and_how_to_go_on(folder: Path, number: int, word: str, code: int) -> None:
    (folder / "x.toml").write_text(EXPERIMENT.replace("rounds = 12", "rounds = 1000000"))
    words = ["-c", "from tinyfed_host.cli.main import main; main()", "run", "x.toml", "--json"]
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert any('"round-ended"' in line for line in process.stdout)
        process.send_signal(number)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == code
    with RunStore.read(folder / "runs/x") as store:
        rounds = len(store.rounds())
    standing = f"{rounds:,} of 1,000,000 rounds are done and kept: go on with `tinyfed run --resume x`"
    assert err == f"tinyfed: {word}; {standing}\n"
    assert json.loads(out.splitlines()[-1]) == {"error": f"{word}; {standing}", "exit_code": code}


def test_events_then_the_result(tinyfed: Tinyfed, folder: Path) -> None:
    *events, result = tinyfed.lines("run", "x.toml")
    assert set(result) == {"run", "weights_sha256", "rounds", "metrics", "held_out"}
    assert result["rounds"] == 12
    kinds = [event["event"] for event in events]
    assert kinds[0] == "run-started"
    assert kinds[-1] == "run-ended"
    assert kinds.count("round-ended") == kinds.count("visit-ended") == 12
    lines = [json.loads(line) for line in (folder / "runs/x/metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == list(range(1, 13))
    assert lines[-1]["weights_sha256"] == result["weights_sha256"]
    visit = lines[0]["visits"][0]
    for key in ("loss_first", "loss_last", "samples", "bytes_down", "bytes_up", "wire_s", "train_s", "instructions"):
        assert key in visit
    assert visit["arena_bytes"] > 25 * 4  # the model's weights and more
    assert visit["stack_bytes"] == 0  # counted on boards only
    decode((folder / "runs/x/model.tfm").read_bytes())


def told_losses(text: str) -> list[str]:
    return re.findall(r"loss (\d+\.\d{4})", text)


def test_one_loss_everywhere(tinyfed: Tinyfed, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The mean of the last 20 rounds' loss at the end of a visit; of each round by itself it is `loss_last`. In the
    events, in the result, on the progress line, at the end, in `tinyfed runs` and in the report; resumed or not."""
    *events, result = tinyfed.lines("run", "x.toml", "--rounds", "30", "--name", "whole")
    ends = [event for event in events if event["event"] == "round-ended"]
    for number, event in enumerate(ends, start=1):
        expected = [end["loss_last"] for end in ends[max(0, number - 20) : number]]
        assert event["loss"] == pytest.approx(sum(expected) / len(expected), rel=1e-12)
    loss = ends[-1]["loss"]
    assert loss != ends[-1]["loss_last"] and result["metrics"]["loss"] == loss
    assert tinyfed.lines("runs")[0]["loss"] == loss
    assert json.loads((folder / "runs/whole/metrics.jsonl").read_text().splitlines()[-1])["loss"] == loss
    tinyfed.text("report", "whole")
    shown = f"{loss:.4f}"
    assert shown in (folder / "runs/whole/report.html").read_text()
    assert run_command(["run", "x.toml", "--rounds", "30", "--name", "plain"]) == 0
    out, err = capsys.readouterr()
    assert told_losses(out)[-1] == told_losses(err)[-1] == shown
    experiment = override(read_experiment(Path("x.toml")), rounds=30)
    with Run.begin(folder / "runs/parts", experiment, "") as begun, make_fleet(begun.parts) as fleet:
        begun.go(fleet, rounds=17)
    assert tinyfed.lines("run", "--resume", "parts")[-1]["metrics"]["loss"] == loss


def test_columns_that_are_constant_are_named_once(tinyfed: Tinyfed, folder: Path) -> None:
    for name in ("train/a", "train/b", "held_out/c"):
        (folder / name).parent.mkdir(exist_ok=True)
        rows = "".join(f"{i + len(name)},0.1,{'ab'[i % 2]}\n" for i in range(24))
        (folder / f"{name}.csv").write_text("x,flat,label\n" + rows)
    text = OWN_DATA.replace("rounds = 40", "rounds = 4").replace('path = "data"', 'path = "."')
    (folder / "own.toml").write_text(text)
    note = "task folder: constant over the training clients, so 0 in every sample: column 'flat'"
    assert [e["text"] for e in tinyfed.lines("run", "own.toml") if e.get("event") == "note"] == [note]
    assert (folder / "runs/own/run.log").read_text().count(note) == 1


def test_same_seed_same_bits_another_seed_others(tinyfed: Tinyfed) -> None:
    first = tinyfed.lines("run", "x.toml", "--name", "a")[-1]["weights_sha256"]
    assert tinyfed.lines("run", "x.toml", "--name", "b")[-1]["weights_sha256"] == first
    assert tinyfed.lines("run", "x.toml", "--name", "c", "--seed", "3")[-1]["weights_sha256"] != first
    # the board decides about memory only
    assert tinyfed.lines("run", "x.toml", "--name", "d", "--board", "raspberrypi")[-1]["weights_sha256"] == first


def test_resume_of_a_run_that_is_over_gives_its_result(tinyfed: Tinyfed) -> None:
    result = tinyfed.lines("run", "x.toml")[-1]
    again = tinyfed.lines("run", "--resume", "x")[-1]
    assert again["weights_sha256"] == result["weights_sha256"]
    assert again["rounds"] == 12
    assert again == result
    assert tinyfed.lines("run", "--resume", "x.toml")[-1] == again
    assert tinyfed.lines("run", "--resume", "runs/x/")[-1] == again
    for option in (["--seed", "4"], ["--board", "native"], ["--name", "y"]):
        assert f"{option[0]} cannot be changed" in tinyfed.error(2, "run", "--resume", "x", *option)
    assert "--force begins a run anew, --resume goes on" in tinyfed.error(2, "run", "--resume", "x", "--force")


STRATEGIES = [
    *(name for name in meta.names() if name != "tinymetafed"),
    *(f'tinymetafed"\nschedule = "{schedule}' for schedule in ("constant", "linear", "cosine")),
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_longer_run_has_the_bits_of_one_of_so_many_rounds(
    tinyfed: Tinyfed, folder: Path, strategy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same run where its rounds stay what they were; else a new one, and the first is kept as it is."""
    (folder / "x.toml").write_text(EXPERIMENT.replace("tinyreptile", strategy))
    first = tinyfed.lines("run", "x.toml")[-1]
    whole = tinyfed.lines("run", "x.toml", "--name", "whole", "--rounds", "30")
    assert run_command(["run", "--resume", "x", "--rounds", "30", "--json"]) == 0
    told = capsys.readouterr()
    longer = json.loads(told.out.splitlines()[-1])
    assert (longer["weights_sha256"], longer["rounds"]) == (whole[-1]["weights_sha256"], 30)
    steady = strategy.startswith(("fed", "joint")) or "constant" in strategy
    with RunStore.read(folder / "runs/x") as store:
        rounds = [entry["weights_sha256"] for entry in store.rounds()]
        assert store.header().experiment["rounds"] == len(rounds) == (30 if steady else 12)
    with RunStore.read(folder / "runs/whole") as store:
        assert ([entry["weights_sha256"] for entry in store.rounds()][: len(rounds)] == rounds) == steady
    assert longer["run"] == ("runs/x" if steady else "runs/x-2")
    assert ("runs/x-2 begins anew" in told.err) == (not steady)
    assert tinyfed.lines("run", "--resume", longer["run"])[-1] == longer
    if not steady:
        assert tinyfed.lines("run", "--resume", "x")[-1] == first
    assert "has done 30 rounds; give 30 or more" in tinyfed.error(2, "run", "--resume", longer["run"], "--rounds", "29")


def test_a_run_names_itself_and_force_replaces(
    tinyfed: Tinyfed, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tinyfed.lines("run", "x.toml")[-1]
    for name in ("x-2", "x-3"):
        assert run_command(["run", "x.toml", "--json"]) == 0
        told = capsys.readouterr()
        assert told.err.splitlines()[0] == f"runs/x is there already: this run is runs/{name}"
        assert json.loads(told.out.splitlines()[-1]) == {**first, "run": f"runs/{name}", "metrics": ANY}
    assert "replace it with --force" in tinyfed.error(7, "run", "x.toml", "--name", "x")
    tinyfed.text("report", "x")
    names = ("run.sqlite", "run.log", "metrics.jsonl", "model.tfm", "report.html")
    kept = [(folder / "runs/x" / name).read_bytes() for name in names]
    tinyfed.error(4, "run", "x.toml", "--name", "x", "--force", "--port", "/dev/ttyNOPE")
    assert [(folder / "runs/x" / name).read_bytes() for name in names] == kept  # back, as no round was done
    assert not (folder / "runs/x/.replaced").exists()
    assert tinyfed.lines("run", "--resume", "x")[-1]["weights_sha256"] == first["weights_sha256"]
    other = tinyfed.lines("run", "x.toml", "--force", "--seed", "9")[-1]
    assert other["run"] == "runs/x" and other["weights_sha256"] != first["weights_sha256"]
    assert not any((folder / f"runs/x/{name}").exists() for name in (".replaced", "report.html"))  # of the run before
    before = {path: path.read_bytes() for path in (folder / "runs/x-2").iterdir()}
    (folder / "runs/x-2/notes.txt").write_text("mine")
    assert "the folder is not empty (notes.txt)" in tinyfed.error(7, "run", "x.toml", "--name", "x-2", "--force")
    assert {path: path.read_bytes() for path in before} == before
    (folder / "runs/x-2/notes.txt").unlink()
    with RunStore.resume(folder / "runs/x-2"):
        assert "another tinyfed" in tinyfed.error(7, "run", "x.toml", "--name", "x-2", "--force")
    (folder / "runs/x-3/model.tfm").unlink()
    (folder / "runs/x-3/model.tfm").symlink_to(folder / "x.toml")
    assert "is a link or no file" in tinyfed.error(7, "run", "x.toml", "--name", "x-3", "--force")
    (folder / "runs/own").mkdir()
    (folder / "runs/own/run.sqlite").write_text("mine")  # of another program: no lock of ours beside it
    assert "the folder is not empty" in tinyfed.error(7, "run", "x.toml", "--name", "own", "--force")


def test_a_new_run_from_anothers_model(tinyfed: Tinyfed) -> None:
    first = tinyfed.lines("run", "x.toml", "--name", "first")[-1]["weights_sha256"]
    second = tinyfed.lines("run", "x.toml", "--name", "second", "--from", "first")[-1]["weights_sha256"]
    assert second != first
    assert tinyfed.lines("run", "x.toml", "--name", "third", "--from", "first")[-1]["weights_sha256"] == second
    Path("wide.toml").write_text(EXPERIMENT.replace("outputs = 8", "outputs = 9"))
    message = tinyfed.error(2, "run", "wide.toml", "--from", "first")
    assert "25 weights" in message  # 1 x 8 + 8, 8 x 1 + 1
    assert "28" in message
    assert not Path("runs/wide").exists()
    assert "there is no run" in tinyfed.error(7, "run", "x.toml", "--name", "fourth", "--from", "nothing")


def test_runs_lists_them_and_report_writes(tinyfed: Tinyfed) -> None:
    assert "no runs" in tinyfed.text("runs")
    assert tinyfed.lines("runs") == [{"runs": 0}]
    sha256 = tinyfed.lines("run", "x.toml")[-1]["weights_sha256"]
    entry, last = tinyfed.lines("runs")
    assert last == {"runs": 1}
    assert (entry["run"], entry["rounds"], entry["of"], entry["weights_sha256"]) == ("x", 12, 12, sha256)
    assert "tinyreptile" in tinyfed.text("runs")
    Path("runs/broken").mkdir()
    Path("runs/broken/run.sqlite").write_bytes(b"no database" * 100)
    assert any("cannot be used" in entry.get("error", "") for entry in tinyfed.lines("runs"))
    told = tinyfed.lines("report", "x")[-1]
    assert Path(told["report"]).stat().st_size == told["bytes"] > 10_000


def test_text_for_people(tinyfed: Tinyfed) -> None:
    shown = tinyfed.text("run", "x.toml")
    assert "12 rounds done, loss" in shown
    assert "runs/x/model.tfm" in shown


def found(port: str, unique_id: str = "") -> dict[str, Any]:
    """What `probe_all` says of a port."""
    entry = {"port": port, "usb_id": "2341:0043", "error": "" if unique_id else f"{port}: no tinyfed device answers"}
    return {**entry, "board": "stm32f405", "unique_id": unique_id} if unique_id else entry


def test_no_port_is_taken_for_being_the_first(tinyfed: Tinyfed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = "0" * 23 + "1", "ab" * 12
    monkeypatch.setattr(
        devices, "probe_all", lambda ports: [found("/dev/a", one), found("/dev/b"), found("/dev/c", two)]
    )
    message = tinyfed.error(2, "run", "x.toml", "--fleet", "ports")
    assert f"/dev/a (USB 2341:0043) stm32f405 {one}; /dev/b (USB 2341:0043) no tinyfed device; /dev/c" in message
    assert "--port UNIQUE_ID" in message
    assert not (folder / "runs").exists()
    assert choose((two.upper(), "/dev/d"), needed=True) == ("/dev/c", "/dev/d")
    assert choose(("any",), needed=True) == ("any",)
    assert choose((), needed=False) == ()
    assert "is on no USB serial port: /dev/a" in tinyfed.error(4, "run", "x.toml", "--port", "f" * 24)
    monkeypatch.setattr(devices, "probe_all", lambda ports: [])
    assert "no USB serial port is there" in tinyfed.error(2, "run", "x.toml", "--fleet", "ports")


class Terminal:
    """A person's terminal: what is typed is there from the start, and what is shown is kept."""

    def __init__(self, typed: str) -> None:
        self._ours, theirs = pty.openpty()
        os.write(self._ours, typed.encode())
        self.stdin = os.fdopen(theirs, "r")
        self.stderr = os.fdopen(os.dup(theirs), "w")

    def shown(self) -> str:
        """All of it; the terminal is closed."""
        self.stderr.close()
        self.stdin.close()
        text = b""
        with contextlib.suppress(OSError):  # the end of a terminal nobody has open
            while data := os.read(self._ours, 4096):
                text += data
        os.close(self._ours)
        return text.decode()


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [
        ("2\n", ["/dev/c"]),
        ("2, 1 2\n", ["/dev/c", "/dev/a"]),
        ("all\n", ["/dev/a", "/dev/c"]),
        ("0\n3\nfirst\n1\n", ["/dev/a"]),
        ("\n", None),
        ("\x04", None),  # Ctrl-D
    ],
)
def test_at_a_terminal_a_person_is_asked_which_devices_take_part(
    typed: str, chosen: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        devices, "probe_all", lambda ports: [found("/dev/a", "a" * 24), found("/dev/b"), found("/dev/c", "c" * 24)]
    )
    asked: list[str] = []

    def connect(port: str) -> Device:
        asked.append(port)
        raise DeviceError(f"{port}: no device in this test")

    monkeypatch.setattr(devices, "connect", connect)
    terminal = Terminal(typed)
    with monkeypatch.context() as during:
        during.setattr("sys.stdin", terminal.stdin)
        during.setattr("sys.stderr", terminal.stderr)
        assert run_command(["run", "x.toml", "--fleet", "ports"]) == (4 if chosen else 2)
    shown = terminal.shown()
    assert f"  1  /dev/a (USB 2341:0043) stm32f405 {'a' * 24}\r\n  2  /dev/c" in shown
    assert "/dev/b" not in shown.split("Numbers")[0]
    assert asked == (chosen or [])
    assert ("Numbers from 1 to 2" in shown) == (typed[0] == "0")
    assert ("--port UNIQUE_ID" in shown) == (chosen is None)
    assert Path("runs").exists() == (chosen is not None)


def test_a_program_is_not_asked(tinyfed: Tinyfed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anybody with --json, whose reader is a program, be there a terminal or not."""
    monkeypatch.setattr(devices, "probe_all", lambda ports: [found("/dev/a", "a" * 24)])
    terminal = Terminal("1\n")
    with monkeypatch.context() as during:
        during.setattr("sys.stdin", terminal.stdin)
        during.setattr("sys.stderr", terminal.stderr)
        assert run_command(["run", "x.toml", "--fleet", "ports", "--json"]) == 2
    assert "Which devices" not in terminal.shown()


def test_a_resume_without_ports_is_refused_and_lets_the_run_go(
    tinyfed: Tinyfed, monkeypatch: pytest.MonkeyPatch
) -> None:
    tinyfed.lines("run", "x.toml")
    monkeypatch.setattr(devices, "probe_all", lambda ports: [found("/dev/a", "0" * 24)])
    assert "/dev/a" in tinyfed.error(2, "run", "--resume", "x", "--fleet", "ports")
    tinyfed.lines("run", "--resume", "x")
