"""What a federated or meta-learning algorithm is to the coordinator.

A strategy decides and never sees a port. All it carries from round to round is a `State`: stored after a round
and read back it goes on to the same bits. Random choices come from the run's seed and the round's number, so
there is no generator whose position could get lost.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.fields import check_fields, number, quote
from tinyfed.meta import robust
from tinyfed.random import SplitMix64, derive_seed
from tinyfed.weights import Weights
from tinyfed.wire.order import Order, Result

Array: TypeAlias = NDArray[np.float32]

RATE = number(0, 1, above=True)  # of the server


@dataclass(frozen=True)
class State:
    """Everything a strategy carries on. The generator's state is (`seed`, `round`)."""

    seed: int
    round: int  # rounds done
    weights: Weights
    slots: Mapping[str, Array] = field(default_factory=dict)  # a server optimizer's memory, by name

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", Weights.of(self.weights))  # an array will do

    def after(self, weights: "Weights | Array | None" = None, **slots: Array) -> "State":
        """The state a round later. Weights (None) and slots that are not given stay as they are."""
        weights = self.weights if weights is None else Weights.of(weights)
        return State(self.seed, self.round + 1, weights, {**self.slots, **slots})

    def document(self) -> dict[str, Any]:
        """The part that is not an array, as JSON can hold it."""
        return {"seed": self.seed, "round": self.round, "slots": sorted(self.slots)}

    def arrays(self) -> dict[str, Weights]:
        """The arrays as float32 little-endian bytes: "weights", and each slot under its name."""
        return {"weights": self.weights, **{name: Weights.of(value) for name, value in self.slots.items()}}

    @classmethod
    def restore(cls, document: Mapping[str, Any], arrays: Mapping[str, bytes]) -> "State":
        """The state out of what `document` and `arrays` gave."""
        try:
            slots = {name: Weights.of(arrays[name]).array for name in document["slots"]}
            return cls(int(document["seed"]), int(document["round"]), Weights.of(arrays["weights"]), slots)
        except KeyError as missing:
            raise UsageError(f"stored state: {missing} is missing: the run's store is damaged") from None


@dataclass(frozen=True)
class Assignment:
    """What one device is to do in a round."""

    weights: Weights  # to send
    order: Order
    want_weights: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", Weights.of(self.weights))


@dataclass(frozen=True)
class Reply:
    """What came back from one device."""

    device: str
    result: Result
    weights: Weights | None  # as trained, when wanted
    age: int = 0  # rounds since it was asked; more than 0: it came late

    def __post_init__(self) -> None:
        if self.weights is not None:
            object.__setattr__(self, "weights", Weights.of(self.weights))


class Streams:
    """Where the samples of each client go on, for orders in time: where its last visit ended."""

    def __init__(self) -> None:
        self._starts: dict[str, int] = {}

    def placed(self, assignment: Assignment, client: str) -> Assignment:
        """The assignment with an order that begins where this client's samples go on."""
        start = self._starts.get(client, 0)
        if not assignment.order.in_time or not start:
            return assignment
        return dataclasses.replace(assignment, order=assignment.order.started_at(start))

    def ended(self, order: Order, client: str) -> None:
        """A visit of this client went well."""
        if order.in_time:
            self._starts[client] = (order.start + order.shots) % 2**32

    def document(self) -> dict[str, int]:
        """What `restore` takes, as JSON can hold it."""
        return dict(self._starts)

    def restore(self, document: Mapping[str, int]) -> None:
        """Go on where another one stood."""
        self._starts = {client: int(start) for client, start in document.items()}


class Strategy(Protocol):
    """An algorithm: a page that answers three questions a round."""

    @property
    def name(self) -> str:
        """What it is called in experiment files."""

    @property
    def rounds(self) -> int:
        """The whole run, for schedules that depend on it."""

    def begin(self, weights: Array, seed: int) -> State:
        """The state before the first round."""

    def select(self, state: State, devices: Sequence[str]) -> tuple[str, ...]:
        """Who works in this round, out of the devices (or clients) that are there."""

    def configure(self, state: State, device: str) -> Assignment:
        """What this device gets. Devices of a round are asked for in the order of `select`."""

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        """The state after the round. `replies` holds those that arrived, in the order of `select`; with none,
        the weights stay and the round counts. Behind them stand late ones, the oldest first, when `takes_late`."""


def takes_late(strategy: object) -> bool:
    """Whether a strategy wants answers that come after their round is over. It says so by an attribute of this name;
    without one late answers are dropped."""
    return bool(getattr(strategy, "takes_late", False))


def is_steady(strategy: object) -> bool:
    """Whether a round's bits are the same however many rounds there will be, so that a run may become longer. It says
    so by an attribute of this name; without one they are not."""
    return bool(getattr(strategy, "is_steady", False))


def check_layers(strategy: object, sizes: Sequence[int]) -> None:
    """Raises UsageError when a strategy cannot do with a model whose layers have so many parameters. It says so by a
    method of this name, which gets `sizes`; without one any model will do."""
    check = getattr(strategy, "check_layers", None)
    if check is not None:
        check(sizes)


def pick(state: State, devices: Sequence[str], count: int) -> tuple[str, ...]:
    """`count` different devices (all when there are fewer), from the run's seed and the round."""
    if not devices:
        return ()
    random = SplitMix64(derive_seed(state.seed, state.round, 0))
    return tuple(devices[i] for i in random.sequence(min(count, len(devices)), len(devices)))


def order_seed(state: State, *, device: str = "") -> int:
    """The seed of the order a device gets in this round. Devices of one round differ in it by their names."""
    return (
        derive_seed(state.seed, state.round, 1, *device.encode()) if device else derive_seed(state.seed, state.round, 1)
    )


def first_state(weights: Array, seed: int, **slots: Array) -> State:
    """The state before the first round, with a strategy's slots."""
    return State(seed, 0, Weights.of(weights), slots)


class Options:
    """What strategies have in common that are dataclasses: their options, and the orders they give, are in range.

    `_order` is what a device is to do; each visit gets it with a seed of its own.
    """

    _visit: Order

    @property
    def name(self) -> str:
        raise AssertionError("a strategy has a name")

    def __post_init__(self) -> None:
        check_fields(self, f"strategy {self.name}")
        object.__setattr__(self, "_visit", self._order())

    def _order(self) -> Order:
        raise AssertionError("a strategy says what a device is to do")

    def _wrong(self, option: str, problem: str) -> UsageError:
        value = quote(getattr(self, option))
        return UsageError(problem, where=f"strategy {self.name}", key=option, value=value)


class Cohort(Options):
    """What strategies have in common whose devices of a round all get the weights, each with a seed of its own.

    The dataclass has `devices`, how many. `LOCAL_OPTION` is what it calls the number of last layers that stay on the
    devices.
    """

    LOCAL_OPTION: ClassVar[str] = "local_last"
    devices: int
    robust = "mean"  # a rule of `tinyfed.meta.robust`, for those that have it as an option
    liars = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = robust.needed(self.robust, self.liars)
        if self.devices < needed:
            problem = f"{self.robust} needs {needed} devices for {self.liars} that may lie"
            raise self._wrong("devices", problem)

    def begin(self, weights: Array, seed: int) -> State:
        return first_state(weights, seed)

    def check_layers(self, sizes: Sequence[int]) -> None:
        """See `check_layers`: so many local layers must leave one that is shared."""
        count = self._visit.local_last
        if count and count >= len(sizes):
            problem = f"the model has {len(sizes)} layers with parameters: leave one that is shared"
            raise self._wrong(self.LOCAL_OPTION, problem)

    def select(self, state: State, devices: Sequence[str]) -> tuple[str, ...]:
        return pick(state, devices, self.devices)

    def configure(self, state: State, device: str) -> Assignment:
        return Assignment(state.weights, self._visit.with_seed(order_seed(state, device=device)))


class Alone(Options):
    """What strategies have in common that go to one device a round."""

    def begin(self, weights: Array, seed: int) -> State:
        return first_state(weights, seed)

    def select(self, state: State, devices: Sequence[str]) -> tuple[str, ...]:
        return pick(state, devices, 1)

    def configure(self, state: State, device: str) -> Assignment:
        return Assignment(state.weights, self._visit.with_seed(order_seed(state)))


def combined(replies: Sequence[Reply], rule: str = "mean", liars: int = 1, staleness: float = 0.0) -> Array | None:
    """What devices trained, made into one by a rule of `robust.RULES`; None when nothing came.

    A reply counts by its training samples, those of a late one `(1 + age)^-staleness` each.
    """
    there = [
        (reply.weights.array, reply.result.samples * (1 + reply.age) ** -staleness)
        for reply in replies
        if reply.weights is not None
    ]
    if not there:
        return None
    return robust.combined([weights for weights, _ in there], [samples for _, samples in there], rule, liars)


def moved(state: State, replies: Sequence[Reply], alpha: np.float32, rule: str = "mean", liars: int = 1) -> State:
    """The state a round later: `alpha` of the way from its weights to what devices trained, `combined`."""
    middle = combined(replies, rule, liars)
    weights = state.weights.array
    return state.after(None if middle is None else weights + alpha * (middle - weights))


def falling(start: float, round_index: int, rounds: int) -> np.float32:
    """A rate that falls linearly from `start` at round 0 to 0 at round `rounds`."""
    return np.float32(start * max(0.0, 1.0 - round_index / rounds))
