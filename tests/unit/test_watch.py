"""The watch task: real data, read without trusting it, people held out."""

import io
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import require

from tinyfed import tasks
from tinyfed.data.shard import read_shard
from tinyfed.errors import UsageError
from tinyfed.tasks import watch


@pytest.fixture(scope="module")
def task() -> tasks.Task:
    try:
        watch.dataset_path()
    except UsageError as error:
        require(False, str(error))
    return tasks.get("watch")


def test_people_held_out_are_not_in_training(task: tasks.Task) -> None:
    train = {client.name.split("-")[0] for client in task.train}
    held_out = {client.name.split("-")[0] for client in task.held_out}
    assert held_out == {"person2", "person5", "person9"}
    assert not train & held_out and len(train) == 7
    assert (len(task.train), len(task.held_out)) == (14, 6)
    assert (task.feature_count, task.output_count, task.loss) == (120, 4, "softmax_cross_entropy")


def test_a_sample_is_the_mean_of_five_readings_standardized(task: tasks.Task) -> None:
    """Window 3 of the first recording begins at reading 150; step 2 of it averages readings 160..164."""
    raw = watch.read_recordings(watch.dataset_path().read_bytes())
    person, wrist, label = int(raw["subject"][0]), int(raw["side"][0]), int(raw["y"][0])
    mean, deviation = watch.standardization()
    expected = (raw["X"][0][160:165].mean(axis=0) - mean) / deviation
    shard = task.client(f"person{person}-wrist{wrist}").shard
    assert shard is not None
    sample = read_shard(shard).classes[label][3].reshape(20, 6)
    np.testing.assert_allclose(sample[2], expected, rtol=1e-6, atol=1e-6)
    windows = (len(raw["X"][0]) - 100) // 50 + 1
    assert len(read_shard(shard).classes[label]) == windows


def test_standardization_is_of_the_training_people_only(task: tasks.Task) -> None:
    samples = [read_shard(client.shard or b"") for client in task.train]
    values = np.concatenate([c.astype(np.float64) for shard in samples for c in shard.classes]).reshape(-1, 6)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-6)


def test_every_class_has_enough_windows_for_the_order(task: tasks.Task) -> None:
    for client in (*task.train, *task.held_out):
        counts = [len(c) for c in read_shard(client.shard or b"").classes]
        assert len(counts) == 7 and min(counts) > task.order.shots


def test_windows_that_share_nothing(task: tasks.Task) -> None:
    apart = tasks.get("watch", step_s=2, shots=7)
    for one, two in zip(task.held_out, apart.held_out, strict=True):
        dense, sparse = read_shard(one.shard or b""), read_shard(two.shard or b"")
        for c, d in zip(dense.classes, sparse.classes, strict=True):
            assert len(d) == math.ceil(len(c) / 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ways": 8}, "ways = 8: must be a whole number, 2..7"),
        ({"shots": 0}, "shots = 0"),
        ({"step_s": 3}, "step_s"),
        ({"window": 1}, "window: no such key; allowed: shots, step_s, ways"),
    ],
)
def test_wrong_options_are_named(options: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tasks.get("watch", **options)


def test_an_unknown_task_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"'wach' is unknown, allowed are .*sine.*watch"):
        tasks.get("wach")


def test_another_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(UsageError, match="SHA-256"):
        watch.read_recordings(pickle.dumps({"X": []}))


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 + 1",)


def test_the_reader_builds_nothing_but_arrays() -> None:
    with pytest.raises(UsageError, match=r"asks for builtins\.eval"):
        watch._ArraysOnly(io.BytesIO(pickle.dumps(Evil()))).load()


def test_missing_data_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(watch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install --no-deps seglearn"):
        tasks.get("watch")
