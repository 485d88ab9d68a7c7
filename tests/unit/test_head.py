"""`tinyfed model attach-head`: a head that learns on a frozen int8 network, and every command that takes it."""

import json
from pathlib import Path

import numpy as np
import pytest
from tflite_models import path_of
from tinyfed_host.cli.main import run_command

from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import decode, encode, plan
from tinyfed.model.convert import FloatModel, read_model
from tinyfed.model.head import FIRST_DEVIATION, attach, cut, grow, normalized
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.int8.image import read_ports
from tinyfed.model.tflite import file as tflite
from tinyfed.model.tflite.to_int8 import convert_int8


def kws_head(classes: int = 4, hidden: int = 0) -> FloatModel:
    return attach(convert_int8(tflite.load(path_of("kws_ref_model"))), "kws", classes, hidden)


def sounds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four made-up sounds, as the network's input: a pattern each, and noise."""
    patterns = np.random.default_rng(3).normal(0, 40, (4, 49, 10, 1))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, count)
    return (patterns[y] + rng.normal(0, 10, (count, 49, 10, 1))).astype(np.float32), y


def test_a_head_learns_on_normalized_features() -> None:
    x, y = sounds(100, seed=1)
    test_x, test_y = sounds(60, seed=2)
    model = normalized(kws_head(), x[:20])
    engine = Engine(model.content, "online")
    before = engine.evaluate(test_x.reshape(60, -1), test_y)[1] / 60
    losses = engine.train_online(x.reshape(100, -1), y, 0.05)
    after = engine.evaluate(test_x.reshape(60, -1), test_y)[1] / 60
    assert before < 0.7 and after > 0.95
    assert losses[-20:].mean() < losses[:20].mean() / 2
    # the statistics went on with the samples learned from, and only those
    assert engine.parameters[128] == 120


def features_of(model: FloatModel, x: np.ndarray) -> np.ndarray:
    base = Int8Engine(model.spec.frozen)
    return np.stack([base.dequantize(base.run(base.quantize(sample))[0]).reshape(-1) for sample in x])


def test_the_statistics_are_those_of_the_features() -> None:
    x, _ = sounds(50, seed=4)
    model = normalized(kws_head(), x)
    features = features_of(model, x).astype(np.float64)
    first = (FIRST_DEVIATION * read_ports(model.spec.frozen)[1][0].scale) ** 2
    mean, variance, count = model.weights[:64], model.weights[64:128], model.weights[128]
    assert count == 50
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-5, atol=1e-6)
    # the variance it began with counts as one sample
    np.testing.assert_allclose(variance, (50 * features.var(axis=0) + first) / 51, rtol=1e-4)


def test_a_head_without_samples_learns_from_nothing() -> None:
    x, y = sounds(100, seed=1)
    test_x, test_y = sounds(60, seed=2)
    engine = Engine(kws_head().content, "online")
    before = engine.parameters
    assert engine.evaluate(test_x.reshape(60, -1), test_y)[1] / 60 < 0.7
    assert np.array_equal(engine.parameters, before), "evaluation leaves the statistics"
    engine.train_online(x.reshape(100, -1), y, 0.05)
    assert engine.parameters[128] == 100
    assert engine.evaluate(test_x.reshape(60, -1), test_y)[1] / 60 > 0.95


def test_a_class_can_be_added_later() -> None:
    model = kws_head(3, hidden=5)
    weights = np.random.default_rng(5).normal(size=model.spec.parameter_count).astype(np.float32)
    learned = FloatModel("m", model.spec, weights, encode(model.spec, weights))
    grown = grow(learned, 5)
    x = sounds(3, seed=6)[0].reshape(3, -1)
    logits = Engine(grown.content, "infer").infer(x)
    assert np.array_equal(logits[:, :3], Engine(learned.content, "infer").infer(x))
    assert np.array_equal(logits[:, 3:], np.zeros((3, 2)))
    with pytest.raises(UsageError, match="has 5 classes already"):
        grow(grown, 5)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, grown, samples = tmp_path / "words.tfm", tmp_path / "more.tfm", tmp_path / "x.npy"
    np.save(samples, sounds(10, seed=7)[0])
    base = str(path_of("kws_ref_model"))
    command = ["model", "attach-head", base, "--classes", "4", "--samples", str(samples), "-o", str(output), "--json"]
    assert run_command(command) == 0
    facts = json.loads(capsys.readouterr().out)
    # mean and variance of 64 features and their count, 64 x 4 weights and 4 biases
    assert facts["features"] == 64 and facts["parameters"] == 129 + 260
    spec, _ = decode(output.read_bytes())
    assert spec.output_shape == (4,) and facts["work_bytes"] == plan(spec, "online").work_bytes
    assert run_command(["model", "attach-head", str(output), "--classes", "6", "-o", str(grown)]) == 0
    assert decode(grown.read_bytes())[0].output_shape == (6,)
    capsys.readouterr()
    for arguments, reason in (
        ([base, "--classes", "1"], "--classes = 1: must be a whole number, 2..256"),
        ([base, "--classes", "3", "--hidden", "-1"], "--hidden = -1: must be a whole number, 0..4096"),
        ([str(path_of("kws_ref_model_float32")), "--classes", "3"], "a float model"),
        ([base, "--classes", "3", "--features", "nothing"], "no layer writes a tensor called 'nothing'"),
        ([str(output), "--classes", "3"], "has 4 classes already"),
        ([str(output), "--classes", "5", "--hidden", "3"], "has a head already"),
    ):
        assert run_command(["model", "attach-head", *arguments, "-o", str(tmp_path / "no.tfm")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and reason in error
    assert not (tmp_path / "no.tfm").exists()


def test_a_named_tensor_is_where_it_is_cut() -> None:
    network = convert_int8(tflite.load(path_of("kws_ref_model")))
    pooled = network.tensors[network.layers[9].output].name
    model = attach(network, "kws", 3, features=pooled)
    assert model.spec.input_shape == (64,)
    whole = attach(network, "kws", 3)
    x = sounds(2, seed=8)[0].reshape(2, -1)
    # the reshape between them moves nothing
    assert np.array_equal(Engine(model.content, "infer").infer(x), Engine(whole.content, "infer").infer(x))


def test_a_cut_that_leaves_nothing_is_refused() -> None:
    network = convert_int8(tflite.load(path_of("hello_world_int8")))
    with pytest.raises(UsageError, match="comes of 0 layers"):
        cut(network, network.inputs[0])


def test_every_command_takes_a_model_with_a_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = kws_head()
    path = tmp_path / "words.tfm"
    path.write_bytes(model.content)
    assert run_command(["model", "inspect", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    # the frozen part without its last dense layer of 768, and the head's 64 x 4
    assert facts["macs"] == 2_656_768 - 768 + 256 and facts["engine"] == "float32"
    assert facts["inputs"][0]["shape"] == [49, 10, 1]
    x = sounds(2, seed=9)[0]
    np.save(tmp_path / "x.npy", x)
    command = ["model", "run", str(path), "--input", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy"), "--raw"]
    assert run_command(command) == 0
    logits = Engine(model.content, "infer").infer(x.reshape(2, -1))
    assert np.array_equal(np.load(tmp_path / "y.raw.npy"), logits)
    assert np.allclose(np.load(tmp_path / "y.npy").sum(axis=1), 1)
    assert run_command(["model", "codegen", str(path), "-o", str(tmp_path), "--name", "words", "--example"]) == 0
    assert "#define WORDS_FEATURES 64u" in (tmp_path / "words.h").read_text()
    assert "-DTINYFED_INT8" in (tmp_path / "words_example.c").read_text()
    assert run_command(["model", "export", str(path), "-o", str(tmp_path / "head.npz")]) == 0
    with np.load(tmp_path / "head.npz") as arrays:
        assert arrays["layer1_dense_weights"].shape == (64, 4)
    again = read_model(path)
    assert isinstance(again, FloatModel) and again.content == model.content
