"""Many visits in one call: the bits of the same visits one by one, and the same complaints."""

from dataclasses import replace

import numpy as np
import pytest
from reference_draw import encode_shard

from tinyfed import meta
from tinyfed.errors import DeviceError, DivergedError, DoesNotFitError, UsageError
from tinyfed.meta import simulate
from tinyfed.model import encode, initialize, mlp
from tinyfed.tasks.task import Client
from tinyfed.weights import Weights
from tinyfed.wire.order import Order, Result

ORDER = Order("shard", ways=3, shots=4, queries=2, seed=0, learning_rate=0.05, checkpoints=(0, 4))
SPEC = mlp(2, (5,), 3, loss="softmax_cross_entropy")
WEIGHTS = Weights.of(initialize(SPEC, 1))
IMAGE = encode(SPEC, WEIGHTS)
CLIENTS = [Client(f"c{i}", lambda i=i: encode_shard([9 + i, 9, 12, 10])) for i in range(9)]  # type: ignore[misc]
THREADS = (1, 2, 3, 8)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(
    "changes", [{}, {"update": "adam", "batch": 2, "passes": 2}, {"in_time": True, "start": 70_000}]
)
def test_visits_of_one_call_are_those_of_the_devices(threads: int, changes: dict[str, object]) -> None:
    fleet = simulate.Fleet(CLIENTS, IMAGE, threads=threads)
    order = replace(ORDER, **changes)  # type: ignore[arg-type]
    seeds = np.array([2**64 - 1, *range(40)], np.uint64)
    devices = np.array([8, *np.arange(40) % 7])
    for _ in range(2):  # an arena's second visits too
        visits = fleet.visit(WEIGHTS, order, seeds, devices=devices)
        assert visits.weights is not None and visits.weights.shape == (41, SPEC.parameter_count)
        for row, trained, seed, number in zip(visits.results, visits.weights, seeds, devices, strict=True):
            one = fleet[f"c{number}"].visit(WEIGHTS, order.with_seed(int(seed)), want_weights=True)
            assert one.weights == trained.tobytes()
            result = Result.decode(row.tobytes()[: 32 + 16 * int(row["checkpoint_count"])])
            assert result == one.result and result.arena_bytes == one.result.arena_bytes
            assert row["checkpoints"]["loss"][:2].tolist() == [point.loss for point in result.checkpoints]
    judged = fleet.visit(WEIGHTS, order, seeds, devices=devices, want_weights=False)
    assert judged.weights is None and judged.results.tobytes() == visits.results.tobytes()


@pytest.mark.parametrize("name", ["fedavg", "reptile", "fomaml", "tinymetafed"])
def test_a_run_has_the_same_bits_for_any_number_of_threads(name: str) -> None:
    strategy = meta.make(name, replace(ORDER, checkpoints=()), 6, devices=7)
    alone = simulate.run(strategy, dict(simulate.Fleet(CLIENTS, IMAGE)), strategy.begin(WEIGHTS.array, 5))
    for threads in THREADS:
        fleet = simulate.Fleet(CLIENTS, IMAGE, threads=threads)
        state = simulate.run(strategy, fleet, strategy.begin(WEIGHTS.array, 5))
        assert state.arrays() == alone.arrays() and state.weights != WEIGHTS


@pytest.mark.parametrize("threads", THREADS)
def test_the_first_visit_that_fails_is_told_as_its_device_tells_it(threads: int) -> None:
    few = [*CLIENTS[:5], Client("few", lambda: encode_shard([9, 3, 9, 9])), Client("none")]
    fleet = simulate.Fleet(few, IMAGE, threads=threads)
    with pytest.raises(DeviceError, match="device few: its shard is too small"):
        fleet.visit(WEIGHTS, ORDER, range(70))
    with pytest.raises(DivergedError, match="device c1"):
        fleet.visit(Weights.of(np.full_like(WEIGHTS.array, np.nan)), ORDER, range(6), devices=[1, 2, 3, 4, 0, 2])
    assert fleet.visit(WEIGHTS, ORDER, range(5)).results["samples"].tolist() == [12] * 5  # and it goes on


def test_what_a_fleet_cannot_do_is_told() -> None:
    with pytest.raises(DoesNotFitError, match="device c0: the arena of 256 bytes"):
        simulate.Fleet(CLIENTS, IMAGE, arena_bytes=256)
    with pytest.raises(UsageError, match="device bad: its shard is refused"):
        simulate.Fleet([*CLIENTS, Client("bad", lambda: b"no shard")], IMAGE)
    with pytest.raises(UsageError, match=r"threads = 0: must be a whole number, 1..256"):
        simulate.Fleet(CLIENTS, IMAGE, threads=0)
    fleet = simulate.Fleet(CLIENTS, IMAGE)
    for devices in ([9], [-1], [0, 1]):
        with pytest.raises(UsageError, match=r"fleet: devices: must be a number of a device, 0..8"):
            fleet.visit(WEIGHTS, ORDER, [1], devices=devices)
    with pytest.raises(UsageError, match="visit the devices one by one"):
        fleet.visit(WEIGHTS, replace(ORDER, top=100), [1])
    with pytest.raises(DeviceError, match="the order does not fit"):
        fleet.visit(Weights(b"1234"), ORDER, [1])
    assert fleet.visit(WEIGHTS, ORDER, []).results.size == 0
    assert len(simulate.Fleet([], IMAGE)) == 0
