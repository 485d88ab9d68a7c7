"""What happens in a run, for those who watch: a screen, a log, a program reading JSON lines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Event:
    """Something happened. `data` is JSON.

    Kinds: `note` (about data and clients), `run-started` (rounds, done, devices, clients: names by device),
    `round-started` (devices), `visit-started`, `visit-ended` (the visit's metrics), `retry`, `device-failed`,
    `device-back`, `device-restarted` (by itself: reset_cause), `device-joined`, `device-left`, `fallback` (a device
    lacks a capability), `late` (a visit goes on after its round), `waiting` (no device answers; left_s, null: without
    end), `round-ended` (the round's metrics), `run-ended` (rounds, weights_sha256).
    """

    kind: str
    round: int = 0  # 1 is the first; 0: not in a round
    device: str = ""  # unique id
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    client: str = ""  # whose data the device has; "": its own, or nobody knows

    def to_json(self) -> dict[str, Any]:
        """One flat object."""
        shown: dict[str, Any] = {"event": self.kind}
        if self.round:
            shown["round"] = self.round
        if self.device:
            shown["device"] = self.device
        if self.client:
            shown["client"] = self.client
        if self.text:
            shown["text"] = self.text
        return {**shown, **self.data}


Observer: TypeAlias = Callable[[Event], None]


def nobody(_: Event) -> None:
    """Watches nothing."""
