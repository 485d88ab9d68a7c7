"""Presence in one office by the minute (Candanedo, Feldheim, Energy and Buildings 112, 2016). A client is a day.

Temperature, humidity, CO2 and humidity ratio, each with its change over ten minutes, every fifth minute. Light is left
out: the lamp alone tells who is there. The first days train, the last five are held out.
"""

from typing import Annotated

import numpy as np

from tinyfed.data import datasets
from tinyfed.data.tables import number, read_table
from tinyfed.fields import checked, whole
from tinyfed.tasks.presence import largest, presence_task, with_changes
from tinyfed.tasks.task import Task

FEATURES = ("Temperature", "Humidity", "CO2", "HumidityRatio")
HELD_OUT_DAYS = 5
EVERY_MINUTES = 5
CHANGE_MINUTES = 10


@checked("task occupancy")
def make(shots: Annotated[int, whole(1, 50)] = 10) -> Task:
    """The task; `shots` rows of each class in a visit. Raises UsageError."""
    members = datasets.read("occupancy")
    rows: dict[str, list[list[float]]] = {}
    for name in sorted(members):
        # the header has no name for the leading row number
        columns = ("date", *FEATURES, "Occupancy")
        for line, cells in read_table(datasets.text(members, name), name, columns, shifted=True):
            where = f"{name} line {line}"
            values = [number(c, where, column) for c, column in zip(cells[1:], columns[1:], strict=True)]
            rows.setdefault(cells[0][:10], []).append([float(cells[0][11:13]) * 60 + float(cells[0][14:16]), *values])
    days = {}
    for day, listed in sorted(rows.items()):
        table = np.array(sorted(listed))
        features = with_changes(table[:, 1:-1], CHANGE_MINUTES)[::EVERY_MINUTES]
        labels = table[CHANGE_MINUTES:, -1].astype(np.int64)[::EVERY_MINUTES]
        if (np.bincount(labels, minlength=2) > shots + 5).all():
            days[f"day-{day}"] = features, labels
    names = sorted(days)
    train, held_out = ({key: days[key] for key in part} for part in (names[:-HELD_OUT_DAYS], names[-HELD_OUT_DAYS:]))
    size = largest(features[:, : len(FEATURES)] for features, _ in train.values())
    return presence_task("occupancy", train, held_out, shots, FEATURES, size)
