"""The visits in flight: those of the round, those whose round is over but whose answer is still wanted, and those that
were cancelled and are not yet back.

Late answers are part of the run's stored state: a resumed run asks the same devices the same again.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from tinyfed.errors import DivergedError, TinyfedError
from tinyfed.meta.strategy import Assignment
from tinyfed.weights import Weights
from tinyfed.wire.order import Order
from tinyfed_host.run.clock import Clock
from tinyfed_host.run.visit import Visited

GIVE_UP_AFTER = 10  # times round.timeout_s
_SENT = "late/"  # the store's arrays of what was sent

# Goes to a device in a round (the index); raises `TinyfedError` when that fails.
Visit = Callable[[str, Assignment, int], Visited]


@dataclass(frozen=True)
class Landed:
    """A visit that is over, one way or the other."""

    unique_id: str
    assignment: Assignment
    visited: Visited | None
    failure: str = ""  # without `visited`: why
    diverged: bool = False  # it would fail again in the same way
    late: bool = False  # its answer is still wanted
    age: int = 0  # rounds ago it was asked


@dataclass(frozen=True)
class _Late:
    """A visit that goes on after its round."""

    round_index: int  # it was asked in
    assignment: Assignment
    until_s: float  # of the clock


class Flight:
    """Visits by unique id, each in a thread of its own. Use from one thread."""

    def __init__(
        self, visit: Visit, cancel: Callable[[str], None], timeout_s: float, clock: Clock, *, wants_late: bool
    ) -> None:
        """`cancel` makes a device's visit give up soon. `wants_late`: answers that come after their round are used."""
        self._visit = visit
        self._cancel = cancel
        self._timeout_s = timeout_s
        self._clock = clock
        self._wants_late = wants_late
        self._futures: dict[str, Future[Visited]] = {}
        self._late: dict[str, _Late] = {}
        self._cancelled: set[str] = set()
        self._changed: set[str] = set()

    def __contains__(self, unique_id: object) -> bool:
        """Whether a visit of this device is not yet over."""
        return unique_id in self._futures

    @property
    def has_late(self) -> bool:
        """Whether an answer is still wanted whose round is over."""
        return bool(self._late)

    def round(self, round_index: int, assignments: Mapping[str, Assignment]) -> list[Landed]:
        """Visit all at once; whoever is not back in time is left behind. One a device, in the same order.

        Raises what a visit raises that is no `TinyfedError`.
        """
        deadline = self._clock.now() + self._timeout_s
        pending: dict[Future[Visited], str] = {}
        for unique_id, assignment in assignments.items():
            pending[self._start(unique_id, assignment, round_index)] = unique_id
        landed: dict[str, Landed] = {}
        while pending:
            done = self._clock.wait(pending, max(0.0, deadline - self._clock.now()))
            if not done:
                break
            for future in done:
                unique_id = pending.pop(future)
                landed[unique_id] = _landed(unique_id, assignments[unique_id], future)
        for unique_id in pending.values():
            failure = f"device {unique_id}: no answer within {self._timeout_s:g} s"
            if self._wants_late:
                self._want(unique_id, round_index, assignments[unique_id])
            else:
                self._give_up(unique_id)
            landed[unique_id] = Landed(unique_id, assignments[unique_id], None, failure, late=self._wants_late)
        return [landed[unique_id] for unique_id in assignments]

    def late(self, round_index: int) -> list[Landed]:
        """The late answers that have come, and those that are given up; the oldest first. Raises as `round`."""
        landed = []
        for unique_id in sorted(self._late, key=lambda unique_id: (self._late[unique_id].round_index, unique_id)):
            future, asked = self._futures[unique_id], self._late[unique_id]
            age = round_index - asked.round_index
            if future.done():
                del self._futures[unique_id]
                landed.append(_landed(unique_id, asked.assignment, future, age))
            elif self._clock.now() > asked.until_s:
                self._give_up(unique_id)
                failure = f"device {unique_id}: no answer to round {asked.round_index + 1}"
                landed.append(Landed(unique_id, asked.assignment, None, failure, age=age))
            else:
                continue
            del self._late[unique_id]
        return landed

    def wait_for_late(self) -> None:
        """Until a late answer has come, for as long as a round may take."""
        self._clock.wait([self._futures[unique_id] for unique_id in self._late], self._timeout_s)

    def returned(self) -> Iterator[str]:
        """Forget the visits that are over. Gives those of them that were cancelled in the middle of something."""
        over = [unique_id for unique_id, future in self._futures.items() if future.done()]
        for unique_id in over:
            if unique_id in self._late:
                continue
            del self._futures[unique_id]
            if unique_id in self._cancelled:
                self._cancelled.discard(unique_id)
                yield unique_id

    def close(self) -> None:
        """Make all that is in flight give up soon."""
        for unique_id, future in self._futures.items():
            if not future.done():
                self._cancel(unique_id)

    def document(self) -> dict[str, list[Any]]:
        """What late answers are wanted, as JSON can hold it."""
        return {
            unique_id: [one.round_index, one.assignment.order.encode().hex(), one.assignment.want_weights]
            for unique_id, one in sorted(self._late.items())
        }

    def changes(self) -> dict[str, bytes]:
        """The arrays that the next commit must hold; then forgotten."""
        changed, self._changed = self._changed & self._late.keys(), set()
        return {_SENT + unique_id: self._late[unique_id].assignment.weights for unique_id in sorted(changed)}

    def restore(self, document: Mapping[str, Any], arrays: Mapping[str, bytes]) -> None:
        """Ask again what `document` and all `changes` so far gave."""
        for unique_id, (round_index, order, want_weights) in document.items():
            weights = Weights.of(arrays[_SENT + unique_id])
            assignment = Assignment(weights, Order.decode(bytes.fromhex(order)), want_weights)
            self._want(unique_id, round_index, assignment)
            self._start(unique_id, assignment, round_index)
        self._changed.clear()

    def _want(self, unique_id: str, round_index: int, assignment: Assignment) -> None:
        until_s = self._clock.now() + GIVE_UP_AFTER * self._timeout_s
        self._late[unique_id] = _Late(round_index, assignment, until_s)
        self._changed.add(unique_id)

    def _give_up(self, unique_id: str) -> None:
        self._cancelled.add(unique_id)
        self._cancel(unique_id)

    def _start(self, unique_id: str, assignment: Assignment, round_index: int) -> "Future[Visited]":
        """In a daemon thread: one that hangs does not keep the process from ending."""
        future: Future[Visited] = Future()

        def body() -> None:
            try:
                future.set_result(self._visit(unique_id, assignment, round_index))
            except BaseException as error:  # handed to whoever waits for the future
                future.set_exception(error)

        self._futures[unique_id] = future
        threading.Thread(target=body, name=f"visit-{unique_id}", daemon=True).start()
        return future


def _landed(unique_id: str, assignment: Assignment, future: "Future[Visited]", age: int = 0) -> Landed:
    error = future.exception()
    if error is None:
        return Landed(unique_id, assignment, future.result(), age=age)
    if isinstance(error, TinyfedError):
        return Landed(unique_id, assignment, None, str(error), isinstance(error, DivergedError), age=age)
    raise error
