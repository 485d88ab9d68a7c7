"""Visits whose round is over, but whose answer the strategy still wants.

They are part of the run's stored state: a resumed run asks the same devices the same again.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyfed.meta.strategy import Assignment
from tinyfed.wire.order import Order

GIVE_UP_AFTER = 10  # times round.timeout_s
_SENT = "late/"  # the store's arrays of what was sent


@dataclass(frozen=True)
class Awaited:
    """One visit that goes on."""

    round_index: int  # it was asked in
    assignment: Assignment
    until_s: float  # of time.monotonic()


class LateVisits:
    """By unique id. Use from one thread."""

    def __init__(self, timeout_s: float) -> None:
        self._patience_s = GIVE_UP_AFTER * timeout_s
        self._awaited: dict[str, Awaited] = {}
        self._changed: set[str] = set()

    def __contains__(self, unique_id: str) -> bool:
        return unique_id in self._awaited

    def __iter__(self) -> Iterator[str]:
        """In the order in which they were asked."""
        return iter(sorted(self._awaited, key=lambda unique_id: (self._awaited[unique_id].round_index, unique_id)))

    def __len__(self) -> int:
        return len(self._awaited)

    def add(self, unique_id: str, round_index: int, assignment: Assignment) -> None:
        """Its answer is wanted from now on, for a while."""
        self._awaited[unique_id] = Awaited(round_index, assignment, time.monotonic() + self._patience_s)
        self._changed.add(unique_id)

    def overdue(self, unique_id: str) -> bool:
        """Whether it was waited for long enough."""
        return time.monotonic() > self._awaited[unique_id].until_s

    def take(self, unique_id: str) -> Awaited:
        """It is no longer waited for."""
        return self._awaited.pop(unique_id)

    def document(self) -> dict[str, list[Any]]:
        """All that is waited for, as JSON can hold it."""
        return {
            unique_id: [one.round_index, one.assignment.order.encode().hex(), one.assignment.want_weights]
            for unique_id, one in sorted(self._awaited.items())
        }

    def changes(self) -> dict[str, bytes]:
        """The arrays that the next commit must hold; then forgotten."""
        changed, self._changed = self._changed & self._awaited.keys(), set()
        return {
            _SENT + unique_id: self._awaited[unique_id].assignment.weights.astype("<f4").tobytes()
            for unique_id in sorted(changed)
        }

    def restore(self, document: Mapping[str, Any], arrays: Mapping[str, bytes]) -> dict[str, Awaited]:
        """Wait again for what `document` and all `changes` so far gave; returns it."""
        for unique_id, (round_index, order, want_weights) in document.items():
            weights = np.frombuffer(arrays[_SENT + unique_id], "<f4").astype(np.float32)
            self.add(unique_id, round_index, Assignment(weights, Order.decode(bytes.fromhex(order)), want_weights))
        self._changed.clear()
        return dict(self._awaited)
