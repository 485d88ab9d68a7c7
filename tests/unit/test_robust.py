"""What a few poisoned answers can do: rules that make one of a round's answers, and the bound on an update."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from liar import LyingSlot, honest
from test_visit_line import IMAGE, ORDER, SHARD, WEIGHTS
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.experiment.schema import RoundSection
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.run.coordinator import Coordinator
from tinyfed_host.run.store import METRICS, RunHeader, RunStore
from virtual_clock import VirtualClock

from tinyfed import meta
from tinyfed.device import Device, VisitOutcome
from tinyfed.errors import UsageError
from tinyfed.meta.robust import (
    FACTOR,
    RULES,
    UpdateBound,
    combined,
    geometric_median,
    krum,
    median,
    squared_norm,
    trimmed_mean,
)
from tinyfed.meta.strategy import Array, Reply, Strategy
from tinyfed.weights import Weights
from tinyfed.wire.order import Order, Result


def rows(*values: tuple[float, ...]) -> list[Array]:
    return [np.array(each, np.float32) for each in values]


# ---- rules --------------------------------------------------------------------------------------------


def test_the_median_is_of_each_weight() -> None:
    """Of (1, 5), (2, 4), (900, -900): 2 and 4. With (3, 3) besides: (2 + 3) / 2 and (3 + 4) / 2."""
    three = rows((1, 5), (2, 4), (900, -900))
    assert median(three).tolist() == [2.0, 4.0]
    assert median([*three, *rows((3, 3))]).tolist() == [2.5, 3.5]
    assert median(rows((7, 8))).tolist() == [7.0, 8.0]


def test_the_trimmed_mean_leaves_the_ends_out() -> None:
    """Of 1, 2, 4, 900 without 1 and 900: 3. Of -900, 1, 2, 6, 900 without two at each end: 2. Of two rows none can
    be left out: their mean."""
    assert trimmed_mean(rows((1,), (900,), (4,), (2,)), 1).tolist() == [3.0]
    assert trimmed_mean(rows((1,), (900,), (-900,), (2,), (6,)), 2).tolist() == [2.0]
    assert trimmed_mean(rows((1,), (5,)), 1).tolist() == [3.0]
    assert trimmed_mean(rows((1,), (5,), (6,)), 0).tolist() == [4.0]


def test_krum_takes_the_one_with_the_nearest_neighbours() -> None:
    """n = 5, 1 liar: the 2 nearest count. Points 0, 1, 3, 4.5, 100: scores 1 + 9, 1 + 4, 4 + 2.25, 2.25 + 12.25,
    ...: the second is the least. Without a liar the 3 nearest do: 1 + 9 + 20.25, 1 + 4 + 12.25, 4 + 2.25 + 9, ...: the
    third."""
    points = rows((0,), (1,), (3,), (4.5,), (100,))
    assert krum(points, 1) == 1
    assert krum(points, 0) == 2
    assert krum(rows((5,)), 1) == 0
    assert krum(rows((5,), (6,)), 1) == 0  # equal: the first


def test_the_geometric_median_is_the_point_of_least_distance() -> None:
    """Of the corners of a triangle with a large angle (here 152 degrees) it is that corner; of a line's points,
    weighted by samples, the weighted median; far away a point pulls no harder than near by."""
    corner = geometric_median(rows((0, 0), (4, 1), (-4, 1)), [1, 1, 1])
    np.testing.assert_allclose(corner, [0, 0], atol=2e-3)
    assert abs(geometric_median(rows((1,), (2,), (9e3,)), [1, 5, 1])[0] - 2) < 1e-3
    near = geometric_median(rows((0, 0), (1, 0), (0, 1), (30, 30)), [1, 1, 1, 1])
    far = geometric_median(rows((0, 0), (1, 0), (0, 1), (3e4, 3e4)), [1, 1, 1, 1])
    np.testing.assert_allclose(near, far, atol=1e-2)
    # the sum of distances is no less a little way off, in any direction
    points = np.array([(0, 0), (1, 0), (0, 1), (30, 30)], np.float64)

    def total(at: Any) -> float:
        return float(np.linalg.norm(points - at, axis=1).sum())

    for angle in np.linspace(0, 2 * np.pi, 16):
        assert total(near + 0.01 * np.array([np.cos(angle), np.sin(angle)])) > total(near) - 1e-6


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_equal_rows_is_the_row_in_float32(rule: str) -> None:
    row = np.random.default_rng(3).normal(0, 1, 50).astype(np.float32)
    found = combined([row] * 5, [4, 4, 4, 4, 4], rule, 1)
    assert found.dtype == np.float32 and found.shape == row.shape
    np.testing.assert_allclose(found, row, rtol=1e-6)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "mean"])
@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedsgd", "reptile", "fomaml", "tinymetafed"])
def test_two_liars_of_eight_move_a_robust_strategy_no_further_than_the_honest_spread(rule: str, strategy: str) -> None:
    order = Order("shard", ways=3, shots=4, queries=0, seed=0, learning_rate=0.05)
    options = {"alpha": 1.0} if strategy in ("reptile", "fomaml", "tinymetafed") else {}
    made = meta.make(strategy, order, 10, devices=8, robust=rule, liars=2, **options)
    random = np.random.default_rng(1)
    state = made.begin(np.zeros(20, np.float32), 1)
    sent = [random.normal(1, 0.1, 20).astype(np.float32) for _ in range(6)] + [np.full(20, -1e6, np.float32)] * 2
    result = Result(12, 1.0, 0.5, 0, 0, 0, ())
    after = made.aggregate(state, [Reply(str(number), result, row) for number, row in enumerate(sent)])
    honest_rows = np.stack(sent[:6])
    assert (after.weights.array <= honest_rows.max(axis=0) + 1e-3).all()
    assert (after.weights.array >= honest_rows.min(axis=0) - 0.1).all()


def test_a_rule_needs_enough_devices() -> None:
    for rule, liars, devices in (("krum", 1, 4), ("krum", 2, 6), ("trimmed_mean", 2, 4)):
        with pytest.raises(UsageError, match=f"fedavg: devices = {devices}: {rule} needs {devices + 1} devices"):
            meta.make("fedavg", ORDER, 3, devices=devices, robust=rule, liars=liars)
        meta.make("fedavg", ORDER, 3, devices=devices + 1, robust=rule, liars=liars)
    with pytest.raises(UsageError, match='must be one of "mean", "median"'):
        meta.make("reptile", ORDER, 3, robust="media")


# ---- the bound ----------------------------------------------------------------------------------------


def test_a_round_is_judged_by_its_own_median() -> None:
    """Of 1, 2, 3, 500 the median is 2.5: up to 25 is taken."""
    assert FACTOR == 10
    bound = UpdateBound("auto")
    assert bound.judge([1, 500, 2, 3]) == [
        "", "its update's norm is 500, more than 10 times the round's median of 2.5 (round.max_update)", "", "",
    ]  # fmt: skip
    assert bound.judge([1, 25, 2, 3]) == ["", "", "", ""]
    assert not any(bound.judge([0, 0, 5]))  # most did nothing: that says nothing
    assert bound.document() == [1, 2, 3, 1, 25, 2, 3, 0, 0, 5]


def test_one_device_a_round_is_judged_by_the_runs_median() -> None:
    bound = UpdateBound("auto")
    assert not any(reason for _ in range(8) for reason in bound.judge([2.0]))
    resumed = UpdateBound("auto")
    resumed.restore(json.loads(json.dumps(bound.document())))
    for one in (bound, resumed):
        assert one.judge([20.5]) == [
            "its update's norm is 20.5, more than 10 times the run's median of 2 (round.max_update)"
        ]
        assert one.judge([20.0]) == [""]


def test_half_of_the_weights_norm_is_always_taken() -> None:
    """Median 0.03: ten times it is 0.3; half of the weights' norm of 6 is 3."""
    assert UpdateBound("auto").judge([0.03, 0.02, 0.04, 3.0], 6.0) == [""] * 4
    *taken, refused = UpdateBound("auto").judge([0.03, 0.02, 0.04, 3.01], 6.0)
    assert taken == [""] * 3 and "norm is 3.01" in refused
    assert UpdateBound(0.5).judge([0.6], 6.0) != [""]


def test_a_number_and_off() -> None:
    assert UpdateBound(3.5).judge([3.5, 3.6]) == ["", "its update's norm is 3.6, more than 3.5 (round.max_update)"]
    assert UpdateBound("off").judge([1, 1, 1, 1e30]) == ["", "", "", ""]


class Poisoner:
    """A real device but for the weights that it sends."""

    def __init__(self, device: Device, change: Callable[[Array], Array]) -> None:
        self._device = device
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def visit(self, *arguments: Any, **named: Any) -> VisitOutcome:
        outcome = self._device.visit(*arguments, **named)
        assert outcome.weights is not None
        return dataclasses.replace(outcome, weights=Weights.of(self._change(outcome.weights.array)))


class PoisonedSlot(LyingSlot):
    def connect(self, data: bytes | None) -> Device:
        device: Any = Poisoner(super().connect(data), lambda weights: np.float32(-50) * weights)
        return device  # type: ignore[no-any-return]


def go(folder: Path, strategy: Strategy, liars: int, devices: int, *parts: int, **rules: Any) -> tuple[float, str, str]:
    """Norm and hash of the weights after a run, by parts of so many rounds in all, and what the folder tells."""
    header = RunHeader("r", {}, IMAGE, "2026-01-01T00:00:00+00:00", "")
    with RunStore.create(folder, header) as store:
        for rounds in parts or (strategy.rounds,):
            kinds = [PoisonedSlot] * liars + [LyingSlot] * (devices - liars)
            fleet = Fleet([kind(device_id(number), SHARD, honest) for number, kind in enumerate(kinds)])
            with fleet:
                section = RoundSection(retries=0, retry_after=0, **rules)
                coordinator = Coordinator(strategy, fleet, store, IMAGE, section, clock=VirtualClock())
                snapshot = store.snapshot()
                state = (
                    strategy.begin(WEIGHTS, 1)
                    if snapshot is None
                    else coordinator.restore(snapshot.document, snapshot.arrays)
                )
                end = coordinator.run(state, rounds=rounds)
        last = store.snapshot()
    assert last is not None
    weights = Weights.of(last.arrays["weights"]).array
    return squared_norm(weights) ** 0.5, end.weights_sha256, (folder / METRICS).read_text()


def test_a_liar_of_four_is_refused_and_the_others_learn_as_without_it(tmp_path: Path) -> None:
    """-50 times its weights from one of four: the mean is (3 - 50) / 4 of them, -11.75 times, a round."""
    strategy = meta.make("fedavg", ORDER, 3, devices=4)
    off, _, _ = go(tmp_path / "off", strategy, 1, 4, max_update="off")
    norm, _, told = go(tmp_path / "auto", strategy, 1, 4)
    begun = squared_norm(WEIGHTS) ** 0.5
    assert off > 100 * begun and norm < 2 * begun
    for line in told.splitlines():
        entry = json.loads(line)
        (failure,) = [visit["failure"] for visit in entry["visits"] if visit["failure"]]
        assert failure.startswith(f"device {device_id(0)}: its update's norm is ")
        assert "more than 10 times the round's median of" in failure and failure.endswith(
            "(round.max_update): not used"
        )
        assert entry["answered"] == 3


def test_honest_devices_give_the_same_bits_with_the_bound(tmp_path: Path) -> None:
    for name, options in (("fedavg", {"devices": 4}), ("tinyreptile", {}), ("fomaml", {"devices": 3, "queries": 2})):
        strategy = meta.make(name, ORDER, 12, **options)
        bound = go(tmp_path / f"{name}-auto", strategy, 0, 4)
        free = go(tmp_path / f"{name}-off", strategy, 0, 4, max_update="off")
        assert bound[1] == free[1]


def test_a_liar_where_one_device_a_round_learns_is_refused_and_resuming_gives_the_same_bits(tmp_path: Path) -> None:
    """It is not judged in the first 8 updates; from then on each of its visits is recorded as refused, and the round
    goes to another device."""
    strategy = meta.make("tinyreptile", ORDER, 30, alpha=0.01)
    _, sha256, told = go(tmp_path / "whole", strategy, 1, 4, quorum=1.0)
    failures = [visit["failure"] for line in told.splitlines() for visit in json.loads(line)["visits"]]
    refused = [failure for failure in failures if failure]
    assert refused and all("times the run's median" in failure for failure in refused)
    assert go(tmp_path / "parts", strategy, 1, 4, 3, 9, 17, 30, quorum=1.0)[1] == sha256
