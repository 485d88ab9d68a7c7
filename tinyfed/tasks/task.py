"""A task: whose data there is, what a model for it looks like, what a visit asks for."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.shard import read_shard
from tinyfed.errors import UsageError
from tinyfed.tasks.standardization import Standardization
from tinyfed.wire.order import Order


@dataclass(frozen=True)
class Client:
    """Somebody with data: what one device holds.

    `make_takes` gives the sensor's own readings, for each class in turn (readings, channels) float64 at `rate_hz`: a
    device that records them itself has the samples of the shard. None: only samples were published.
    """

    name: str
    make_shard: Callable[[], bytes] | None = None  # None: the device makes its samples itself
    make_takes: Callable[[], list[NDArray[np.float64]]] | None = None
    rate_hz: int = 0

    @cached_property
    def shard(self) -> bytes | None:
        """The bytes of docs/shard.md, built at the first use."""
        return None if self.make_shard is None else self.make_shard()


@dataclass(frozen=True)
class Task:
    """A distribution of tasks over clients."""

    name: str
    input_shape: tuple[int, ...]  # of one sample
    output_count: int
    loss: str  # "softmax_cross_entropy" or "mse"
    train: tuple[Client, ...]  # those the initialization is learned from
    held_out: tuple[Client, ...]  # those it is judged on
    order: Order  # what a training visit asks for by default; the strategy gives the seed
    adapt: Order  # what a newcomer's visit asks for: checkpoints at the shots of interest
    classes: tuple[str, ...] = ()
    make_standardization: Callable[[], Standardization] | None = None  # None: samples lie in shards as they are
    notes: tuple[str, ...] = ()  # sentences about the data that whoever uses it must read
    targets: tuple[str, ...] = ()  # names of the numbers that a regression of your own data gives
    of_targets: Standardization | None = None  # what was done to them before they went into shards
    takes_all: bool = False  # a fleet that is not said otherwise has a device for each training client

    def standardized(self, by: Standardization, name: Callable[[int], str]) -> "Task":
        """The same task, saying how its samples were standardized; `name` says what a feature is called."""
        return replace(self, make_standardization=lambda: by, notes=(*self.notes, *by.notes(name)))

    @cached_property
    def standardization(self) -> Standardization | None:
        """What was done to the samples before they went into shards."""
        return None if self.make_standardization is None else self.make_standardization()

    @property
    def in_order(self) -> bool:
        """A shard has the samples as they came, each with its targets, not by class."""
        return self.order.source == "shard" and self.order.ways == 1

    @property
    def feature_count(self) -> int:
        """Numbers in a sample."""
        return math.prod(self.input_shape)

    def client(self, name: str) -> Client:
        """The client of that name. Raises KeyError."""
        return {client.name: client for client in (*self.train, *self.held_out)}[name]


def classification(
    name: str,
    input_shape: tuple[int, ...],
    train: tuple[Client, ...],
    held_out: tuple[Client, ...],
    *,
    ways: int,
    shots: int,
    classes: tuple[str, ...] = (),
    points: tuple[int, ...] = (0, 1, 5, 10),
    true_labels: bool = False,
    in_time: bool = False,
    newcomer_shots: int | None = None,
    in_order: int = 0,
) -> Task:
    """A task of shards whose devices learn `ways` classes online from `shots` samples of each; newcomers learn from
    `newcomer_shots` (None: as many), and are judged at those of `points` that they reach and after the last, `in_time`
    on later samples than they learn from. With `in_order`, the outputs of the model, shards have samples as they came,
    each with its targets, and `shots` are samples, of whatever class."""
    order = Order(
        "shard", 1 if in_order else ways, shots, queries=0, seed=0, learning_rate=0.02, true_labels=true_labels
    )
    last = newcomer_shots or shots
    reached = tuple(sorted({*(k for k in points if k <= last), last}))
    adapt = replace(order, shots=last, checkpoints=reached, in_time=in_time)
    return Task(name, input_shape, in_order or ways, "softmax_cross_entropy", train, held_out, order, adapt, classes)


def check_samples(task: Task, client: Client, order: Order) -> None:
    """Raises UsageError unless a client has as many samples of each class as an order takes (docs/order.md)."""
    if order.source != "shard" or client.shard is None:
        return
    judged = order.queries or int(bool(order.checkpoints or order.meta_gradient))
    for label, samples in enumerate(read_shard(client.shard).classes):
        if len(samples) < order.shots + judged:
            raise UsageError(
                f"client {client.name} has {len(samples)} samples{'' if task.in_order else f' of class {label}'}, a "
                f"visit takes {order.shots} to learn from and {judged} to judge on: lower shots or queries",
                where=f"task {task.name}",
            )
