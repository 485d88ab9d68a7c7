"""What version 2 of the order asks of a device: batches, optimizers, the proximal term, the meta-gradient, labels."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from reference_draw import arrays, draw, encode_shard

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine import Engine
from tinyfed.engine.core import Optimizer
from tinyfed.errors import DeviceError, DoesNotFitError
from tinyfed.model import encode, initialize, mlp, plan
from tinyfed.wire.order import UPDATES, Order

SPEC = mlp(2, (8,), 3, "tanh", loss="softmax_cross_entropy")
WEIGHTS = initialize(SPEC, 5)
IMAGE = encode(SPEC, WEIGHTS)
COUNTS = [9, 12, 8, 10]
ORDER = Order("shard", ways=3, shots=4, queries=2, seed=77, learning_rate=0.05)


def visit(order: Order, counts: list[int] = COUNTS) -> np.ndarray:
    device = SimulatedDevice("dut", shard=encode_shard(counts))
    device.load(IMAGE)
    weights = device.visit(None, order, want_weights=True).weights
    assert weights is not None
    return np.frombuffer(weights, "<f4")


@pytest.mark.parametrize("update", [name for name in UPDATES if name != "online"])
@pytest.mark.parametrize("batch", [5, 0])
def test_batches_are_the_engines(update: str, batch: int) -> None:
    """12 samples a pass in batches of 5: 5, 5, 2, and again; with batch 0 all 12 at once."""
    order = replace(ORDER, update=update, batch=batch, passes=2)
    train, _ = draw(COUNTS, order.seed, 3, 4, 2, passes=2)
    engine = Engine(IMAGE, f"batch_{update}")
    optimizer = Optimizer(0.05, momentum=0.9, beta1=0.9, beta2=0.999, epsilon=1e-8)
    cuts = [0, 5, 10, 12, 17, 22, 24] if batch else [0, 12, 24]
    for begin, end in itertools.pairwise(cuts):
        engine.train_batch(*arrays(train[begin:end]), optimizer)
    assert visit(order).tobytes() == engine.parameters.tobytes()


def test_the_proximal_term_pulls_back_after_each_update() -> None:
    """w -= (rate * mu) * (w - w0), in float32, after each sample."""
    train, _ = draw(COUNTS, ORDER.seed, 3, 4, 2)
    engine = Engine(IMAGE)
    step = np.float32(0.05) * np.float32(0.7)
    for sample in train:
        engine.train_online(*arrays([sample]), 0.05)
        weights = engine.parameters
        engine.parameters = weights - step * (weights - WEIGHTS)
    trained = visit(replace(ORDER, proximal=0.7))
    assert trained.tobytes() == engine.parameters.tobytes()
    assert np.linalg.norm(trained - WEIGHTS) < np.linalg.norm(visit(ORDER) - WEIGHTS)


def test_the_meta_gradient_is_that_of_the_queries_at_the_trained_weights() -> None:
    order = replace(ORDER, update="sgd", batch=3, meta_gradient=True)
    train, queries = draw(COUNTS, ORDER.seed, 3, 4, 2)
    engine = Engine(IMAGE, "batch_sgd")
    for begin in range(0, 12, 3):
        engine.train_batch(*arrays(train[begin : begin + 3]), Optimizer(0.05))
    before = engine.parameters.astype(np.float64)
    engine.train_batch(*arrays(queries), Optimizer(0.5))
    expected = (engine.parameters - before) / 0.5  # minus the gradient
    np.testing.assert_allclose(visit(order), expected, atol=1e-6)


def test_true_labels_and_time_order() -> None:
    order = replace(ORDER, ways=3, true_labels=True, in_time=True, checkpoints=(4,))
    counts = COUNTS[:3]
    train, queries = draw(counts, ORDER.seed, 3, 4, 2, flags=3)
    assert all(c == label for c, _, label in train) and {i for _, i, _ in train} == {0, 1, 2, 3}
    assert {i for _, i, _ in queries} == {4, 5}
    engine = Engine(IMAGE)
    engine.train_online(*arrays(train), 0.05)
    assert visit(order, counts).tobytes() == engine.parameters.tobytes()
    with pytest.raises(DeviceError, match="does not fit"):
        visit(order, COUNTS)  # 4 classes, 3 outputs


def test_each_update_needs_the_memory_of_its_plan() -> None:
    """The arena holds the plan of the order's mode, 48 bytes of indices, and for the proximal term a copy of the
    weights; 16 bytes less are refused, and the device still takes an online order."""
    copy = -(-4 * SPEC.parameter_count // 16) * 16
    for update, mode in (("sgd", "batch_sgd"), ("adam", "batch_adam")):
        for proximal, extra in ((0.0, 0), (0.1, copy)):
            needed = plan(SPEC, mode).arena_bytes + 48 + extra
            order = replace(ORDER, update=update, proximal=proximal)
            for arena_bytes, fits in ((needed, True), (needed - 16, False)):
                device = SimulatedDevice("dut", shard=encode_shard(COUNTS), arena_bytes=arena_bytes)
                device.load(IMAGE)
                if fits:
                    device.visit(None, order, want_weights=False)
                else:
                    with pytest.raises(DoesNotFitError, match="16 bytes short"):
                        device.visit(None, order, want_weights=False)
                device.visit(WEIGHTS.tobytes(), ORDER, want_weights=False)


def test_online_needs_less_than_half_of_what_batches_need_beside_the_weights() -> None:
    """The memory a stored support set and a gradient buffer take is TinyReptile's point."""
    spec = mlp(120, (32, 32), 4, loss="softmax_cross_entropy")
    online, batch = plan(spec, "online"), plan(spec, "batch_sgd")
    assert 2 * (online.arena_bytes - online.parameter_bytes) < batch.arena_bytes - batch.parameter_bytes
