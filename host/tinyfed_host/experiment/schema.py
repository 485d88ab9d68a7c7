"""The sections of an experiment file, and what each key of them may be. docs/experiment.md describes every key."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tinyfed import meta, tasks
from tinyfed.errors import UsageError
from tinyfed.fields import Table, check_values, fields_of, number, texts, whole, word
from tinyfed.meta.strategy import Strategy
from tinyfed.tasks.task import Task
from tinyfed.wire.encodings import NAMES as ENCODINGS
from tinyfed.wire.order import Order
from tinyfed_host.experiment import model as experiment_model
from tinyfed_host.experiment.model import ModelSection

FLEETS = ("simulated", "emulated", "ports")
ORDER_KEYS = ("shots", "queries", "passes", "learning_rate")
DEFAULT_BOARD = "mps2_an386"
DEVICES = 4

EXPERIMENT = {"rounds": whole(1, 10_000_000), "seed": whole(0, 2**53, default=0)}
FLEET = {
    "kind": word(*FLEETS, default="simulated"),
    "devices": whole(1, 4096, default=0),
    "ports": texts(example='"/dev/ttyACM0"', default=()),
    "rotate_every": whole(0, 1_000_000, default=None),
    "samples": word("stored", "recorded", default="stored"),
}


@dataclass(frozen=True)
class TaskSection:
    """Whose data, and what a device does with it in a visit. What is not written is the task's default."""

    name: str
    options: Mapping[str, int | str]  # of the task's own
    order: Mapping[str, int | float]  # shots, queries, passes, learning_rate

    def make(self) -> Task:
        """The task with this file's orders. Raises `UsageError` where an option is wrong or data is missing."""
        task = tasks.get(self.name, **self.options)
        order: dict[str, Any] = dict(self.order)
        adapt = {"learning_rate": order["learning_rate"]} if "learning_rate" in order else {}
        return dataclasses.replace(
            task, order=dataclasses.replace(task.order, **order), adapt=dataclasses.replace(task.adapt, **adapt)
        )


@dataclass(frozen=True)
class StrategySection:
    """Which algorithm, with its own options as written."""

    name: str
    options: Mapping[str, Any]

    def make(self, task: Task, rounds: int) -> Strategy:
        """The algorithm, with its options. Raises `UsageError` for one out of range."""
        return meta.make(self.name, task.order, rounds, **self.options)


@dataclass(frozen=True)
class FleetSection:
    """Who takes part."""

    kind: str
    boards: tuple[str, ...]  # the board of each device; (): the task says how many
    ports: tuple[str, ...]
    rotate_every: int | None  # rounds until the devices are given other clients' data; 0: never; None: the task says
    samples: str = "stored"  # or "recorded": by the devices, from their own sensors

    def filled(self, task: Task) -> "FleetSection":
        """With what is left open: where a task takes all its clients there is a device for each, and fewer devices
        hold the next clients' data each round."""
        count = min(len(task.train), int(FLEET["devices"].high)) if task.takes_all else DEVICES
        boards = self.boards or (DEFAULT_BOARD,) * count
        turns = task.takes_all and len(boards) < len(task.train)
        every = int(turns) if self.rotate_every is None else self.rotate_every
        return dataclasses.replace(self, boards=boards, rotate_every=every)


@dataclass(frozen=True)
class RoundSection:
    """When a round counts."""

    timeout_s: Annotated[float, number(0, 86_400, above=True)] = 30.0
    quorum: Annotated[float, number(0, 1, above=True)] = 0.5  # share of the selected devices that must answer
    retries: Annotated[int, whole(0, 100)] = 2
    # rounds a failed device is left out, doubled with each failure in a row
    retry_after: Annotated[int, whole(0, 10_000)] = 1
    max_norm: Annotated[float, number(0, 1e9, above=True)] = 1e4  # of the weights a device sends back
    # of what it changed in them; "auto": against the median of the round's, or of the run's so far
    max_update: Annotated[float | str, number(0, 1e9, above=True, words=("auto", "off"))] = "auto"
    encoding: Annotated[str, word(*ENCODINGS)] = "float32"  # of the weights that go down to devices
    answer: Annotated[str, word(*ENCODINGS)] = "float32"  # of those that come back


@dataclass(frozen=True)
class Experiment:
    """A whole experiment."""

    rounds: int
    seed: int
    model: ModelSection
    task: TaskSection
    strategy: StrategySection
    fleet: FleetSection
    round: RoundSection

    def to_json(self) -> dict[str, Any]:
        """Plain values; `stored.read_stored` is the way back."""
        return dataclasses.asdict(self)


def read_experiment(root: Table, boards: Sequence[str], image: bytes | None = None) -> Experiment:
    """All sections of a file, each by itself; `boards` are those there are, `image` stands for the model's file. Raises
    `UsageError` with the line."""
    sections = ("model", "task", "strategy", "fleet", "round")
    return Experiment(
        **root.read(EXPERIMENT, beside=sections),
        model=experiment_model.read_model(root.table("model"), image),
        task=_task(root.table("task")),
        strategy=_strategy(root.table("strategy")),
        fleet=_fleet(root.table("fleet", {}), boards),
        round=RoundSection(**root.table("round", {}).read(fields_of(RoundSection))),
    )


def _task(table: Table) -> TaskSection:
    name = table.take("name", word(*tasks.names()))
    options = tasks.fields(name)
    order = {key: field for key, field in fields_of(Order).items() if key in ORDER_KEYS and key not in options}
    table.only(("name", *options, *order))
    chosen = table.given(options)
    for key, value in chosen.items():
        if options[key].is_path and value:
            chosen[key] = str((Path(table.source.name).parent / value).absolute())
    return TaskSection(name, chosen, table.given(order))


def _strategy(table: Table) -> StrategySection:
    name = table.take("name", word(*meta.names()))
    options = meta.fields(name)
    table.only(("name", *options))
    return StrategySection(name, table.given(options))


def _fleet(table: Table, boards: Sequence[str]) -> FleetSection:
    read = table.read(FLEET, beside=("boards",))
    counts = table.table("boards", {})
    counts.only(boards)
    each = tuple(board for board in counts.values for _ in range(counts.take(board, whole(1, 256))))
    devices = read.pop("devices")
    if each and devices and len(each) != devices:
        raise table.wrong("devices", f"fleet.boards has {len(each)}", "leave one of them away")
    return FleetSection(boards=each or (DEFAULT_BOARD,) * devices, **read)


def override(
    experiment: Experiment,
    *,
    kind: str | None = None,
    board: str | None = None,
    ports: Sequence[str] = (),
    rounds: int | None = None,
    seed: int | None = None,
) -> Experiment:
    """The experiment with what the command line says otherwise. Raises `UsageError` for an unknown kind of fleet."""
    fleet = experiment.fleet
    if kind is not None:
        check_values({"--fleet": FLEET["kind"]}, {"--fleet": kind}, "")
    if ports:
        fleet = dataclasses.replace(fleet, kind="ports", ports=tuple(ports))
    elif kind is not None:
        fleet = dataclasses.replace(fleet, kind=kind)
    if fleet.kind == "ports" and not fleet.ports:
        raise UsageError("a fleet of ports needs to know which: add --port PORT for each, see `tinyfed devices`")
    if board is not None:
        fleet = dataclasses.replace(fleet, boards=(board,) * len(fleet.boards))
    return dataclasses.replace(
        experiment,
        fleet=fleet,
        rounds=experiment.rounds if rounds is None else rounds,
        seed=experiment.seed if seed is None else seed,
    )
