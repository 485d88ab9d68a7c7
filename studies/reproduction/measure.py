"""The table of `tinyfed reproduce`: which strategies on which tasks, with which settings, and what they reach.

Settings were chosen on training clients that were left out in turn, as docs/reproduction.md tells; what is reported is
of clients that took no part. Runs go on simulated devices.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.reproduction.intervals import value_over
from studies.reproduction.results import Value
from tinyfed import meta, tasks
from tinyfed.errors import UsageError
from tinyfed.meta.adaptation import adaptation
from tinyfed.meta.references import reference
from tinyfed.meta.simulate import Learner, Watcher, make_devices, run
from tinyfed.meta.strategy import Array, Strategy
from tinyfed.model import Conv2D, Layer, ModelSpec, encode, initialize, mlp, plan
from tinyfed.random import splitmix64
from tinyfed.tasks.task import Task
from tinyfed.wire.order import Order
from tinyfed.wire.update import layer_sizes, shared_part

CURVE_POINTS = 40
CURVE_DRAWS = 5


@dataclass(frozen=True)
class Method:
    """A row: a strategy with its options and what it changes in the task's order."""

    label: str
    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    order: Mapping[str, Any] = field(default_factory=dict)
    adapt: Mapping[str, Any] = field(default_factory=dict)  # what it changes in the newcomers' order
    visits: int = 0  # 0: the study's
    confirmed: int = 0  # visits of its first run that are repeated on emulated boards; 0: all


@dataclass(frozen=True)
class Study:
    """A table: a task, a model, the rows, and the performance whose price is compared."""

    task: str
    hidden: tuple[int, ...]
    visits: int  # of devices in a run; a strategy with n devices a round has visits / n rounds
    methods: tuple[Method, ...]
    target: tuple[int, float]  # (samples a class, accuracy at least or squared error at most)
    activation: str = "relu"
    options: Mapping[str, Any] = field(default_factory=dict)
    adapt: Mapping[str, Any] = field(default_factory=dict)  # what it changes in the newcomers' order
    draws: int = 20
    references: tuple[str, ...] = ("random", "global", "transfer")
    convolutions: tuple[Layer, ...] = ()  # before the hidden layers
    points: int = CURVE_POINTS  # of a learning curve
    points_a_step: int = 0  # newcomers that go through a stored set: so many samples looked at are a step
    uniform_biases: bool = False  # first weights and biases uniform within 1 / sqrt(inputs), as PyTorch has them

    def first_weights(self, spec: ModelSpec, seed: int) -> Array:
        """What every row begins with, (parameters,)."""
        if not self.uniform_biases:
            return initialize(spec, seed)
        unit = (splitmix64(seed, spec.parameter_count) >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
        limits: list[float] = []
        for weights, biases in zip(spec.parameter_shapes[::2], spec.parameter_shapes[1::2], strict=True):
            limits += [1 / math.sqrt(weights[0])] * (math.prod(weights) + math.prod(biases))
        first: Array = (unit * np.array(limits)).astype(np.float32)
        return first

    def reference_weights(self, kind: str, seed: int, watch: Watcher | None = None) -> Array:
        """What a reference gives newcomers, (parameters,). `watch` as for `run`."""
        task = self.make_task()
        spec = self.make_spec(task)
        if kind == "random":
            return self.first_weights(spec, seed)
        return reference(kind, spec, task, seed=seed, rounds=max(1, self.visits), watch=watch)

    @property
    def smaller_is_better(self) -> bool:
        """Squared errors are, accuracies are not."""
        return self.make_task().loss == "mse"

    @property
    def model(self) -> str:
        """In words: its sizes, and the activation of dense layers or the number of parameters."""
        task = self.make_task()
        if not self.convolutions:
            sizes = (task.feature_count, *self.hidden, task.output_count)
            return f"{'-'.join(map(str, sizes))} {self.activation}"
        spec = self.make_spec(task)
        shapes = "-".join("x".join(map(str, shape)) for shape in spec.shapes)
        return f"{shapes}, {spec.parameter_count:,} parameters"

    def visits_of(self, method: Method) -> int:
        """Of a row's run: whole rounds."""
        devices = devices_a_round(method)
        return max(1, (method.visits or self.visits) // devices) * devices

    def make_task(self) -> Task:
        """The task with this study's options and newcomers."""
        task = tasks.get(self.task, **self.options)
        return replace(task, adapt=replace(task.adapt, **self.adapt))

    def newcomers_task(self, method: Method) -> Task:
        """The task as a row's newcomers are given it."""
        task = self.make_task()
        return replace(task, adapt=replace(task.adapt, **method.adapt))

    def make_spec(self, task: Task) -> ModelSpec:
        """The model."""
        dense = mlp(task.feature_count, self.hidden, task.output_count, self.activation, task.loss)
        if not self.convolutions:
            return dense
        return ModelSpec(task.input_shape, (*self.convolutions, *dense.layers), task.loss)

    def make_strategy(self, method: Method, task: Task) -> Strategy:
        """The strategy of a row."""
        order = replace(task.order, **method.order)
        rounds = self.visits_of(method) // devices_a_round(method)
        return meta.make(method.strategy, order, rounds, **method.options)


def devices_a_round(method: Method) -> int:
    """How many devices a row visits in a round."""
    return int(method.options.get("devices", meta.options(method.strategy).get("devices", 1)))


@dataclass(frozen=True)
class Reached:
    """What a row reached, over seeds."""

    label: str
    shots: tuple[int, ...]
    values: NDArray[np.float64]  # (seeds, shots): accuracy, or mean squared error
    curve: tuple[tuple[int, float], ...]  # (visits, value at the target's shots), mean over seeds
    seed_curves: tuple[tuple[float, ...], ...] = ()  # (seeds)(points), the values the mean is of

    def by_shots(self) -> dict[int, Value]:
        """What is kept of it."""
        return {shots: value_over(self.values[:, at]) for at, shots in enumerate(self.shots)}

    def visits_to(self, target: float, *, smaller_is_better: bool) -> int | None:
        """The first point of the curve that reaches the target; None when none does."""
        return self._first([value for _, value in self.curve], target, smaller_is_better)

    def visits_of_seeds(self, target: float, *, smaller_is_better: bool) -> list[int | None]:
        """The same of each seed's own curve."""
        return [self._first(values, target, smaller_is_better) for values in self.seed_curves]

    def _first(self, values: Sequence[float], target: float, smaller_is_better: bool) -> int | None:
        for (visits, _), value in zip(self.curve, values, strict=True):
            if value <= target if smaller_is_better else value >= target:
                return visits
        return None


_ONE_BY_ONE = Method("TinyReptile", "tinyreptile", {"alpha": 0.5})
_WATCH = (
    _ONE_BY_ONE,
    Method("Reptile, serial", "reptile", {"alpha": 0.5, "passes": 4, "batch": 10}, {"learning_rate": 0.2}),
    Method("Reptile, 4 devices", "reptile", {"alpha": 1.0, "devices": 4, "batch": 10}, {"learning_rate": 0.2}),
    Method("FOMAML", "fomaml", {"alpha": 0.3}, {"learning_rate": 0.1}),
    Method("FedAvg", "fedavg", {}, {"learning_rate": 0.1}),
    Method("FedProx", "fedprox", {"mu": 0.1}, {"learning_rate": 0.1}),
    Method("FedSGD", "fedsgd", {}, {"learning_rate": 0.1}),
)
_WATCH_FOR_TIME = (
    Method(
        "TinyReptile, for time", "tinyreptile", {"alpha": 0.5}, {"learning_rate": 0.03, "shots": 15}, visits=500
    ),
    Method(
        "Reptile, serial, for time", "reptile", {"alpha": 0.5, "passes": 4, "batch": 10},
        {"learning_rate": 0.2, "shots": 15}, visits=600,
    ),
)  # fmt: skip
_WORDS_FOR_TIME = (
    Method("TinyReptile, for time", "tinyreptile", {"alpha": 0.35}, {"learning_rate": 0.02, "shots": 40}, visits=600),
    Method(
        "Reptile, serial, for time", "reptile", {"alpha": 0.35, "passes": 4, "batch": 10}, {"learning_rate": 0.2},
        visits=600,
    ),
)  # fmt: skip
_REBUILT = {"local_last": 1, "zero_local": True}  # a newcomer has no last layer from the server either
_META_FED = (
    Method("TinyMetaFed", "tinymetafed", {"top_percent": 10.0, "schedule": "cosine"}, adapt=_REBUILT),
    Method(
        "TinyMetaFed, all layers sent", "tinymetafed", {"top_percent": 10.0, "schedule": "cosine", "local_layers": 0}
    ),
    Method("TinyMetaFed, all values back", "tinymetafed", {"top_percent": 100.0, "schedule": "cosine"}, adapt=_REBUILT),
    Method("TinyMetaFed, constant rate", "tinymetafed", {"top_percent": 10.0, "schedule": "constant"}, adapt=_REBUILT),
)
_TINY_REBUILT = Method(
    "TinyReptile, last layer rebuilt", "tinymetafed",
    {"alpha": 0.5, "top_percent": 100.0, "schedule": "cosine", "reconstruct": 0}, {"learning_rate": 0.05},
    _REBUILT, visits=600,
)  # fmt: skip
_REPTILE_REBUILT = Method(
    "Reptile, serial, last layer rebuilt", "reptile", {"alpha": 0.8, "passes": 4, "batch": 10, "local_last": 1},
    {"learning_rate": 0.2}, _REBUILT, visits=600,
)  # fmt: skip
_WATCH_REBUILT = (_TINY_REBUILT, _REPTILE_REBUILT)
_WORDS_REBUILT = (
    replace(_TINY_REBUILT, visits=400),
    replace(_REPTILE_REBUILT, options={**_REPTILE_REBUILT.options, "batch": 5}, visits=400),
)
_CHARACTERS = (
    Method("TinyReptile", "tinyreptile", {"alpha": 0.5}, {"learning_rate": 0.03, "shots": 15}),
    Method(
        "Reptile, serial",
        "reptile",
        {"alpha": 0.3, "passes": 4, "batch": 5},
        {"learning_rate": 0.15, "shots": 15},
        confirmed=100,
    ),
    Method(
        "FOMAML, last layer by itself",
        "fomaml",
        {"alpha": 0.004, "passes": 4, "batch": 0, "server": "adam", "zero_last": 645, "local_last": 1},
        {"shots": 1, "learning_rate": 1.25},
        {**_REBUILT, "reconstruct": 5},
    ),
)
_ROBOD_FOR_TIME = (
    Method("TinyReptile, for time", "tinyreptile", {"alpha": 0.5}, {"learning_rate": 0.1}, visits=1000),
    Method(
        "Reptile, serial, for time", "reptile", {"alpha": 0.5, "passes": 1, "batch": 10}, {"learning_rate": 0.4},
        visits=1000,
    ),
)  # fmt: skip

STUDIES = {
    study.task: study
    for study in (
        Study(
            "sine",
            (64, 64),
            30_000,
            (
                Method("TinyReptile", "tinyreptile", {"alpha": 0.1}, {"shots": 50, "learning_rate": 0.01}),
                Method("Reptile, serial", "reptile", {"alpha": 0.3, "passes": 1, "batch": 10}, {"shots": 50}),
                Method("Reptile as published", "reptile", {"alpha": 0.1, "passes": 1, "batch": 10}, {"shots": 50}),
            ),
            target=(320, 0.1),
            activation="tanh",
            # Reptile's own: 32 steps on the mean gradient of 10 points; 320 samples looked at
            adapt={
                "shots": 10,
                "passes": 32,
                "update": "sgd",
                "batch": 0,
                "queries": 50,
                "checkpoints": (0, 10, 80, 320),
            },
            points_a_step=10,
            draws=125,
            references=("random",),
            uniform_biases=True,
        ),
        Study(
            "watch",
            (32, 32),
            2000,
            _WATCH + _META_FED + _WATCH_FOR_TIME + _WATCH_REBUILT,
            target=(1, 0.75),
            adapt={"checkpoints": (0, 1, 3, 5, 10)},
        ),
        Study(
            "fsdd",
            (64, 32),
            2000,
            _WATCH[:4] + _META_FED + _WORDS_FOR_TIME + _WORDS_REBUILT,
            target=(1, 0.7),
        ),
        Study(
            "omniglot",
            (),
            600,
            _CHARACTERS,
            target=(5, 0.75),
            options={"set_size": 16},  # what the data flash of an emulated board holds
            adapt={"queries": 5, "learning_rate": 0.03},
            draws=5,
            references=("random",),
            convolutions=tuple(
                Conv2D(filters, kernel, strides=2, padding="same", activation="leaky_relu")
                for filters, kernel in ((16, 5), (32, 3), (32, 3), (32, 3))
            ),
            points=12,
        ),
        Study("occupancy", (32, 32), 1000, _WATCH + _META_FED, target=(10, 0.7), draws=5),
        Study(
            "robod",
            (32, 32),
            1000,
            _WATCH + _META_FED + _ROBOD_FOR_TIME,
            target=(1, 0.6),
            draws=3,
        ),
    )
}


def study(name: str) -> Study:
    """The study of a task. Raises UsageError."""
    if name not in STUDIES:
        raise UsageError(f"reproduce: there is no table for task {name!r}, allowed are {', '.join(STUDIES)}")
    return STUDIES[name]


def shortened(whole: Study, share: float) -> Study:
    """The same with a share of the visits and draws, to see that all of it works."""

    def fewer(visits: int) -> int:
        return visits and max(40, round(visits * share))

    methods = tuple(replace(method, visits=fewer(method.visits)) for method in whole.methods)
    draws = max(2, round(whole.draws * share))
    return replace(whole, visits=fewer(whole.visits), methods=methods, draws=draws)


def newcomers(
    task: Task,
    spec: ModelSpec,
    weights: Array,
    draws: int,
    seed: int,
    devices: Mapping[str, Learner] | None = None,
) -> list[float]:
    """What the held-out clients reach at each of the task's checkpoints, on `devices` (None: simulated ones)."""
    found = adaptation(encode(spec, weights), task.held_out, task.adapt, draws=draws, seed=seed, devices=devices)
    by_shots = found.loss_by_shots() if task.loss == "mse" else found.by_shots()
    return list(by_shots.values())


def reach(
    whole: Study, method: Method, seeds: Sequence[int], *, points: int | None = None, watch: Watcher | None = None
) -> Reached:
    """Run a row from each seed's own first weights, draws and order of devices, with so many points of its curve (None:
    the study's). `watch` as for `run`."""
    task = whole.newcomers_task(method)
    spec = whole.make_spec(task)
    strategy = whole.make_strategy(method, task)
    at = task.adapt.checkpoints.index(whole.target[0])
    stride = max(1, strategy.rounds // (points or whole.points))
    visits_a_round = devices_a_round(method)
    rows: list[list[float]] = []
    curves: list[list[tuple[int, float]]] = []
    arena_bytes = plan(spec, "batch_adam").arena_bytes + 8 * spec.parameter_count + 65_536
    for seed in seeds:
        weights = whole.first_weights(spec, seed)
        devices = make_devices(task.train, encode(spec, weights), arena_bytes=arena_bytes)
        state = strategy.begin(weights, seed)
        curve = []
        while state.round < strategy.rounds:
            rounds = min(stride, strategy.rounds - state.round)
            state = run(strategy, devices, state, rounds=rounds, watch=watch)
            value = newcomers(task, spec, state.weights.array, min(CURVE_DRAWS, whole.draws), seed + 1000)[at]
            curve.append((state.round * visits_a_round, value))
        curves.append(curve)
        rows.append(newcomers(task, spec, state.weights.array, whole.draws, seed))
    mean = tuple((points[0][0], float(np.mean([v for _, v in points]))) for points in zip(*curves, strict=True))
    each = tuple(tuple(value for _, value in points) for points in curves)
    return Reached(method.label, task.adapt.checkpoints, np.array(rows), mean, each)


def reach_reference(
    whole: Study, kind: str, seeds: Sequence[int], *, watch: Watcher | None = None
) -> tuple[Reached, list[Array]]:
    """A reference's row, without a learning curve, and what it gives newcomers of each seed. `watch` as for `run`."""
    task = whole.make_task()
    spec = whole.make_spec(task)
    weights = [whole.reference_weights(kind, seed, watch) for seed in seeds]
    rows = [newcomers(task, spec, each, whole.draws, seed) for each, seed in zip(weights, seeds, strict=True)]
    return Reached(kind, task.adapt.checkpoints, np.array(rows), ()), weights


@dataclass(frozen=True)
class Memory:
    """Bytes of a device's RAM beyond the model's own weights."""

    work_bytes: int  # image's header and table, activations, gradients, optimizer
    visit_bytes: int  # drawn indices, copies for the proximal term and for the choice of the largest updates
    support_bytes: int  # what must be stored when samples come from a sensor and are gone through again

    @property
    def total(self) -> int:
        """All of it."""
        return self.work_bytes + self.visit_bytes + self.support_bytes


def memory(spec: ModelSpec, order: Order) -> Memory:
    """What an order takes on a device whose samples come from a sensor, without the stack."""
    mode = "online" if order.update == "online" else f"batch_{order.update}"
    planned = plan(spec, mode)
    visit = 2 * order.ways * (2 + order.shots + order.queries) if order.source == "shard" else 0
    copy = 4 * spec.parameter_count if order.proximal else 0
    choice = 0
    if order.top:
        _, shared = shared_part(order, layer_sizes(encode(spec, initialize(spec, 0))))
        choice = 16 + 4 * shared + max(1024, (shared + 7) // 8)
    features = math.prod(spec.input_shape) + (spec.output_shape[-1] if order.source == "sine" else 1)
    # one pass needs nothing twice: a batch's gradient is summed sample by sample
    support = 4 * features * order.ways * order.shots if order.passes > 1 else 0
    return Memory(
        planned.arena_bytes - planned.parameter_bytes,
        sum(-(-part // 16) * 16 for part in (visit, copy, choice)),
        support,
    )
