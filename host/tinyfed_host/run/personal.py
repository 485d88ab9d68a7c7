"""A person's own device: it starts from what a run has learned, and learns its own samples."""

import dataclasses
from pathlib import Path

from tinyfed.errors import UsageError
from tinyfed.model import replace_weights
from tinyfed.weights import Weights
from tinyfed.wire.order import Order
from tinyfed_host.run.parts import Parts, stored_experiment
from tinyfed_host.run.store import RunStore, StoreError

POINTS = (0, 1, 3, 5, 10, 20, 50)  # and the last: samples a class after which the device judges itself


def learned(folder: Path) -> tuple[Parts, bytes]:
    """A run's parts, and its model after the last round. Raises `StoreError`, `UsageError`."""
    with RunStore.read(folder) as store:
        header, snapshot = store.header(), store.snapshot()
    if snapshot is None:
        raise StoreError(f"{folder}: the run has no round yet: there is no model to start from")
    experiment = stored_experiment(folder, header)
    # what a fleet's devices must have recorded is not asked of this one
    experiment = dataclasses.replace(experiment, fleet=dataclasses.replace(experiment.fleet, samples="stored"))
    parts = Parts.make(experiment, header.image)
    return parts, replace_weights(header.image, Weights.of(snapshot.arrays["weights"]))


def personal_order(
    parts: Parts,
    who: str,
    class_count: int,
    counts: tuple[int, ...],
    *,
    shots: int | None = None,
    passes: int | None = None,
    seed: int = 0,
) -> Order:
    """What a newcomer's visit asks for when output k of the model shall stand for class k.

    `counts` are the samples the device has recorded of each class; none: they lie in its data flash, and nobody knows
    how many. Without `shots` it learns from as many as the run's task does, and leaves one at least to judge on. In
    the order of time: what it is judged on was recorded last.

    Raises:
        UsageError: the device has other classes than the model, or too few samples of one.
    """
    order = parts.task.adapt
    passes = passes or order.passes
    if order.source != "shard":
        shots = shots or order.shots
        return dataclasses.replace(order, shots=shots, passes=passes, seed=seed, checkpoints=_points(shots * passes))
    if class_count != order.ways:
        raise UsageError(
            f"{who}: has samples of {class_count} classes, the run's model tells {order.ways} apart: "
            f"record classes 0 to {order.ways - 1} with `tinyfed devices label PORT CLASS`"
        )
    fewest = min(counts, default=None)
    if fewest is not None and fewest < (shots or 1):
        raise UsageError(
            f"{who}: has recorded {fewest} windows of class {counts.index(fewest)}, {shots or 1} are needed: "
            f"`tinyfed devices label PORT {counts.index(fewest)}` adds some"
        )
    if shots is None:
        shots = order.shots if fewest is None else max(1, min(order.shots, fewest - 1))
    judged = fewest is None or fewest > shots
    return dataclasses.replace(
        order,
        shots=shots,
        passes=passes,
        queries=0,
        seed=seed,
        checkpoints=_points(shots * passes) if judged else (),
        true_labels=True,
        in_time=True,
    )


def _points(last: int) -> tuple[int, ...]:
    return (*(k for k in POINTS if k < last), last)
