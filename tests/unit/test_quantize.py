"""Post-training quantization: from Keras by TensorFlow, from .tflite by ai-edge-quantizer."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_fixture import load_keras_module
from tflite_builder import Builder
from tflite_models import path_of
from tinyfed_host.cli.main import run_command

from tinyfed.data.samples import Samples, check_inputs, read_samples
from tinyfed.errors import MissingToolError, UsageError
from tinyfed.model.convert import Int8Model, read_model, read_tflite
from tinyfed.model.isolated import isolated
from tinyfed.model.quantize import FloatSource, accuracy, float_outputs, int8_outputs, layer_errors, quantize
from tinyfed.model.run import check_batch, run
from tinyfed.model.tflite.file import load, parse

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]


@pytest.fixture(scope="module")
def keras() -> Any:
    return load_keras_module()


def blobs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of 8x6x1 pictures: a bright band at the top, in the middle or at the bottom, and noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.normal(0, 0.6, (count, 8, 6, 1)).astype(np.float32)
    for sample, label in zip(x, y, strict=True):
        sample[3 * label : 3 * label + 2] += 1.5
    return x, y


@pytest.fixture(scope="module")
def trained(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.keras and the samples it was trained on."""
    folder = tmp_path_factory.mktemp("quantize")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 6, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    x, y = blobs(600, seed=1)
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    model.fit(x, y, epochs=4, batch_size=32, verbose=0)
    model.save(folder / "model.keras")
    np.savez(folder / "train.npz", x=x[:100], y=y[:100])
    test_x, test_y = blobs(300, seed=2)
    np.savez(folder / "test.npz", x=test_x, y=test_y)
    return folder


def test_a_keras_model_keeps_its_accuracy(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = trained / "model.tflite"
    arguments = ["model", "quantize", str(trained / "model.keras"), "--representative", str(trained / "train.npz")]
    assert run_command([*arguments, "--test", str(trained / "test.npz"), "-o", str(output), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["accuracy_before"] > 0.9
    assert facts["accuracy_after"] >= facts["accuracy_before"] - 0.02
    assert facts["bytes"] == output.stat().st_size and facts["engine"] == "int8"
    assert {layer["kind"] for layer in facts["layers"]} >= {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    assert all(0 <= layer["relative"] < 0.1 for layer in facts["layers"])
    # the first layer has nothing before it; the float network's inputs are known for all of them
    assert facts["layers"][0]["own"] == facts["layers"][0]["relative"]
    assert all(layer["own"] is not None and 0 <= layer["own"] < 0.1 for layer in facts["layers"])
    converted = read_model(output)
    assert isinstance(converted, Int8Model)
    # the same bytes every time
    again = trained / "again.tflite"
    assert run_command([*arguments, "-o", str(again)]) == 0
    assert again.read_bytes() == output.read_bytes()
    assert "accuracy" in capsys.readouterr().out


def test_a_tflite_model_keeps_its_accuracy(trained: Path) -> None:
    """Without TensorFlow: ai-edge-quantizer alone."""
    source = FloatSource(trained / "model.keras")
    path = trained / "float.tflite"
    path.write_bytes(source.content)
    samples = read_samples(trained / "train.npz", (8, 6, 1))
    result = quantize(FloatSource(path), samples, read_samples(trained / "test.npz", (8, 6, 1)))
    assert result.before is not None and result.after is not None
    assert result.before > 0.9 and result.after >= result.before - 0.02
    assert result.why_not == ""
    assert quantize(FloatSource(path), samples).content == result.content


def ranges(content: bytes) -> dict[str, tuple[float, int]]:
    """Scale and zero point of each tensor of values, by name: the range, that is."""
    found = {}
    for tensor in parse(content).tensors:
        quantization = tensor.quantization
        if tensor.dtype == "int8" and quantization is not None and not tensor.constant_bytes:
            found[tensor.name] = float(quantization.scale[0]), int(quantization.zero_point[0])
    return found


@pytest.fixture(scope="module")
def uneven(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, np.ndarray]:
    """A network as Keras and as .tflite, and 60 samples of 0.01 to 30 times the same size, ascending."""
    folder, layers = tmp_path_factory.mktemp("uneven"), keras.layers
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 6, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(8, activation="sigmoid"),
            layers.Dense(3),
        ]
    )
    model.save(folder / "m.keras")
    (folder / "m.tflite").write_bytes(FloatSource(folder / "m.keras").content)
    sizes = np.geomspace(0.01, 30, 60)[:, None, None, None]
    x = (np.random.default_rng(1).normal(size=(60, 8, 6, 1)) * sizes).astype(np.float32)
    return folder / "m.keras", folder / "m.tflite", x


def test_ranges_are_those_of_all_samples_in_any_order_and_on_both_roads(uneven: tuple[Path, Path, np.ndarray]) -> None:
    """A moving minimum and maximum gave the outputs an error of 61 % for ascending samples, 90 % for descending."""
    keras_file, tflite_file, x = uneven
    orders = (x, x[::-1], x[np.random.default_rng(2).permutation(len(x))])
    expected = quantize(FloatSource(keras_file), read_samples_of(x))
    results = [quantize(FloatSource(tflite_file), read_samples_of(order)) for order in orders]
    assert results[0].content == results[1].content == results[2].content
    assert results[0].errors == results[1].errors == results[2].errors
    found, wanted = ranges(results[0].content), ranges(expected.content)
    assert set(found) == set(wanted) and len(found) >= 8
    for name, (scale, zero) in found.items():  # the last bits of a layer's values are the kernels' own
        assert scale == pytest.approx(wanted[name][0], rel=1e-5) and zero == wanted[name][1], name
    # of the input the range is known without a kernel: 0 lies in it, 255 steps from end to end
    assert found["serving_default_input:0"][0] == pytest.approx((x.max() - x.min()) / 255, rel=1e-6)
    for result in (expected, *results):
        assert result.error is not None and result.error < 0.1 and result.measured_on == 60
        assert result.error == pytest.approx(expected.error, rel=0.01)


def test_guesses_agree_with_the_float_models_as_well_as_those_of_the_keras_road() -> None:
    """MLPerf Tiny's ResNet: its published int8 model was made from Keras with TensorFlow's converter."""
    rng = np.random.default_rng(0)
    patches = rng.uniform(0, 1, (260, 8, 8, 3)).repeat(4, 1).repeat(4, 2) + rng.normal(0, 0.05, (260, 32, 32, 3))
    x = (np.clip(patches, 0, 1) * 255).astype(np.float32)
    source = FloatSource(path_of("pretrainedResnet"))
    files = [path_of("pretrainedResnet_quant").read_bytes(), *(source.quantized(x[:60], p) for p in (100, 99))]
    wanted = float_outputs(source.content, x[60:]).argmax(axis=1)
    shares = [float(np.mean(int8_outputs(file, x[60:]).argmax(axis=1) == wanted)) for file in files]
    print("agreement: published, largest and smallest, 99th percentile:", shares)
    assert min(shares[1:]) >= shares[0] - 0.01 and shares[0] > 0.85


@pytest.mark.parametrize("road", [0, 1])
def test_a_percentile_leaves_outliers_out(uneven: tuple[Path, Path, np.ndarray], road: int) -> None:
    """Of samples of one size and one of 50 times that."""
    x = np.random.default_rng(4).normal(size=(101, 8, 6, 1)).astype(np.float32)
    x[17] *= 50
    source = FloatSource(uneven[road])
    whole, most = (ranges(source.quantized(x, percentile)) for percentile in (100, 99))
    ends = np.sort(x.min(axis=(1, 2, 3)))[1], np.sort(x.max(axis=(1, 2, 3)))[-2]  # the 2nd of 101: the 1st percentile
    assert most["serving_default_input:0"][0] == pytest.approx((ends[1] - ends[0]) / 255, rel=1e-6)
    assert whole["serving_default_input:0"][0] == pytest.approx((x.max() - x.min()) / 255, rel=1e-6)
    assert sum(most[name][0] < whole[name][0] / 5 for name in most) >= 4
    with pytest.raises(UsageError, match="percentile: 50 is not above 50 and up to 100"):
        quantize(source, read_samples_of(x), percentile=50)


def test_the_error_of_the_whole_is_measured_with_the_engine(uneven: tuple[Path, Path, np.ndarray]) -> None:
    _, tflite_file, x = uneven
    held_out = x[::-1][:20] * np.float32(0.9)
    result = quantize(FloatSource(tflite_file), read_samples_of(x), read_samples_of(held_out, np.zeros(20)))
    network, board = float_outputs(tflite_file.read_bytes(), held_out), read_tflite(parse(result.content))
    by_engine = run(board, check_batch(board, [held_out], "x")).real[0].reshape(20, 3)
    expected = np.sqrt(np.sum((network - by_engine) ** 2) / np.sum(network**2))
    assert result.error == pytest.approx(expected, rel=1e-6) and result.measured_on == 20
    assert result.notes == ("all labels are 0: an accuracy on one class says little",)


@pytest.mark.parametrize("road", [0, 1])
@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (lambda x: x[:1], "there is 1 sample"),
        (lambda x: x[:1] * 0, "there is 1 sample, all 0"),
        (lambda x: x * 0, "all 60 samples are the same, all 0"),
        (lambda x: np.repeat(x[:1], 9, axis=0), "all 9 samples are the same"),
    ],
)
def test_samples_that_tell_no_ranges_are_refused(
    road: int, samples: Any, reason: str, uneven: tuple[Path, Path, np.ndarray]
) -> None:
    with pytest.raises(UsageError, match=f"the representative samples tell no ranges: {reason}; give a hundred"):
        quantize(FloatSource(uneven[road]), read_samples_of(samples(uneven[2])))


def test_a_layer_that_never_moves_is_warned_of(keras: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ReLU behind a bias of -100 gives 0 for all of them: an error of 0 % of 0 would look perfect."""
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, activation="relu", name="dead"), layers.Dense(2, name="last")]
    )
    model.layers[0].set_weights([np.ones((4, 3)), np.full(3, -100.0)])
    model.save(tmp_path / "m.keras")
    (tmp_path / "m.tflite").write_bytes(FloatSource(tmp_path / "m.keras").content)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(1).normal(size=(20, 4)))
    for name in ("m.keras", "m.tflite"):
        arguments = [
            str(tmp_path / name),
            "--representative",
            str(tmp_path / "x.npz"),
            "-o",
            str(tmp_path / "o.tflite"),
        ]
        assert run_command(["model", "quantize", *arguments, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert len(facts["notes"]) == 2 and all(
            "is always 0 for the 20 representative samples" in n for n in facts["notes"]
        )
        assert facts["error"] is None and [layer["relative"] for layer in facts["layers"]] == [None, None]
        assert run_command(["model", "quantize", *arguments]) == 0
        said = capsys.readouterr().out
        assert "error of the outputs ?, over 20 samples, by tinyfed's engine" in said and said.count("warning: ") == 2
        assert "0.00%" not in said


def test_a_published_model_without_a_signature() -> None:
    """MLPerf Tiny's ResNet, float: int8 on the engine, and the outputs stay near."""
    source = FloatSource(path_of("pretrainedResnet"))
    x = np.random.default_rng(3).uniform(0, 255, (12, 32, 32, 3)).astype(np.float32)
    samples = read_samples_of(x)
    result = quantize(source, samples)
    assert result.why_not == "" and len(result.errors) == 16
    # every layer of the published int8 model of the same network loses as little
    assert max(error.relative for error in result.errors[:-1]) < 0.1
    # errors add up along the network: what one layer brings is less than what all before it and it have lost
    own = [error.own for error in result.errors if error.kind == "CONV_2D"]
    upto = [error.relative for error in result.errors if error.kind == "CONV_2D"]
    assert own[0] == upto[0] and None not in own
    assert all(0 < mine < all_of_them for mine, all_of_them in zip(own[1:], upto[1:], strict=True))


@pytest.mark.parametrize("name", ["ad01_fp32", "hello_world_float", "magic_wand", "vww_96_float"])
def test_the_other_published_float_models(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of 2019 and later: two say their operators in the older field only, one's int8 file has its weights behind the
    flatbuffer."""
    path = path_of(name)
    shape = parse(path.read_bytes()).input_tensors()[0].shape[1:]
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(3).uniform(-1, 1, (6, *shape)).astype(np.float32))
    output = tmp_path / "o.tflite"
    arguments = ["model", "quantize", str(path), "--representative", str(tmp_path / "x.npz"), "-o", str(output)]
    code = run_command([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    facts = json.loads(captured.out)
    assert facts["engine"] == "int8" and facts["bytes"] < facts["float_bytes"] + 1000
    assert facts["layers"] and all(layer["own"] is not None for layer in facts["layers"])
    assert isinstance(read_model(output), Int8Model)


def test_a_crash_of_the_libraries_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"m\.tflite: the libraries that work on it ended with SIGABRT: the model is"):
        isolated(os.abort, source="m.tflite")
    with pytest.raises(UsageError, match="ended with exit code 7"):
        isolated(os._exit, 7, source="m.tflite")


def test_what_a_process_of_its_own_raises_is_raised_here() -> None:
    assert isolated(int, "41", source="n") == 41
    with pytest.raises(UsageError, match=r"^nowhere\.tflite: cannot read"):
        isolated(load, Path("nowhere.tflite"), source="n")
    with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
        isolated(int, "seven", source="n")


def test_the_layer_that_is_wrong_is_named() -> None:
    """A scale eight times too large in one layer: its own error shows it, those of the layers behind it do not."""
    source = FloatSource(path_of("pretrainedResnet"))
    x = np.random.default_rng(3).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    result = quantize(source, read_samples_of(x))
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(result.content, 0)
    graph = model.subgraphs[0]
    quantization = graph.tensors[graph.operators[1].outputs[0]].quantization
    quantization.scale = quantization.scale * 8
    builder = flatbuffers.Builder(len(result.content))
    builder.Finish(model.Pack(builder), b"TFL3")
    errors = layer_errors(source.model, parse(bytes(builder.Output())), x)
    own = [error.own for error in errors]
    assert own[1] > 4 * result.errors[1].own
    assert own[4:] == [error.own for error in result.errors[4:]]
    assert errors[4].relative > 1.5 * result.errors[4].relative


def read_samples_of(x: np.ndarray, y: np.ndarray | None = None) -> Samples:
    return Samples(x, None if y is None else y.astype(np.int64))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((5, 7)), r'array "x" has shape \[5, 7\]; the model takes \[count, 8, 6, 1\]'),
        (np.full((2, 8, 6, 1), np.nan), 'array "x" holds NaN or infinity, first in sample 0'),
        (np.zeros((0, 8, 6, 1)), 'array "x" has no samples'),
        (np.zeros((2, 8, 6, 1), np.complex64), 'array "x" holds complex64, not numbers'),
    ],
)
def test_a_bad_representative_set_is_named(
    array: np.ndarray, reason: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=reason):
        check_inputs(array, (8, 6, 1), 'data.npz: array "x"')
    np.savez(tmp_path / "data.npz", z=array)
    with pytest.raises(UsageError, match='no array "x"'):
        read_samples(tmp_path / "data.npz", (8, 6, 1))


def test_nothing_is_written_for_bad_samples(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.npz"
    bad.write_bytes((trained / "train.npz").read_bytes()[:2000])
    model = str(trained / "model.keras")
    assert (
        run_command(["model", "quantize", model, "--representative", str(bad), "-o", str(tmp_path / "o.tflite")]) == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "bad.npz: not a whole .npz" in error
    assert not (tmp_path / "o.tflite").exists()


def test_an_int8_model_is_not_quantized_again() -> None:
    with pytest.raises(UsageError, match="the model is not all float32"):
        FloatSource(path_of("kws_ref_model"))


def test_labels_that_the_model_does_not_have(trained: Path) -> None:
    samples = read_samples(trained / "train.npz", (8, 6, 1))
    wrong = type(samples)(samples.x, np.full(len(samples.x), 3))
    path = trained / "labels.tflite"
    path.write_bytes(FloatSource(trained / "model.keras").content)
    with pytest.raises(UsageError, match="labels from 3 to 3; the model has 3 classes"):
        quantize(FloatSource(path), wrong)


def test_accuracy() -> None:
    assert accuracy(np.float32([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])) == 0.5
    assert accuracy(np.float32([[0.6], [0.4]]), np.array([1, 0])) == 1.0


def test_without_the_quantizer_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    source = FloatSource(path_of("hello_world_float"))
    with pytest.raises(MissingToolError, match=r"pip install 'tinyfed\[quantize\]'"):
        source.quantized(np.zeros((1, 1), np.float32))


def test_what_the_engine_does_not_run_is_kept_on_demand_only(
    keras: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sine is none of the int8 engine's functions."""
    b = Builder()
    x, out = b.tensor([1, 3]), b.tensor([1, 3])
    b.operator("SIN", [x], [out])
    (tmp_path / "m.tflite").write_bytes(b.content([x], [out]))
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(3).normal(size=(9, 3)).astype(np.float32))
    output = tmp_path / "o.tflite"
    arguments = ["model", "quantize", str(tmp_path / "m.tflite"), "--representative", str(tmp_path / "x.npz")]
    assert run_command([*arguments, "-o", str(output)]) == 2
    error = capsys.readouterr().err
    assert "tinyfed's engine does not run what becomes of it" in error and "--allow" in error and not output.exists()
    assert run_command([*arguments, "-o", str(output), "--allow"]) == 0
    assert "by the interpreter" in capsys.readouterr().out and output.exists()


def test_words_of_other_libraries_are_not_shown(keras: Any, tmp_path: Path) -> None:
    """Of what Keras says the names of classes are kept, and nothing else."""

    class Own(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x

    keras.Sequential([keras.Input((3,)), Own(), keras.layers.Dense(2)]).save(tmp_path / "own.keras")
    with pytest.raises(UsageError) as caught:
        FloatSource(tmp_path / "own.keras")
    assert "cannot load the model: it has Own, which is not there; " in str(caught.value)
    assert "custom" not in str(caught.value) and "decorated" not in str(caught.value)
