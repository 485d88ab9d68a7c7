"""Layers, losses and optimizers against TensorFlow's autodiff; training of 100 steps against Keras."""

from typing import Any

import keras_twin
import numpy as np
import pytest
from conftest import ROOT
from keras_fixture import load_keras_module
from tinyfed_host.bench.nets import SPECS
from tinyfed_host.experiment import toml
from tinyfed_host.experiment.model import read_model

from tinyfed.engine import Engine, Optimizer
from tinyfed.model import (
    Activation,
    Add,
    AveragePool,
    Conv1D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    ModelSpec,
    Reshape,
    ScaleShift,
    encode,
    initialize,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

ALL = ("relu", "tanh", "relu6", "leaky_relu", "sigmoid", "linear")
PICTURE = (7, 6, 3)
LAYERS = {
    **{f"dense-{name}": ((5,), (Dense(9, name), Dense(3))) for name in ALL},
    "conv-valid": (PICTURE, (Conv2D(5, 3, activation="relu"), Dense(3))),
    "conv-same-stride": (PICTURE, (Conv2D(9, (3, 2), (2, 1), "same", "tanh"), Dense(3))),
    "conv-twice": (PICTURE, (Conv2D(8, 3, activation="relu"), Conv2D(4, 2, 2, "same"), Dense(3))),
    "conv1d": ((12, 2), (Conv1D(6, 3, 2, "same", "relu"), Conv1D(4, 2), Dense(3))),
    "depthwise": (PICTURE, (Conv2D(4, 1), DepthwiseConv2D(3, 2, "same", "relu6"), Dense(3))),
    "max-pool": (PICTURE, (Conv2D(4, 2, activation="tanh"), MaxPool(2), Dense(3))),
    "max-pool-same": (PICTURE, (Conv2D(4, 2), MaxPool(3, 2, "same"), Dense(3))),
    "average-pool": (PICTURE, (Conv2D(4, 2, activation="relu"), AveragePool(2, 1), Dense(3))),
    "average-pool-same": (PICTURE, (Conv2D(4, 2), AveragePool(3, 2, "same"), Dense(3))),
    "global-average": (PICTURE, (Conv2D(6, 3, activation="relu"), GlobalAveragePool(), Dense(3))),
    "residual": (PICTURE, (Conv2D(4, 1), Conv2D(4, 3, padding="same", activation="relu"), Add(1, "relu"), Dense(3))),
    "scale-shift": (PICTURE, (Conv2D(4, 2, use_bias=False), ScaleShift("leaky_relu"), Flatten(), Dense(3))),
    "reshape": ((12,), (Dense(12, "sigmoid"), Reshape((2, 3, 2)), Conv2D(3, 2), Activation("tanh"), Dense(3))),
}
LOSSES = ("mse", "softmax_cross_entropy", "binary_cross_entropy")


@pytest.fixture(scope="module")
def keras() -> Any:
    return load_keras_module()


def samples(spec, count, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *spec.input_shape)).astype(np.float32)
    outputs = spec.output_shape[-1]
    if spec.loss == "softmax_cross_entropy":
        return x, rng.integers(0, outputs, count)
    y = rng.normal(size=(count, outputs)) if spec.loss == "mse" else rng.integers(0, 2, (count, outputs))
    return x, y.astype(np.float32)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_are_those_of_autodiff(keras, name, loss):
    import tensorflow as tf

    shape, layers = LAYERS[name]
    spec = ModelSpec(shape, layers, loss)
    weights = np.random.default_rng(len(name)).normal(size=spec.parameter_count).astype(np.float32) / 2
    model = keras_twin.twin(keras, spec, weights)
    x, y = samples(spec, 4)
    with tf.GradientTape() as tape:
        value = keras_twin.loss_of(keras, spec)(y, model(x))
    expected = keras_twin.flat(tape.gradient(value, model.trainable_weights))
    engine = Engine(encode(spec, weights), "batch_sgd")
    losses = engine.train_batch(x, y, Optimizer(1.0))
    np.testing.assert_allclose(losses.mean(), float(value), rtol=1e-5, atol=1e-6)
    # The rate is 1: the change is the gradient, less half a unit of the weight's last place.
    change = weights - engine.parameters
    np.testing.assert_allclose(change, expected, rtol=1e-4, atol=2e-6 * max(1.0, np.abs(expected).max()))


def examples() -> dict[str, ModelSpec]:
    """The networks of the example experiments that name their layers, and the benchmark nets."""
    found = dict(SPECS)
    for path in sorted((ROOT / "examples").glob("*.toml")):
        table = toml.read(path).table("model")
        if "layers" in table.values:  # head.toml starts from an image that its reader converts
            found[path.stem] = read_model(table).spec
    return found | {"head": ModelSpec((64,), (Dense(10),), "softmax_cross_entropy")}


EXAMPLES = examples()


def trajectory(keras, spec, optimizer, batch, x, y):
    """Keras' losses of each step and its weights at the end."""
    model = keras_twin.twin(keras, spec, initialize(spec, 1))
    model.compile(optimizer=optimizer, loss=keras_twin.loss_of(keras, spec), jit_compile=False)
    steps = [model.train_on_batch(x[k : k + batch], y[k : k + batch]) for k in range(0, len(x), batch)]
    return np.array([float(np.ravel(value)[0]) for value in steps]), keras_twin.flat(model.get_weights())


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_hundred_online_steps_follow_keras(keras, name):
    spec = EXAMPLES[name]
    x, y = samples(spec, 100)
    losses, weights = trajectory(keras, spec, keras.optimizers.SGD(0.01), 1, x, y)
    engine = Engine(encode(spec, initialize(spec, 1)))
    np.testing.assert_allclose(engine.train_online(x, y, 0.01), losses, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(engine.parameters, weights, rtol=1e-3, atol=2e-5)


OPTIMIZERS = {
    "batch_sgd": ({"learning_rate": 0.01, "weight_decay": 0.1}, "SGD", {}),
    "batch_momentum": ({"learning_rate": 0.01, "momentum": 0.8}, "SGD", {}),
    "batch_adam": ({"learning_rate": 0.01, "weight_decay": 0.1}, "Adam", {"epsilon": 1e-7}),
    "batch_adam_second": ({"learning_rate": 0.01}, "Adam", {"beta_1": 0.0, "epsilon": 1e-7}),
}


@pytest.mark.parametrize("clip_norm", [0.0, 0.1])
@pytest.mark.parametrize("mode", OPTIMIZERS)
def test_a_hundred_batches_follow_keras(keras, mode, clip_norm):
    ours, kind, more = OPTIMIZERS[mode]
    spec = EXAMPLES["mlp-tanh"]
    x, y = samples(spec, 400)
    options = {**ours, **more, **({"global_clipnorm": clip_norm} if clip_norm else {})}
    losses, weights = trajectory(keras, spec, getattr(keras.optimizers, kind)(**options), 4, x, y)
    engine = Engine(encode(spec, initialize(spec, 1)), mode)
    optimizer = Optimizer(**ours, clip_norm=clip_norm)
    told = [engine.train_batch(x[k : k + 4], y[k : k + 4], optimizer).mean() for k in range(0, 400, 4)]
    np.testing.assert_allclose(told, losses, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(engine.parameters, weights, rtol=1e-3, atol=5e-5)
