"""Keras models become specs and weights. TensorFlow is imported once, here."""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_fixture import load_keras_module
from tinyfed_host.cli.main import run_command

from tinyfed import model as spec
from tinyfed.engine import Engine
from tinyfed.errors import MissingToolError, UsageError
from tinyfed.model import decode, encode
from tinyfed.model.graph import Converted
from tinyfed.model.keras.convert import convert_keras, import_tensorflow, is_keras, load_keras

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]


@pytest.fixture(scope="module")
def keras() -> Any:
    return load_keras_module()


def randomize(model: Any) -> Any:
    """Weights that no rule can ignore: biases that are not 0, variances that are not 1."""
    rng = np.random.default_rng(7)
    for layer in model.layers:
        for weight in layer.weights:
            low = 0.5 if "variance" in weight.name or "gamma" in weight.name else -0.5
            if weight.dtype == "float32":
                weight.assign(rng.uniform(low, 1.5 if low > 0 else 0.5, weight.shape))
    return model


def outputs(converted: Converted, inputs: np.ndarray) -> np.ndarray:
    logits = Engine(encode(converted.spec, converted.weights), "infer").infer(inputs).astype(np.float64)
    if converted.spec.loss == "softmax_cross_entropy":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return 1 / (1 + np.exp(-logits)) if converted.spec.loss == "binary_cross_entropy" else logits


def convert_saved(model: Any) -> Converted:
    """Saved in both forms, read without Keras; they give the same."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for suffix in ("keras", "h5"):
            path = Path(folder) / f"model.{suffix}"
            model.save(path)
            found.append(convert_keras(path))
    assert found[0].spec == found[1].spec
    np.testing.assert_array_equal(found[0].weights, found[1].weights)
    return found[0]


def assert_same_outputs(model: Any, samples: int = 6) -> Converted:
    """The engine gives what Keras predicts, within float32's rounding."""
    converted = convert_saved(randomize(model))
    inputs = np.random.default_rng(8).normal(size=(samples, *model.input_shape[1:])).astype(np.float32)
    theirs = model(inputs, training=False).numpy().reshape(samples, -1)
    ours = outputs(converted, inputs)
    assert np.abs(ours - theirs).max() <= 1e-5 * max(np.abs(theirs).max(), 1)
    return converted


def dense_model(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((4, 3)),
            layers.Flatten(),
            layers.Dense(8, use_bias=False, name="wide"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(6, activation="tanh", trainable=False, name="frozen"),
            layers.Dense(6, activation="leaky_relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def test_a_dense_network(keras: Any) -> None:
    converted = assert_same_outputs(dense_model(keras))
    assert converted.spec.loss == "softmax_cross_entropy"
    dense = converted.spec.layers
    assert [layer.units for layer in dense if isinstance(layer, spec.Dense)] == [8, 6, 6, 3]
    assert [layer.trainable for layer in dense if isinstance(layer, spec.Dense)] == [True, False, True, True]
    assert any("folded into" in note for note in converted.notes)
    assert any('"dropout" (Dropout): dropped: acts in Keras' in note for note in converted.notes)


def test_normalization_at_the_input_stays_before_what_learns(keras: Any) -> None:
    """Both in one, frozen: raw samples go in, and the dense layer learns from values around 1."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Normalization(mean=np.arange(5.0), variance=np.arange(1.0, 6.0)),
            layers.Rescaling(0.5, offset=-1.0),
            layers.Dense(2),
        ]
    )
    converted = assert_same_outputs(model)
    assert [type(layer).__name__ for layer in converted.spec.layers] == ["ScaleShift", "Dense"]
    assert not converted.spec.records[0].trains and converted.spec.loss == "mse"
    model.layers[-1].trainable = False
    assert [type(layer).__name__ for layer in convert_saved(model).spec.layers] == ["Dense"]


def test_a_model_inside_a_model(keras: Any) -> None:
    """Transfer learning: a frozen base, a new head; relu6 and an activation layer of its own."""
    layers = keras.layers
    base = keras.Sequential([keras.Input((4,)), layers.Dense(6), layers.ReLU(max_value=6)], name="base")
    base.trainable = False
    source = keras.Input((4,))
    result = layers.Dense(1)(layers.Activation("sigmoid")(layers.Dense(3)(base(source))))
    converted = assert_same_outputs(keras.Model(source, result))
    dense = [layer for layer in converted.spec.layers if isinstance(layer, spec.Dense)]
    assert [(layer.units, layer.trainable) for layer in dense] == [(6, False), (3, True), (1, True)]


def test_a_model_that_is_called_as_a_layer(keras: Any) -> None:
    """base(x, training=False): a functional model has a use of its own before it is used inside another."""
    layers = keras.layers
    inner = keras.Input((9, 2))
    base = keras.Model(inner, layers.BatchNormalization()(layers.Conv1D(4, 3)(inner)), name="base")
    base.trainable = False
    source = keras.Input((9, 2))
    model = keras.Model(source, layers.Dense(2)(layers.Flatten()(base(source, training=False))))
    converted = assert_same_outputs(model)
    assert [record.trains for record in converted.spec.records if record.parameter_count] == [False, True]


def test_augmentation_falls_away(keras: Any) -> None:
    layers = keras.layers
    before = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1)]
    converted = assert_same_outputs(
        keras.Sequential([keras.Input((6, 6, 2)), *before, layers.Conv2D(2, 3), layers.SpatialDropout2D(0.1)])
    )
    assert len(converted.spec.layers) == 1
    assert any("(RandomRotation): dropped: acts in Keras" in note for note in converted.notes)


def test_dense_layers_on_rows(keras: Any) -> None:
    """The same at each step of time: a convolution of size 1, which learns."""
    layers = keras.layers
    parts = [layers.Dense(5, activation="relu"), layers.TimeDistributed(layers.Dense(3, activation="tanh"))]
    converted = assert_same_outputs(keras.Sequential([keras.Input((8, 4)), *parts, layers.Flatten(), layers.Dense(2)]))
    assert [type(layer).__name__ for layer in converted.spec.layers].count("Conv2D") == 2
    assert all(record.trains for record in converted.spec.records if record.parameter_count)


def with_slashes(content: bytes, name: str, slashed: str) -> bytes:
    """An .h5 file of Keras 3, which allows none, with a slash in a layer's name as Keras 2 writes it."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(buffer, "w") as target:

        def copy(path: str, item: Any) -> None:
            path = path.replace(name, slashed)
            made = target.require_group(path) if isinstance(item, h5py.Group) else None
            made = made if made is not None else target.create_dataset(path, data=item[()])
            for key, value in item.attrs.items():
                names = isinstance(value, np.ndarray) and value.dtype.kind in "SO"
                made.attrs[key] = [text.replace(name, slashed) for text in value] if names else value

        source.visititems(copy)
        target.attrs["model_config"] = source.attrs["model_config"].replace(name, slashed)
    return buffer.getvalue()


def test_slashes_in_names_of_layers(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="first"), layers.Dense(3, name="one")], name="base"
    )
    model = randomize(keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="second")]))
    path = tmp_path / "model.h5"
    model.save(path)
    expected, content = convert_keras(path), path.read_bytes()
    for name, slashed in (("second", "a/b/second"), ("first", "x/one")):
        content = with_slashes(content, name, slashed)
    path.write_bytes(content)
    np.testing.assert_array_equal(convert_keras(path).weights, expected.weights)


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_beside_json(suffix: str, keras: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name, and where they lie beside it: weights alone, and a whole model that is read for its weights."""
    model, output = randomize(dense_model(keras)), tmp_path / "out.tfm"
    text, weights, folder = tmp_path / "model.json", tmp_path / f"w{suffix}", tmp_path / "both"
    text.write_text(model.to_json())
    (model.save_weights if suffix == ".weights.h5" else model.save)(weights)
    folder.mkdir()
    assert run_command(["model", "convert", str(text), "--weights", str(weights), "-o", str(output)]) == 0
    by_name = output.read_bytes()
    for path in (text, weights):
        path.rename(folder / path.name)
    assert run_command(["model", "convert", str(folder), "-o", str(output)]) == 0
    for path in (folder, folder / "model.json"):
        assert run_command(["model", "inspect", str(path)]) == 0
    expected = convert_saved(model)
    assert by_name == output.read_bytes() == encode(expected.spec, expected.weights)
    for there, back in zip(model.get_weights(), load_keras(folder).get_weights(), strict=True):
        np.testing.assert_array_equal(there, back)
    (folder / weights.name).unlink()
    capsys.readouterr()
    assert run_command(["model", "convert", str(folder / "model.json"), "-o", str(output)]) == 2
    assert "model.json: a model without one file of weights beside it; name its weights" in capsys.readouterr().err


def test_a_layer_used_twice_is_told(keras: Any) -> None:
    source = keras.Input((4,))
    twice = keras.layers.Dense(4, name="twice")
    converted = assert_same_outputs(keras.Model(source, twice(twice(source))))
    assert converted.spec.parameter_count == 2 * (4 * 4 + 4)
    assert any('"twice" (Dense): used more than once' in note for note in converted.notes)


def test_a_convolutional_network(keras: Any) -> None:
    """Residual connection, depthwise and separable convolutions, all paddings and pools, global average."""
    layers = keras.layers
    source = keras.Input((12, 10, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(source)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(max_value=6.0)(x)
    shortcut = x
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(8, 1)(x)
    x = layers.Add()([x, shortcut])
    x = layers.Activation("relu")(x)
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.SeparableConv2D(6, 2, padding="valid", activation="tanh")(x)
    x = layers.BatchNormalization()(x)
    x = layers.AveragePooling2D((1, 2), padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    converted = assert_same_outputs(keras.Model(source, layers.Dense(4, activation="softmax")(x)))
    kinds = [type(layer).__name__ for layer in converted.spec.layers]
    # Both batch normalizations behind a linear layer are folded; the one behind tanh is a scale and shift.
    assert kinds.count("ScaleShift") == 1 and "Activation" not in kinds
    assert kinds.count("Conv2D") == 3 and kinds.count("DepthwiseConv2D") == 2 and kinds.count("Add") == 1


def test_a_one_dimensional_network(keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 6)),
            layers.Conv1D(8, 5, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv1D(8, 3, padding="same"),
            layers.LeakyReLU(negative_slope=0.1),
            layers.DepthwiseConv1D(3, padding="same"),
            layers.MaxPooling1D(2),
            layers.AveragePooling1D(2),
            layers.SeparableConv1D(4, 2),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
        ]
    )
    assert_same_outputs(model)


def test_shapes_that_change(keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((48,)),
            layers.Reshape((4, 4, 3)),
            layers.Conv2D(2, 3, padding="same", activation="sigmoid"),
            layers.GlobalMaxPooling2D(keepdims=True),
            layers.Conv2D(5, 1),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    assert assert_same_outputs(model).spec.loss == "binary_cross_entropy"


def test_a_batch_normalization_at_the_input_stays_where_padding_would_see_it(keras: Any) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 6, 2)), layers.BatchNormalization(), layers.Conv2D(3, 3, padding="same")])
    converted = assert_same_outputs(model)
    assert [type(layer).__name__ for layer in converted.spec.layers] == ["ScaleShift", "Conv2D"]


def assert_inspected_alone(path: Path) -> None:
    """In under a second of CPU time, without the packages that wrote it."""
    program = (
        "import sys, time; from tinyfed_host.cli.main import run_command; code = run_command(sys.argv[1:]);"
        "found = {'tensorflow', 'keras', 'h5py'} & set(sys.modules);"
        "sys.exit(code or f'{found} {time.process_time()}' if found or time.process_time() > 1 else 0)"
    )
    command = [sys.executable, "-c", program, "model", "inspect", str(path), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    facts = json.loads(done.stdout)
    assert facts["engine"] == "float32" and facts["layers"][1]["name"] == "wide" and facts["layers"][1]["macs"] == 96


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files(suffix: str, keras: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = randomize(dense_model(keras))
    path, output = tmp_path / f"model.{suffix}", tmp_path / "model.tfm"
    model.save(path)
    capsys.readouterr()
    assert is_keras(path)
    assert run_command(["model", "convert", str(path), "-o", str(output), "--json"]) == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert facts["loss"] == "softmax_cross_entropy" and facts["layers"] == 4
    found, weights = decode(output.read_bytes())
    converted = convert_saved(model)
    assert output.read_bytes() == encode(converted.spec, converted.weights)
    assert_inspected_alone(path)
    assert found.parameter_count == len(weights)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(
    ("file_options", "array_options"),
    [
        ({}, {"compression": "gzip", "shuffle": True}),
        ({"libver": "latest"}, {}),
        ({"libver": "v108"}, {"chunks": True}),
    ],
)
def test_compressed_and_newer_files_give_the_same(
    suffix: str, file_options: dict[str, Any], array_options: dict[str, Any], keras: Any, tmp_path: Path
) -> None:
    """By the command, the image to the last byte."""
    path = tmp_path / f"model.{suffix}"
    model = randomize(dense_model(keras))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(path)
    images = []
    for _ in range(2):
        output = tmp_path / "model.tfm"
        assert run_command(["model", "convert", str(path), "-o", str(output)]) == 0
        images.append(output.read_bytes())
        if suffix == "h5":
            path.write_bytes(stored_otherwise(path.read_bytes(), file_options, array_options))
            continue
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["model.weights.h5"] = stored_otherwise(members["model.weights.h5"], file_options, array_options)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    assert images[0] == images[1]


def stored_otherwise(content: bytes, file_options: dict[str, Any], array_options: dict[str, Any]) -> bytes:
    """The same HDF5 file, written with other options."""
    buffer = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as source, h5py.File(buffer, "w", **file_options) as target:

        def copy(name: str, item: Any) -> None:
            options = array_options if getattr(item, "shape", ()) else {}
            made = target.create_group(name) if item.__class__ is h5py.Group else None
            made = made if made is not None else target.create_dataset(name, data=item[()], **options)
            made.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    return buffer.getvalue()


def test_the_compiled_loss_is_taken(keras: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "model.keras")
    assert convert_keras(tmp_path / "model.keras").spec.loss == "softmax_cross_entropy"
    assert convert_keras(tmp_path / "model.keras", "mse").spec.loss == "mse"


def test_a_saved_model(keras: Any, tmp_path: Path) -> None:
    model = randomize(dense_model(keras))
    folder = tmp_path / "saved"
    model.export(str(folder), verbose=False)
    converted = convert_keras(folder)
    inputs = np.random.default_rng(8).normal(size=(4, 4, 3)).astype(np.float32)
    assert np.abs(outputs(converted, inputs) - model(inputs, training=False).numpy()).max() < 1e-5


def refused(model: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with pytest.raises(UsageError) as caught:
            convert_keras(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_converted_is_named(keras: Any) -> None:
    layers = keras.layers

    def sequential(*parts: Any) -> Any:
        return keras.Sequential([*parts])

    message = refused(sequential(keras.Input((8,)), layers.Embedding(9, 4, name="words")))
    assert 'model.keras: layer "words" (Embedding): the engine does not have Embedding layers; look' in message
    message = refused(sequential(keras.Input((8, 3)), layers.Dense(4, activation="tanh_shrink", name="odd")))
    assert 'layer "odd" (Dense): the activation tanh_shrink; the engine has relu' in message
    message = refused(sequential(keras.Input((None, 3)), layers.Dense(3)))
    assert "has the dynamic shape [None, 3]" in message
    model = sequential(keras.Input((4,)), layers.Dense(3, dtype="float16", name="half"))
    assert 'layer "half" (Dense): weights of type float16' in refused(model)
    model = sequential(keras.Input((4,)), layers.Dense(3, name="broken"))
    model.layers[0].bias.assign([0, np.nan, 0])
    assert 'layer "broken" (Dense): weights hold NaN' in refused(model)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(UsageError, match=r"model\.keras: not a whole \.keras file: no model\.weights\.h5"):
        convert_keras(path)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_keras_gets_a_copy_of_what_was_read(suffix: str, keras: Any, tmp_path: Path) -> None:
    """Quantizing loads the model with Keras: the copy has the same weights, and a damaged file never gets there."""
    model, path = randomize(dense_model(keras)), tmp_path / f"model.{suffix}"
    model.save(path)
    for there, back in zip(model.get_weights(), load_keras(path).get_weights(), strict=True):
        np.testing.assert_array_equal(there, back)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError) as caught:
        load_keras(path)
    assert "\n" not in str(caught.value) and f"model.{suffix}" in str(caught.value)


def test_without_tensorflow_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    with pytest.raises(MissingToolError, match=r"pip install 'tinyfed\[keras\]'"):
        import_tensorflow()
