"""Strategies: their arithmetic, their state, what they ask for. The learning itself is in test_meta_learning.py."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reference_draw import encode_shard

from tinyfed import meta, tasks
from tinyfed.data.shard import read_shard
from tinyfed.errors import UsageError
from tinyfed.meta import simulate
from tinyfed.meta.adaptation import adaptation, orders
from tinyfed.meta.strategy import (
    Array,
    Assignment,
    Reply,
    State,
    Streams,
    check_layers,
    falling,
    pick,
    takes_late,
)
from tinyfed.meta.transfer import pool, transfer
from tinyfed.model import encode, initialize, mlp
from tinyfed.random import SplitMix64, derive_seed
from tinyfed.tasks.task import Client
from tinyfed.weights import Weights
from tinyfed.wire.order import Order, Result

ORDER = Order("shard", ways=3, shots=4, queries=0, seed=0, learning_rate=0.05)
SPEC = mlp(2, (5,), 3, loss="softmax_cross_entropy")
RESULT = Result(12, 1.0, 0.5, 0, 0, 0, ())


def f32(*values: float) -> Array:
    return np.array(values, np.float32)


def clients(count: int = 3) -> list[Client]:
    return [Client(f"c{i}", lambda i=i: encode_shard([9 + i, 9, 12, 10])) for i in range(count)]  # type: ignore[misc]


def test_tinyreptile_moves_a_share_of_the_way_and_anneals_it() -> None:
    """alpha_t = 0.5 * (1 - t / 4). From phi = (1, 2):

    t = 0: alpha 0.5, phi' = (3, 0)  -> (1 + 0.5 * 2, 2 - 0.5 * 2) = (2, 1)
    t = 1: alpha 0.375, phi' = (4, 1) -> (2 + 0.375 * 2, 1) = (2.75, 1)
    t = 4: alpha 0                    -> unchanged
    """
    strategy = meta.make("tinyreptile", ORDER, 4, alpha=0.5)
    state = strategy.begin(f32(1, 2), seed=9)
    state = strategy.aggregate(state, [Reply("a", RESULT, f32(3, 0))])
    assert state.weights.array.tolist() == [2.0, 1.0] and state.round == 1
    state = strategy.aggregate(state, [Reply("a", RESULT, f32(4, 1))])
    assert state.weights.array.tolist() == [2.75, 1.0]
    last = strategy.aggregate(replace(state, round=4), [Reply("a", RESULT, f32(9, 9))])
    assert last.weights.array.tolist() == [2.75, 1.0]
    assert state.weights.array.dtype == np.float32


def test_late_answers_count_less_the_older_they_are() -> None:
    """Samples count (1 + age)^-staleness each. "a" answers at once, "b" 3 rounds late, so b's 8 samples count:

    staleness 0.5: 8 * 4^-0.5 = 4; with 12 of a's the shares are 0.75, 0.25: 0.75 (4, 0) + 0.25 (8, 4) = (5, 1)
    staleness 1:   8 * 4^-1 = 2; with 14 of a's they are 0.875, 0.125: 0.875 (4, 0) + 0.125 (8, 4) = (4.5, 0.5)
    staleness 0:   8; with 8 of a's they are 0.5, 0.5: (6, 2)
    """
    for staleness, samples, expected in ((0.5, 12, [5.0, 1.0]), (1.0, 14, [4.5, 0.5]), (0.0, 8, [6.0, 2.0])):
        strategy = meta.make("fedavg", ORDER, 4, staleness=staleness)
        now = Reply("a", replace(RESULT, samples=samples), f32(4, 0))
        late = Reply("b", replace(RESULT, samples=8), f32(8, 4), age=3)
        state = strategy.aggregate(strategy.begin(f32(9, 9), seed=9), [now, late])
        assert state.weights.array.tolist() == expected, staleness


def test_only_who_says_so_gets_late_answers() -> None:
    """FedAvg with late = "use"; a strategy that says nothing of it gets none."""
    wanted = {name: takes_late(meta.make(name, ORDER, 4)) for name in meta.names()}
    assert wanted == dict.fromkeys(meta.names(), False)
    assert takes_late(meta.make("fedavg", ORDER, 4, late="use"))
    assert not takes_late(meta.make("fedavg", ORDER, 4, late="drop"))


def test_one_layer_must_be_shared() -> None:
    """Of three layers with parameters two may stay on the devices."""
    for count, sizes in ((0, [5]), (1, [5, 5]), (2, [5, 5, 5])):
        check_layers(meta.make("tinymetafed", ORDER, 4, local_layers=count), sizes)
    for count, sizes in ((1, [5]), (2, [5, 5]), (3, [5, 5])):
        said = f"local_layers = {count}: the model has {len(sizes)} layers with parameters: leave one that is shared"
        with pytest.raises(UsageError, match=said):
            check_layers(meta.make("tinymetafed", ORDER, 4, local_layers=count), sizes)


@pytest.mark.parametrize("name", ["tinyreptile", "joint"])
def test_serial_strategies_go_to_one_device_a_round(name: str) -> None:
    strategy = meta.make(name, ORDER, 4)
    state = strategy.begin(f32(1, 2), seed=9)
    chosen = [strategy.select(replace(state, round=number), ["a", "b", "c"]) for number in range(30)]
    assert {len(devices) for devices in chosen} == {1}
    assert {device for (device,) in chosen} == {"a", "b", "c"}
    assert strategy.select(state, []) == ()


def test_tinyreptile_computes_in_float32() -> None:
    """phi + alpha * (phi' - phi) with each operation rounded differs from the rounded exact value in some places."""
    rng = np.random.default_rng(3)
    phi, trained = rng.normal(size=(2, 100)).astype(np.float32)
    strategy = meta.make("tinyreptile", ORDER, 10, alpha=0.3)
    state = strategy.aggregate(strategy.begin(phi, 1), [Reply("a", RESULT, trained)])
    f = np.float32
    assert state.weights.array.tolist() == [float(p + f(0.3) * (q - p)) for p, q in zip(phi, trained, strict=True)]
    exact = phi.astype(float) + float(f(0.3)) * (trained.astype(float) - phi.astype(float))
    assert state.weights.array.tolist() != exact.astype(f).tolist()


def test_joint_passes_the_model_on_after_one_sample_a_class() -> None:
    strategy = meta.make("joint", replace(ORDER, shots=10, checkpoints=(1, 5)), 3)
    state = strategy.begin(f32(1, 2), seed=9)
    order = strategy.configure(state, "a").order
    assert (order.shots, order.passes, order.checkpoints) == (1, 1, (1,))
    assert strategy.aggregate(state, [Reply("a", RESULT, f32(3, 4))]).weights.array.tolist() == [3.0, 4.0]


def test_reptile_moves_towards_the_mean_of_its_devices() -> None:
    """From phi = (1, 2), alpha_0 = 0.5, devices of 12 and 4 samples at (3, 0) and (7, 4): their mean is
    (0.75 * 3 + 0.25 * 7, 0.25 * 4) = (4, 1), and phi becomes (1 + 0.5 * 3, 2 - 0.5 * 1) = (2.5, 1.5)."""
    strategy = meta.make("reptile", ORDER, 4, alpha=0.5, devices=2, passes=3, batch=6, update="adam_second")
    state = strategy.begin(f32(1, 2), seed=9)
    replies = [Reply("a", RESULT, f32(3, 0)), Reply("b", replace(RESULT, samples=4), f32(7, 4))]
    assert strategy.aggregate(state, replies).weights.array.tolist() == [2.5, 1.5]
    orders_ = [strategy.configure(state, device).order for device in ("a", "b")]
    assert orders_[0].seed != orders_[1].seed
    assert [(o.passes, o.batch, o.update, o.shots) for o in orders_] == [(3, 6, "adam_second", 4)] * 2
    assert len(strategy.select(state, ["a", "b", "c"])) == 2


def test_federated_averaging_takes_the_mean() -> None:
    """The same replies: w becomes (4, 1), wherever it was."""
    replies = [Reply("a", RESULT, f32(3, 0)), Reply("b", replace(RESULT, samples=4), f32(7, 4))]
    for name, expected in (
        ("fedavg", {"passes": 2, "batch": 5, "proximal": 0.0}),
        ("fedprox", {"passes": 2, "batch": 5, "proximal": 0.25}),
        ("fedsgd", {"passes": 1, "batch": 0, "proximal": 0.0}),
    ):
        options: dict[str, Any] = {} if name == "fedsgd" else {"passes": 2, "batch": 5}
        options |= {"mu": 0.25} if name == "fedprox" else {}
        strategy = meta.make(name, replace(ORDER, passes=9), 4, **options)
        state = strategy.begin(f32(1, 2), seed=9)
        order = strategy.configure(state, "a").order
        assert {key: getattr(order, key) for key in expected} == expected and order.update == "sgd"
        assert strategy.aggregate(state, replies).weights.array.tolist() == [4.0, 1.0]
        assert strategy.name == name


def test_fomaml_with_adam_on_the_server() -> None:
    """Adam's first step is alpha * g / (|g| + epsilon): alpha in every direction that is not 0. The last two stay 0."""
    strategy = meta.make("fomaml", ORDER, 4, alpha=0.5, server="adam", zero_last=2)
    state = strategy.begin(f32(1, 2, 3, 4), seed=9)
    assert state.weights.array.tolist() == [1, 2, 0, 0]
    descent = f32(-4, 2, 1, 1)
    after = strategy.aggregate(state, [Reply("a", RESULT, descent)])
    np.testing.assert_allclose(after.weights.array, [0.5, 2.5, 0, 0], rtol=1e-5)
    # beta 0.9 and 0.999: the moments are 0.1 g and 0.001 g**2
    np.testing.assert_allclose(after.slots["first"], 0.1 * descent, rtol=1e-6)
    np.testing.assert_allclose(after.slots["second"], 0.001 * descent**2, rtol=1e-4)
    resumed = State.restore(after.document(), after.arrays())
    one, other = (strategy.aggregate(state, [Reply("b", RESULT, -descent)]) for state in (after, resumed))
    assert one.weights.array.tobytes() == other.weights.array.tobytes()
    # alpha is 0.5 * 3 / 4; first = 0.09 g - 0.1 g = -0.01 g over 1 - 0.81, second is g**2: 0.375 * 0.01 / 0.19 back
    np.testing.assert_allclose(
        (one.weights.array - after.weights.array)[:2], 0.375 * 0.01 / 0.19 * f32(1, -1), rtol=1e-3
    )
    assert strategy.aggregate(after, []).weights.array.tobytes() == after.weights.array.tobytes()
    with pytest.raises(UsageError, match="zero_last = 5"):
        meta.make("fomaml", ORDER, 4, zero_last=5).begin(f32(1, 2, 3, 4), seed=9)


def test_fomaml_steps_along_what_devices_send() -> None:
    """Devices send minus the gradient. alpha_0 = 0.5, mean (4, 1) as above: (1 + 0.5 * 4, 2 + 0.5 * 1) = (3, 2.5)."""
    strategy = meta.make("fomaml", ORDER, 4, alpha=0.5, queries=3)
    state = strategy.begin(f32(1, 2), seed=9)
    replies = [Reply("a", RESULT, f32(3, 0)), Reply("b", replace(RESULT, samples=4), f32(7, 4))]
    assert strategy.aggregate(state, replies).weights.array.tolist() == [3.0, 2.5]
    order = strategy.configure(state, "a").order
    assert order.meta_gradient and (order.queries, order.update) == (3, "sgd")
    alone = meta.make("fomaml", ORDER, 4, passes=3, zero_last=1, local_last=1)
    order = alone.configure(alone.begin(f32(1, 2), seed=9), "a").order
    assert order.zero_local and order.keep_local and (order.local_last, order.reconstruct) == (1, 3 * ORDER.shots)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("reptile", {"alpha": 2.0}, "alpha = 2.0"),
        ("reptile", {"devices": 0}, "devices = 0"),
        ("reptile", {"passes": 0}, "passes = 0"),
        ("reptile", {"update": "online"}, "update = .online.: has no batches: set batch to 0, not 10"),
        ("reptile", {"update": "lamb"}, 'update = "lamb"'),
        ("fedprox", {"mu": -1.0}, "mu = -1.0"),
        ("fedsgd", {"passes": 2}, "fedsgd: passes: no such key; allowed: devices, late, liars, robust, staleness"),
        ("fedavg", {"batch": -1}, "batch = -1"),
        ("fomaml", {"queries": 0}, "queries = 0"),
        ("fomaml", {"server": "rms"}, 'server = "rms": must be one of "sgd", "adam"'),
        ("fomaml", {"zero_last": -1}, "zero_last = -1"),
        ("fomaml", {"local_last": 1}, "local_last = 1: needs zero_last"),
    ],
)
def test_options_out_of_range_are_named(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        meta.make(name, ORDER, 4, **options)


def test_minus_zero_is_zero_for_fedprox() -> None:
    strategy = meta.make("fedprox", ORDER, 4, mu=-0.0)
    order = strategy.configure(strategy.begin(f32(1, 2), seed=9), "a").order
    assert math.copysign(1.0, order.proximal) == 1.0


WRONG = {bool: (1, "yes"), int: (-1, 0.5, True, "x", None), float: (math.nan, math.inf, -1.0, 1e9, "x"), str: ("x", 3)}


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (name, option, value)
        for name in meta.names()
        for option, default in {"rounds": 1, **meta.options(name)}.items()
        for value in WRONG[type(default)]
    ],
)
def test_no_option_takes_what_is_out_of_its_range_or_kind(name: str, option: str, value: object) -> None:
    chosen = {"rounds": 3, option: value}
    with pytest.raises(UsageError, match=f"(?s)^strategy.*{option} = |^order: {option} = ") as caught:
        meta.make(name, ORDER, **chosen)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", meta.names())
def test_a_round_without_an_answer_keeps_the_weights_and_counts(name: str) -> None:
    strategy = meta.make(name, ORDER, 3)
    state = strategy.begin(f32(1, 2), seed=9)
    after = strategy.aggregate(state, [])
    assert after.round == 1 and after.weights.array.tolist() == [1.0, 2.0]
    assert strategy.select(state, []) == ()


@pytest.mark.parametrize("name", meta.names())
def test_a_run_resumed_from_its_stored_state_gives_the_same_bits(name: str) -> None:
    weights = initialize(SPEC, 1)
    strategy = meta.make(name, ORDER, 12)
    devices = simulate.make_devices(clients(), encode(SPEC, weights))
    whole = simulate.run(strategy, devices, strategy.begin(weights, 5))
    half = simulate.run(strategy, devices, strategy.begin(weights, 5), rounds=5)
    document = json.loads(json.dumps(half.document()))
    again = State.restore(document, half.arrays())
    assert again.round == 5
    resumed = simulate.run(meta.make(name, ORDER, 12), devices, again)
    assert resumed.arrays() == whole.arrays() and resumed.document() == whole.document()
    assert whole.weights.array.tobytes() != weights.tobytes()


def test_a_damaged_state_is_told() -> None:
    state = State(1, 2, f32(1), {"moment": f32(2)})
    arrays = state.arrays()
    del arrays["moment"]
    with pytest.raises(UsageError, match="'moment' is missing"):
        State.restore(state.document(), arrays)


def test_the_choice_comes_from_seed_and_round() -> None:
    state = State(7, 3, f32())
    names = ["a", "b", "c", "d", "e"]
    drawn = SplitMix64(derive_seed(7, 3, 0)).sequence(2, 5)
    assert pick(state, names, 2) == tuple(names[i] for i in drawn)
    assert len(set(pick(state, names, 9))) == 5
    seen = {pick(replace(state, round=t), names, 1)[0] for t in range(40)}
    assert seen == set(names)
    order = meta.make("tinyreptile", ORDER, 5).configure(state, "a").order
    assert order == replace(ORDER, seed=derive_seed(7, 3, 1))


def test_a_falling_rate() -> None:
    """0.8 * (1 - t / 4) for t = 0..5."""
    expected = [np.float32(0.8 * max(0.0, 1 - t / 4)) for t in range(6)]
    assert [falling(0.8, t, 4) for t in range(6)] == expected and expected[4] == expected[5] == 0


def test_strategies_are_found_by_name_with_their_options() -> None:
    assert {"joint", "tinyreptile"} <= set(meta.names())
    assert meta.options("tinyreptile") == {"alpha": 0.3}
    with pytest.raises(UsageError, match="'reptil' is unknown, allowed are"):
        meta.make("reptil", ORDER, 1)
    with pytest.raises(UsageError, match="beta: no such key; allowed: alpha"):
        meta.make("tinyreptile", ORDER, 1, beta=1)
    for alpha in (0.0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="alpha"):
            meta.make("tinyreptile", ORDER, 1, alpha=alpha)
    with pytest.raises(UsageError, match="rounds = 0"):
        meta.make("joint", ORDER, 0)


def test_adaptation_has_the_same_draws_for_every_initialization() -> None:
    order = replace(ORDER, queries=2, checkpoints=(0, 1, 4))
    listed = list(orders(order, clients(), 4, seed=3))
    assert len(listed) == 12 and len({each.seed for _, _, each in listed}) == 12
    one = adaptation(encode(SPEC, initialize(SPEC, 1)), clients(), order, draws=4, seed=3)
    assert one.accuracy.shape == (3, 4, 3) and one.shots == (0, 1, 4)
    device = simulate.make_devices(clients(), encode(SPEC, initialize(SPEC, 1)))["c1"]
    expected = device.visit(None, listed[5][2], want_weights=False).result  # c1's draw 1
    assert one.accuracy[1, 1].tolist() == [point.accuracy for point in expected.checkpoints]
    assert one.by_shots()[4] == pytest.approx(one.accuracy[:, :, 2].mean())
    assert one.loss_by_shots()[0] == pytest.approx(one.loss[:, :, 0].mean())


def test_the_pool_holds_every_sample_under_its_label() -> None:
    pooled = read_shard(pool(clients()))
    assert [len(c) for c in pooled.classes] == [9 + 10 + 11, 27, 36, 30]
    for label, samples in enumerate(pooled.classes):
        assert set(samples[:, 0]) == {float(label)}
    with pytest.raises(UsageError, match="no stored samples"):
        pool(tasks.get("sine").train)
    with pytest.raises(UsageError, match="same features"):
        pool([*clients(1), Client("x", lambda: encode_shard([3, 3, 3, 3], 3))])


def test_transfer_keeps_the_layers_and_starts_the_last_at_zero() -> None:
    """2-5-3: the first layer has 2 * 5 + 5 = 15 parameters, the last 5 * 3 + 3 = 18."""
    weights = transfer(SPEC, clients(), seed=3, learning_rate=0.01, passes=2)
    first = initialize(mlp(2, (5,), 4, loss="softmax_cross_entropy"), 3)[:15]
    assert weights.shape == (33,) and not weights[15:].any()
    assert weights[:15].any() and weights[:15].tolist() != first.tolist()


def test_each_clients_stream_goes_on_where_its_last_visit_ended() -> None:
    """5 samples of each class a visit; an order that is not in time keeps its draw."""
    in_time = Assignment(Weights.of(b"\0" * 8), Order("shard", 2, 5, 0, 1, 0.01, in_time=True))
    drawn = replace(in_time, order=replace(in_time.order, in_time=False))
    streams = Streams()
    assert streams.placed(in_time, "anna") is in_time
    for _ in range(2):
        streams.ended(streams.placed(in_time, "anna").order, "anna")
    streams.ended(drawn.order, "bert")
    assert streams.placed(in_time, "anna").order == replace(in_time.order, start=10)
    assert streams.placed(in_time, "bert").order.start == 0
    assert streams.placed(drawn, "anna") is drawn
    assert streams.document() == {"anna": 10}
    again = Streams()
    again.restore({"anna": 2**32 - 3})
    last = again.placed(in_time, "anna").order
    again.ended(last, "anna")
    assert (last.start, again.document()) == (2**32 - 3, {"anna": 2})


def test_options_left_out_are_those_of_the_page() -> None:
    """docs/experiment.md names them."""
    plain, near = meta.fedavg.FedAvg(ORDER, 1), meta.fedavg.FedProx(ORDER, 1)
    assert (plain.devices, plain.batch, plain.passes, plain.staleness, plain.late) == (4, 10, 1, 0.5, "drop")
    assert near.mu == 0.1
