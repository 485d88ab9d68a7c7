"""An experiment out of a run's folder, which may be a stranger's: checked as strictly as a file."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tinyfed.fields import Source, Table, quote, texts
from tinyfed.model.layers import BLANK, SECTIONS
from tinyfed_host.experiment.checks import check_experiment
from tinyfed_host.experiment.schema import FLEET, ORDER_KEYS, Experiment, read_experiment

KEYS = ("rounds", "seed", "model", "task", "strategy", "fleet", "round")


def read_stored(values: Any, where: str, image: bytes, boards: Sequence[str]) -> Experiment:
    """What `Experiment.to_json` gave. `image` is the run's own model, which stands for a file that [model] names.

    Raises `UsageError` naming `where` and the key, of every mistake that a file with the same values would have.
    """
    stored = Table({"run": values}, Source(where)).table("run")
    stored.only(KEYS)
    root = Table(_as_written(stored), Source(where))
    experiment = read_experiment(root, boards, image)
    fleet = dataclasses.replace(experiment.fleet, boards=_boards(stored.table("fleet"), boards))
    experiment = dataclasses.replace(experiment, fleet=fleet)
    check_experiment(root, experiment)
    return experiment


def _as_written(stored: Table) -> Mapping[str, Any]:
    """As a file says it: options beside the name, and nothing of what it leaves away."""
    task, strategy, fleet = stored.table("task"), stored.table("strategy"), stored.table("fleet")
    task.only(("name", "options", "order"))
    strategy.only(("name", "options"))
    order = task.table("order")
    order.only(ORDER_KEYS)
    return {
        **stored.values,
        "model": _model(stored.table("model").values),
        "task": {**task.table("options").values, **order.values, "name": task.values.get("name")},
        "strategy": {**strategy.table("options").values, "name": strategy.values.get("name")},
        "fleet": {key: value for key, value in fleet.values.items() if key != "boards"},
    }


def _model(values: Mapping[str, Any]) -> Mapping[str, Any]:
    if values.get("image"):
        return {"image": values["image"]}
    layers = values.get("layers")
    if isinstance(layers, list):
        layers = [_layer(layer) if isinstance(layer, dict) else layer for layer in layers]
    return {**{key: value for key, value in values.items() if key != "image"}, "layers": layers}


def _layer(values: Mapping[str, Any]) -> Mapping[str, Any]:
    section = SECTIONS.get(str(values.get("kind", "dense")))
    needed = [key.name for key in section.keys if key.required] if section else []
    blank = {key: value for key, value in BLANK.items() if key not in needed}
    return {key: value for key, value in values.items() if key not in blank or quote(value) != quote(blank[key])}


def _boards(fleet: Table, boards: Sequence[str]) -> tuple[str, ...]:
    named: tuple[str, ...] = fleet.take("boards", texts())
    most = int(FLEET["devices"].high)
    if not 1 <= len(named) <= most:
        raise fleet.error("boards", f"names {len(named):,} devices, must be 1..{most}")
    for name in named:
        if name not in boards:
            raise fleet.error("boards", f"there is no such board (boards: {', '.join(boards)})", value=quote(name))
    return named
