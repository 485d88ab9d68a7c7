"""What the tasks of presence in buildings share: is somebody there, from what a sensor on the wall measures.

Labels are the true ones (0 nobody, 1 somebody), the same on every device. Rows that follow each other are nearly equal,
so nothing is split by row: other days (or another room) are held out, and a newcomer learns from the first rows of a
day and is judged on later ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.shard import write_shard
from tinyfed.errors import UsageError
from tinyfed.tasks.standardization import Standardization
from tinyfed.tasks.task import Client, Task, classification

Days = Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]  # by client: rows (time, features), labels (time,)
SPARE = 5  # rows of each class to judge on, at least


def with_changes(rows: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Rows (time, features) and beside each its change over the last `steps` rows, (time - steps, 2 * features)."""
    return np.hstack([rows[steps:], rows[steps:] - rows[:-steps]])


def largest(readings: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The largest absolute value of each of the sensor's readings, (readings,), over tables (time, readings)."""
    found: NDArray[np.float64] = np.abs(np.concatenate(list(readings))).max(axis=0, initial=0.0)
    return found


def presence_task(
    name: str, train: Days, held_out: Days, shots: int, readings: Sequence[str], size: NDArray[np.float64]
) -> Task:
    """The task of these clients; those with too few rows of a class are left out. Features are `readings` and their
    changes (`with_changes`), made of numbers of `size` (`largest`). Raises UsageError without any client."""
    kept = [{key: day for key, day in part.items() if _fits(day[1], shots)} for part in (train, held_out)]
    if not kept[0] or not kept[1]:
        problem = "no client has so many rows of each class"
        raise UsageError(problem, where=f"task {name}", key="shots", value=f"{shots}", remedy="ask for fewer")
    made = Standardization.of(np.concatenate([rows for rows, _ in kept[0].values()]), np.tile(size, 2))
    parts = [
        tuple(Client(key, partial(_shard, made.apply(rows), labels)) for key, (rows, labels) in part.items())
        for part in kept
    ]
    # training days are not judged on, so their rows may come in any order
    classes = ("nobody", "somebody")
    shape = made.mean.shape
    task = classification(name, shape, *parts, ways=2, shots=shots, classes=classes, true_labels=True, in_time=True)
    names = (*readings, *(f"the change of {reading}" for reading in readings))
    return task.standardized(made, names.__getitem__)


def _fits(labels: NDArray[np.int64], shots: int) -> bool:
    return bool((np.bincount(labels, minlength=2) >= shots + SPARE).all())


def _shard(rows: NDArray[np.float64], labels: NDArray[np.int64]) -> bytes:
    return write_shard([rows[labels == label] for label in (0, 1)])
