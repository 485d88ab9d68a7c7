"""Which client's data each slot holds, round after round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from tinyfed.tasks.task import Client


@dataclass(frozen=True)
class Rotation:
    """Which client's data each slot holds: with fewer devices than clients, all get their turn."""

    clients: Sequence[Client]
    slots: int
    every: int  # rounds; 0: never
    data: Callable[[Client], bytes | None] = attrgetter("shard")  # what a slot is given of a client

    def client(self, slot: int, round_index: int) -> Client | None:
        """The client of a slot in a round (0 is the first); None where devices have data of their own."""
        if not self.clients:
            return None
        turn = round_index // self.every if self.every else 0
        return self.clients[(turn * self.slots + slot) % len(self.clients)]
