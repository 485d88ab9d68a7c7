"""What a task does to its samples goes with the model: it gives on samples as measured what the run found."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIRMWARE, RECIPE, require_tools
from keras_fixture import load_keras_module
from test_convert_float import litert_outputs
from tinyfed_host.cli.main import run_command
from tinyfed_host.run.store import RunStore

from tinyfed import tasks
from tinyfed.data.shard import read_shard
from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import (
    Activation,
    Add,
    Conv1D,
    Dense,
    ModelSpec,
    ScaleShift,
    decode,
    encode,
    initialize,
    mlp,
    replace_weights,
)
from tinyfed.tasks.raw import scale_and_shift, standardizing, taken_apart, why_none_in_front
from tinyfed.tasks.standardization import Standardization
from tinyfed.weights import Weights

EXPERIMENT = """rounds = 120
seed = 4
[model]
inputs = 4
loss = "softmax_cross_entropy"
layers = [{ outputs = 8, activation = "relu" }, { outputs = 2 }]
[task]
name = "folder"
path = "data"
shots = 10
[strategy]
name = "tinyreptile"
alpha = 0.5
"""
COLUMNS = "co2,ratio,flat,pressure"  # of four sizes, the third constant where devices learn


def measured(rng: np.random.Generator, count: int, *, flat: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Samples in the sensor's units, and labels."""
    y = np.arange(count) % 2
    co2 = rng.normal(500 + 150 * y, 60)
    ratio = rng.normal(4e-7 - 2e-7 * y, 8e-8)
    return np.stack([co2, ratio, np.full(count, flat), rng.normal(101_325, 300, count)], axis=1), y


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """The folder of a run on such samples; a stranger's `flat` is another."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(7)
    for name, flat in (("train/a", 0.1), ("train/b", 0.1), ("held_out/c", 7.0)):
        x, y = measured(rng, 80, flat=flat)
        path = tmp_path / f"data/{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [",".join(map(repr, row.tolist())) + f",{'ab'[label]}" for row, label in zip(x, y, strict=True)]
        path.write_text(f"{COLUMNS},label\n" + "\n".join(rows) + "\n")
    (tmp_path / "x.toml").write_text(EXPERIMENT)
    assert run_command(["run", "x.toml", "--json"]) == 0
    capsys.readouterr()
    return tmp_path / "runs/x"


def stranger(run: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Held-out samples as measured, as the shard has them, and their labels."""
    rows = [line.split(",") for line in (run.parents[1] / "data/held_out/c.csv").read_text().splitlines()[1:]]
    raw = {label: np.float32([row[:4] for row in rows if row[4] == label]) for label in "ab"}
    shard = read_shard(tasks.get("folder", path=str(run.parents[1] / "data")).client("c").shard or b"").classes
    labels = np.repeat([0, 1], [len(raw["a"]), len(raw["b"])])
    return np.concatenate([raw["a"], raw["b"]]), np.concatenate(shard), labels


def run_outputs(run: Path, standardized: np.ndarray) -> np.ndarray:
    """Logits of the run's own weights, for samples as its devices hold them."""
    with RunStore.read(run) as store:
        header, snapshot = store.header(), store.snapshot()
    assert snapshot is not None
    return Engine(replace_weights(header.image, Weights.of(snapshot.arrays["weights"])), "infer").infer(standardized)


def test_model_tfm_gives_on_raw_samples_what_the_run_found(learned: Path) -> None:
    raw, standardized, labels = stranger(learned)
    expected = run_outputs(learned, standardized)
    assert (expected.argmax(axis=1) == labels).mean() > 0.9
    found = Engine((learned / "model.tfm").read_bytes(), "infer").infer(raw)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)
    assert (found.argmax(axis=1) == labels).mean() == (expected.argmax(axis=1) == labels).mean()


def test_model_run_and_the_arrays_of_export(learned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw, standardized, _ = stranger(learned)
    np.save("raw.npy", raw)
    command = ["model", "run", str(learned / "model.tfm"), "--input", "raw.npy", "-o", "y.npy", "--raw"]
    assert run_command(command) == 0
    np.testing.assert_allclose(np.load("y.raw.npy"), run_outputs(learned, standardized), rtol=0, atol=2e-4)
    assert run_command(["model", "export", str(learned), "-o", "w.npz"]) == 0
    arrays = np.load("w.npz")
    made = tasks.get("folder", path="data").standardization
    assert made is not None and made.constant == (2,)
    np.testing.assert_array_equal(
        np.concatenate([arrays["layer0_scale_weights"], arrays["layer0_scale_bias"]]),
        scale_and_shift(made),
    )
    assert arrays["layer0_scale_weights"][2] == arrays["layer0_scale_bias"][2] == 0


@pytest.mark.slow
def test_generated_c(learned: Path) -> None:
    """The example that `codegen` writes, compiled for a sample as measured, prints the run's probabilities."""
    require_tools("gcc")
    raw, standardized, _ = stranger(learned)
    assert run_command(["model", "codegen", str(learned / "model.tfm"), "-o", ".", "--name", "m", "--example"]) == 0
    example = Path("m_example.c").read_text()
    made_up = "(float)(i % 16u) / 8.0f - 1.0f"
    assert made_up in example
    values = ", ".join(f"{value:.9e}f" for value in raw[3])
    measured = f"static const float measured[] = {{{values}}};\n\nint main"
    example = example.replace(made_up, "measured[i]").replace("int main", measured)
    Path("m_example.c").write_text(example)
    logits = run_outputs(learned, standardized)[3].astype(np.float64)
    sources = ["m.c", "m_example.c", *map(str, RECIPE.sources(FIRMWARE, "base", "core"))]
    flags = ["-std=c99", "-O1", "-ffp-contract=off", *RECIPE.include_flags(FIRMWARE, "core")]
    subprocess.run(["gcc", *flags, *sources, "-o", "program"], check=True, timeout=120)
    printed = subprocess.run(["./program"], check=True, timeout=10, capture_output=True, text=True).stdout.split()
    found = np.array([float(word) for word in printed])
    np.testing.assert_allclose(found, np.exp(logits) / np.exp(logits).sum(), rtol=0, atol=2e-4)


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("suffix", ["keras", "tflite"])
def test_keras_and_tflite(suffix: str, learned: Path) -> None:
    keras: Any = load_keras_module()
    raw, standardized, labels = stranger(learned)
    assert run_command(["model", "export", str(learned), "-o", f"m.{suffix}"]) == 0
    if suffix == "keras":
        found = keras.models.load_model("m.keras")(raw, training=False).numpy()
    else:
        found = litert_outputs(Path("m.tflite").read_bytes(), raw)
    logits = run_outputs(learned, standardized).astype(np.float64)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, probabilities, rtol=0, atol=2e-4)
    assert (found.argmax(axis=1) == labels).mean() == (logits.argmax(axis=1) == labels).mean()


def test_the_constants_stand_in_the_run(learned: Path) -> None:
    with RunStore.read(learned) as store:
        recorded = store.header().extra["standardization"]
    made = tasks.get("folder", path="data").standardization
    assert made is not None
    assert recorded == {"mean": made.mean.tolist(), "deviation": made.deviation.tolist()}


def test_a_run_whose_data_has_changed_is_not_gone_on_with(learned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = learned.parents[1] / "data/train/a.csv"
    before = path.read_text()
    path.write_text(before + "9000,1e-7,0.1,101325,a\n")
    assert run_command(["run", "--resume", "x"]) == 2
    said = capsys.readouterr().err
    assert "the folder task's data has changed since the run began" in said and "--from x" in said
    path.write_text(before)
    assert run_command(["run", "--resume", "x"]) == 0


def test_a_run_that_starts_from_model_tfm_does_not_standardize_twice(
    learned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = EXPERIMENT[EXPERIMENT.index("[model]") : EXPERIMENT.index("[task]")]
    text = EXPERIMENT.replace(model, '[model]\nimage = "runs/x/model.tfm"\n').replace("120", "3")
    Path("more.toml").write_text(text)
    assert run_command(["run", "more.toml"]) == 0
    with RunStore.read(learned) as old, RunStore.read(Path("runs/more")) as new:
        assert decode(new.header().image)[0] == decode(old.header().image)[0]
        snapshot = old.snapshot()
        assert snapshot is not None
        np.testing.assert_array_equal(decode(new.header().image)[1], Weights.of(snapshot.arrays["weights"]).array)
    assert decode(Path("runs/more/model.tfm").read_bytes())[0] == decode((learned / "model.tfm").read_bytes())[0]
    # raw samples in the shards: the layer stays, and its scales are large, as what it scales is small
    Path("raw.toml").write_text(text.replace("shots = 10", "shots = 10\nstandardize = 0") + "[round]\nmax_norm = 1e9\n")
    assert run_command(["run", "raw.toml"]) == 0
    assert decode(Path("runs/raw/model.tfm").read_bytes())[0].layers[0] == ScaleShift(trainable=False)
    # other constants
    shutil.copy("data/held_out/c.csv", "data/train/d.csv")
    capsys.readouterr()
    assert run_command(["run", "more.toml", "--name", "other"]) == 2
    said = capsys.readouterr().err
    assert "more.toml:4: model.image" in said and "by other constants; set task.standardize = 0" in said


def graph() -> ModelSpec:
    """Two branches that read the input, and their sum."""
    layers = (Conv1D(3, 3, padding="same", activation="relu"), Conv1D(3, 1, input=0), Add(1, "relu"), Dense(3))
    return ModelSpec((5, 4), layers, "softmax_cross_entropy")


@pytest.mark.parametrize("spec", [mlp(20, (4,), 3, loss="softmax_cross_entropy"), graph()])
def test_in_front_of_any_shape_and_off_again(spec: ModelSpec) -> None:
    rng = np.random.default_rng(5)
    weights = initialize(spec, 3)
    image = encode(spec, weights)
    made = Standardization(rng.normal(0, 100, 20), np.where(np.arange(20) == 7, 0, rng.uniform(0.5, 200, 20)))
    front = standardizing(image, made)
    x = rng.normal(0, 300, (6, 20)).astype(np.float32)
    standardized = made.apply(x).astype(np.float32)
    np.testing.assert_allclose(
        Engine(front, "infer").infer(x), Engine(image, "infer").infer(standardized), rtol=0, atol=1e-4
    )
    apart = taken_apart(front)
    assert apart is not None and apart[1] == image
    np.testing.assert_array_equal(apart[0], scale_and_shift(made))
    assert taken_apart(image) is None
    # it never learns, and what is behind it learns as before
    y = np.arange(6) % 3
    engines = Engine(front, "online"), Engine(image, "online")
    for engine, samples in zip(engines, (x, standardized), strict=True):
        engine.train_online(samples, y, 0.01)
    np.testing.assert_array_equal(engines[0].parameters[:40], apart[0])
    np.testing.assert_allclose(engines[0].parameters[40:], engines[1].parameters, rtol=0, atol=1e-5)


def test_where_no_layer_can_stand_in_front() -> None:
    made = Standardization(np.zeros(4), np.ones(4))
    spec = ModelSpec((2, 2), (*[Activation("tanh")] * 61, Dense(2)))
    assert why_none_in_front(spec) == "it has 62 layers of at most 64 already"
    with pytest.raises(UsageError, match="62 layers of at most 64 already; standardize the samples"):
        standardizing(encode(spec, initialize(spec, 0)), made)
    fits = ModelSpec((2, 2), (*[Activation("tanh")] * 60, Dense(2)))
    assert len(decode(standardizing(encode(fits, initialize(fits, 0)), made))[0].layers) == 64


def test_deviations_of_any_size() -> None:
    sizes = Standardization(np.array([1e-30, 0.0, 3e38, -1e20]), np.array([1e-32, 0.0, 1e30, 1e-300]))
    found = scale_and_shift(sizes)
    assert np.isfinite(found).all() and found[1] == found[5] == 0
    np.testing.assert_allclose(found[[0, 4, 2, 6]], [1e32, -100, 1e-30, -3e8], rtol=1e-6)
