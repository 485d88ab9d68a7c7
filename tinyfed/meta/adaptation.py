"""How well a newcomer learns from an initialization: adaptation on devices that took no part in the training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinyfed.device import VisitOutcome
from tinyfed.device.simulated import ARENA_BYTES
from tinyfed.meta.simulate import Learner, make_devices
from tinyfed.random import derive_seed
from tinyfed.tasks.task import Client
from tinyfed.wire.order import Order

# Sees each visit: whose, what was asked, what came of it with the adapted weights.
Witness = Callable[[Client, Order, VisitOutcome], None]

_PURPOSE = 0x6164617074  # keeps these seeds apart from those of training rounds


@dataclass(frozen=True)
class Adaptation:
    """What devices reported at each checkpoint."""

    shots: tuple[int, ...]  # training samples a class
    clients: tuple[str, ...]
    accuracy: NDArray[np.float64]  # (clients, draws, shots), 0..1; 0 for regression
    loss: NDArray[np.float64]  # (clients, draws, shots)

    def joined(self, other: "Adaptation") -> "Adaptation":
        """With further draws of the same clients."""
        accuracy, loss = (
            np.concatenate(each, axis=1) for each in ((self.accuracy, other.accuracy), (self.loss, other.loss))
        )
        return Adaptation(self.shots, self.clients, accuracy, loss)

    def by_shots(self) -> dict[int, float]:
        """Mean accuracy over draws, then clients."""
        return dict(zip(self.shots, self.accuracy.mean(axis=(0, 1)).tolist(), strict=True))

    def loss_by_shots(self) -> dict[int, float]:
        """Mean loss over draws, then clients."""
        return dict(zip(self.shots, self.loss.mean(axis=(0, 1)).tolist(), strict=True))


def orders(order: Order, clients: Sequence[Client], draws: int, seed: int) -> Iterator[tuple[Client, int, Order]]:
    """(client, draw, order) of each newcomer's visit: the same draws whatever the initialization."""
    for number, client in enumerate(clients):
        for draw in range(draws):
            yield client, draw, order.with_seed(derive_seed(seed, _PURPOSE, number, draw))


def adaptation(
    image: bytes,
    clients: Sequence[Client],
    order: Order,
    *,
    draws: int = 20,
    seed: int = 0,
    arena_bytes: int = ARENA_BYTES,
    devices: Mapping[str, Learner] | None = None,
    witness: Witness | None = None,
) -> Adaptation:
    """Adapt from the weights in `image`, `draws` tasks for each client, on `devices` by the clients' names (None:
    simulated ones with an arena of `arena_bytes`).

    Each is one visit, judged at `order.checkpoints` on samples it does not learn from. The weights are sent anew to
    each. With a `witness` the adapted weights are taken back for it.
    """
    devices = devices or make_devices(clients, image, arena_bytes=arena_bytes)
    shape = (len(clients), draws, len(order.checkpoints))
    accuracy, loss = np.zeros(shape), np.zeros(shape)
    rows = {client.name: row for row, client in enumerate(clients)}
    for client, draw, each in orders(order, clients, draws, seed):
        device = devices[client.name]
        device.load(image)
        outcome = device.visit(None, each, want_weights=witness is not None)
        if witness is not None:
            witness(client, each, outcome)
        result = outcome.result
        accuracy[rows[client.name], draw] = [point.accuracy for point in result.checkpoints]
        loss[rows[client.name], draw] = [point.loss for point in result.checkpoints]
    return Adaptation(order.checkpoints, tuple(rows), accuracy, loss)
