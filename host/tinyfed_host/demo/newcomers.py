"""The newcomer of the demo: a stranger's device that gets an initialization and learns its own gestures."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinyfed.boards import read_board
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import TinyfedError
from tinyfed.meta.adaptation import adaptation, orders
from tinyfed.meta.strategy import Array
from tinyfed.model import replace_weights
from tinyfed.tasks.task import Client
from tinyfed.wire.order import Order, Result
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.fleet.slots import make_slot
from tinyfed_host.run.parts import Parts

if TYPE_CHECKING:
    from tinyfed_host.demo.screen import Screen

FIRST_NEWCOMER = 100  # number of the first newcomer's device
DRAWS_ON_BOARDS = 1  # of each initialization on each board
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Adapted:
    """Accuracies, (clients and seeds, draws, checkpoints)."""

    shots: tuple[int, ...]  # samples a class at each checkpoint
    accuracy: NDArray[np.float64]

    def joined(self, other: "Adapted") -> "Adapted":
        """With those of another seed."""
        return Adapted(self.shots, np.concatenate([self.accuracy, other.accuracy]))

    def means(self) -> dict[str, float]:
        """Mean accuracy by samples a class."""
        found = self.accuracy.mean(axis=(0, 1))
        return {str(k): round(float(value), 4) for k, value in zip(self.shots, found, strict=True)}

    def detail(self) -> dict[str, dict[str, float]]:
        """Mean and 95 % interval by samples a class. Draws of one client are alike, so clients are what counts."""
        each = self.accuracy.mean(axis=1)
        means = each.mean(axis=0)
        half = NORMAL_95 * each.std(axis=0, ddof=1) / np.sqrt(len(each))
        count = self.accuracy.shape[0] * self.accuracy.shape[1]
        return {
            str(k): {"mean": float(mean), "low": float(mean - h), "high": float(mean + h), "count": count}
            for k, mean, h in zip(self.shots, means, half, strict=True)
        }


def adapt(parts: Parts, image: bytes, seed: int, draws: int) -> Adapted:
    """All held-out clients on simulated devices, from the weights in `image`."""
    found = adaptation(image, parts.task.held_out, parts.task.adapt, draws=draws, seed=seed)
    return Adapted(found.shots, found.accuracy)


def newcomers_on_boards(parts: Parts, starts: Mapping[str, Array], screen: "Screen") -> int:
    """The first draws of each initialization, on emulated boards with the held-out people's data.

    Returns how many draws. Raises `TinyfedError` when an answer differs from the simulated device's in any bit.
    """
    boards = parts.experiment.fleet.boards
    clients = parts.task.held_out
    drawn = list(orders(parts.task.adapt, clients, DRAWS_ON_BOARDS, parts.experiment.seed))
    mine: list[list[tuple[Client, Order]]] = [[] for _ in boards]
    for number, (client, _, order) in enumerate(drawn):
        mine[number % len(boards)].append((client, order))
    images = {kind: replace_weights(parts.image, weights) for kind, weights in starts.items()}

    def work(number: int) -> int:
        slot = make_slot("emulated", device_id(FIRST_NEWCOMER + number), read_board(boards[number]))
        done = 0
        try:
            for client, order in mine[number]:
                device = slot.connect(client.shard)
                parts.check(device)
                for kind, image in images.items():
                    device.load(image)
                    found = device.visit(None, order, want_weights=False).result
                    _same(f"{boards[number]} {slot.unique_id}, {client.name}, {kind}", found, image, client, order)
                    done += 1
        finally:
            slot.close()
        return done

    with (
        screen.working("emulated boards with the held-out people's data"),
        ThreadPoolExecutor(max_workers=len(boards)) as pool,
    ):
        count = sum(pool.map(work, range(len(boards))))
    screen.good(f"{count} draws on emulated boards gave exactly the simulated devices' answers")
    return count


def _same(who: str, found: Result, image: bytes, client: Client, order: Order) -> None:
    simulated = SimulatedDevice(client.name, shard=client.shard)
    simulated.load(image)
    expected = simulated.visit(None, order, want_weights=False).result
    if _answers(found) != _answers(expected):
        raise TinyfedError(f"newcomer on {who}: the board's answers differ from the simulated ones; please report this")


def _answers(result: Result) -> bytes:
    """A result without what differs between devices: clock, instructions, stack."""
    return replace(result, train_us=0, train_instructions=0, stack_bytes=0, arena_bytes=0).encode()
