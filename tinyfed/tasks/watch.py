"""Personal gestures: the watch data of the Python package seglearn.

10 people x 2 wrists x 7 shoulder exercises, accelerometer and gyroscope at 50 Hz (Burns et al., Shoulder
physiotherapy exercise recognition, arXiv:1802.01489). A window of 2 s, begun each second, is averaged to 20 steps of
100 ms x 6 channels. Neighbouring windows of a recording share half their time, so a window to judge on can overlap
one that was learned from; `step_s=2` makes windows that share nothing.
"""

import hashlib
import importlib.util
import io
import math
import pickle
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.shard import write_shard
from tinyfed.errors import UsageError
from tinyfed.fields import checked, whole
from tinyfed.tasks.standardization import Standardization
from tinyfed.tasks.task import Client, Task, classification

SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
HELD_OUT = (2, 5, 9)  # people
EXERCISES = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
RATE_HZ = 50
WINDOW_S = 2
STEPS = 20
CHANNELS = 6

Windows = dict[tuple[int, int], list[NDArray[np.float64]]]  # (person, wrist): (windows, 20, 6) by exercise


@checked("task watch")
def make(
    ways: Annotated[int, whole(2, 7)] = 4,
    shots: Annotated[int, whole(1, 15)] = 10,
    step_s: Annotated[int, whole(1, 2)] = 1,
) -> Task:
    """The task: `ways` of the 7 exercises in the device's own order, `shots` windows of each in a training visit.

    7 people (14 clients: person, wrist) train, people 2, 5 and 9 (6 clients) are held out. Raises UsageError when an
    option is out of range or seglearn's file is missing or another one.
    """
    keys = [(person, wrist) for person in range(1, 11) for wrist in (0, 1)]
    clients = {
        key: Client(
            f"person{key[0]}-wrist{key[1]}",
            partial(_shard, key, step_s),
            # devices begin a window each second
            make_takes=partial(takes, key) if step_s == 1 else None,
            rate_hz=RATE_HZ,
        )
        for key in keys
    }
    dataset_path()
    parts = [tuple(c for key, c in clients.items() if (key[0] in HELD_OUT) == judged) for judged in (False, True)]
    shape, points = (STEPS, CHANNELS), (1, 3, 5, 10)
    task = classification("watch", shape, *parts, ways=ways, shots=shots, classes=EXERCISES, points=points)
    return replace(task, make_standardization=partial(_of_features, step_s))


def _of_features(step_s: int) -> Standardization:
    mean, deviation = standardization(step_s)
    return Standardization(np.tile(mean, STEPS), np.tile(deviation, STEPS))


def dataset_path() -> Path:
    """The published file inside the installed package, which is not imported. Raises UsageError."""
    spec = importlib.util.find_spec("seglearn")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "data" / "watch_dataset.npy"
        if path.is_file():
            return path
    raise UsageError(
        "task watch: its data comes with the Python package seglearn: run `pip install --no-deps seglearn==1.2.5`"
    )


class _ArraysOnly(pickle.Unpickler):
    """Builds NumPy arrays, lists, dictionaries and text, and refuses everything else."""

    _allowed = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise UsageError(f"the data file asks for {module}.{name}: not the published file", where="task watch")
        if name == "_reconstruct":
            return np._core.multiarray._reconstruct if hasattr(np, "_core") else super().find_class(module, name)
        return super().find_class(module, name)


def read_recordings(data: bytes) -> dict[str, Any]:
    """The dictionary in the published file: X (list of (time, 6) arrays), y, subject, side. Raises UsageError."""
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise UsageError("task watch: watch_dataset.npy is another version (SHA-256): install seglearn==1.2.5")
    stream = io.BytesIO(data)
    np.lib.format.read_magic(stream)
    np.lib.format.read_array_header_1_0(stream)
    recordings: dict[str, Any] = _ArraysOnly(stream, encoding="latin1").load().item()
    return recordings


@cache
def windows(step_s: int = 1) -> Windows:
    """All windows, not standardized, by (person, wrist 0 or 1), then exercise."""
    recordings = read_recordings(dataset_path().read_bytes())
    found: Windows = {}
    length = WINDOW_S * RATE_HZ
    group = length // STEPS
    for series, label, person, side in zip(
        recordings["X"], recordings["y"], recordings["subject"], recordings["side"], strict=True
    ):
        parts = []
        for start in range(0, len(series) - length + 1, step_s * RATE_HZ):
            window = series[start : start + length].reshape(STEPS, group, CHANNELS)
            mean = window[:, 0]
            for k in range(1, group):  # one order of addition, so the same bits everywhere
                mean = mean + window[:, k]
            parts.append(mean / group)
        by_class = found.setdefault((int(person), int(side)), [np.empty((0, STEPS, CHANNELS))] * len(EXERCISES))
        by_class[int(label)] = np.concatenate([by_class[int(label)], np.stack(parts)])
    return found


@cache
def standardization(step_s: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel, (6,), over the training people's windows only."""
    stacked = [
        samples
        for (person, _), by_class in sorted(windows(step_s).items())
        if person not in HELD_OUT
        for samples in by_class
    ]
    values = np.concatenate(stacked).reshape(-1, CHANNELS)
    # fsum is exact, so the constants do not depend on how a machine orders its additions
    mean = np.array([math.fsum(values[:, c]) / len(values) for c in range(CHANNELS)])
    variance = np.array([math.fsum((values[:, c] - mean[c]) ** 2) / len(values) for c in range(CHANNELS)])
    return mean, np.sqrt(variance)


def samples(key: tuple[int, int], step_s: int = 1) -> list[NDArray[np.float32]]:
    """A client's standardized samples, one array (windows, 120) float32 for each exercise."""
    mean, deviation = standardization(step_s)
    return [
        ((by_class - mean) / deviation).astype(np.float32).reshape(len(by_class), STEPS * CHANNELS)
        for by_class in windows(step_s)[key]
    ]


def takes(key: tuple[int, int]) -> list[NDArray[np.float64]]:
    """A client's readings as published, one array (readings, 6) float64 for each exercise."""
    recordings = read_recordings(dataset_path().read_bytes())
    own = {
        int(label): np.asarray(series, np.float64)
        for series, label, person, side in zip(
            recordings["X"], recordings["y"], recordings["subject"], recordings["side"], strict=True
        )
        if (int(person), int(side)) == key
    }
    return [own[label] for label in range(len(EXERCISES))]


def _shard(key: tuple[int, int], step_s: int) -> bytes:
    return write_shard(samples(key, step_s))
