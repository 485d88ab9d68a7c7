"""Your own data: a folder of CSV and NPZ files, and every mistake in it."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from tinyfed_host.cli.main import run_command
from tinyfed_host.run.store import RunStore

from tinyfed import meta, tasks
from tinyfed.data.shard import read_shard
from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.references import learn
from tinyfed.model import encode, initialize, mlp


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


def constant(folder: Path, here: str, elsewhere: str, spread: str = "") -> tasks.Task:
    """A task whose column `flat` is `here` for the training clients (`spread` in every third row) and `elsewhere` for
    strangers."""
    for name, flat in (("train/anna", here), ("train/bert", here), ("held_out/cleo", elsewhere)):
        rows = [f"{i + 0.1 * len(name)},{'ab'[i % 2]},{spread if spread and i % 3 == 0 else flat}" for i in range(100)]
        (folder / f"{name}.csv").write_text("x,label,flat\n" + "\n".join(rows) + "\n")
    return tasks.get("folder", path=str(folder))


@pytest.mark.parametrize(
    ("here", "spread", "elsewhere"),
    [("0.1", "", "0.15"), ("0", "", "5"), ("1e30", "", "-1e30"), ("1000000.3", "1000000.31", "1000009")],
)
def test_a_column_that_is_constant_to_rounding_is_0_and_named(
    folder: Path, here: str, spread: str, elsewhere: str
) -> None:
    """200 times 0.1 has a standard deviation of 1.4e-17, by which a stranger's 0.15 would become 3.6e15; 1000000.3 and
    1000000.31 are one float32."""
    task = constant(folder, here, elsewhere, spread)
    for client in (*task.train, *task.held_out):
        for samples in read_shard(client.shard or b"").classes:
            np.testing.assert_array_equal(samples[:, 1], 0)
            assert np.abs(samples[:, 0]).max() < 2
    assert task.notes == ("constant over the training clients, so 0 in every sample: column 'flat'",)
    assert tasks.get("folder", path=str(folder), standardize=0).notes == ()


@pytest.mark.parametrize(("here", "spread"), [("0", "1e-30"), ("1000000", "1000001"), ("1e-20", "1.001e-20")])
def test_a_column_that_varies_a_little_is_not_constant(folder: Path, here: str, spread: str) -> None:
    """34 of 100 rows are `spread`: the mean lies 0.34 of the way, the deviation is sqrt(0.34 * 0.66) of it."""
    task = constant(folder, here, here, spread)
    values = np.concatenate(read_shard(task.train[0].shard or b"").classes)[:, 1]
    deviation = (0.34 * 0.66) ** 0.5
    np.testing.assert_allclose(sorted(set(values.tolist())), [-0.34 / deviation, 0.66 / deviation], rtol=1e-5)
    assert task.notes == ()


def test_constant_values_of_arrays_are_named_by_number(tmp_path: Path) -> None:
    for part in ("train/a", "held_out/b"):
        (tmp_path / part).parent.mkdir()
        x = (np.arange(32.0) + len(part)).reshape(16, 2, 1) * [[[1], [0]]] + [[[0], [0.7]]]
        np.savez(tmp_path / f"{part}.npz", x=x, y=np.array(["a", "b"] * 8))
    assert tasks.get("folder", path=str(tmp_path)).notes[0].endswith(": value 1 of x")


@pytest.mark.parametrize("text", ["1_234", "\u0661\u0662", "0x10", "1,5", "", "\u0131nf"])
def test_only_numbers_as_programs_write_them_are_numbers(folder: Path, text: str) -> None:
    (folder / "train/bert.csv").write_text("x,label,y\n" + f'1,a,"{text}"\n' * 8, encoding="utf-8")
    with pytest.raises(UsageError, match=r"bert.csv line 2: column 'y' is .*: not a number"):
        tasks.get("folder", path=str(folder))


def test_it_can_be_learned(folder: Path) -> None:
    task = tasks.get("folder", path=str(folder))
    spec = mlp(2, (8,), 2, loss=task.loss)
    weights = learn(meta.make("tinyreptile", task.order, 100), spec, task, seed=1)
    assert adaptation(encode(spec, weights), task.held_out, task.adapt, draws=3).by_shots()[5] > 0.9


def test_npz_files_are_read_without_pickle(tmp_path: Path) -> None:
    x, y = np.arange(32.0).reshape(16, 2, 1), np.array(["a", "b"] * 8)
    for part in ("train", "held_out"):
        (tmp_path / part).mkdir()
    np.savez(tmp_path / "held_out/a.npz", x=x + 1, y=y)
    np.savez(tmp_path / "train/one.npz", x=x, y=y)
    assert tasks.get("folder", path=str(tmp_path)).feature_count == 2
    np.savez(tmp_path / "train/one.npz", x=x, y=np.array([{}] * 16))
    with pytest.raises(UsageError, match=r'one.npz: array "y": holds Python objects'):
        tasks.get("folder", path=str(tmp_path))
    np.savez(tmp_path / "train/one.npz", x=x)
    with pytest.raises(UsageError, match=r"one.npz has no array 'y'"):
        tasks.get("folder", path=str(tmp_path))
    np.savez(tmp_path / "train/one.npz", x=x * np.nan, y=y)
    with pytest.raises(UsageError, match="NaN"):
        tasks.get("folder", path=str(tmp_path))
    (tmp_path / "train/one.npz").write_bytes(b"PK broken")
    with pytest.raises(UsageError, match=r"one.npz: not a whole"):
        tasks.get("folder", path=str(tmp_path))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("train/x.csv", "x,y\n1,2\n", "column 'label' is missing; there are x, y"),
        ("train/x.csv", "x,label,y\n1,a,2\n1,b\n", r"x.csv line 3: 2 cells, the header has 3"),
        ("train/x.csv", "x,label,y\n1,a,two\n", r"x.csv line 2: column 'y' is 'two': not a number"),
        ("train/x.csv", "x,label,y\n1,a,nan\n", r"x.csv line 2: column 'y' is 'nan': clean"),
        ("train/x.csv", "x,label,y\n", "holds no samples"),
        ("train/x.csv", "x,label,y\n1,a,2\n", r"x.csv line 2: 1 samples of class 'a' here: .* shots = 5 needs 6"),
        ("train/x.csv", "x,label,y\n\n1,a,1e300\n", r"x.csv line 3: column 'y' is '1e300': float32 ends at 3.4e38"),
        ("train/x.csv", "x,label,y,z\n1,a,2,3\n", r"train/x.csv: column 'z' is not in .*train/anna.csv"),
        ("train/x.csv", "x,label\n1,a\n", r"train/x.csv: column 'y' of .*train/anna.csv is missing; there are x$"),
        ("train/x.csv", "x,label,x\n1,a,2\n", r"train/x.csv: column 'x' is there twice"),
        ("train/x.csv", "x,label,y,label\n1,a,2,b\n", r"train/x.csv: column 'label' is there twice"),
        (
            "train/x.csv",
            'x,label,y\n1,a,"' + "2" * 200_000,
            r"x.csv line 2: field larger than .*: is a quote left open",
        ),
        ("held_out/anna.csv", "x,label,y\n1,a,2\n", r"train/anna.csv and .*held_out/anna.csv are one client"),
        ("train/anna.npz", "", r"train/anna.csv and .*train/anna.npz are one client by name: rename or remove"),
    ],
)
def test_mistakes_name_file_and_column(folder: Path, file: str, text: str, said: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        tasks.get("folder", path=str(folder))
    assert "\n" not in str(caught.value)


def test_columns_are_found_by_name(folder: Path) -> None:
    """anna.csv has x, label, y; a file with the same columns in another order means the same."""
    (folder / "train/bert.csv").write_text("label, y, x\n" + "a,7,1\nb,8,2\n" * 8)
    shard = read_shard(tasks.get("folder", path=str(folder), standardize=0).client("bert").shard or b"")
    assert shard.classes[0][0].tolist() == [1, 7] and shard.classes[1][0].tolist() == [2, 8]


def npz(path: Path, compressed: bool = True) -> bytes:
    values = {"x": np.arange(32.0).reshape(16, 2), "y": np.array(["a", "b"] * 8)}
    (np.savez_compressed if compressed else np.savez)(path, **values)  # type: ignore[arg-type]
    return path.read_bytes()


def test_damaged_archives_are_refused_in_one_line(folder: Path) -> None:
    """Wherever a byte is changed or the end is missing: it is read, or refused naming the file."""
    path, refused = folder / "train/bert.npz", 0
    (folder / "train/bert.csv").unlink()
    for whole in (npz(path), npz(path, compressed=False)):
        for at in range(0, len(whole), 3):
            for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
                path.write_bytes(content)
                try:
                    tasks.get("folder", path=str(folder))
                except UsageError as error:
                    refused += 1
                    assert str(error).startswith(f"task folder: {path}") and "\n" not in str(error)
    assert refused > 100


def test_other_arrays_than_npz_are_refused(folder: Path) -> None:
    with (folder / "train/dora.npz").open("wb") as file:
        np.save(file, np.zeros((16, 2)))
    with pytest.raises(UsageError, match=r"train/dora.npz has no array 'y': write it with numpy.savez"):
        tasks.get("folder", path=str(folder))
    labels = np.array([b"a", b"\xff"] * 8)
    np.savez(folder / "train/dora.npz", x=np.zeros((16, 2)), y=labels)
    with pytest.raises(UsageError, match=r"train/dora.npz cannot be read: y holds a label that is not ASCII"):
        tasks.get("folder", path=str(folder))
    np.savez(folder / "train/dora.npz", x=np.zeros((16, 3)), y=np.array(["a", "b"] * 8))
    with pytest.raises(UsageError, match=r"train/dora.npz has 3 features, .*train/anna.csv has 2"):
        tasks.get("folder", path=str(folder))


@pytest.mark.filterwarnings("error")
def test_what_float32_cannot_hold_is_named(folder: Path) -> None:
    x = np.zeros((16, 2))
    x[3, 1] = -1e39
    np.savez(folder / "train/dora.npz", x=x, y=np.array(["a", "b"] * 8))
    with pytest.raises(UsageError, match=r"train/dora.npz: value 1 of x\[3\] is -1e\+39: float32 ends at"):
        tasks.get("folder", path=str(folder))
    (folder / "train/dora.npz").unlink()
    for name in ("train/anna", "train/bert"):
        (folder / f"{name}.csv").write_text("x,label,y\n" + "1,a,0\n1,b,1e-20\n" * 8)
    (folder / "held_out/cleo.csv").write_text("x,label,y\n" + "1,a,0\n1,b,1e30\n" * 8)
    with pytest.raises(UsageError, match=r"held_out/cleo.csv: column 'y' is too large for float32 once standardized"):
        tasks.get("folder", path=str(folder))


def test_wrong_options_and_folders_are_named(folder: Path, tmp_path: Path) -> None:
    for options, said in (
        ({}, "path: is missing"),
        ({"path": str(tmp_path / "nowhere")}, "nowhere/train is no folder"),
        ({"path": str(folder), "ways": 3}, "ways = 3: the files have 2 classes"),
        ({"path": str(folder), "shots": 8}, "anna.csv line 2: 8 samples of class 'a' here: .* shots = 8 needs 9"),
        ({"path": str(folder), "label": "y"}, "column 'label' is 'a': not a number"),
        ({"path": str(folder), "label": "z"}, "column 'z' is missing"),
    ):
        with pytest.raises(UsageError, match=said):
            tasks.get("folder", **options)
    (folder / "held_out/cleo.csv").unlink()
    with pytest.raises(UsageError, match="holds no CSV, TSV, Parquet or NPZ file"):
        tasks.get("folder", path=str(folder))


def regression(folder: Path, rows: int = 40, npz: bool = False) -> None:
    """y1 = 100 + 10 x1, y2 = x0 / 1000, by client shifted."""
    for number, name in enumerate(("train/anna", "train/bert", "held_out/cleo")):
        path = folder / f"{name}.{'npz' if npz else 'csv'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        x = np.random.default_rng(number).normal(size=(rows, 2))
        y = np.stack([100 + number + 10 * x[:, 1], x[:, 0] / 1000], axis=1)
        if npz:
            np.savez(path, x=x, y=y)
        else:
            lines = [",".join(map(repr, map(float, row))) for row in np.hstack([x[:, :1], y, x[:, 1:]])]
            path.write_text("x0,y1,y2,x1\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("npz", [False, True])
def test_targets_lie_in_shards_in_deviations_in_the_order_of_the_file(tmp_path: Path, npz: bool) -> None:
    regression(tmp_path, npz=npz)
    task = tasks.get("folder", path=str(tmp_path), target="y1, y2", standardize=1)
    assert (task.loss, task.output_count, task.feature_count, task.order.ways) == ("mse", 2, 2, 1)
    assert task.of_targets is not None and "y1 8.957" in task.notes[0]
    shards = [read_shard(client.shard or b"") for client in task.train]
    found = np.concatenate([shard.targets for shard in shards if shard.targets is not None])
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-5)
    x = np.random.default_rng(1).normal(size=(40, 2))  # bert's
    own = found[40:] * task.of_targets.deviation + task.of_targets.mean
    np.testing.assert_allclose(own, np.stack([101 + 10 * x[:, 1], x[:, 0] / 1000], axis=1), rtol=1e-4, atol=1e-7)
    as_they_are = read_shard(
        tasks.get("folder", path=str(tmp_path), target="y1,y2", standardize=0).train[1].shard or b""
    )
    np.testing.assert_array_equal(as_they_are.classes[0], x.astype(np.float32))


def test_what_cannot_be_learned_as_numbers_is_told(tmp_path: Path) -> None:
    regression(tmp_path)
    for options, said in (
        ({"target": "y3"}, "y3"),
        ({"target": "y1", "ways": 2}, "numbers are learned"),
        ({"target": "y1", "shots": 40}, "40 samples: a visit of shots = 40 needs 41"),
    ):
        with pytest.raises(UsageError, match=said):
            tasks.get("folder", path=str(tmp_path), **options)
    for path in tmp_path.rglob("*.csv"):
        path.write_text("x0,y1,x1\n" + "1,5,2\n2,5,1\n" * 10)
    with pytest.raises(UsageError, match="'y1' is constant over the training clients"):
        tasks.get("folder", path=str(tmp_path), target="y1")


def test_a_stream_of_classes_stays_in_the_order_of_the_file(folder: Path) -> None:
    task = tasks.get("folder", path=str(folder), order="stream", standardize=0)
    assert (task.order.ways, task.order.in_time, task.output_count, task.loss) == (1, True, 2, "softmax_cross_entropy")
    shard = read_shard(task.client("anna").shard or b"")
    np.testing.assert_allclose(shard.classes[0][:3, 0], [0, 4.1, 0.2], rtol=1e-6)
    assert shard.targets is not None and shard.targets[:4, 0].tolist() == [0, 1, 0, 1]
    model = mlp(2, (), 2, "linear", "softmax_cross_entropy")
    weights = learn(meta.make("tinyreptile", task.order, 20), model, task, seed=0)
    found = adaptation(encode(model, weights), task.held_out, task.adapt, draws=1)
    assert found.accuracy[0, 0, -1] > 0.9  # the classes are 4 apart


def test_visits_of_a_stream_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    """Against plain NumPy: y = W x + b, mean squared error over two targets, each sample by itself, 40 in a file."""
    regression(tmp_path)
    (tmp_path / "train/bert.csv").unlink()
    task = tasks.get("folder", path=str(tmp_path), target="y1, y2", order="stream", shots=15)
    model = mlp(2, (), 2, "linear", "mse")
    strategy = meta.make("tinyreptile", task.order, 4, alpha=1.0)  # alpha falls to 3/4, 1/2, 1/4
    found = learn(strategy, model, task, seed=3)
    shard = read_shard(task.train[0].shard or b"")
    assert shard.targets is not None
    phi = initialize(model, 3).astype(np.float64)
    for visit in range(4):
        weight, bias = phi[:4].reshape(2, 2).copy(), phi[4:].copy()
        for i in range(15):
            x, y = (each[(15 * visit + i) % 40].astype(np.float64) for each in (shard.classes[0], shard.targets))
            gradient = x @ weight + bias - y  # 2 / 2 targets
            weight -= 0.02 * np.outer(x, gradient)
            bias -= 0.02 * gradient
        phi += (1 - visit / 4) * (np.concatenate([weight.ravel(), bias]) - phi)
    np.testing.assert_allclose(found, phi, rtol=1e-4, atol=1e-6)


def test_a_run_of_a_stream_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also on fewer devices than clients; what it has learned takes rows and gives targets as they stand in files."""
    regression(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    Path("e.toml").write_text(
        'rounds = 30\n[model]\ninputs = 2\nloss = "mse"\nlayers = [{ outputs = 2 }]\n[task]\nname = "folder"\n'
        'path = "d"\ntarget = ["y1", "y2"]\norder = "stream"\nshots = 16\n[strategy]\nname = "fedavg"\n'
        "devices = 2\npasses = 2\n"
    )
    for name, rounds in (("whole", 30), ("parts", 13)):
        assert run_command(["run", "e.toml", "--name", name, "--rounds", str(rounds), "--no-evaluate"]) == 0
    with RunStore.read(Path("runs/parts")) as store:
        snapshot = store.snapshot()
        assert snapshot is not None and snapshot.document["streams"] == {"anna": 13 * 16, "bert": 13 * 16}
    capsys.readouterr()
    learned = []
    for name in ("whole", "parts"):
        if name == "parts":
            assert run_command(["run", "--resume", name, "--rounds", "30"]) == 0
        learned.append(hashlib.sha256(Path(f"runs/{name}/model.tfm").read_bytes()).hexdigest())
    assert learned[0] == learned[1]
    capsys.readouterr()
    assert run_command(["evaluate", "whole", "--beside", "none", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["measure"] == "rmse" and told["targets"] == ["y1", "y2"]
    x = np.random.default_rng(2).normal(size=(40, 2))
    given = Engine(Path("runs/whole/model.tfm").read_bytes(), "infer").infer(x.astype(np.float32))
    error = np.sqrt(np.square(given - np.stack([102 + 10 * x[:, 1], x[:, 0] / 1000], axis=1)).mean(axis=0))
    np.testing.assert_allclose(told["by_target"]["0"], error, rtol=0.5)  # that is judged on the last 24 of 40
    assert error[0] < 5 and error[1] < 5e-4
