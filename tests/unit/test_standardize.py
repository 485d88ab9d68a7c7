"""Running mean and variance of a model's input: the arithmetic, the window, and what strategies make of them."""

import numpy as np
import pytest

from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine import Engine, Optimizer
from tinyfed.errors import ImageError, UsageError
from tinyfed.meta.fedavg import FedAvg
from tinyfed.meta.fomaml import FOMAML
from tinyfed.meta.strategy import Reply, State
from tinyfed.meta.tinyreptile import TinyReptile
from tinyfed.model import MODES, Dense, ModelSpec, Standardize, decode, encode, initialize, plan
from tinyfed.wire.order import Order

F32 = np.float32
COUNT = 5


def spec(window: int = 1024) -> ModelSpec:
    return ModelSpec((COUNT,), (Standardize(window), Dense(3)), "softmax_cross_entropy")


def root(x: np.ndarray) -> np.ndarray:
    """Newton's method of docs/numerics.md, in float32."""
    y = ((x.view(np.uint32) >> 1) + 0x1FBD1DF5).astype(np.uint32).view(F32)
    for _ in range(3):
        y = F32(0.5) * (y + x / y)
    return y


def update(mean: np.ndarray, variance: np.ndarray, count: F32, x: np.ndarray, window: int) -> tuple:
    """The formulas of docs/numerics.md, one float32 operation after another."""
    count = min(count + F32(1) if count > 0 else F32(1), F32(window))
    before = x - mean
    mean = mean + before * (F32(1) / count)
    variance = variance + (before * (x - mean) - variance) * (F32(1) / (count + F32(1)))
    return mean, variance, count


def samples(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(3, [0.1, 1, 2, 5, 40], (count, COUNT)).astype(F32), rng.integers(0, 3, count)


@pytest.mark.parametrize("window", [2, 7, 1024])
def test_the_arithmetic_is_the_documented_one_to_the_bit(window: int) -> None:
    x, y = samples(np.random.default_rng(1), 30)
    model = spec(window)
    engine = Engine(encode(model, initialize(model, 0)), "online")
    mean, variance, count = np.zeros(COUNT, F32), np.ones(COUNT, F32), F32(0)
    for k in range(30):
        engine.train_online(x[k : k + 1], y[k : k + 1], 0.01)
        mean, variance, count = update(mean, variance, count, x[k], window)
        expected = np.concatenate([mean, variance, [count]])
        np.testing.assert_array_equal(engine.parameters[: 2 * COUNT + 1], expected)
    assert count == min(30, window)
    weights, bias = np.split(engine.parameters[2 * COUNT + 1 :], [3 * COUNT])
    logits = np.array(bias)
    for value, row in zip((x[0] - mean) / root(variance), weights.reshape(COUNT, 3), strict=True):
        logits = logits + value * row
    np.testing.assert_array_equal(engine.infer(x[:1])[0], logits)


def test_it_is_welfords_mean_and_variance() -> None:
    x, y = samples(np.random.default_rng(2), 500)
    model = spec()
    engine = Engine(encode(model, initialize(model, 0)), "online")
    engine.train_online(x, y, 0.0)
    mean, variance = engine.parameters[:COUNT], engine.parameters[COUNT : 2 * COUNT]
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=1e-5)
    # the variance 1 it began with counts as one sample
    np.testing.assert_allclose(variance, (500 * x.var(axis=0, dtype=np.float64) + 1) / 501, rtol=1e-4)


def test_training_in_batches_takes_samples_in_evaluation_and_inference_do_not() -> None:
    x, y = samples(np.random.default_rng(3), 12)
    model = spec()
    engine = Engine(encode(model, initialize(model, 0)), "batch_sgd")
    before = engine.parameters
    engine.evaluate(x, y)
    engine.infer(x)
    np.testing.assert_array_equal(engine.parameters, before)
    engine.train_batch(x, y, Optimizer(0.01))
    online = Engine(encode(model, before), "online")
    online.train_online(x, y, 0.0)
    np.testing.assert_array_equal(engine.parameters[: 2 * COUNT + 1], online.parameters[: 2 * COUNT + 1])
    assert engine.parameters[2 * COUNT] == 12


@pytest.mark.parametrize("statistics", [0.0, -1.0, -3e38])
def test_statistics_that_an_aggregation_spoilt_recover(statistics: float) -> None:
    """A variance or count that is not above 0 gives finite outputs, and the first sample starts anew."""
    x, y = samples(np.random.default_rng(4), 40)
    model = spec()
    weights = initialize(model, 0)
    weights[COUNT : 2 * COUNT + 1] = statistics
    engine = Engine(encode(model, weights), "online")
    assert np.isfinite(engine.infer(x)).all()
    engine.train_online(x[:1], y[:1], 0.0)
    assert engine.parameters[2 * COUNT] == 1
    np.testing.assert_array_equal(engine.parameters[:COUNT], x[0])


@pytest.mark.parametrize("mode", list(MODES))
def test_python_and_c_plan_the_same_bytes(mode: str) -> None:
    model = spec()
    image = encode(model, initialize(model, 0))
    assert plan(model, mode).arena_bytes == Engine(image, mode).arena_bytes
    assert decode(image)[0] == model


def test_what_does_not_fit_is_refused() -> None:
    for layers, reason in (
        ((Dense(3), Standardize(), Dense(3)), "layer 1 .*put the layer first"),
        ((Standardize(1), Dense(3)), "window 1 must be"),
        ((Standardize(2**24 + 1), Dense(3)), "window 16777217 must be"),
    ):
        with pytest.raises(UsageError, match=reason):
            ModelSpec((COUNT,), layers, "softmax_cross_entropy")


@pytest.mark.parametrize(
    ("field", "value"), [(1, b"\1"), (2, b"\2"), (3, b"\1"), (12, b"\1"), (28, b"\0\0\x80\x3f"), (28, b"\0\0\xc0\x7f")]
)
def test_the_loader_refuses_every_field_that_has_no_meaning(field: int, value: bytes) -> None:
    """Activation, flags, mode, kernel, and a window of 1 or NaN, in a record with right checksums."""
    from tinyfed.engine import hash64
    from tinyfed.model.image import HASH_AT, HEADER_BYTES, STRUCTURE_AT, _seal

    model = spec()
    image = bytearray(encode(model, initialize(model, 0)))
    image[HEADER_BYTES + field : HEADER_BYTES + field + len(value)] = value
    end = int.from_bytes(image[24:28], "little")
    image[HASH_AT : HASH_AT + 8] = hash64(bytes(image[STRUCTURE_AT:end])).to_bytes(8, "little")
    _seal(image)
    with pytest.raises(ImageError) as caught:
        Engine(bytes(image), "infer")
    assert caught.value.offset == HEADER_BYTES + field


def device(seed: int) -> SimulatedDevice:
    rng = np.random.default_rng(seed)
    classes = [rng.normal(k, 1 + seed, (10, COUNT)).astype(F32) for k in range(3)]
    return SimulatedDevice(f"d{seed}", shard=write_shard(classes))


def replies(strategy: FedAvg | TinyReptile | FOMAML, state: State) -> list[Reply]:
    model, found = spec(), []
    for number in (1, 2):
        one = device(number)
        one.load(encode(model, initialize(model, 0)))
        assignment = strategy.configure(state, one.name)
        outcome = one.visit(assignment.weights, assignment.order, want_weights=True)
        found.append(Reply(one.name, outcome.result, outcome.weights))
    return found


ORDER = Order("shard", ways=3, shots=4, queries=2, seed=1, learning_rate=0.01)


def test_federated_averaging_averages_the_statistics() -> None:
    """Two devices of 12 samples each: the mean of their means, variances and counts, as of every weight."""
    strategy = FedAvg(ORDER, rounds=3)
    state = strategy.begin(initialize(spec(), 0), 5)
    came = replies(strategy, state)
    after = strategy.aggregate(state, came).weights.array[: 2 * COUNT + 1]
    both = np.stack([reply.weights.array[: 2 * COUNT + 1] for reply in came if reply.weights is not None])
    assert (both[:, -1] == 12).all() and after[-1] == 12
    np.testing.assert_allclose(after, both.mean(axis=0), rtol=1e-6)


def test_tinyreptile_moves_the_statistics_as_the_weights() -> None:
    """phi + alpha (phi' - phi): after the first visit of 12 samples at alpha 0.5 the count is 6."""
    strategy = TinyReptile(ORDER, rounds=10**6, alpha=0.5)
    state = strategy.begin(initialize(spec(), 0), 5)
    after = strategy.aggregate(state, replies(strategy, state)[:1]).weights.array
    assert after[2 * COUNT] == pytest.approx(6)


def test_a_meta_gradient_leaves_the_statistics() -> None:
    strategy = FOMAML(ORDER, rounds=10)
    state = strategy.begin(initialize(spec(), 0), 5)
    after = strategy.aggregate(state, replies(strategy, state)).weights.array
    np.testing.assert_array_equal(after[: 2 * COUNT + 1], state.weights.array[: 2 * COUNT + 1])
    assert not np.array_equal(after, state.weights.array)
