"""Models go out to Keras, .tflite and arrays, and come back as they were."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_fixture import load_keras_module
from test_convert_float import litert_outputs
from tflite_models import path_of
from tinyfed_host.cli.main import run_command

from tinyfed import model as spec
from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import encode
from tinyfed.model.convert import FloatModel, read_model
from tinyfed.model.export import arrays_file, export, load_trained, to_keras
from tinyfed.model.keras.convert import convert_keras
from tinyfed.model.run import probabilities
from tinyfed.model.tflite.file import parse
from tinyfed.model.tflite.to_float import convert_float

tensorflow_needed = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]


@pytest.fixture(scope="module")
def keras() -> Any:
    return load_keras_module()


def every_layer() -> spec.ModelSpec:
    """Each kind of layer, a residual connection, frozen layers, two slopes of leaky ReLU."""
    return spec.ModelSpec(
        (9, 8, 2),
        (
            spec.Conv2D(4, (3, 2), (2, 1), "same", "leaky_relu", negative_slope=0.1),
            spec.DepthwiseConv2D(3, 1, "same", "relu6", use_bias=False),
            spec.Add(1, "relu"),
            spec.ScaleShift("tanh"),
            spec.MaxPool(2),
            spec.AveragePool((1, 2), padding="same"),
            spec.Reshape((4, 4)),
            spec.Conv1D(5, 3, padding="same", activation="leaky_relu", trainable=False),
            spec.GlobalAveragePool(),
            spec.Dense(6, "sigmoid", use_bias=False),
            spec.Activation("relu"),
            spec.Dense(3),
        ),
        "softmax_cross_entropy",
    )


def weights_of(model: spec.ModelSpec) -> np.ndarray:
    return np.random.default_rng(11).normal(0, 0.5, model.parameter_count).astype(np.float32)


def engine_outputs(model: spec.ModelSpec, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    return probabilities(Engine(encode(model, weights), "infer").infer(x), model.loss)


def trainable(model: spec.ModelSpec) -> list[bool]:
    return [layer.trainable for layer in model.layers if hasattr(layer, "trainable")]


class TestKeras:
    pytestmark = tensorflow_needed

    def test_there_and_back(self, keras: Any, tmp_path: Path) -> None:
        model = every_layer()
        weights = weights_of(model)
        there = to_keras(model, weights)
        x = np.random.default_rng(12).normal(size=(5, 9, 8, 2)).astype(np.float32)
        expected = engine_outputs(model, weights, x)
        assert np.abs(there(x, training=False).numpy() - expected).max() < 1e-6
        there.save(tmp_path / "exported.keras")
        back = convert_keras(tmp_path / "exported.keras")
        assert back.spec.loss == model.loss
        assert trainable(back.spec) == trainable(model)
        assert np.array_equal(np.sort(back.weights), np.sort(weights))
        assert np.abs(engine_outputs(back.spec, back.weights, x) - expected).max() < 1e-6

    def test_a_dense_network_comes_back_the_same(self, keras: Any, tmp_path: Path) -> None:
        model = spec.mlp(7, (5,), 1, activation="tanh")
        image = encode(model, weights_of(model))
        (tmp_path / "model.tfm").write_bytes(image)
        assert run_command(["model", "export", str(tmp_path), "-o", str(tmp_path / "out.keras")]) == 0
        assert run_command(["model", "convert", str(tmp_path / "out.keras"), "-o", str(tmp_path / "back.tfm")]) == 0
        assert (tmp_path / "back.tfm").read_bytes() == image

    def test_tflite(self, keras: Any, tmp_path: Path) -> None:
        model = every_layer()
        weights = weights_of(model)
        image = encode(model, weights)
        export(FloatModel("model", model, weights, image), tmp_path / "model.tflite")
        back = convert_float(parse((tmp_path / "model.tflite").read_bytes()))
        x = np.random.default_rng(13).normal(size=(5, 9, 8, 2)).astype(np.float32)
        difference = engine_outputs(back.spec, back.weights, x) - engine_outputs(model, weights, x)
        assert np.abs(difference).max() < 1e-6


def test_arrays(tmp_path: Path) -> None:
    model = every_layer()
    weights = weights_of(model)
    path = tmp_path / "weights.npz"
    path.write_bytes(arrays_file(model, weights))
    with np.load(path, allow_pickle=False) as arrays:
        facts = json.loads(str(arrays["model"]))
        assert facts["loss"] == "softmax_cross_entropy" and len(facts["layers"]) == len(model.layers)
        assert arrays["layer0_conv2d_weights"].shape == (3, 2, 2, 4)
        assert np.array_equal(arrays["layer11_dense_bias"], weights[-3:])
        assert np.array_equal(np.concatenate([arrays[n].ravel() for n in arrays.files if n != "model"]), weights)


def test_arrays_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "hello.npz"
    assert run_command(["model", "export", str(path_of("hello_world_float")), "-o", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 321
    model = read_model(path_of("hello_world_float"))
    assert isinstance(model, FloatModel)
    with np.load(output) as arrays:
        assert np.array_equal(arrays["layer0_dense_weights"].ravel(), model.weights[:16])


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model\.tfm in this folder"):
        load_trained(tmp_path)
    with pytest.raises(UsageError, match=r"export the \.tflite file it was made from"):
        load_trained(path_of("kws_ref_model"))
    model = read_model(path_of("hello_world_float"))
    assert isinstance(model, FloatModel)
    with pytest.raises(UsageError, match=r"ends in one of \.keras, \.tflite, \.npz"):
        export(model, tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.xdist_group("tensorflow")
def test_int8_weights_as_float32_agree_with_litert(keras: Any, tmp_path: Path) -> None:
    """MLPerf Tiny's float keyword network has int8 weights: LiteRT rounds each layer's input for them. Given what we
    made of the weights it computes what we do."""
    model = load_trained(path_of("kws_ref_model_float32"))
    export(model, tmp_path / "kws.tflite")
    x = np.random.default_rng(1).normal(size=(8, 49, 10, 1)).astype(np.float32)
    expected = litert_outputs((tmp_path / "kws.tflite").read_bytes(), x)
    assert np.abs(engine_outputs(model.spec, model.weights, x) - expected).max() < 1e-5 * np.abs(expected).max()
