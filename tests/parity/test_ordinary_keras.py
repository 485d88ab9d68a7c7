"""Ordinary Keras models through `TFLiteConverter.from_keras_model`, in the five ways it writes them: all convert,
float32 within 1e-5 of LiteRT's reference kernels, int8 to the byte of TFLite Micro."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, require
from int8_oracle import Oracle

from tinyfed.model.convert import FloatModel, Int8Model, read_tflite
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.keras.convert import import_tensorflow
from tinyfed.model.run import check_batch, run
from tinyfed.model.tflite.file import parse

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from keras_fixture import load_keras_module
from test_convert_float import litert_outputs

try:
    import tflite_micro
except ImportError:
    tflite_micro = None

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

WAYS = ("float", "dynamic range", "int8", "int8, float ends", "int8, uint8 ends")


def residual(layers: Any, x: Any, filters: int, stride: int) -> Any:
    y = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same", use_bias=False)(y))
    short = layers.Conv2D(filters, 1, stride, padding="same")(x) if stride != 1 else x
    return layers.ReLU()(layers.Add()([short, y]))


def resnet(keras: Any) -> Any:
    layers = keras.layers
    given = keras.Input((16, 16, 3))
    x = residual(layers, layers.Conv2D(8, 3, padding="same")(given), 8, 1)
    x = layers.GlobalAveragePooling2D()(residual(layers, x, 16, 2))
    return keras.Model(given, layers.Dense(10, activation="softmax")(x))


def branches(keras: Any) -> Any:
    layers = keras.layers
    given = keras.Input((12, 12, 1))
    parts = [layers.Conv2D(4, size, padding="same", activation="relu")(given) for size in (1, 3)]
    x = layers.Flatten()(layers.MaxPooling2D()(layers.Concatenate()(parts)))
    return keras.Model(given, layers.Dense(5, activation="softmax")(x))


def chain(shape: tuple[int, ...], *names: tuple[Any, ...]) -> Callable[[Any], Any]:
    """A Sequential of (layer, its arguments, its options)."""

    def make(keras: Any) -> Any:
        made = [getattr(keras.layers, name)(*rest[:-1], **rest[-1]) for name, *rest in names]
        return keras.Sequential([keras.Input(shape), *made])

    return make


RELU, SAME, SOFTMAX = {"activation": "relu"}, {"padding": "same"}, {"activation": "softmax"}
NORM: tuple[tuple[Any, ...], ...] = (("BatchNormalization", {}), ("ReLU", {}))
MODELS: dict[str, Callable[[Any], Any]] = {
    "mlp": chain((10,), ("Dense", 16, RELU), ("Dense", 3, SOFTMAX)),
    "cnn": chain(
        (28, 28, 1), ("Conv2D", 8, 3, RELU), ("MaxPooling2D", {}), ("Conv2D", 16, 3, RELU), ("MaxPooling2D", {}),
        ("Flatten", {}), ("Dropout", 0.3, {}), ("Dense", 10, SOFTMAX),
    ),
    "normalized": chain(
        (16, 16, 3), ("Conv2D", 8, 3, SAME), *NORM, ("AveragePooling2D", 2, {}), ("Flatten", {}), ("Dense", 10, {})
    ),
    "mobilenet": chain(
        (32, 32, 3), ("Conv2D", 8, 3, 2, SAME), *NORM, ("DepthwiseConv2D", 3, SAME), *NORM, ("Conv2D", 16, 1, {}),
        ("BatchNormalization", {}), ("ReLU", 6.0, {}), ("GlobalAveragePooling2D", {}), ("Dense", 4, SOFTMAX),
    ),
    "resnet": resnet,
    "autoencoder": chain((64,), ("Dense", 32, RELU), ("Dense", 8, RELU), ("Dense", 32, RELU), ("Dense", 64, {})),
    "conv1d": chain(
        (128, 3), ("Conv1D", 8, 5, RELU), ("MaxPooling1D", 2, {}), ("Conv1D", 16, 3, RELU),
        ("GlobalAveragePooling1D", {}), ("Dense", 6, SOFTMAX),
    ),
    "conv1d flat": chain(
        (64, 3), ("Conv1D", 8, 3, SAME | RELU), ("MaxPooling1D", 4, {}), ("Flatten", {}), ("Dense", 16, RELU),
        ("Dense", 1, {"activation": "sigmoid"}),
    ),
    "reshape": chain(
        (49,), ("Reshape", (7, 7, 1), {}), ("Conv2D", 4, 3, RELU), ("Flatten", {}), ("Dense", 2, SOFTMAX)
    ),
    "ds-cnn": chain(
        (25, 10, 1), ("Conv2D", 16, (10, 4), (2, 2), SAME), *NORM, ("SeparableConv2D", 16, 3, SAME | RELU),
        ("AveragePooling2D", (13, 5), {}), ("Flatten", {}), ("Dense", 12, SOFTMAX),
    ),
    "branches": branches,
    "regression": chain((1,), ("Dense", 16, {"activation": "tanh"}), ("Dense", 16, RELU), ("Dense", 1, {})),
    "leaky": chain(
        (20, 20, 1), ("Conv2D", 6, 3, 2, {}), ("LeakyReLU", {}), ("GlobalMaxPooling2D", {}),
        ("Dense", 3, {"activation": "sigmoid"}),
    ),
}  # fmt: skip


def written(model: Any, way: str) -> bytes:
    tensorflow = import_tensorflow()
    converter = tensorflow.lite.TFLiteConverter.from_keras_model(model)
    if way != "float":
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    if way.startswith("int8"):
        samples = np.random.default_rng(1).normal(size=(50, 1, *model.input_shape[1:])).astype(np.float32)
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
        ends = {"int8": "int8", "int8, uint8 ends": "uint8"}.get(way, "float32")
        converter.inference_input_type = converter.inference_output_type = getattr(tensorflow, ends)
    return bytes(converter.convert())


@pytest.mark.parametrize("name", MODELS)
def test_every_way_of_the_converter(name: str) -> None:
    require(tflite_micro is not None, "the oracle, PyPI's tflite-micro, is not installed: run `make setup`")
    keras = load_keras_module()
    keras.utils.set_random_seed(3)
    model = MODELS[name](keras)
    rng = np.random.default_rng(5)
    for way in WAYS:
        content = written(model, way)
        parsed = parse(content, way)
        found = read_tflite(parsed)
        (source,), (result,) = parsed.input_tensors(), parsed.output_tensors()
        if way == "float":
            x = rng.normal(size=(8, *source.shape[1:])).astype(np.float32)
            ours = run(found, check_batch(found, [x], "x")).real[0].reshape(8, -1)
            theirs = litert_outputs(content, x)
            assert np.abs(ours - theirs).max() <= 1e-5 * max(np.abs(theirs).max(), 1), way
        if isinstance(found, FloatModel) or not way.startswith("int8"):
            assert not way.startswith("int8"), way
            continue
        assert isinstance(found, Int8Model)
        engine, oracle = Int8Engine(found.content), Oracle(content)
        for _ in range(8):
            real = rng.normal(size=source.shape).astype(np.float32)
            if source.dtype == "float32":
                ours_real = engine.dequantize(engine.run(engine.quantize(real[0]))[0])
                np.testing.assert_array_equal(ours_real.reshape(-1), oracle.run(real).reshape(-1), way)
                continue
            given = engine.quantize(real[0])[None]
            assert given.dtype == source.dtype and engine.outputs[0].dtype == result.dtype
            np.testing.assert_array_equal(engine.run(given[0])[0].reshape(-1), oracle.run(given).reshape(-1), way)
