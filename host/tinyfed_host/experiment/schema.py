"""EXPERIMENT.toml: what to learn, from whom, how. docs/experiment.md describes every key."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyfed import meta, tasks
from tinyfed.errors import UsageError
from tinyfed.meta.strategy import Strategy, check_layers
from tinyfed.model import encode, read_weights
from tinyfed.tasks.task import Task
from tinyfed.wire.encodings import NAMES as ENCODINGS
from tinyfed.wire.order import SHOTS_MAX, Order
from tinyfed.wire.update import layer_sizes, shared_part
from tinyfed_host.experiment import model as experiment_model
from tinyfed_host.experiment import toml
from tinyfed_host.experiment.model import ModelSection

FLEETS = ("simulated", "emulated", "ports")
SAMPLES = ("stored", "recorded")
ORDER_KEYS = ("shots", "queries", "passes", "learning_rate")
DEFAULT_BOARD = "mps2_an386"


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
    boards: tuple[str, ...]  # the board of each device
    ports: tuple[str, ...]
    rotate_every: int  # rounds until the devices are given other clients' data; 0: never
    samples: str = "stored"  # or "recorded": by the devices, from their own sensors


@dataclass(frozen=True)
class RoundSection:
    """When a round counts."""

    timeout_s: float
    quorum: float  # share of the selected devices that must answer
    retries: int
    retry_after: int  # rounds a failed device is left out, doubled with each failure in a row
    max_norm: float  # of the weights a device sends back
    encoding: str = "float32"  # of the weights that go down to devices
    answer: str = "float32"  # of those that come back


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
        """Plain values; `from_json` is the way back."""
        return dataclasses.asdict(self)


def from_json(values: Mapping[str, Any]) -> Experiment:
    """What `to_json` gave."""
    fleet = dict(values["fleet"])
    fleet["boards"], fleet["ports"] = tuple(fleet["boards"]), tuple(fleet["ports"])
    return Experiment(
        rounds=values["rounds"],
        seed=values["seed"],
        model=experiment_model.from_json(values["model"]),
        task=TaskSection(**values["task"]),
        strategy=StrategySection(**values["strategy"]),
        fleet=FleetSection(**fleet),
        round=RoundSection(**values["round"]),
    )


def load(path: Path, strategies: Mapping[str, Mapping[str, Any]], boards: Sequence[str]) -> Experiment:
    """Read an experiment file.

    `strategies` gives the options of each strategy with their default values, `boards` the known boards. Raises
    `UsageError` with file and line at the first thing that is wrong.
    """
    return _experiment(toml.read(path), strategies, boards)


def parse(text: str, name: str, strategies: Mapping[str, Mapping[str, Any]], boards: Sequence[str]) -> Experiment:
    """`load` from a string; `name` stands for the file in errors."""
    return _experiment(toml.parse(text, name), strategies, boards)


def _experiment(root: toml.Table, strategies: Mapping[str, Mapping[str, Any]], boards: Sequence[str]) -> Experiment:
    root.only("rounds", "seed", "model", "task", "strategy", "fleet", "round")
    experiment = Experiment(
        rounds=root.integer("rounds", 1, 10_000_000),
        seed=root.integer("seed", 0, 2**53, 0),
        model=experiment_model.read_model(root.table("model")),
        task=_task(root.table("task")),
        strategy=_strategy(root.table("strategy"), strategies),
        fleet=_fleet(root.table("fleet", {}), boards),
        round=_round(root.table("round", {})),
    )
    _fits_together(root, experiment)
    return experiment


def _task(table: toml.Table) -> TaskSection:
    name = table.word("name", tasks.names())
    options = tuple(tasks.options(name))
    table.only("name", *options, *ORDER_KEYS)
    order: dict[str, int | float] = {}
    for key, low, high in (("shots", 1, SHOTS_MAX), ("queries", 0, SHOTS_MAX), ("passes", 1, 255)):
        if key in table.values and key not in options:
            order[key] = table.integer(key, low, high)
    if "learning_rate" in table.values:
        order["learning_rate"] = table.number("learning_rate", 0, 1000, above=True)
    chosen: dict[str, Any] = {}  # the task itself says which numbers it takes
    for key, default in tasks.options(name).items():
        if key in table.values:
            chosen[key] = table.text(key) if isinstance(default, str) else table.scalar(key)
    section = TaskSection(name, chosen, order)
    try:
        section.make().order.encode()
    except UsageError as error:
        culprits = [key for key in (*options, *ORDER_KEYS) if key in table.values and f" {key} " in str(error)]
        raise table.error(culprits[0] if culprits else None, f": {error}") from error
    return section


def _strategy(table: toml.Table, strategies: Mapping[str, Mapping[str, Any]]) -> StrategySection:
    name = table.word("name", sorted(strategies))
    defaults = strategies[name]
    table.only("name", *defaults)
    chosen = {key: table.like(key, default) for key, default in defaults.items() if key in table.values}
    return StrategySection(name, chosen)  # the strategy itself says which numbers it takes


def _fleet(table: toml.Table, boards: Sequence[str]) -> FleetSection:
    table.only("kind", "devices", "boards", "ports", "rotate_every", "samples")
    kind = table.word("kind", FLEETS, "simulated")
    ports = table.values.get("ports", [])
    if not isinstance(ports, list) or not all(isinstance(port, str) for port in ports):
        raise table.error("ports", ': must be a list of texts such as "/dev/ttyACM0"')
    counts = table.table("boards", {})
    counts.only(*boards)
    each = tuple(board for board in counts.values for _ in range(counts.integer(board, 1, 256)))
    if "devices" in table.values:
        devices = table.integer("devices", 1, 4096)
        if each and len(each) != devices:
            raise table.error("devices", f" = {devices}, but fleet.boards has {len(each)}: leave one of them away")
        each = each or (DEFAULT_BOARD,) * devices
    return FleetSection(
        kind=kind,
        boards=each or (DEFAULT_BOARD,) * 4,
        ports=tuple(ports),
        rotate_every=table.integer("rotate_every", 0, 1_000_000, 0),
        samples=table.word("samples", SAMPLES, "stored"),
    )


def _round(table: toml.Table) -> RoundSection:
    table.only("timeout_s", "quorum", "retries", "retry_after", "max_norm", "encoding", "answer")
    return RoundSection(
        timeout_s=table.number("timeout_s", 0, 86_400, 30.0, above=True),
        quorum=table.number("quorum", 0, 1, 0.5, above=True),
        retries=table.integer("retries", 0, 100, 2),
        retry_after=table.integer("retry_after", 0, 10_000, 1),
        max_norm=table.number("max_norm", 0, 1e9, 1e4, above=True),
        encoding=table.word("encoding", ENCODINGS, "float32"),
        answer=table.word("answer", ENCODINGS, "float32"),
    )


def _fits_together(root: toml.Table, experiment: Experiment) -> None:
    """The model must take the task's samples and give its answers."""
    model, task = experiment.model, experiment.task.make()
    if experiment.fleet.samples == "recorded" and task.order.source != "shard":
        raise root.table("fleet").error("samples", f' = "recorded": the {task.name} task makes its samples itself')
    table = root.table("model")
    spec = model.spec
    where = "image" if model.image else None
    values = math.prod(spec.sample_shape)
    if values != task.feature_count:
        shown = f": {values} inputs" if model.image else f" = {toml.quote(table.values['inputs'])}"
        text = f"{shown}: a sample of the {task.name} task has {task.feature_count} values"
        raise table.error(where or "inputs", text)
    if spec.loss != task.loss:
        shown = f": {spec.loss}" if model.image else f' = "{spec.loss}"'
        raise table.error(where or "loss", f'{shown}: the {task.name} task needs "{task.loss}"')
    outputs = math.prod(spec.output_shape)
    if outputs != task.output_count:
        path = (*table.path, "image") if model.image else (*table.path, "layers", len(model.layers) - 1, "outputs")
        shown = f": {outputs} outputs" if model.image else f" = {outputs}"
        text = f"{shown}: the last layer must have {task.output_count} outputs for the {task.name} task"
        raise root.source.error(path, text)
    image = model.read_image() if model.image else encode(spec, np.zeros(spec.parameter_count, np.float32))
    try:
        first_order(experiment.strategy.make(task, experiment.rounds), image, experiment.seed)
    except UsageError as error:
        raise _strategy_error(root.table("strategy"), str(error)) from error


def _strategy_error(table: toml.Table, message: str) -> UsageError:
    """At the line of the option that the message names first, if the file has it."""
    text = message.partition(": ")[2] or message
    culprits = [key for key in table.values if key != "name" and re.search(rf"\b{re.escape(key)}\b", text)]
    key = min(culprits, key=text.index) if culprits else None
    if key is not None and text.startswith(f"{key} is "):
        return table.error(key, text.removeprefix(key))
    return table.error(key, f": {text}")


def first_order(strategy: Strategy, image: bytes, seed: int) -> Order:
    """What a strategy asks of its first device. Raises `UsageError` when none could do it with this model."""
    sizes = layer_sizes(image)
    check_layers(strategy, sizes)
    order = strategy.configure(strategy.begin(read_weights(image), seed), "").order
    order.encode()
    shared_part(order, sizes)
    return order


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
    if kind is not None and kind not in FLEETS:
        raise UsageError(f"--fleet {kind}: must be one of {', '.join(FLEETS)}{toml.near(kind, FLEETS)}")
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
