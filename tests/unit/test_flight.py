"""Visits that are under way: those of a round, those whose late answer is wanted, those that were given up."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from tinyfed_host.run.flight import Flight, Landed
from tinyfed_host.run.visit import Visited
from virtual_clock import VirtualClock

from tinyfed.device import VisitOutcome
from tinyfed.errors import DeviceError
from tinyfed.meta.strategy import Assignment
from tinyfed.wire.encodings import WeightsEncoding, shorten
from tinyfed.wire.order import Order, Result

WEIGHTS = np.float32([1, 2, 3])
TIMEOUT_S = 2.0


class Air:
    """Visits that end when they may: at once, or when a test lets a device land or fail."""

    def __init__(self, *slow: str) -> None:
        self.clock = VirtualClock()
        self.cancelled: list[str] = []
        self.asked: list[tuple[str, int, int]] = []  # device, round, the order's seed
        self._may_land = {unique_id: threading.Event() for unique_id in slow}
        self.takes_s: dict[str, float] = {}
        self._failures: dict[str, Exception] = {}
        self._lock = threading.Lock()

    def flight(self, *, wants_late: bool = False) -> Flight:
        return Flight(self.visit, self.cancelled.append, TIMEOUT_S, self.clock, wants_late=wants_late)

    def fails(self, unique_id: str, error: Exception) -> None:
        self._failures[unique_id] = error

    def land(self, flight: Flight, *ids: str) -> None:
        """Let these land, and wait until they have."""
        futures = [flight._futures[unique_id] for unique_id in ids]
        for unique_id in ids:
            self._may_land.pop(unique_id).set()
        for future in futures:
            future.exception(timeout=60)

    def visit(self, unique_id: str, assignment: Assignment, round_index: int) -> Visited:
        with self._lock:
            self.asked.append((unique_id, round_index, assignment.order.seed))
        if unique_id in self.takes_s:
            self.clock.pause(self.takes_s[unique_id])
        may_land = self._may_land.get(unique_id)
        if may_land is not None:
            with self.clock.waiting():
                assert may_land.wait(60)
        if unique_id in self._failures:
            raise self._failures[unique_id]
        outcome = VisitOutcome(Result(4, 1.0, 0.5, 0, 0, 0, ()), None, 0, 0, 0.0, 0.0)
        return Visited(assignment, shorten(WeightsEncoding(), WEIGHTS.tobytes()), outcome)


@pytest.fixture
def air() -> Iterator[Air]:
    made = Air("b", "c")
    yield made
    for event in made._may_land.values():
        event.set()


def assignments(*ids: str) -> dict[str, Assignment]:
    """Each with an order of its own."""
    return {
        unique_id: Assignment(WEIGHTS, Order("sine", 1, 4, 0, ord(unique_id), 0.02), unique_id != "c")
        for unique_id in ids
    }


def told(landed: list[Landed]) -> list[tuple[str, bool, bool, int]]:
    """Device, whether its answer is here, whether it is wanted late, its age."""
    return [(one.unique_id, one.visited is not None, one.late, one.age) for one in landed]


def test_who_is_not_back_in_time_is_given_up(air: Air) -> None:
    flight = air.flight()
    landed = flight.round(3, assignments("b", "a"))
    assert told(landed) == [("b", False, False, 0), ("a", True, False, 0)]
    assert landed[0].failure == "device b: no answer within 2 s"
    assert air.clock.now() == TIMEOUT_S
    assert air.cancelled == ["b"]
    assert not flight.has_late and flight.late(4) == []
    assert "b" in flight and "a" in flight
    assert list(flight.returned()) == []  # a was not given up
    assert "b" in flight and "a" not in flight
    air.land(flight, "b")
    assert list(flight.returned()) == ["b"]
    assert "b" not in flight and list(flight.returned()) == []


def test_a_round_takes_its_time_however_many_land_before(air: Air) -> None:
    """It begins at 5 s. One lands after 1.5 s, which leaves 0.5 s for the other: given up at 7 s."""
    air.clock.advance(5.0)
    air.takes_s["d"] = 1.5
    landed = air.flight().round(0, assignments("b", "d"))
    assert told(landed) == [("b", False, False, 0), ("d", True, False, 0)]
    assert air.clock.now() == 7.0


def test_a_failure_is_told_and_a_fault_of_the_program_is_raised(air: Air) -> None:
    flight = air.flight()
    air.fails("a", DeviceError("device a: unplugged"))
    (one,) = flight.round(0, assignments("a"))
    assert (one.visited, one.failure, one.late) == (None, "device a: unplugged", False)
    assert air.clock.now() == 0.0 and air.cancelled == []
    air.fails("d", ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        flight.round(1, assignments("d"))


def test_late_answers_come_the_oldest_first_with_their_age(air: Air) -> None:
    """b is asked in round 1, c in round 2; both are back before round 5: 4 and 3 rounds late."""
    flight = air.flight(wants_late=True)
    (one,) = flight.round(1, assignments("b"))
    assert (one.late, one.visited) == (True, None)
    flight.round(2, assignments("c"))
    assert flight.has_late and air.cancelled == []
    assert flight.late(3) == []
    air.land(flight, "c", "b")
    assert list(flight.returned()) == []  # they are late, not over
    landed = flight.late(5)
    assert told(landed) == [("b", True, False, 4), ("c", True, False, 3)]
    assert [one.assignment.order.seed for one in landed] == [ord("b"), ord("c")]
    assert not flight.has_late and "b" not in flight


def test_a_late_answer_that_fails_is_told(air: Air) -> None:
    flight = air.flight(wants_late=True)
    flight.round(1, assignments("b"))
    air.fails("b", DeviceError("device b: unplugged"))
    air.land(flight, "b")
    (one,) = flight.late(2)
    assert (one.visited, one.failure, one.late, one.age) == (None, "device b: unplugged", False, 1)
    assert not flight.has_late and "b" not in flight and air.cancelled == []


def test_a_late_answer_is_given_up_after_ten_times_the_time_of_a_round(air: Air) -> None:
    """Not back after 2 s, then wanted for 10 * 2 s more: until 22 s, and no longer."""
    flight = air.flight(wants_late=True)
    flight.round(1, assignments("b"))
    air.clock.advance(20.0)
    assert air.clock.now() == 22.0
    assert flight.late(8) == [] and flight.has_late
    air.clock.advance(0.5)
    (one,) = flight.late(9)
    assert (one.failure, one.age, one.late, one.visited) == ("device b: no answer to round 2", 8, False, None)
    assert air.cancelled == ["b"] and not flight.has_late
    assert "b" in flight and list(flight.returned()) == []
    air.land(flight, "b")
    assert list(flight.returned()) == ["b"]


def test_a_device_that_was_given_up_once_is_like_any_other_afterwards(air: Air) -> None:
    flight = air.flight()
    flight.round(0, assignments("b"))
    air.land(flight, "b")
    assert list(flight.returned()) == ["b"]
    flight.round(1, assignments("b"))
    assert list(flight.returned()) == [] and "b" not in flight


def test_a_late_answer_does_not_hide_who_is_over(air: Air) -> None:
    flight = air.flight(wants_late=True)
    flight.round(0, assignments("b", "a"))
    air.land(flight, "b")
    assert list(flight.returned()) == []
    assert "b" in flight and "a" not in flight


def test_waiting_for_a_late_answer_takes_a_rounds_time_at_most(air: Air) -> None:
    flight = air.flight(wants_late=True)
    flight.round(1, assignments("b"))
    flight.wait_for_late()
    assert air.clock.now() == 2 * TIMEOUT_S
    air.land(flight, "b")
    flight.wait_for_late()
    assert air.clock.now() == 2 * TIMEOUT_S


def test_at_the_end_all_that_is_under_way_gives_up(air: Air) -> None:
    flight = air.flight(wants_late=True)
    flight.round(1, assignments("a", "b", "c"))
    air.land(flight, "c")
    flight.close()
    assert air.cancelled == ["b"]


def test_a_run_that_goes_on_asks_the_same_again(air: Air) -> None:
    """What late answers are wanted is stored once, and asked for again with the same order and weights."""
    flight = air.flight(wants_late=True)
    flight.round(4, assignments("c", "b"))
    document, arrays = flight.document(), flight.changes()
    assert list(document) == ["b", "c"]
    assert [document["b"][0], document["b"][2], document["c"][2]] == [4, True, False]
    assert arrays == {"late/b": WEIGHTS.tobytes(), "late/c": WEIGHTS.tobytes()}
    assert flight.changes() == {}
    again = Air("b")
    resumed = again.flight(wants_late=True)
    resumed.restore(document, arrays)
    assert resumed.document() == document and resumed.changes() == {}
    again.land(resumed, "b")
    resumed._futures["c"].exception(timeout=60)
    assert sorted(again.asked) == [("b", 4, ord("b")), ("c", 4, ord("c"))]
    landed = resumed.late(6)
    assert told(landed) == [("b", True, False, 2), ("c", True, False, 2)]
    assert [one.assignment.want_weights for one in landed] == [True, False]
    assert landed[0].assignment.weights == WEIGHTS.tobytes()


def test_what_is_no_longer_wanted_is_not_stored(air: Air) -> None:
    flight = air.flight(wants_late=True)
    flight.round(1, assignments("b"))
    air.land(flight, "b")
    flight.late(2)
    assert flight.document() == {} and flight.changes() == {}
