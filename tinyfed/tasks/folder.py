"""Your own data: a folder with `train/` and `held_out/`, a CSV or NPZ file for each client.

CSV: a header, a column with the class (any text), the others numbers. NPZ: `x` (samples, ...) and `y` (samples,).
Classes are counted over all files; a device draws `ways` of them in its own order (0: all, with their true labels).
docs/howto-own-data.md shows one.
"""

from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.tasks.order import Order
from tinyfed.tasks.shard import write_shard
from tinyfed.tasks.tables import number, read_table
from tinyfed.tasks.task import Client, Task, check_whole

Samples = tuple[NDArray[np.float64], NDArray[np.str_]]  # (samples, features), (samples,)


def make(path: str = "", label: str = "label", ways: int = 0, shots: int = 5, standardize: int = 1) -> Task:
    """The task of the files in `path`; `label` names the CSV column with the class. `standardize` 1 subtracts the
    training clients' mean from each feature and divides by their deviation. Raises UsageError naming the file."""
    check_whole("folder", "ways", ways, 0, 32)
    check_whole("folder", "shots", shots, 1, 1024)
    check_whole("folder", "standardize", standardize, 0, 1)
    if not path:
        raise UsageError("task folder: path is missing: the folder with train/ and held_out/")
    parts = [_read_part(Path(path) / part, label) for part in ("train", "held_out")]
    everything = parts[0] | parts[1]
    shapes = {name: rows.shape[1] for name, (rows, _) in everything.items()}
    first, features = next(iter(shapes.items()))
    for name, count in shapes.items():
        if count != features:
            raise UsageError(f"task folder: {name} has {count} features, {first} has {features}")
    classes = tuple(sorted({str(c) for _, labels in everything.values() for c in labels}))
    _check_classes(everything, classes, ways, shots)
    mean, deviation = np.zeros(features), np.ones(features)
    if standardize:
        values = np.concatenate([rows for rows, _ in parts[0].values()])
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        deviation[deviation == 0] = 1.0
    clients = [
        tuple(
            Client(name, partial(_shard, (rows - mean) / deviation, labels, classes))
            for name, (rows, labels) in part.items()
        )
        for part in parts
    ]
    drawn = ways or len(classes)
    points = tuple(k for k in (0, 1, 5, 10) if k <= shots)
    order = Order("shard", drawn, shots, 0, 0, 0.02, true_labels=not ways)
    return Task(
        name="folder",
        input_shape=(features,),
        output_count=drawn,
        loss="softmax_cross_entropy",
        train=clients[0],
        held_out=clients[1],
        order=order,
        adapt=Order("shard", drawn, shots, 0, 0, 0.02, checkpoints=points, true_labels=not ways),
        classes=classes,
    )


def _check_classes(everything: dict[str, Samples], classes: tuple[str, ...], ways: int, shots: int) -> None:
    if not 2 <= len(classes) <= 65_535 or ways > len(classes) or (not ways and len(classes) > 32):
        raise UsageError(f"task folder: ways is {ways}, the files have {len(classes)} classes")
    for name, (_, labels) in everything.items():
        for label in classes:
            count = int((labels == label).sum())
            if count <= shots:
                raise UsageError(
                    f"task folder: shots is {shots}, {name} has {count} samples of class {label!r}: "
                    "it needs one more to judge on"
                )


def _read_part(folder: Path, label: str) -> dict[str, Samples]:
    if not folder.is_dir():
        raise UsageError(f"task folder: {folder} is no folder: it holds a CSV or NPZ file for each client")
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".csv", ".npz"):
            found[path.stem] = _read_csv(path, label) if path.suffix.lower() == ".csv" else _read_npz(path)
    if not found:
        raise UsageError(f"task folder: {folder} holds no CSV or NPZ file")
    return found


def _read_csv(path: Path, label: str) -> Samples:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"task folder: {path} cannot be read: {error}") from None
    header = [name.strip() for name in text.split("\n", 1)[0].split(",")]
    columns = [name for name in header if name != label]
    rows, labels = [], []
    for line, cells in enumerate(read_table(text.splitlines(), str(path), [label, *columns]), 2):
        labels.append(cells[0])
        rows.append([number(c, f"{path} line {line}", n) for c, n in zip(cells[1:], columns, strict=True)])
    if not rows or not columns:
        raise UsageError(f"task folder: {path} holds no samples")
    return np.array(rows), np.array(labels)


def _read_npz(path: Path) -> Samples:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in ("x", "y") if name not in arrays]
            if missing:
                raise UsageError(f"task folder: {path} has no array {missing[0]!r}")
            x, y = arrays["x"], arrays["y"]
    except (OSError, ValueError, BadZipFile) as error:
        raise UsageError(f"task folder: {path} cannot be read: {error}") from None
    if x.ndim < 2 or y.shape != (len(x),) or x.size == 0 or x.dtype.kind not in "fiu":
        raise UsageError(f"task folder: {path}: x has shape {x.shape}, y {y.shape}: needed are (n, ...) and (n,)")
    rows = x.reshape(len(x), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise UsageError(f"task folder: {path}: x holds NaN or infinity: clean the data first")
    return rows, y.astype(str)


def _shard(rows: NDArray[np.float64], labels: NDArray[np.str_], classes: tuple[str, ...]) -> bytes:
    return write_shard([rows[labels == label] for label in classes])
