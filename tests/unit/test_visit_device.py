"""The simulated device: visits with the real engine, and what it says when something does not fit."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from reference_draw import draw, encode_shard, nth

from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine import Engine, sin
from tinyfed.errors import DeviceError, DoesNotFitError, TinyfedError, UsageError
from tinyfed.model import encode, initialize, mlp, plan
from tinyfed.wire.order import Order

SPEC = mlp(2, (8,), 3, loss="softmax_cross_entropy")
WEIGHTS = initialize(SPEC, 5)
IMAGE = encode(SPEC, WEIGHTS)
COUNTS = [9, 12, 8, 10]
ORDER = Order("shard", ways=3, shots=4, queries=2, seed=77, learning_rate=0.05, checkpoints=(0, 1, 4))


def device(**changes: object) -> SimulatedDevice:
    made = SimulatedDevice("dut", **{"shard": encode_shard(COUNTS), **changes})  # type: ignore[arg-type]
    made.load(IMAGE)
    return made


def test_a_visit_is_the_engine_over_the_specified_stream() -> None:
    """The plain draw of the tests, fed to the bare engine sample by sample, ends with the visit's bits."""
    outcome = device().visit(None, ORDER, want_weights=True)
    engine = Engine(IMAGE)
    train, evaluate = draw(COUNTS, ORDER.seed, 3, 4, 2)
    losses, corrects = [], []
    judged = np.array([(c, i) for c, i, _ in evaluate], np.float32), np.array([label for _, _, label in evaluate])
    for step in range(len(train) + 1):
        if step in (0, 3, 12):
            corrects.append(engine.evaluate(*judged)[1])
        if step < len(train):
            c, i, label = train[step]
            losses += engine.train_online(np.array([[c, i]], np.float32), np.array([label]), 0.05).tolist()
    assert outcome.weights == engine.parameters.tobytes()
    assert [point.correct for point in outcome.result.checkpoints] == corrects
    assert [point.count for point in outcome.result.checkpoints] == [6, 6, 6]
    assert outcome.result.samples == 12
    first = np.float32(0)
    for loss in losses[:3]:
        first += np.float32(loss)
    assert np.float32(outcome.result.loss_first) == first / np.float32(3)


def test_a_sine_visit_makes_the_specified_samples() -> None:
    spec = mlp(1, (4,), 1, "tanh")
    image = encode(spec, initialize(spec, 1))
    made = SimulatedDevice("sine")
    made.load(image)
    order = Order("sine", 1, 5, 3, 99, 0.02, (0, 10), passes=2)
    outcome = made.visit(None, order, want_weights=True)

    def unit(n: int) -> np.float32:
        return np.float32((nth(99, n) >> 40) * 2.0**-24)

    f = np.float32
    amplitude, phase = f(0.1) + f(4.9) * unit(0), f(6.2831855) * unit(1)

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = f(10) * unit(2 + n) - f(5)
        return np.array([[x]], f), np.array([[amplitude * f(sin(x + phase))]], f)

    engine = Engine(image)
    before = f(0)
    for n in (5, 6, 7):
        before += engine.evaluate(*sample(n))[0][0]
    for n in [0, 1, 2, 3, 4] * 2:
        engine.train_online(*sample(n), 0.02)
    assert outcome.weights == engine.parameters.tobytes()
    assert f(outcome.result.checkpoints[0].loss) == before / f(3)
    assert outcome.result.checkpoints[0].correct == 0


def test_the_same_visit_gives_the_same_bits_and_evaluation_changes_none() -> None:
    one = device().visit(None, ORDER, want_weights=True)
    again = device().visit(WEIGHTS.tobytes(), ORDER, want_weights=True)
    silent = device().visit(None, replace(ORDER, checkpoints=(), queries=0), want_weights=True)
    other = device().visit(None, replace(ORDER, seed=78), want_weights=True)
    assert one.weights == again.weights == silent.weights != other.weights
    assert one.result == again.result


def test_weights_stay_on_the_device_until_others_are_sent() -> None:
    made = device()
    first = made.visit(WEIGHTS.tobytes(), ORDER, want_weights=False)
    assert first.weights is None
    second = made.visit(None, ORDER, want_weights=True)
    assert second.weights == device().visit(
        device().visit(None, ORDER, want_weights=True).weights, ORDER, want_weights=True
    ).weights  # fmt: skip


def test_it_says_who_it_is() -> None:
    made = SimulatedDevice("a", shard=encode_shard(COUNTS), arena_bytes=10_000)
    assert (made.info.board, made.info.structure_hash) == ("simulated", 0)
    assert (made.info.feature_count, made.info.class_count, made.info.arena_bytes) == (2, 4, 10_000)
    made.load(IMAGE)
    assert made.info.structure_hash and made.info.weights_hash
    assert made.info.unique_id != SimulatedDevice("b").info.unique_id
    int(made.info.unique_id, 16)


def test_memory_is_known_to_the_byte() -> None:
    """3 ways x (2 + 4 + 2) indices of 2 bytes are 48 bytes beside the plan."""
    needed = plan(SPEC).arena_bytes
    device(arena_bytes=needed + 48).visit(None, ORDER, want_weights=False)
    with pytest.raises(DoesNotFitError, match="16 bytes short"):
        device(arena_bytes=needed + 32).visit(None, ORDER, want_weights=False)
    with pytest.raises(DoesNotFitError, match="16 bytes short"):
        device(arena_bytes=needed - 16)


@pytest.mark.parametrize(
    ("changes", "order", "error", "said"),
    [
        ({"shard": None}, {}, DeviceError, "no shard"),
        ({"shard": encode_shard([9, 12])}, {}, DeviceError, "too small.*3 classes"),
        ({}, {"shots": 7}, DeviceError, "too small.*7 samples to learn from and 2 to judge on"),
        ({}, {"shots": 8, "queries": 0}, DeviceError, "too small.*at least 1 to judge"),
        ({}, {"ways": 2}, DeviceError, "does not fit.*2 classes"),
        ({"shard": encode_shard(COUNTS, 3)}, {}, DeviceError, "does not fit.*3 features"),
        ({}, {"source": "sine", "ways": 1}, DeviceError, "does not fit"),
    ],
)
def test_an_order_that_does_not_fit_says_why(
    changes: dict[str, object], order: dict[str, object], error: type[TinyfedError], said: str
) -> None:
    made = device(**changes)
    with pytest.raises(error, match=said) as caught:
        made.visit(None, replace(ORDER, **order), want_weights=False)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    if changes == {}:  # the device goes on
        made.visit(WEIGHTS.tobytes(), ORDER, want_weights=False)


def test_a_loss_that_explodes_ends_the_visit() -> None:
    spec = mlp(1, (), 1)
    made = SimulatedDevice("hot")
    made.load(encode(spec, initialize(spec, 1)))
    with pytest.raises(DeviceError, match="hot: the loss is no longer a finite number: lower the learning rate"):
        made.visit(None, Order("sine", 1, 100, 1, 5, 1000.0, (100,)), want_weights=True)


def test_exactly_enough_samples_are_enough() -> None:
    device().visit(None, replace(ORDER, shots=6), want_weights=False)
    device().visit(None, replace(ORDER, shots=7, queries=0), want_weights=False)


def test_damaged_bytes_are_refused() -> None:
    shard = bytearray(encode_shard(COUNTS))
    shard[-1] ^= 1
    with pytest.raises(UsageError, match=r"dut.*shard is refused.*checksum"):
        device(shard=bytes(shard))
    image = bytearray(IMAGE)
    image[-1] ^= 1
    with pytest.raises(UsageError, match=r"dut.*model is refused.*checksum"):
        SimulatedDevice("dut").load(bytes(image))
    with pytest.raises(DeviceError, match="load a model"):
        SimulatedDevice("dut", shard=encode_shard(COUNTS)).visit(None, ORDER, want_weights=False)
    with pytest.raises(DeviceError, match=r"dut"):
        device().visit(b"1234", ORDER, want_weights=False)


def test_a_visit_can_be_cancelled_and_the_interpreter_runs_on_meanwhile() -> None:
    made = device(shard=write_shard([np.ones((1000, 2)) * c for c in range(3)]))
    long = replace(ORDER, shots=900, passes=255, checkpoints=(), learning_rate=1e-6)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(1000):
                made.visit(None, long, want_weights=False)
        except DeviceError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < deadline:  # a cancel between two visits is forgotten
        made.cancel()
        time.sleep(0.001)
    thread.join(timeout=1)
    assert not thread.is_alive() and "given up" in str(raised[0])
    made.visit(WEIGHTS.tobytes(), replace(ORDER, shots=5), want_weights=False)


@pytest.mark.parametrize("wrong", [-1.0, 2.0, 3e38])
def test_a_target_that_is_no_class_ends_the_visit(wrong: float) -> None:
    targets = np.array([[0.0], [1.0], [1.5], [wrong]])
    spec = mlp(2, (), 2, loss="softmax_cross_entropy")
    device = SimulatedDevice("wrong", shard=write_shard([np.zeros((4, 2))], targets))
    device.load(encode(spec, initialize(spec, 1)))
    order = Order("shard", 1, 3, 0, seed=1, learning_rate=0.1, in_time=True)
    assert device.visit(None, order, want_weights=False).result.samples == 3
    with pytest.raises(DeviceError, match="outside its range"):
        device.visit(None, order.started_at(1), want_weights=False)
