"""Whether the sections of an experiment fit together: the model the task, the strategy both."""

import math

import numpy as np

from tinyfed.errors import UsageError
from tinyfed.fields import KeyPath, Table, quote
from tinyfed.meta.strategy import Strategy, check_layers
from tinyfed.model import encode, read_weights
from tinyfed.tasks.task import Task
from tinyfed.wire.order import Order
from tinyfed.wire.update import layer_sizes, shared_part
from tinyfed_host.experiment.model import image_for
from tinyfed_host.experiment.schema import Experiment


def check_experiment(root: Table, experiment: Experiment) -> Task:
    """The task, which can be had: the model takes its samples and gives its answers, the strategy takes this model.

    Raises `UsageError` with the line of what is to blame.
    """
    try:
        task = experiment.task.make()
    except UsageError as error:
        raise root.table("task").placed(error) from error
    if experiment.fleet.samples == "recorded" and task.order.source != "shard":
        raise root.table("fleet").wrong("samples", f"the {task.name} task makes its samples itself")
    table, model = root.table("model"), experiment.model
    spec = model.spec

    def wrong(path: KeyPath, value: object, said: str, problem: str) -> UsageError:
        """At the key of a model that is written out; of an image all is in one key."""
        if model.image:
            return table.error("image", f"{said}: {problem}")
        return root.error_at((*table.path, *path), problem, value=quote(value))

    values, outputs = math.prod(spec.sample_shape), math.prod(spec.output_shape)
    if values != task.feature_count:
        problem = f"a sample of the {task.name} task has {task.feature_count} values"
        raise wrong(("inputs",), table.values.get("inputs"), f"{values} inputs", problem)
    if spec.loss != task.loss:
        raise wrong(("loss",), spec.loss, spec.loss, f'the {task.name} task needs "{task.loss}"')
    if outputs != task.output_count:
        problem = f"the last layer must have {task.output_count} outputs for the {task.name} task"
        raise wrong(("layers", len(model.layers) - 1, "outputs"), outputs, f"{outputs} outputs", problem)
    try:
        image = image_for(model, task) if model.image else encode(spec, np.zeros(spec.parameter_count, np.float32))
    except UsageError as error:
        raise table.placed(error.located(key="image")) from error
    try:
        first_order(experiment.strategy.make(task, experiment.rounds), image, experiment.seed)
    except UsageError as error:
        raise root.table("strategy").placed(error) from error
    return task


def first_order(strategy: Strategy, image: bytes, seed: int) -> Order:
    """What a strategy asks of its first device. Raises `UsageError` when none could do it with this model."""
    sizes = layer_sizes(image)
    check_layers(strategy, sizes)
    order = strategy.configure(strategy.begin(read_weights(image), seed), "").order
    shared_part(order, sizes)
    return order
