"""What can be judged: a run, or a model file together with an experiment or task that says whose data."""

import dataclasses
from pathlib import Path

import numpy as np

from tinyfed import tasks
from tinyfed.boards import board_names
from tinyfed.errors import UsageError
from tinyfed.model import ModelSpec, decode, initialize, read_weights
from tinyfed.model.convert import FloatModel, read_model
from tinyfed.tasks.task import Task
from tinyfed.weights import Weights
from tinyfed.wire.order import Order
from tinyfed_host.evaluation.evaluate import Subject
from tinyfed_host.experiment.bundled import find_experiment
from tinyfed_host.experiment.checks import first_order
from tinyfed_host.experiment.file import load
from tinyfed_host.experiment.model import ModelSection, image_for
from tinyfed_host.run.parts import Parts
from tinyfed_host.run.personal import learned
from tinyfed_host.run.store import RunStore, damage_told

# What a strategy's visits say of layers that stay on the device: a newcomer learns as they do.
_LOCAL = ("local_first", "local_last", "keep_local", "zero_local", "update", "batch", "passes")


def of_parts(parts: Parts, image: bytes, rounds: int, seen: int = 0) -> Subject:
    """`image`: what the experiment has learned after `rounds` rounds, from `seen` samples (0: of a device a round)."""
    began = read_weights(parts.image)
    drawn = np.array_equal(began, initialize(parts.spec, parts.experiment.seed))
    return Subject(
        parts.task,
        _newcomer(parts),
        image,
        parts.experiment.seed,
        rounds,
        parts.spec,
        None if drawn else began,
        seen,
    )


def of_run(folder: Path) -> Subject:
    """What a run has learned so far. Raises `StoreError`, `UsageError`."""
    parts, image = learned(folder)
    with RunStore.read(folder) as store:
        rounds = store.round_metrics()
    with damage_told(folder):
        seen = sum(int(each.get("samples") or 0) for each in rounds)
    return of_parts(parts, image, int(rounds[-1]["round"]) if rounds else 0, seen)


def of_model(path: Path, data: str) -> Subject:
    """A model file judged on the data of `data`: a task by its name, or an experiment (a file, or an example's name).

    Raises `UsageError` when the model does not take the task's samples.
    """
    if not data:
        raise UsageError(
            "a model file does not say whose data it is judged on", key="--task",
            remedy=f"give a task ({', '.join(tasks.names())}) or an experiment file",
        )  # fmt: skip
    seed = rounds = 0
    if data in tasks.names() and not Path(data).is_file():
        task = tasks.get(data)
    else:
        experiment = load(find_experiment(data), board_names())
        task, seed, rounds = experiment.task.make(), experiment.seed, experiment.rounds
    model = read_model(path)
    if not isinstance(model, FloatModel):
        raise UsageError("an int8 model learns nothing from a newcomer", where=str(path))
    section = ModelSection((), "", (), str(path))
    vars(section)["content"] = model.content  # where the cached property keeps it
    image = image_for(section, task)
    spec = decode(image)[0]
    _check_fits(spec, task, path)
    return Subject(task, task.adapt, image, seed, rounds, spec)


def _check_fits(spec: ModelSpec, task: Task, path: Path) -> None:
    values, outputs = int(np.prod(spec.sample_shape)), int(np.prod(spec.output_shape))
    found = f"{values} inputs, {outputs} outputs, {spec.loss}"
    needed = f"{task.feature_count} inputs, {task.output_count} outputs, {task.loss}"
    if found != needed:
        raise UsageError(f"the model has {found}, the {task.name} task needs {needed}", where=str(path))


def _newcomer(parts: Parts) -> Order:
    """The task's order for newcomers; where layers stay on devices, with how the strategy has them learned there."""
    order, asked = parts.task.adapt, first_order(parts.strategy, parts.image, parts.experiment.seed)
    if not asked.is_partial:
        return order
    steps = order.shots * asked.passes
    same = {name: getattr(asked, name) for name in _LOCAL}
    return dataclasses.replace(order, **same, reconstruct=steps if asked.reconstruct else 0, checkpoints=(steps,))


def image_weights(subject: Subject) -> Weights:
    """What a subject's image has learned."""
    return Weights.of(read_weights(subject.image))
