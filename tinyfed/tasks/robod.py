"""Presence in three rooms, 29 days each, every five minutes (ROBOD: Tekler et al., Building Simulation 15, 2022). A
client is a room's day; one room is held out whole.

Air quality, noise, humidity, temperature, dust and CO2, each with its change over half an hour. Illuminance is left
out: its column is shifted by 8 hours against the others, over days that do not follow each other. So are the building's
own meters. Rows with a missing value are dropped.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from tinyfed.data import datasets
from tinyfed.data.delimited import TableFormat
from tinyfed.data.tables import table_of
from tinyfed.fields import checked, whole
from tinyfed.tasks.presence import largest, presence_task, with_changes
from tinyfed.tasks.task import Task

FEATURES = ("voc", "sound_pressure_level", "indoor_relative_humidity", "air_temperature", "pm2.5", "indoor_co2")
ROOMS = (1, 2, 3)
CHANGE_ROWS = 6
CALIBRATION_ROWS = 12


@checked("task robod")
def make(shots: Annotated[int, whole(1, 40)] = 10, held_out_room: Annotated[int, whole(1, 3)] = 3) -> Task:
    """The task; `shots` rows of each class in a visit. Raises UsageError."""
    members = datasets.read("robod")
    train: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
    held_out = dict(train)
    readings: list[NDArray[np.float64]] = []  # of the training rooms, as measured
    for room in ROOMS:
        name = f"combined_Room{room}.csv"
        read = table_of(members[name], Path(name), TableFormat(separator=","))
        values = np.stack([read.values(column) for column in (*FEATURES, "occupant_presence")], axis=1)
        days = np.array([stamp[:10] for stamp in read.text("timestamp")])
        whole_rows = ~np.isnan(values).any(axis=1)
        for day in np.unique(days[whole_rows]):
            table = values[whole_rows & (days == day)]
            if len(table) > CALIBRATION_ROWS:
                if room != held_out_room:
                    readings.append(table[:, :-1].copy())
                table[:, :-1] -= table[:CALIBRATION_ROWS, :-1].mean(axis=0)
                table = table[CALIBRATION_ROWS - CHANGE_ROWS :]
                labels = table[CHANGE_ROWS:, -1].astype(np.int64)
                part = held_out if room == held_out_room else train
                part[f"room{room}-{day}"] = with_changes(table[:, :-1], CHANGE_ROWS), labels
    return presence_task("robod", train, held_out, shots, FEATURES, largest(readings))
