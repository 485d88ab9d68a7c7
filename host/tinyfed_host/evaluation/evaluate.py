"""Held-out clients, judged as newcomers: each learns from a few samples of its own, and answers others.

It goes by the task's order for newcomers on simulated devices, from what a run has learned and from what it is held
against. A client's draws (which samples it learns from, in which order, as which labels) are the same for all.
"""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.shard import Shard, read_shard
from tinyfed.device import VisitOutcome
from tinyfed.device.draw import judged_samples
from tinyfed.engine import Engine
from tinyfed.errors import DeviceError, TinyfedError, UsageError
from tinyfed.fields import near
from tinyfed.meta.adaptation import Adaptation, Witness, adaptation
from tinyfed.meta.references import REFERENCES, reference
from tinyfed.meta.strategy import Array
from tinyfed.model import ModelSpec, plan, read_weights, replace_weights
from tinyfed.tasks.task import Client, Task, check_samples
from tinyfed.wire.order import CHECKPOINTS_MAX, SHOTS_MAX, Order

LEARNED = "learned"
DRAWS = 20  # of each client
CLASSES_SHOWN = 32  # a confusion matrix of more says nothing

Working = Callable[[str], contextlib.AbstractContextManager[object]]
Starts = Mapping[str, Array]


@dataclass(frozen=True)
class Subject:
    """What is judged, and on whose data."""

    task: Task
    order: Order  # of a newcomer's visit
    image: bytes  # with the learned weights, for samples as shards hold them
    seed: int
    rounds: int  # it has learned in; 0: not known
    spec: ModelSpec
    before: Array | None = None  # what the rounds began with, where that was no random draw
    seen: int = 0  # training samples in all visits of these rounds; 0: not known, as of one device a round

    @property
    def fixed_labels(self) -> bool:
        """Each class has the same label everywhere, so a model can answer before it has learned from a newcomer."""
        return self.order.true_labels

    @property
    def turns(self) -> int:
        """Visits by the task's order that see as many samples as the rounds did."""
        order = self.task.order
        return math.ceil(self.seen / (order.shots * order.ways)) or self.rounds


@dataclass(frozen=True)
class Evaluation:
    """What held-out clients' devices reported."""

    subject: Subject
    seed: int
    adapted: Mapping[str, Adaptation]  # by what they started from
    missing: Mapping[str, str]  # what else they would have started from, and why there is none
    left_out: Mapping[str, str]  # clients that could not be judged, and why
    confusion: Mapping[int, NDArray[np.int64]]  # by samples a class: (true class, answer), from what was learned
    # of several targets, by samples: the sum of squared errors of each and their number, (targets + 1,)
    squares: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)

    def joined(self, other: "Evaluation") -> "Evaluation":
        """With further draws of the same clients."""
        adapted = {kind: found.joined(other.adapted[kind]) for kind, found in self.adapted.items()}
        confusion = {shots: found + other.confusion[shots] for shots, found in self.confusion.items()}
        squares = {shots: found + other.squares[shots] for shots, found in self.squares.items()}
        return replace(self, adapted=adapted, confusion=confusion, squares=squares)


def simulated_arena(spec: ModelSpec) -> int:
    """Bytes for a simulated newcomer: whichever way it learns, and what the largest order draws."""
    return plan(spec, "batch_adam").arena_bytes + 65_536


def silent(_: str) -> contextlib.AbstractContextManager[None]:
    """Says nothing of what takes time."""
    return contextlib.nullcontext()


def order_with(order: Order, shots: Sequence[int]) -> Order:
    """A newcomer's order, judged after so many samples a class in one pass. Raises `UsageError`."""
    points = tuple(sorted(set(shots)))
    if not points or points[0] < 0 or points[-1] > SHOTS_MAX - 1 or len(points) > CHECKPOINTS_MAX:
        raise UsageError(
            f"must be 1 to {CHECKPOINTS_MAX} numbers from 0 to {SHOTS_MAX - 1}", key="--shots",
            value=",".join(map(str, shots)), remedy="write for example --shots 0,1,5,10",
        )  # fmt: skip
    if order.source == "shard" and not order.true_labels and points == (0,):
        raise UsageError(
            "the devices of this task draw their labels: before a sample of each is learned no answer can be right",
            key="--shots", value="0", remedy="add some, such as --shots 1,5",
        )  # fmt: skip
    last = max(points[-1], 1)
    reconstruct = last if order.reconstruct else 0
    return replace(order, shots=last, passes=1, checkpoints=points, reconstruct=reconstruct)


def chosen_clients(task: Task, names: Sequence[str]) -> tuple[Client, ...]:
    """The held-out clients of these names (none: all). Raises `UsageError`."""
    by_name = {client.name: client for client in task.held_out}
    for name in names:
        if name not in by_name:
            trained = any(client.name == name for client in task.train)
            problem = "took part in the training" if trained else "is no client of the task"
            there = ", ".join(list(by_name)[:8]) + (", …" if len(by_name) > 8 else "")
            raise UsageError(
                f"{name} {problem}", key="--clients",
                remedy=("" if trained else near(name, tuple(by_name))) or f"held out are {there or 'none'}",
            )  # fmt: skip
    return tuple(by_name[name] for name in dict.fromkeys(names)) or task.held_out


def able_clients(subject: Subject, clients: Sequence[Client]) -> tuple[tuple[Client, ...], dict[str, str]]:
    """Those with enough samples, and why the others are left out."""
    able, left_out = [], {}
    for client in clients:
        try:
            check_samples(subject.task, client, subject.order)
            able.append(client)
        except UsageError as error:
            left_out[client.name] = str(error)
    return tuple(able), left_out


def starts_of(
    subject: Subject, kinds: Sequence[str] = REFERENCES, working: Working = silent
) -> tuple[dict[str, Array], dict[str, str]]:
    """The learned weights and those of each of `kinds`; and why there are none of a kind."""
    starts, missing = {LEARNED: read_weights(subject.image)}, {}
    if subject.before is not None:
        starts["before"] = subject.before
    for kind in kinds:
        if kind == "global" and not subject.rounds:
            missing[kind] = "a model file does not say in how many rounds it learned"
            continue
        try:
            with working(f"learning what it is held against: {kind}"):
                starts[kind] = reference(kind, subject.spec, subject.task, seed=subject.seed, rounds=subject.turns)
        except TinyfedError as error:
            missing[kind] = str(error)
    return starts, missing


def evaluate(
    subject: Subject,
    clients: Sequence[Client],
    starts: Starts,
    missing: Mapping[str, str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
    working: Working = silent,
) -> Evaluation:
    """Judge these clients, `draws` visits each, from each start. Raises `UsageError` when none has enough samples."""
    able, left_out = able_clients(subject, clients)
    if not able:
        why = next(iter(left_out.values()), "the task has none: put some of the clients into held_out/")
        raise UsageError(f"no held-out client can be judged: {why}")
    arena_bytes = simulated_arena(subject.spec)
    counted = _Confusion(subject) if _has_classes(subject) else None
    errors = _Errors(subject) if len(subject.task.targets) > 1 else None
    adapted, missing = {}, dict(missing)
    for kind, weights in starts.items():
        witness: Witness | None = (counted or errors) if kind == LEARNED else None
        try:
            with working(f"{len(able)} held-out clients from {kind}"):
                adapted[kind] = adaptation(
                    replace_weights(subject.image, weights), able, subject.order,
                    draws=draws, seed=seed, arena_bytes=arena_bytes, witness=witness,
                )  # fmt: skip
        except DeviceError as error:
            if kind == LEARNED:
                raise
            missing[kind] = str(error)
    return Evaluation(
        subject, seed, adapted, missing, left_out,
        {} if counted is None else counted.found, {} if errors is None else errors.found,
    )  # fmt: skip


def _has_classes(subject: Subject) -> bool:
    if subject.order.is_partial:  # a device keeps what it has learned in its local layers to itself
        return False
    return subject.order.source == "shard" and 2 <= len(subject.task.classes) <= CLASSES_SHOWN


class _Answers:
    """What the learned weights give, before (where labels are fixed) and after the visit, beside what is right."""

    def __init__(self, subject: Subject) -> None:
        points, last = subject.order.checkpoints, subject.order.shots * subject.order.passes
        self._points = [
            k for k in points if k == last or (k == 0 and subject.fixed_labels and not subject.order.zero_local)
        ]
        self._engine = Engine(subject.image, "infer")
        self._start = read_weights(subject.image)
        self._shards: dict[str, Shard] = {}

    def _shard(self, client: Client) -> Shard:
        assert client.shard is not None
        return self._shards.setdefault(client.name, read_shard(client.shard))

    def _given(self, inputs: NDArray[np.float32], outcome: VisitOutcome, shots: int) -> NDArray[np.float32]:
        assert outcome.weights is not None
        self._engine.parameters = self._start if shots == 0 else outcome.weights.array
        return self._engine.infer(inputs)


class _Errors(_Answers):
    """Squared errors by target."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self.found = {shots: np.zeros(len(subject.task.targets) + 1) for shots in self._points}

    def __call__(self, client: Client, order: Order, outcome: VisitOutcome) -> None:
        shard = self._shard(client)
        assert shard.targets is not None
        ((_, indices),) = judged_samples(order, [shard.sample_count])
        for shots, sums in self.found.items():
            given = self._given(shard.classes[0][indices], outcome, shots)
            sums += [*np.square(given - shard.targets[indices], dtype=np.float64).sum(axis=0), len(indices)]


class _Confusion(_Answers):
    """Answers counted by true class."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        classes = len(subject.task.classes)
        self.found = {shots: np.zeros((classes, classes), np.int64) for shots in self._points}

    def __call__(self, client: Client, order: Order, outcome: VisitOutcome) -> None:
        shard = self._shard(client)
        samples = shard.classes
        drawn = judged_samples(order, [len(each) for each in samples])
        inputs = np.concatenate([samples[number][indices] for number, indices in drawn])
        if shard.targets is None:
            meaning = np.array([number for number, _ in drawn])  # of the labels
            truth = np.concatenate([np.full(len(indices), number) for number, indices in drawn])
        else:
            meaning, truth = np.arange(len(next(iter(self.found.values())))), shard.targets[drawn[0][1], 0].astype(int)
        for shots, counts in self.found.items():
            answers = meaning[self._given(inputs, outcome, shots).argmax(axis=1)]
            np.add.at(counts, (truth, answers), 1)
            reported = next(point.correct for point in outcome.result.checkpoints if point.shots == shots)
            if reported != int((truth == answers).sum()):
                raise TinyfedError(
                    f"client {client.name}: its device gives {reported} right answers, its weights "
                    f"{int((truth == answers).sum())}: they must agree; please report this"
                )
