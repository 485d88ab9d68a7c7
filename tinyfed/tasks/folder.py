"""Your own data: a folder with `train/` and `held_out/`, a CSV or NPZ file for each client.

CSV: a header, a column with the class (any text), the others numbers, the same columns in every file, in any order.
NPZ: `x` (samples, ...) and `y` (samples,). A file's name is its client's, so no two share one.
Classes are counted over all files; a device draws `ways` of them in its own order (0: all, with their true labels).
docs/howto-own-data.md shows one.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.arrays import read_arrays
from tinyfed.data.shard import write_shard
from tinyfed.data.tables import FLOAT32_MAX, number, read_header, read_table
from tinyfed.errors import UsageError
from tinyfed.fields import checked, whole
from tinyfed.reading import TABLE_BYTES_MAX, read_text
from tinyfed.tasks.standardization import Standardization
from tinyfed.tasks.task import Client, Task, classification

Read = TypeVar("Read")


@dataclass(frozen=True)
class _Samples:
    """What a client's file holds."""

    path: Path
    rows: NDArray[np.float64]  # (samples, features)
    labels: NDArray[np.str_]  # (samples,)
    columns: tuple[str, ...] = ()  # of the features; () for NPZ, which names none

    def feature(self, number: int) -> str:
        """What a feature is called in messages."""
        return f"column {self.columns[number]!r}" if self.columns else f"value {number} of x"

    def standardized(self, standardization: Standardization) -> NDArray[np.float64]:
        """(samples, features). Raises UsageError where float32 cannot hold one."""
        rows = standardization.apply(self.rows)
        wrong = np.flatnonzero((np.abs(rows) > FLOAT32_MAX).any(axis=0))
        if wrong.size:
            name = self.feature(int(wrong[0]))
            raise UsageError(
                f"task folder: {self.path}: {name} is too large for float32 once standardized: the training clients "
                "hardly differ in it: leave it out"
            )
        return rows


@checked("task folder")
def make(
    path: str = "",
    label: str = "label",
    ways: Annotated[int, whole(0, 32)] = 0,
    shots: Annotated[int, whole(1, 1024)] = 5,
    standardize: Annotated[int, whole(0, 1)] = 1,
) -> Task:
    """The task of the files in `path`; `label` names the CSV column with the class. `standardize` 1 subtracts the
    training clients' mean from each feature and divides by their deviation; what is constant there becomes 0. Raises
    UsageError naming the file."""
    if not path:
        raise UsageError("is missing: the folder with train/ and held_out/", where="task folder", key="path")
    parts = _read_parts([_client_files(Path(path) / part) for part in ("train", "held_out")], label)
    everything = parts[0] | parts[1]
    first = next(iter(everything.values()))
    classes = tuple(sorted({str(c) for samples in everything.values() for c in samples.labels}))
    _check_classes(everything, classes, ways, shots)
    made = Standardization.of(np.concatenate([s.rows for s in parts[0].values()])) if standardize else None
    clients = [
        tuple(
            Client(name, partial(_shard, s.rows if made is None else s.standardized(made), s.labels, classes))
            for name, s in part.items()
        )
        for part in parts
    ]
    task = classification(
        "folder",
        first.rows.shape[1:],
        *clients,
        ways=ways or len(classes),
        shots=shots,
        classes=classes,
        true_labels=not ways,
    )
    task = replace(task, takes_all=True)
    return task if made is None else task.standardized(made, first.feature)


def _check_classes(everything: dict[str, _Samples], classes: tuple[str, ...], ways: int, shots: int) -> None:
    if not 2 <= len(classes) <= 65_535 or ways > len(classes) or (not ways and len(classes) > 32):
        problem = f"the files have {len(classes)} classes"
        raise UsageError(problem, where="task folder", key="ways", value=f"{ways}")
    for name, samples in everything.items():
        for label in classes:
            count = int((samples.labels == label).sum())
            if count <= shots:
                problem = f"{name} has {count} samples of class {label!r}: it needs one more to judge on"
                raise UsageError(problem, where="task folder", key="shots", value=f"{shots}")


def _client_files(folder: Path) -> dict[str, Path]:
    """The file of each client, by name."""
    if not folder.is_dir():
        raise UsageError(f"task folder: {folder} is no folder: it holds a CSV or NPZ file for each client")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".csv", ".npz"):
            _check_name(found, path)
            found[path.stem] = path
    if not found:
        raise UsageError(f"task folder: {folder} holds no CSV or NPZ file")
    return found


def _check_name(found: dict[str, Path], path: Path) -> None:
    if path.stem in found:
        raise UsageError(f"task folder: {found[path.stem]} and {path} are one client by name: rename or remove one")


def _read_parts(parts: list[dict[str, Path]], label: str) -> list[dict[str, _Samples]]:
    for path in parts[1].values():
        _check_name(parts[0], path)
    first: _Samples | None = None
    table: _Samples | None = None  # the first CSV file: the columns of all of them are its
    read: list[dict[str, _Samples]] = [{}, {}]
    for part, paths in zip(read, parts, strict=True):
        for name, path in paths.items():
            samples = _read_csv(path, label, table) if path.suffix.lower() == ".csv" else _read_npz(path)
            first, table = first or samples, table or (samples if samples.columns else None)
            count, needed = samples.rows.shape[1], first.rows.shape[1]
            if count != needed:
                raise UsageError(f"task folder: {path} has {count} features, {first.path} has {needed}")
            part[name] = samples
    return read


def _told(read: Callable[[Path], Read], path: Path) -> Read:
    """What `read(path)` gives; its error names the task."""
    try:
        return read(path)
    except UsageError as error:
        raise UsageError(f"task folder: {error}") from error


def _read_csv(path: Path, label: str, first: _Samples | None) -> _Samples:
    lines = _told(partial(read_text, most=TABLE_BYTES_MAX), path).splitlines()
    columns = tuple(name for name in read_header(lines, str(path)) if name != label)
    table = read_table(lines, str(path), [label, *columns])
    wanted = columns if first is None else first.columns
    if first is not None and set(columns) != set(wanted):
        for name in wanted:
            if name not in columns:
                raise UsageError(
                    f"task folder: {path}: column {name!r} of {first.path} is missing; there are {', '.join(columns)}"
                )
        extra = next(name for name in columns if name not in wanted)
        raise UsageError(
            f"task folder: {path}: column {extra!r} is not in {first.path}: all files need the same columns"
        )
    if not table or not columns:
        raise UsageError(f"task folder: {path} holds no samples")
    at = [1 + columns.index(name) for name in wanted]
    rows = [
        [number(cells[k], f"{path} line {line}", n) for k, n in zip(at, wanted, strict=True)] for line, cells in table
    ]
    return _Samples(path, np.array(rows), np.array([cells[0] for _, cells in table]), wanted)


def _read_npz(path: Path) -> _Samples:
    arrays = _told(read_arrays, path)
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        advice = "write it with numpy.savez(path, x=..., y=...)"
        raise UsageError(f"task folder: {path} has no array {missing[0]!r}: {advice}")
    x, y = arrays["x"], arrays["y"]
    if x.dtype.kind not in "fiu":
        raise UsageError(f"task folder: {path}: x is an array of {x.dtype}, not of real numbers")
    if y.dtype.kind not in "fiuUSb":
        raise UsageError(f"task folder: {path}: y is an array of {y.dtype}, not of labels")
    try:
        labels = y.astype(str)
    except UnicodeDecodeError as error:
        raise UsageError(f"task folder: {path} cannot be read: y holds a label that is not ASCII: {error}") from None
    if x.ndim < 2 or y.shape != (len(x),) or x.size == 0:
        raise UsageError(f"task folder: {path}: x has shape {x.shape}, y {y.shape}: needed are (n, ...) and (n,)")
    with np.errstate(over="ignore"):  # of longer floats: told below
        rows = x.reshape(len(x), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise UsageError(f"task folder: {path}: x holds NaN or infinity: clean the data first")
    wrong = np.argwhere(np.abs(rows) > FLOAT32_MAX)
    if len(wrong):
        sample, value = wrong[0]
        raise UsageError(
            f"task folder: {path}: value {value} of x[{sample}] is {rows[sample, value]:g}: float32 ends at 3.4e38: "
            "clean the data first"
        )
    return _Samples(path, rows, labels)


def _shard(rows: NDArray[np.float64], labels: NDArray[np.str_], classes: tuple[str, ...]) -> bytes:
    return write_shard([rows[labels == label] for label in classes])
