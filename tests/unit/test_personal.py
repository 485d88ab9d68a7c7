"""What a person's own device is asked to learn, and what is refused before it is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from tinyfed_host.experiment.schema import Experiment
from tinyfed_host.run.parts import Parts, make_fleet, read_experiment
from tinyfed_host.run.personal import personal_order

from tinyfed.errors import UsageError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts.make(read_experiment(ROOT / "examples" / "watch.toml"))


def test_it_learns_as_the_run_does_and_keeps_samples_to_judge_on(parts: Parts) -> None:
    order = personal_order(parts, "p", 4, (12, 13, 12, 40))
    assert (order.shots, order.checkpoints, order.queries) == (10, (0, 1, 3, 5, 10), 0)
    assert order.true_labels and order.in_time and order.learning_rate == parts.task.adapt.learning_rate
    few = personal_order(parts, "p", 4, (9, 7, 9, 9), passes=2)
    assert (few.shots, few.passes, few.checkpoints) == (6, 2, (0, 1, 3, 5, 10, 12))
    stored = personal_order(parts, "p", 4, ())
    assert (stored.shots, stored.checkpoints) == (10, (0, 1, 3, 5, 10))


def test_with_all_samples_nothing_is_left_to_judge_on(parts: Parts) -> None:
    assert personal_order(parts, "p", 4, (7, 7, 7, 8), shots=7).checkpoints == ()
    assert personal_order(parts, "p", 4, (1, 2, 2, 2)).checkpoints == ()
    many = personal_order(parts, "p", 4, (300,) * 4, shots=200, passes=2)
    assert many.checkpoints == (0, 1, 3, 5, 10, 20, 50, 400)
    many.encode()


def test_other_classes_and_too_few_samples_are_told(parts: Parts) -> None:
    with pytest.raises(
        UsageError, match="has samples of 3 classes, the run's model tells 4 apart: record classes 0 to 3"
    ):
        personal_order(parts, "p", 3, (9, 9, 9))
    with pytest.raises(UsageError, match=r"has recorded 0 windows of class 2, 1 are needed: `tinyfed .* PORT 2`"):
        personal_order(parts, "p", 4, (3, 1, 0, 5))
    with pytest.raises(UsageError, match="has recorded 6 windows of class 1, 7 are needed"):
        personal_order(parts, "p", 4, (8, 6, 8, 8), shots=7)


def test_a_regression_has_no_labels_of_its_own() -> None:
    sine = Parts.make(read_experiment(ROOT / "examples" / "sine.toml"))
    order = personal_order(sine, "p", 0, (), shots=5, passes=1)
    assert (order.source, order.true_labels, order.shots, order.checkpoints) == ("sine", False, 5, (0, 1, 3, 5))
    order.encode()


def test_recorded_samples_are_an_option_of_the_fleet(parts: Parts, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    text = (ROOT / "examples" / "watch.toml").read_text()
    assert parts.experiment.fleet.samples == "stored"
    path.write_text(text + '\n[fleet]\nsamples = "recorded"\n' if "[fleet]" not in text else _with_samples(text))
    assert read_experiment(path).fleet.samples == "recorded"
    path.write_text(path.read_text().replace('"recorded"', '"recordet"'))
    with pytest.raises(UsageError, match='did you mean "recorded"'):
        read_experiment(path)
    sine = (ROOT / "examples" / "sine.toml").read_text()
    path.write_text(_with_samples(sine) if "[fleet]" in sine else sine + '\n[fleet]\nsamples = "recorded"\n')
    with pytest.raises(UsageError, match="the sine task makes its samples itself"):
        read_experiment(path)


def _with_samples(text: str) -> str:
    return text.replace("[fleet]\n", '[fleet]\nsamples = "recorded"\n')


def test_a_task_whose_readings_were_not_published_cannot_be_played(parts: Parts) -> None:
    recorded = replace(parts.experiment.fleet, samples="recorded", kind="emulated")
    experiment: Experiment = replace(parts.experiment, fleet=recorded)
    clients = tuple(replace(client, make_takes=None) for client in parts.task.train)
    with pytest.raises(UsageError, match="the watch task has no readings to play"):
        make_fleet(replace(parts, experiment=experiment, task=replace(parts.task, train=clients)))
