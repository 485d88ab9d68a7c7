"""One device's part of a round: what it is sent, what is tried again after how long, and what is told of it."""

import dataclasses
import math
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from tinyfed_host.experiment.schema import RoundSection
from tinyfed_host.run.events import Event
from tinyfed_host.run.exchange import WeightsExchange
from tinyfed_host.run.visit import Visited, Visitor

from tinyfed.device import DeviceInfo, Traffic, VisitOutcome
from tinyfed.errors import DeviceError, DoesNotFitError
from tinyfed.meta.strategy import Assignment
from tinyfed.model import encode, mlp, read_weights
from tinyfed.weights import Weights
from tinyfed.wire.encodings import Shortened, WeightsEncoding, shorten
from tinyfed.wire.order import Checkpoint, Order, Result

ORDER = Order("sine", 1, 4, 0, 0, 0.02)
RULES = RoundSection(timeout_s=5.0, quorum=0.5, retries=3, retry_after=1, max_norm=1e4)
IMAGE = encode(mlp(1, (), 3), np.zeros(6, np.float32))
WEIGHTS = np.float32([1, 2, 3, 4, 5, 6])
RESULT = Result(4, 1.0, 0.5, 7, 8, 9, ())


class HandClock:
    """Moves when it is told to, and remembers the pauses."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.now_s

    def wait(self, futures: Collection["Future[Any]"], timeout_s: float) -> set["Future[Any]"]:
        raise AssertionError("a visit waits for no other")

    def pause(self, seconds: float, end: threading.Event | None = None) -> None:
        assert end is not None
        self.pauses.append(seconds)


class OneDevice:
    """A fleet of one; getting its device ready takes `slow_s`. The device keeps what it is sent."""

    def __init__(self, clock: HandClock, slow_s: float = 0.0, wire_s: float = 0.5) -> None:
        self.clock, self.slow_s, self.wire_s = clock, slow_s, wire_s
        self.asked: list[tuple[str, int]] = []
        self.lost_ids: list[str] = []
        self.images: list[bytes] = []
        self.sent: list[tuple[bytes | None, Shortened | None]] = []
        self.fails: Callable[[], None] = lambda: None
        self.info = DeviceInfo("aa", "scripted", "0", 1, 4096, 256, frozenset({"int8"}), 0, 0, 0, 0)
        self.traffic = Traffic(down=1000, up=2000)

    def ids(self) -> list[str]:
        return ["aa"]

    def ready(self, unique_id: str, round_index: int) -> "OneDevice":
        self.asked.append((unique_id, round_index))
        self.clock.now_s += self.slow_s
        return self

    def lost(self, unique_id: str) -> None:
        self.lost_ids.append(unique_id)

    def cancel(self, unique_id: str = "") -> None:
        raise AssertionError("nobody cancels here")

    def close(self) -> None:
        return

    def load(self, image: bytes) -> None:
        self.images.append(image)
        self.clock.now_s += 2.0

    def visit(
        self, weights: bytes | None, order: Order, *, want_weights: bool, shortened: Shortened | None = None
    ) -> VisitOutcome:
        self.sent.append((weights, shortened))
        self.fails()
        back = Weights.of(WEIGHTS) if want_weights else None
        return VisitOutcome(RESULT, back, 24, 24, self.wire_s, 0.25)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def visitor(fleet: OneDevice, events: list[Event], encoding: str = "float32", **rules: Any) -> Visitor:
    exchange = WeightsExchange(encoding, IMAGE, events.append)
    return Visitor(fleet, exchange, IMAGE, dataclasses.replace(RULES, **rules), events.append, fleet.clock)


def once(visits: Visitor, number: int = 0, *, want_weights: bool = True) -> Visited:
    return visits.visit("aa", Assignment(Weights.of(WEIGHTS), ORDER, want_weights), number)


def unplugged() -> None:
    raise DeviceError("device aa: unplugged")


def test_a_visit_is_tried_again_after_pauses_that_double(clock: HandClock) -> None:
    """Three retries: after 0.05, 0.1 and 0.2 s. Each looks for the device anew and loads it again."""
    fleet, events = OneDevice(clock), []
    fleet.fails = unplugged
    with pytest.raises(DeviceError, match="unplugged"):
        once(visitor(fleet, events), number=6)
    assert clock.pauses == [0.05, 0.1, 0.2]
    assert fleet.asked == [("aa", 6)] * 4
    assert fleet.lost_ids == ["aa"] * 4
    assert len(fleet.images) == 4
    assert [(event.kind, event.round, event.device) for event in events] == [
        ("visit-started", 7, "aa"),
        *[("retry", 7, "aa")] * 3,
    ]
    assert events[-1].text == "device aa: unplugged; trying again"


def test_nothing_is_tried_again_once_the_run_ends_or_without_retries(clock: HandClock) -> None:
    fleet, events = OneDevice(clock), []
    fleet.fails = unplugged
    visits = visitor(fleet, events)
    visits.stop()
    with pytest.raises(DeviceError):
        once(visits)
    with pytest.raises(DeviceError):
        once(visitor(fleet, events, retries=0))
    assert clock.pauses == [] and len(fleet.asked) == 2


def test_a_model_that_does_not_fit_is_not_sent_again(clock: HandClock) -> None:
    fleet, events = OneDevice(clock), []

    def too_large() -> None:
        raise DoesNotFitError("device aa: 100 bytes short")

    fleet.fails = too_large
    with pytest.raises(DoesNotFitError):
        once(visitor(fleet, events))
    assert clock.pauses == [] and len(fleet.asked) == 1 and fleet.lost_ids == []


def test_the_structure_is_sent_once_a_device(clock: HandClock) -> None:
    """The first visit's weights are in the image, the next ones' come alone. Loading took 2 s beside the 0.5."""
    fleet = OneDevice(clock)
    visits = visitor(fleet, [])
    first, second = once(visits), once(visits, 1)
    (image,) = fleet.images
    assert read_weights(image).tolist() == WEIGHTS.tolist()
    assert fleet.sent[0] == (None, None)
    weights, shortened = fleet.sent[1]
    assert weights == WEIGHTS.tobytes() and shortened is not None and shortened.weights == weights
    assert (first.outcome.wire_s, second.outcome.wire_s) == (2.5, 0.5)
    visits.lose("aa")
    assert fleet.lost_ids == ["aa"]
    once(visits, 2)
    assert len(fleet.images) == 2


def test_weights_that_nobody_wants_are_not_looked_at(clock: HandClock) -> None:
    fleet = OneDevice(clock)
    visited = once(visitor(fleet, []), want_weights=False)
    assert visited.outcome.weights is None
    assert visited.reply("aa").weights is None


@pytest.mark.parametrize(("slow_s", "slow"), [(0.0, False), (0.0049, False), (0.0051, True), (3.0, True)])
def test_a_fleet_is_slow_once_a_device_took_more_than_5_ms(clock: HandClock, slow_s: float, slow: bool) -> None:
    fleet = OneDevice(clock, slow_s)
    visits = visitor(fleet, [])
    assert not visits.is_slow
    once(visits)
    assert visits.is_slow is slow
    fleet.slow_s = 0.0
    once(visits)
    assert visits.is_slow is slow


def test_devices_are_made_ready_for_the_round_that_comes(clock: HandClock) -> None:
    """A device that cannot be made ready is found out by its visit; here it is no error."""
    fleet = OneDevice(clock)
    made_ready = threading.Barrier(3)
    failed: list[object] = []

    def ready(unique_id: str, round_index: int) -> OneDevice:
        fleet.asked.append((unique_id, round_index))
        made_ready.wait(timeout=60)
        raise DeviceError(f"device {unique_id}: gone")

    fleet.ready = ready  # type: ignore[method-assign]
    hook, threading.excepthook = threading.excepthook, failed.append
    try:
        visitor(fleet, []).prepare(["bb", "cc"], 8)
        made_ready.wait(timeout=60)
        for thread in threading.enumerate():
            if thread.name.startswith("prepare-"):
                thread.join(60)
    finally:
        threading.excepthook = hook
    assert sorted(fleet.asked) == [("bb", 8), ("cc", 8)]
    assert failed == []


def test_what_is_told_of_a_visit() -> None:
    result = Result(4, math.nan, 0.5, 7, 8, 9, (Checkpoint(2, 10, 8, 0.25),), arena_bytes=1024)
    outcome = VisitOutcome(result, None, 24, 30, 0.1234567, 0.5)
    plain = shorten(WeightsEncoding(), WEIGHTS.tobytes())
    metrics = Visited(Assignment(Weights.of(WEIGHTS), ORDER), plain, outcome).metrics()
    assert metrics == {
        "loss_first": None,
        "loss_last": 0.5,
        "samples": 4,
        "bytes_down": 24,
        "bytes_up": 30,
        "wire_s": 0.123457,
        "train_s": 0.5,
        "device_train_us": 7,
        "instructions": 8,
        "stack_bytes": 9,
        "arena_bytes": 1024,
        "checkpoints": [{"shots": 2, "count": 10, "correct": 8, "loss": 0.25}],
    }
    short = shorten(WeightsEncoding.named("int8"), WEIGHTS.tobytes(), (6,))
    told = Visited(Assignment(Weights.of(WEIGHTS), ORDER), short, dataclasses.replace(outcome, result=RESULT)).metrics()
    assert told["encoding"] == "int8" and "checkpoints" not in told and told["loss_first"] == 1.0
