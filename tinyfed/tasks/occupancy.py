"""Presence in one office by the minute (Candanedo, Feldheim, Energy and Buildings 112, 2016). A client is a day.

Temperature, humidity, CO2 and humidity ratio, each with its change over ten minutes, every fifth minute. Light is left
out: the lamp alone tells who is there. The first days train, the last five are held out.
"""

from pathlib import Path
from typing import Annotated

import numpy as np

from tinyfed.data import datasets
from tinyfed.data.delimited import TableFormat
from tinyfed.data.tables import table_of
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
        read = table_of(members[name], Path(name), TableFormat(separator=","))
        values = np.stack([read.numbers(column) for column in (*FEATURES, "Occupancy")], axis=1)
        for stamp, row in zip(read.text("date"), values.tolist(), strict=True):
            rows.setdefault(stamp[:10], []).append([float(stamp[11:13]) * 60 + float(stamp[14:16]), *row])
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
