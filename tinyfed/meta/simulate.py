"""Runs a strategy on devices, one for each client: to the bit what a coordinator does with a fleet."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyfed.device import VisitOutcome
from tinyfed.device.simulated import ARENA_BYTES, SimulatedDevice
from tinyfed.engine import _device, model_open
from tinyfed.errors import UsageError
from tinyfed.fields import check_values, whole
from tinyfed.meta.strategy import Assignment, Reply, State, Strategy, Streams
from tinyfed.tasks.task import Client
from tinyfed.weights import Weights
from tinyfed.wire.order import CHECKPOINTS_MAX, Order, Result

THREADS_MAX = 256
ORDER_BYTES, SEED_AT = 60, 8  # of the longest order
RESULT = np.dtype(
    [
        ("version", "u1"),
        ("checkpoint_count", "u1"),
        ("reserved", "<u2"),
        ("samples", "<u4"),
        ("loss_first", "<f4"),
        ("loss_last", "<f4"),
        ("train_us", "<u4"),
        ("train_instructions", "<u4"),
        ("stack_bytes", "<u4"),
        ("arena_bytes", "<u4"),
        ("checkpoints", [("shots", "<u4"), ("count", "<u4"), ("correct", "<u4"), ("loss", "<f4")], CHECKPOINTS_MAX),
    ]
)  # the result of docs/order.md with room for all checkpoints

Watcher = Callable[[State, Sequence[Reply]], None]


class Learner(Protocol):
    """What a run needs of a device: `Device` has it, simulated or on a line."""

    def load(self, image: bytes) -> None:
        """See `Device.load`."""

    def visit(self, weights: Weights | None, order: Order, *, want_weights: bool) -> VisitOutcome:
        """See `Device.visit`."""


@dataclass(frozen=True)
class Visits:
    """What came back of many visits, a row each in the order in which they were asked for."""

    results: NDArray[np.void]  # (visits,) of RESULT
    weights: NDArray[np.float32] | None  # (visits, parameters) as trained, when they were asked for


class Fleet(Mapping[str, SimulatedDevice]):
    """Simulated devices that differ in their data alone, by name. Many visits are one call, on all cores: a visit's
    bits come of its order, the weights and the device's data, so they are the same for any number of threads.

    Such visits leave nothing on a device. One that is looked up by its name is made then, and keeps its weights.
    """

    def __init__(
        self,
        clients: Sequence[Client],
        image: bytes,
        *,
        arena_bytes: int = ARENA_BYTES,
        threads: int | None = None,
    ) -> None:
        """`threads` (None: as many as this process may use cores) share the visits of a call.

        Raises UsageError for a shard or an image that is damaged, DoesNotFitError for a model that does not fit.
        """
        self.threads = min(_cores(), THREADS_MAX) if threads is None else threads
        check_values({"threads": whole(1, THREADS_MAX)}, {"threads": self.threads}, "fleet")
        self._clients = {client.name: client for client in clients}
        self._numbers = {name: number for number, name in enumerate(self._clients)}
        self._devices: dict[str, SimulatedDevice] = {}
        self._image, self._arena_bytes = image, arena_bytes
        self._fleet: _device.Fleet | None = None
        if not self._clients:
            return
        self[next(iter(self))]  # says what is wrong with the model or the arena
        try:
            self._fleet = _device.Fleet(image, arena_bytes, [client.shard for client in self._clients.values()])
        except _device.StatusError as error:
            self[list(self)[error.args[1]]]  # says what is wrong with its shard
            raise
        self._parameters = model_open(image)["parameter_count"]

    def __getitem__(self, name: str) -> SimulatedDevice:
        if name not in self._devices:
            device = SimulatedDevice(name, shard=self._clients[name].shard, arena_bytes=self._arena_bytes)
            device.load(self._image)
            self._devices[name] = device
        return self._devices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def visit(
        self,
        weights: Weights,
        order: Order,
        seeds: ArrayLike,
        *,
        devices: ArrayLike | None = None,
        want_weights: bool = True,
    ) -> Visits:
        """A visit for each of `seeds`, (visits,) of uint64: by `order` with that seed, each from the same weights.

        `devices` are the numbers of those visited, (visits,), as the mapping lists them; None: one after the other, and
        from the first again. Raises UsageError for a device that there is not and for an order whose answer is not
        simply all weights, and what `SimulatedDevice.visit` raises, of the first visit that failed.
        """
        numbers = np.asarray(seeds, np.uint64)
        chosen = np.arange(numbers.size) % max(1, len(self)) if devices is None else np.asarray(devices)
        known = chosen.size == 0 or 0 <= chosen.min() <= chosen.max() < len(self)
        if numbers.ndim != 1 or chosen.shape != numbers.shape or not known:
            problem = f"must be a number of a device, 0..{len(self) - 1}, for each of the seeds"
            raise UsageError(problem, where="fleet", key="devices")
        if want_weights and order.answers_update:
            raise UsageError("its answer is an update: visit the devices one by one", where="fleet", key="order")
        encoded = order.encode()
        orders = np.zeros((numbers.size, ORDER_BYTES), np.uint8)
        orders[:, : len(encoded)] = np.frombuffer(encoded, np.uint8)
        orders[:, SEED_AT : SEED_AT + 8] = numbers.astype("<u8").view(np.uint8).reshape(-1, 8)
        try:
            return self._visit(weights, chosen, orders, want_weights)
        except _device.StatusError as error:
            failed = error.args[2]
            device = self[list(self)[int(chosen[failed])]]
            device.visit(weights, order.with_seed(int(numbers[failed])), want_weights=want_weights)  # says why
            raise

    def visit_each(self, assigned: Mapping[str, Assignment]) -> list[Reply]:
        """What each of these devices, by name, answers to its assignment: as `SimulatedDevice.visit` has it."""
        assignments = list(assigned.values())
        alike = len({(id(each.weights), each.want_weights) for each in assignments}) == 1
        if not alike or any(each.order.answers_update for each in assignments):
            return _visit_each(self, assigned)
        chosen = np.array([self._numbers[name] for name in assigned])
        rows = b"".join(each.order.encode().ljust(ORDER_BYTES, b"\0") for each in assignments)
        first = assignments[0]
        try:
            visits = self._visit(first.weights, chosen, np.frombuffer(rows, np.uint8), first.want_weights)
        except _device.StatusError as error:
            name, failed = list(assigned.items())[error.args[2]]
            self[name].visit(failed.weights, failed.order, want_weights=failed.want_weights)  # says why
            raise
        replies = []
        for number, name in enumerate(assigned):
            result = visits.results[number].tobytes()
            trained = None if visits.weights is None else Weights(visits.weights[number].tobytes())
            replies.append(Reply(name, Result.decode(result[: 32 + 16 * result[1]]), trained))
        return replies

    def _visit(self, weights: Weights, chosen: NDArray[Any], orders: NDArray[np.uint8], want_weights: bool) -> Visits:
        results = np.zeros(chosen.size, RESULT)
        trained = np.empty((chosen.size, self._parameters), "<f4") if want_weights else None
        if self._fleet is not None:
            self._fleet.visit(results, trained, chosen.astype(np.uint32), orders, weights, self.threads)
        return Visits(results, trained)


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _visit_each(devices: Mapping[str, Learner], assigned: Mapping[str, Assignment]) -> list[Reply]:
    replies = []
    for name, each in assigned.items():
        outcome = devices[name].visit(each.weights, each.order, want_weights=each.want_weights)
        replies.append(Reply(name, outcome.result, outcome.weights))
    return replies


def make_devices(clients: Sequence[Client], image: bytes, *, arena_bytes: int = ARENA_BYTES) -> Fleet:
    """A simulated device for each client, by the client's name, with its shard and the model loaded."""
    return Fleet(clients, image, arena_bytes=arena_bytes)


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
        assigned = {
            name: streams.placed(strategy.configure(state, name), name) for name in strategy.select(state, names)
        }
        if isinstance(devices, Fleet) and len(assigned) > 1:
            replies = devices.visit_each(assigned)
        else:
            replies = _visit_each(devices, assigned)
        for name, assignment in assigned.items():
            streams.ended(assignment.order, name)
        state = strategy.aggregate(state, replies)
        if watch is not None:
            watch(state, replies)
    return state
