"""Who is there, and who is left out for a while because it failed."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyfed_host.run.events import Event, Observer

LEFT_OUT_MAX_ROUNDS = 64


@dataclass
class _Absence:
    """A device that failed lately."""

    failures: int = 0  # in a row
    until: int = 0  # round index from which it may take part again


class Attendance:
    """The devices of a run by unique id, from round to round. Use from one thread."""

    def __init__(self, retry_after: int, observe: Observer) -> None:
        """`retry_after`: rounds a failed device is left out, doubled with each failure in a row."""
        self._retry_after = retry_after
        self._observe = observe
        self._known: set[str] = set()
        self._absences: dict[str, _Absence] = {}

    def begin(self, ids: Sequence[str]) -> None:
        """These are there when the run begins; nobody is told."""
        self._known = set(ids)

    def selectable(self, round_index: int, ids: Sequence[str], without: Container[str]) -> list[str]:
        """Who of those that are there now may be selected: first those that did not fail lately, else everybody.

        Tells of those that have joined or left since the last time.
        """
        now = set(ids)
        for unique_id in now - self._known:
            self._observe(Event("device-joined", round_index + 1, unique_id))
        for unique_id in self._known - now:
            self._observe(Event("device-left", round_index + 1, unique_id))
        self._known = now
        there = [unique_id for unique_id in ids if unique_id not in without]
        reliable = [
            unique_id
            for unique_id in there
            if unique_id not in self._absences or self._absences[unique_id].until <= round_index
        ]
        return reliable or there

    def answered(self, unique_id: str, round_index: int) -> None:
        """A device did what it was asked for; told when it had failed before."""
        if self._absences.pop(unique_id, None) is not None:
            self._observe(Event("device-back", round_index + 1, unique_id))

    def failed(self, unique_id: str, round_index: int, reason: str) -> None:
        """A device failed: it is left out of the next rounds, and that is told."""
        absence = self._absences.setdefault(unique_id, _Absence())
        absence.failures += 1
        left_out = min(self._retry_after * 2 ** min(absence.failures - 1, 16), LEFT_OUT_MAX_ROUNDS)
        absence.until = round_index + 1 + left_out
        text = f"{reason}; left out for {left_out} round{'s' if left_out != 1 else ''}"
        self._observe(Event("device-failed", round_index + 1, unique_id, text))

    def document(self) -> dict[str, list[int]]:
        """Who failed lately, as JSON can hold it."""
        return {unique_id: [one.failures, one.until] for unique_id, one in sorted(self._absences.items())}

    def restore(self, document: Mapping[str, Any]) -> None:
        """Go on from what `document` gave."""
        self._absences = {unique_id: _Absence(*values) for unique_id, values in document.items()}
