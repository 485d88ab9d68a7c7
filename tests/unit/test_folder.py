"""Your own data: a folder of CSV and NPZ files, and every mistake in it."""

from pathlib import Path

import numpy as np
import pytest

from tinyfed import meta, tasks
from tinyfed.errors import UsageError
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.references import learn
from tinyfed.model import encode, mlp
from tinyfed.tasks.shard import read_shard


def csv(path: Path, shift: float = 0.0, rows: int = 8, header: str = "x,label,y") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header] + [f"{shift + (i % 2) * 4 + 0.1 * i},{'ab'[i % 2]},{i % 2}" for i in range(rows * 2)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    csv(tmp_path / "train/anna.csv")
    csv(tmp_path / "train/bert.csv", 1.0)
    csv(tmp_path / "held_out/cleo.csv", 2.0)
    return tmp_path


def test_a_client_is_a_file(folder: Path) -> None:
    task = tasks.get("folder", path=str(folder), standardize=0)
    assert [c.name for c in task.train] == ["anna", "bert"] and [c.name for c in task.held_out] == ["cleo"]
    assert (task.feature_count, task.output_count, task.classes) == (2, 2, ("a", "b"))
    assert task.order.true_labels and not tasks.get("folder", path=str(folder), ways=2).order.true_labels
    shard = read_shard(task.client("bert").shard or b"")
    np.testing.assert_allclose(shard.classes[1][:2], [[5.1, 1], [5.3, 1]], rtol=1e-6)


def test_features_are_standardized_by_the_training_clients(folder: Path) -> None:
    task = tasks.get("folder", path=str(folder))
    values = np.concatenate([c for client in task.train for c in read_shard(client.shard or b"").classes])
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-6)


def test_it_can_be_learned(folder: Path) -> None:
    task = tasks.get("folder", path=str(folder))
    spec = mlp(2, (8,), 2, loss=task.loss)
    weights = learn(meta.make("tinyreptile", task.order, 100), spec, task, seed=1)
    assert adaptation(encode(spec, weights), task.held_out, task.adapt, draws=3).by_shots()[5] > 0.9


def test_npz_files_are_read_without_pickle(tmp_path: Path) -> None:
    csv(tmp_path / "held_out/a.csv")
    (tmp_path / "train").mkdir()
    x, y = np.arange(32.0).reshape(16, 2, 1), np.array(["a", "b"] * 8)
    np.savez(tmp_path / "train/one.npz", x=x, y=y)
    assert tasks.get("folder", path=str(tmp_path)).feature_count == 2
    np.savez(tmp_path / "train/one.npz", x=x, y=np.array([{}] * 16))
    with pytest.raises(UsageError, match=r"one.npz cannot be read.*allow_pickle"):
        tasks.get("folder", path=str(tmp_path))
    np.savez(tmp_path / "train/one.npz", x=x)
    with pytest.raises(UsageError, match=r"one.npz has no array 'y'"):
        tasks.get("folder", path=str(tmp_path))
    np.savez(tmp_path / "train/one.npz", x=x * np.nan, y=y)
    with pytest.raises(UsageError, match="NaN"):
        tasks.get("folder", path=str(tmp_path))
    (tmp_path / "train/one.npz").write_bytes(b"PK broken")
    with pytest.raises(UsageError, match=r"one.npz cannot be read"):
        tasks.get("folder", path=str(tmp_path))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("train/x.csv", "x,y\n1,2\n", "column 'label' is missing; there are x, y"),
        ("train/x.csv", "x,label,y\n1,a,2\n1,b\n", r"x.csv line 3: 2 cells, the header has 3"),
        ("train/x.csv", "x,label,y\n1,a,two\n", r"x.csv line 2: column 'y' is 'two': not a number"),
        ("train/x.csv", "x,label,y\n1,a,nan\n", r"x.csv line 2: column 'y' is 'nan': clean"),
        ("train/x.csv", "x,label,y\n", "holds no samples"),
        ("train/x.csv", "x,label,y\n1,a,2\n", r"shots is 5, x has 1 samples of class 'a'"),
        ("train/x.csv", "x,label,y,z\n" + "1,a,2,3\n1,b,2,3\n" * 8, "has 3 features|has 2 features"),
    ],
)
def test_mistakes_name_file_and_column(folder: Path, file: str, text: str, said: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        tasks.get("folder", path=str(folder))
    assert "\n" not in str(caught.value)


def test_wrong_options_and_folders_are_named(folder: Path, tmp_path: Path) -> None:
    for options, said in (
        ({}, "path is missing"),
        ({"path": str(tmp_path / "nowhere")}, "nowhere/train is no folder"),
        ({"path": str(folder), "ways": 3}, "ways is 3, the files have 2 classes"),
        ({"path": str(folder), "shots": 8}, "shots is 8, anna has 8 samples"),
        ({"path": str(folder), "label": "y"}, "column 'label' is 'a': not a number"),
        ({"path": str(folder), "label": "z"}, "column 'z' is missing"),
    ):
        with pytest.raises(UsageError, match=said):
            tasks.get("folder", **options)
    (folder / "held_out/cleo.csv").unlink()
    with pytest.raises(UsageError, match="holds no CSV or NPZ file"):
        tasks.get("folder", path=str(folder))
