"""`tinyfed compare` and `tinyfed runs export`: groups over seeds, what differs, chance; metrics as files and sinks."""

import csv
import importlib.util
import json
import sqlite3
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import require
from sine_toml import sine_toml
from tinyfed_command import Tinyfed
from tinyfed_host.evaluation.kept import EVALUATION
from tinyfed_host.results.comparison import compared, remarks
from tinyfed_host.results.facts import RunFacts, read_facts
from tinyfed_host.results.significance import compare, corrected
from tinyfed_host.run.store import RunStore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tinyfed(capsys: pytest.CaptureFixture[str], folder: Path) -> Tinyfed:
    return Tinyfed(capsys)


def learn(tinyfed: Tinyfed, name: str, rate: float, seed: int, rounds: int = 6) -> None:
    Path("x.toml").write_text(sine_toml(rounds))
    words = ("--set", f"task.learning_rate={rate}", "--seed", str(seed), "--name", name)
    tinyfed.lines("run", "x.toml", *words)


def test_permutation_tests() -> None:
    """Of 4 pairs that all differ one way: 2 of 16 ways to swap are as far, 0.125. Of 3 against 3 that do not overlap: 2
    of the 20 ways to deal them, 0.1; of 1 against 3: 1 of 4."""
    a, b = {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}, {1: 1.5, 2: 2.1, 3: 3.3, 4: 4.7}
    found = compare(a, b)
    assert (found.paired, found.p, found.least) == (4, 0.125, 0.125)
    assert found.difference.mean == pytest.approx(-0.4)
    assert found.difference.half == pytest.approx(3.182 * (0.2 / 3) ** 0.5 / 2)  # sample variance 0.0666..., t of 3
    found = compare({1: 1.0, 2: 2.0, 3: 3.0}, {4: 4.0, 5: 5.0, 6: 6.0})
    assert (found.paired, found.p, found.least) == (0, 0.1, 0.1)
    assert compare({1: 0.0}, {4: 4.0, 5: 5.0, 6: 6.0}).p == 0.25
    assert compare({1: 0.0}, {2: 1.0}).p is None
    same = compare(a, a)
    assert (same.p, same.difference.mean) == (1.0, 0.0)
    assert compare({1: 1.0, 2: 2.0}, {1: 1.5, 2: 2.1, 3: 9.0}).paired == 2


def test_a_chance_difference_is_rarely_significant() -> None:
    """Of 200 pairs of samples from one distribution about 5 % are below 0.05, many seeds or few, paired or not."""
    import numpy as np

    rng = np.random.default_rng(4)
    for count, shift in ((7, 0), (16, 0), (7, 100)):
        below = sum(
            (compare(dict(enumerate(rng.normal(size=count))), dict(enumerate(rng.normal(size=count), shift))).p or 0)
            <= 0.05
            for _ in range(200)
        )
        assert 1 <= below <= 22, (count, shift, below)


def test_correction_for_several_comparisons() -> None:
    """Holm: the smallest times 3, the next times 2, never below one before it."""
    assert corrected([0.04, 0.01, None, 0.03]) == [pytest.approx(0.06), pytest.approx(0.03), None, pytest.approx(0.06)]
    assert corrected([0.5, 0.9]) == [1.0, 1.0]


def test_runs_that_differ_in_the_seed_are_a_group(tinyfed: Tinyfed, folder: Path) -> None:
    for seed in (1, 2, 3):
        learn(tinyfed, f"slow-{seed}", 0.001, seed)
        learn(tinyfed, f"fast-{seed}", 0.05, seed)
    names = [f"{kind}-{seed}" for kind in ("slow", "fast") for seed in (1, 2, 3)]
    slow, fast, last = tinyfed.lines("compare", *names)
    assert (slow["group"], fast["group"]) == ("learning_rate 0.001", "learning_rate 0.05")
    for group in (slow, fast):
        for figure, found in group["figures"].items():
            values = list(found["by_seed"].values())
            assert found["mean"] == pytest.approx(sum(values) / 3), figure
    by = last["by"]
    assert by.startswith("held-out loss after") and last["differs"] == ["task.learning_rate"]
    lower = min((slow, fast), key=lambda group: group["figures"][by]["mean"])
    assert last["best"] == lower["group"] and "to_best" not in lower
    (other,) = (group for group in (slow, fast) if group is not lower)
    assert (other["to_best"]["paired"], other["to_best"]["p_least"]) == (3, 0.25)
    told = tinyfed.text("compare", *names, "--html", "c.html")
    assert "learning_rate 0.05" in told and "█" in told and "cannot give less than 0.25" in told
    kept = (folder / "runs" / names[0] / "run.sqlite").read_bytes()
    over = str(folder / "runs" / names[0] / "run.sqlite")
    assert "run.sqlite: is a run's database; name another" in tinyfed.error(2, "compare", *names, "-o", over)
    assert Path(over).read_bytes() == kept
    page = (folder / "c.html").read_text()
    svg = page[page.index("<svg") : page.index("</svg>") + 6]
    lines = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.get("points", "").split()) for line in lines] == [6, 6]
    assert tinyfed.lines("compare", "runs")[-1] == last  # a folder of runs


def facts(name: str, seed: int, experiment: dict[str, str], **figures: float) -> RunFacts:
    named = {key.replace("_", " "): value for key, value in figures.items()}
    return RunFacts(Path("runs") / name, experiment, 6, 6, [(6, 1.0)], seed, named, "0" * 64)


def test_the_smaller_error_is_the_better() -> None:
    """A root mean squared error is no accuracy: 0.5 beats 0.8."""
    runs = [facts(f"r-{rmse}", 1, {"alpha": str(rmse)}, held_out_rmse=rmse, loss=1.0) for rmse in (0.8, 0.5)]
    assert compared(runs).best == 1
    runs = [facts(f"r-{share}", 1, {"alpha": str(share)}, held_out_accuracy=share, loss=1.0) for share in (0.8, 0.5)]
    assert compared(runs).best == 0


def test_a_run_done_again_is_no_other_seed() -> None:
    """Of seeds 1, 1 and 2 there are two figures: 0.4 and 0.6, half of whose interval is 12.706 * 0.1."""
    runs = [facts(f"r-{n}", seed, {}, loss=loss) for n, (seed, loss) in enumerate(((1, 0.4), (1, 0.4), (2, 0.6)))]
    made = compared(runs)
    assert made.groups[0].figure("loss").mean == pytest.approx(0.5)
    assert made.groups[0].figure("loss").half == pytest.approx(1.2706)
    assert any(text.startswith("left out") and text.endswith(": r-0") for text in remarks(made))
    assert compared(runs[:2]).groups[0].figure("loss").half is None


def test_what_an_earlier_round_was_judged_by_is_no_figure(tinyfed: Tinyfed, folder: Path) -> None:
    learn(tinyfed, "a", 0.02, 1)
    assert len(read_facts(folder / "runs/a").figures) == 2
    with RunStore.resume(folder / "runs/a") as store:
        store.put_result(EVALUATION, {**store.results()[EVALUATION], "rounds": 5})
    assert list(read_facts(folder / "runs/a").figures) == ["loss"]


def test_what_differs_between_single_runs(tinyfed: Tinyfed, folder: Path) -> None:
    learn(tinyfed, "a", 0.02, 1)
    learn(tinyfed, "b", 0.03, 1, rounds=8)
    told = tinyfed.text("compare", "a", "runs/b/")
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line}
    assert rows["rounds"] == ["6", "8"] and rows["task.learning_rate"] == ["0.02", "0.03"]
    assert "says nothing of chance" in told
    assert tinyfed.lines("compare", "a")[-1]["differs"] == []
    assert "there is no run" in tinyfed.error(7, "compare", "a", "nowhere")


@pytest.mark.parametrize(
    ("table", "column", "key", "value"),
    [
        ("run", "value", "seed", '"experiment"'),
        ("round", "metrics", "loss", "NaN"),
        ("round", "metrics", "loss", '"<script>"'),
        ("result", "value", "kinds", "[]"),
        ("result", "value", "shots", "[[]]"),
        ("run", "value", "model", '{"layers": [1]}'),
        ("run", "value", "fleet", "7"),
    ],
)
def test_a_damaged_record_is_told(
    tinyfed: Tinyfed, folder: Path, table: str, column: str, key: str, value: str
) -> None:
    learn(tinyfed, "a", 0.02, 1)
    with sqlite3.connect(folder / "runs/a/run.sqlite") as damaged:
        found = dict(damaged.execute(f"SELECT rowid, {column} FROM {table}"))
        (row, text) = next((row, text) for row, text in found.items() if f'"{key}"' in text)
        spoiled = json.dumps({**json.loads(text), key: "%"}).replace('"%"', value)
        damaged.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (spoiled, row))
    if (table, key) == ("run", "fleet"):
        assert "fleet" not in tinyfed.text("compare", "a")
    else:
        assert "the run's record is damaged" in tinyfed.error(7, "compare", "a")
    tinyfed.lines("runs", "export", "a", "-o", "m.csv")


def test_metrics_as_csv_and_parquet(tinyfed: Tinyfed, folder: Path) -> None:
    learn(tinyfed, "a", 0.02, 1)
    with RunStore.read(folder / "runs/a") as store:
        rounds = store.rounds()
    assert tinyfed.lines("runs", "export", "a", "-o", "m.csv") == [{"file": "m.csv", "rows": 6}]
    with (folder / "m.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [entry["loss"] for entry in rounds]
    assert [row["weights_sha256"] for row in rows] == [entry["weights_sha256"] for entry in rounds]
    assert tinyfed.lines("runs", "export", "a", "-o", "/dev/null") == [{"file": "/dev/null", "rows": 6}]
    tinyfed.lines("runs", "export", "a", "--visits", "-o", "v.csv")
    with (folder / "v.csv").open(newline="") as file:
        visits = list(csv.DictReader(file))
    assert [(row["device"], row["loss_last"]) for row in visits] == [
        (visit["device"], str(visit["loss_last"])) for entry in rounds for visit in entry["visits"]
    ]
    require(importlib.util.find_spec("pyarrow"), "pyarrow is not installed: run `make setup`")
    from pyarrow import parquet

    tinyfed.lines("runs", "export", "a", "-o", "m.parquet")
    read = parquet.read_table(folder / "m.parquet").to_pylist()
    assert [(row["round"], row["loss"]) for row in read] == [(entry["round"], entry["loss"]) for entry in rounds]
    for words in (
        [],
        ["-o", "m.xlsx"],
        ["--to", "wandb:x"],
        ["--to", "tensorboard:"],
        ["-o", "x.csv", "--to", "mlflow:x"],
    ):
        tinyfed.error(2, "runs", "export", "a", *words)
    assert not (folder / "m.xlsx").exists()


def test_a_sink_that_is_not_installed_is_named(tinyfed: Tinyfed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(tinyfed, "a", 0.02, 1)
    for name in ("tensorboard", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
        for known in [known for known in sys.modules if known.startswith(f"{name}.")]:
            monkeypatch.setitem(sys.modules, known, None)
        told = tinyfed.error(3, "runs", "export", "a", "--to", f"{name}:here")
        assert f"pip install 'tinyfed[{name}]'" in told and not (folder / "here").exists()


def test_tensorboard_reads_what_is_written(tinyfed: Tinyfed, folder: Path) -> None:
    pytest.importorskip("tensorboard", reason="an extra: pip install 'tinyfed[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    learn(tinyfed, "a", 0.02, 1)
    with RunStore.read(folder / "runs/a") as store:
        losses = [entry["loss"] for entry in store.rounds()]
    assert tinyfed.lines("runs", "export", "a", "--to", "tensorboard:logs") == [{"folder": "logs/a"}]
    events = EventAccumulator(str(folder / "logs/a")).Reload().Scalars("loss")
    assert [event.step for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in events] == pytest.approx(losses, rel=1e-6)
    assert all(one.wall_time <= other.wall_time for one, other in pairwise(events))
    assert "logs/a: is there already" in tinyfed.error(2, "runs", "export", "a", "--to", "tensorboard:logs")


def test_mlflow_has_what_is_recorded(tinyfed: Tinyfed, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="an extra: pip install 'tinyfed[mlflow]'")
    from mlflow.tracking import MlflowClient

    learn(tinyfed, "a", 0.02, 1)
    with RunStore.read(folder / "runs/a") as store:
        losses = [entry["loss"] for entry in store.rounds()]
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # for a database it needs more packages
    uri = (folder / "mlruns").as_uri()
    (told,) = tinyfed.lines("runs", "export", "a", "--to", f"mlflow:{uri}")
    client = MlflowClient(tracking_uri=uri)
    run = client.get_run(told["mlflow_run"])
    assert run.data.params["task.learning_rate"] == "0.02" and run.info.run_name == "a"
    history = sorted(client.get_metric_history(told["mlflow_run"], "loss"), key=lambda metric: metric.step)
    assert [metric.value for metric in history] == losses
    assert [file.path for file in client.list_artifacts(told["mlflow_run"])] == ["model.tfm"]
    assert json.dumps(run.data.tags).count("weights_sha256") == 1
