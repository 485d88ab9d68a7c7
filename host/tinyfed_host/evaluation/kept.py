"""An evaluation as a run's folder keeps it and as `--json` tells it, and as tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.tasks.task import Task
from tinyfed.weights import Weights
from tinyfed_host.evaluation.evaluate import LEARNED, Evaluation
from tinyfed_host.evaluation.intervals import interval

EVALUATION = "evaluation"  # of a run's results
KINDS = {
    LEARNED: "learned together",
    "before": "before the rounds",
    "random": "random start",
    "global": "one global model",
    "transfer": "transfer (data pooled)",
}

Kept = Mapping[str, Any]
Row = list[str]


def to_json(found: Evaluation, weights: Weights, *, brief: bool = False) -> dict[str, Any]:
    """Plain values. `kinds` has by what was started from `curve`, at each of `shots` the mean and half of its 95 %
    interval (null: one client tells nothing of it), and `by_client`, the clients' means there."""
    subject = found.subject
    first = next(iter(found.adapted.values()))
    task, unit = subject.task, 1.0
    measure = "accuracy" if task.loss != "mse" else "rmse" if task.targets else "loss"
    deviations = np.ones(len(task.targets)) if task.of_targets is None else task.of_targets.deviation
    if len(task.targets) == 1:
        unit = float(deviations[0])
    kinds = {}
    for kind, each in found.adapted.items():
        drawn = each.accuracy if measure == "accuracy" else each.loss if measure == "loss" else each.loss**0.5 * unit
        values: NDArray[np.float64] = drawn.mean(axis=1)  # draws of one client are alike
        means = [interval(values[:, at].tolist()) for at in range(values.shape[1])]
        kinds[kind] = {
            "curve": [[_short(point.mean), None if point.half is None else _short(point.half)] for point in means],
            "by_client": [[_short(value) for value in row] for row in values],
        }
    classes = subject.task.classes
    return {
        "task": subject.task.name,
        "measure": measure,
        "unit": _unit_of(task),
        "targets": list(task.targets) if found.squares else [],
        "by_target": {
            str(shots): [_short(value) for value in (sums[:-1] / sums[-1]) ** 0.5 * deviations]
            for shots, sums in found.squares.items()
        },
        "shots": list(first.shots),
        "fixed_labels": subject.fixed_labels,
        "ways": subject.order.ways,
        "passes": subject.order.passes,
        "clients": list(first.clients),
        "held_out": len(subject.task.held_out),
        "left_out": dict(found.left_out),
        "draws": int(first.accuracy.shape[1]),
        "seed": found.seed,
        "rounds": subject.rounds,
        "weights_sha256": weights.sha256,
        "brief": brief,
        "kinds": kinds,
        "missing": dict(found.missing),
        "classes": list(classes) if found.confusion else [],
        "confusion": {str(shots): counts.tolist() for shots, counts in found.confusion.items()},
        "by_class": {
            str(shots): [_short(c[k] / max(c.sum(), 1)) for k, c in enumerate(counts)]
            for shots, counts in found.confusion.items()
        },
    }


def _unit_of(task: Task) -> str:
    """What a root mean squared error is in: a target's own unit, or where there are several their deviations."""
    if len(task.targets) < 2:
        return "".join(task.targets)
    return f"{'deviations' if task.of_targets is not None else 'units'} of {', '.join(task.targets)}"


def in_words(kept: Kept) -> str:
    """What the figures are."""
    if kept["measure"] == "rmse":
        return f"root mean squared error in {kept['unit']}"
    return str(kept["measure"])


def headline(kept: Kept) -> tuple[str, int, float]:
    """What a single figure says: "accuracy", "rmse" or "loss", after how many samples a class,
    the mean over clients."""
    return str(kept["measure"]), int(kept["shots"][-1]), float(kept["kinds"][LEARNED]["curve"][-1][0])


def is_of(kept: Kept | None, rounds: int) -> bool:
    """Whether it judges what was learned in so many rounds; a run that went on has learned more since."""
    return bool(kept["rounds"] == rounds) if kept else False


def how_sure(kept: Kept) -> str:
    """What ± stands for."""
    count = len(kept["clients"])
    if count < 2:
        return "one client: nothing says how other clients would do"
    return f"± is half of the mean's 95 % interval over {count} clients, by Student's t"


def curve_table(kept: Kept) -> tuple[Row, list[Row]]:
    """Means by what was started from."""
    columns = ["start", *points(kept)]
    rows = [
        [KINDS.get(kind, kind), *(shown(*point) for point in each["curve"])] for kind, each in kept["kinds"].items()
    ]
    return columns, rows


def client_table(kept: Kept) -> tuple[Row, list[Row]]:
    """Each client's means, from what was learned."""
    learned = kept["kinds"][LEARNED]["by_client"]
    columns = ["client", *points(kept)]
    return columns, [
        [client, *(f"{value:.3f}" for value in row)] for client, row in zip(kept["clients"], learned, strict=True)
    ]


def class_table(kept: Kept) -> tuple[Row, list[Row]]:
    """The share of each class that is told right, from what was learned."""
    columns = ["class", *points({**kept, "shots": list(kept["confusion"])})]
    return columns, [
        [name, *(f"{values[k]:.3f}" for values in kept["by_class"].values())] for k, name in enumerate(kept["classes"])
    ]


def target_table(kept: Kept) -> tuple[Row, list[Row]]:
    """The root mean squared error of each target in its own unit, from what was learned."""
    columns = ["target", *points({**kept, "shots": list(kept["by_target"])})]
    values = list(kept["by_target"].values())
    return columns, [[name, *(f"{each[k]:.4g}" for each in values)] for k, name in enumerate(kept["targets"])]


def confusion_table(kept: Kept) -> tuple[Row, list[Row]]:
    """Shares of the answers for each class, after the last samples."""
    counts = list(kept["confusion"].values())[-1]
    rows = [
        [name, *(_percent(count, sum(row)) for count in row)] for name, row in zip(kept["classes"], counts, strict=True)
    ]
    return ["is ↓ told as →", *kept["classes"]], rows


def remarks(kept: Kept) -> Sequence[str]:
    """What else must be known to read the figures."""
    found = [f"{KINDS.get(kind, kind)}: left out: {why}" for kind, why in kept["missing"].items()]
    found += [f"client {name}: left out: {why}" for name, why in kept["left_out"].items()]
    if kept["passes"] > 1:
        found.append(f"Samples are learned in {kept['passes']} passes, and counted in each")
    if not kept["fixed_labels"] and kept["measure"] == "accuracy":
        found.append("Each device draws its own labels: before its first samples no answer can be right but by chance")
    return found


def shown(mean: float, half: float | None) -> str:
    """A mean with its interval."""
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"


def points(kept: Kept) -> list[str]:
    """What a newcomer had learned from at each point, in words."""
    each = " each" if kept["ways"] > 1 else ""
    return [f"{shots}{each}" if int(shots) else "none" for shots in kept["shots"]]


def _percent(count: int, whole: int) -> str:
    return "" if not count else f"{100 * count / whole:.0f} %"


def _short(value: float) -> float:
    return round(float(value), 6)
