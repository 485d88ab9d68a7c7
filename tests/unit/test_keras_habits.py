"""Models as people write them (`keras_habits`), by Keras 3 and tf-keras, in every form: they convert, and the engine
gives what Keras predicts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require
from keras_fixture import load_keras_module
from keras_habits import HABITS, REFUSED

from tinyfed.errors import UsageError
from tinyfed.model.convert import FloatModel, Model, read_model
from tinyfed.model.run import check_batch, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

TOLERANCE = 1e-5  # of the largest output, or of 1
SAVED_MODELS = ("mlp", "lenet", "unet", "temporal_convolutions", "mixer_with_layer_normalization", "squeeze_and_excite")


@pytest.fixture(scope="module", params=["keras 3", "tf-keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    found = load_keras_module()
    if request.param == "tf-keras":
        try:
            import tf_keras as found
        except ImportError:
            require(False, "tf-keras is not installed: run `make setup`")
        found.utils.set_random_seed(1)
    return found


def built(name: str, keras: Any) -> Any:
    """The model with weights that no rule can ignore: biases that are not 0, variances that are not 1."""
    model = HABITS[name](keras)
    rng = np.random.default_rng(7)
    fixed = {
        id(weight) for layer in model.layers if type(layer).__name__ == "Normalization" for weight in layer.weights
    }
    for weight in model.weights:
        if id(weight) not in fixed and "float32" in str(weight.dtype):
            positive = "variance" in weight.name or "gamma" in weight.name
            weight.assign(rng.uniform(0.5 if positive else -0.5, 1.5 if positive else 0.5, weight.shape))
    return model


def assert_same_outputs(model: Any, converted: Model) -> None:
    rng = np.random.default_rng(8)
    inputs = [rng.normal(size=(3, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    theirs = model(inputs if len(inputs) > 1 else inputs[0], training=False)
    theirs = theirs if isinstance(theirs, list | tuple) else [theirs]
    ours = run(converted, check_batch(converted, inputs, "x")).real
    for mine, other in zip(ours, theirs, strict=True):
        expected = other.numpy().reshape(mine.shape)
        assert np.abs(mine - expected).max() <= TOLERANCE * max(np.abs(expected).max(), 1)


def test_the_generator_is_large_enough() -> None:
    assert len(HABITS) >= 58 and len(HABITS) - len(REFUSED) >= 55 and REFUSED.keys() <= HABITS.keys()


@pytest.mark.parametrize("name", HABITS)
def test_a_habit(name: str, keras: Any, tmp_path: Path) -> None:
    """Both files give the same, which is what Keras predicts."""
    model = built(name, keras)
    paths = [tmp_path / f"model.{suffix}" for suffix in ("keras", "h5")]
    for path in paths:
        model.save(path)
    if name in REFUSED:
        for path in paths:
            with pytest.raises(UsageError, match=REFUSED[name]):
                read_model(path)
        return
    converted = [read_model(path) for path in paths]
    assert converted[0].content == converted[1].content
    assert_same_outputs(model, converted[0])


@pytest.mark.parametrize("name", SAVED_MODELS)
def test_a_saved_model(name: str, tmp_path: Path) -> None:
    model = built(name, load_keras_module())
    model.export(str(tmp_path / "saved"), verbose=False)
    assert_same_outputs(model, read_model(tmp_path / "saved"))


def test_a_saved_model_that_tensorflow_cannot_convert_says_what_to_save(tmp_path: Path) -> None:
    """Of recurrent layers a SavedModel holds a loop."""
    built("lstm", load_keras_module()).export(str(tmp_path / "saved"), verbose=False)
    with pytest.raises(UsageError, match=r"saved: TensorFlow cannot convert.*; save the model as \.keras or \.h5"):
        read_model(tmp_path / "saved")


@pytest.mark.parametrize(
    ("name", "learning"),
    [("unet", 1), ("inverted_residual", 4), ("dense_on_a_sequence", 3), ("mobilenet_block_with_zero_padding", 3)],
)
def test_what_a_gradient_reaches_learns(name: str, learning: int, tmp_path: Path) -> None:
    """Chains of the engine's layers learn whole, else what lies behind the last operator that cannot."""
    built(name, load_keras_module()).save(tmp_path / "model.keras")
    converted = read_model(tmp_path / "model.keras")
    assert isinstance(converted, FloatModel)
    weighted = [record for record in converted.spec.records if record.parameter_count]
    assert len(weighted) >= learning and all(record.trains for record in weighted)


def test_a_picture_with_the_channels_first_is_refused(tmp_path: Path) -> None:
    keras = load_keras_module()
    layers = keras.layers
    first = {"data_format": "channels_first"}
    parts = [layers.ZeroPadding2D(1, **first), layers.Conv2D(2, 3, **first)]
    for part in parts:
        keras.Sequential([keras.Input((3, 8, 8)), part]).save(tmp_path / "model.keras")
        with pytest.raises(UsageError, match=r'channels_first; build the model with data_format="channels_last"'):
            read_model(tmp_path / "model.keras")
