"""Runs a strategy on devices, one for each client: to the bit what a coordinator does with a fleet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tinyfed.device import VisitOutcome
from tinyfed.device.simulated import ARENA_BYTES, SimulatedDevice
from tinyfed.meta.strategy import Reply, State, Strategy, Streams
from tinyfed.tasks.task import Client
from tinyfed.weights import Weights
from tinyfed.wire.order import Order

Watcher = Callable[[State, Sequence[Reply]], None]


class Learner(Protocol):
    """What a run needs of a device: `Device` has it, simulated or on a line."""

    def load(self, image: bytes) -> None:
        """See `Device.load`."""

    def visit(self, weights: Weights | None, order: Order, *, want_weights: bool) -> VisitOutcome:
        """See `Device.visit`."""


def make_devices(
    clients: Sequence[Client], image: bytes, *, arena_bytes: int = ARENA_BYTES
) -> dict[str, SimulatedDevice]:
    """A simulated device for each client, by the client's name, with its shard and the model loaded."""
    devices = {c.name: SimulatedDevice(c.name, shard=c.shard, arena_bytes=arena_bytes) for c in clients}
    for device in devices.values():
        device.load(image)
    return devices


def run(
    strategy: Strategy,
    devices: Mapping[str, Learner],
    state: State,
    *,
    rounds: int | None = None,
    watch: Watcher | None = None,
) -> State:
    """Go on from `state` for `rounds` rounds (None: to the strategy's end); the devices have the model loaded.

    `watch` sees the state after each round and what came back. Raises what a device's `visit` raises: a simulated
    device that fails is a mistake of the set-up.
    """
    last = strategy.rounds if rounds is None else state.round + rounds
    names = sorted(devices)
    streams = Streams()
    while state.round < last:
        replies = []
        for name in strategy.select(state, names):
            assignment = streams.placed(strategy.configure(state, name), name)
            outcome = devices[name].visit(assignment.weights, assignment.order, want_weights=assignment.want_weights)
            streams.ended(assignment.order, name)
            replies.append(Reply(name, outcome.result, outcome.weights))
        state = strategy.aggregate(state, replies)
        if watch is not None:
            watch(state, replies)
    return state
