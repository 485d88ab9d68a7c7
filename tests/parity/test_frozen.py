"""A trainable float32 head on a frozen int8 network: one image, one engine, the bytes of its two parts."""

import numpy as np
import pytest
from test_int8_c import network

from tinyfed import model as spec
from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import decode, encode, plan
from tinyfed.model.int8 import spec as i8
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.int8.image import encode_int8
from tinyfed.wire.order import Order


def feature_network(network: i8.Int8Network, cut: int) -> i8.Int8Network:
    """The first `cut` layers; the last one's output is the features."""
    layers = network.layers[:cut]
    return i8.Int8Network(network.tensors, layers, network.inputs, (layers[-1].output,))


def attach(network: i8.Int8Network, classes: int, hidden: tuple[int, ...] = (), cut: int = 12) -> spec.ModelSpec:
    """Dense layers on the frozen first layers of a network."""
    frozen = feature_network(network, cut)
    layers = (*(spec.Dense(units, "relu") for units in hidden), spec.Dense(classes))
    count = frozen.tensors[frozen.outputs[0]].count
    return spec.ModelSpec((count,), layers, "softmax_cross_entropy", encode_int8(frozen)[0])


def test_the_head_learns_from_the_features_of_the_frozen_network() -> None:
    """Step by step the same bits as the head alone, fed with the int8 engine's dequantized features."""
    rng = np.random.default_rng(3)
    base = network(rng)
    whole = attach(base, 5, cut=12)
    engine = Engine(encode(whole, np.zeros(whole.parameter_count, np.float32)), mode="online")
    features = Int8Engine(encode_int8(feature_network(base, 12))[0])
    head = spec.ModelSpec(whole.input_shape, whole.layers, whole.loss)
    alone = Engine(encode(head, np.zeros(head.parameter_count, np.float32)), mode="online")
    x = rng.normal(0, 1.2, (40, 9 * 7 * 3)).astype(np.float32)
    y = rng.integers(0, 5, 40).astype(np.int32)
    taken = np.stack(
        [features.dequantize(features.run(features.quantize(v.reshape(9, 7, 3)))[0]).reshape(-1) for v in x]
    )
    np.testing.assert_array_equal(engine.infer(x), alone.infer(taken))
    engine.train_online(x, y, 0.05)
    alone.train_online(taken, y, 0.05)
    assert np.abs(alone.parameters).max() > 0
    np.testing.assert_array_equal(engine.parameters, alone.parameters)


def test_an_image_with_a_frozen_network_survives_the_round_trip() -> None:
    whole = attach(network(np.random.default_rng(4)), 3)
    weights = np.arange(whole.parameter_count, dtype=np.float32)
    image = encode(whole, weights)
    found, found_weights = decode(image)
    assert found == whole
    np.testing.assert_array_equal(found_weights, weights)
    assert encode(found, found_weights) == image
    assert found.sample_shape == (9, 7, 3)


@pytest.mark.parametrize("mode", ["infer", "online", "batch_sgd", "batch_adam"])
def test_python_and_c_plan_the_same_bytes(mode: str) -> None:
    whole = attach(network(np.random.default_rng(5)), 4)
    image = encode(whole, np.zeros(whole.parameter_count, np.float32))
    assert plan(whole, mode).arena_bytes == Engine(image, mode=mode).arena_bytes


def test_a_damaged_frozen_network_is_named() -> None:
    whole = attach(network(np.random.default_rng(6)), 2)
    broken = spec.ModelSpec(whole.input_shape, whole.layers, whole.loss, whole.frozen)
    object.__setattr__(broken, "frozen", b"NOPE" + whole.frozen[4:])
    with pytest.raises(UsageError, match="bytes of another kind"):
        Engine(encode(broken, np.zeros(broken.parameter_count, np.float32)))


def test_a_head_of_another_size_is_refused() -> None:
    whole = attach(network(np.random.default_rng(7)), 2)
    with pytest.raises(UsageError, match="features"):
        spec.ModelSpec((11,), (spec.Dense(2),), "softmax_cross_entropy", whole.frozen)


def test_a_visit_trains_the_head_like_any_other_model() -> None:
    """A device with raw samples and the whole model ends with the bits of one with features and the head alone."""
    rng = np.random.default_rng(8)
    base = network(rng)
    whole = attach(base, 3, hidden=(6,), cut=12)
    head = spec.ModelSpec(whole.input_shape, whole.layers, whole.loss)
    features = Int8Engine(encode_int8(feature_network(base, 12))[0])
    raw = [rng.normal(c, 1, (12, 9 * 7 * 3)).astype(np.float32) for c in range(3)]
    made = [np.stack([features.dequantize(features.run(features.quantize(v))[0]).reshape(-1) for v in c]) for c in raw]
    weights = rng.normal(0, 0.3, whole.parameter_count).astype(np.float32)
    order = Order("shard", ways=3, shots=6, queries=3, seed=9, learning_rate=0.05, checkpoints=(0, 6))
    outcomes = []
    for model, samples in ((whole, raw), (head, made)):
        device = SimulatedDevice("dut", shard=write_shard(samples))
        device.load(encode(model, weights))
        outcomes.append(device.visit(None, order, want_weights=True))
    assert outcomes[0].weights == outcomes[1].weights != weights.tobytes()
    assert outcomes[0].result.checkpoints == outcomes[1].result.checkpoints
