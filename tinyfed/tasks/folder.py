"""Your own data: a folder with `train/` and `held_out/`, a file for each client.

CSV, TSV, Parquet: a column with the class (any text) or columns with the numbers to learn, the others numbers, the same
columns in every file, in any order. NPZ: `x` (samples, ...) and `y` (samples,), for numbers also (samples, targets). A
file's name is its client's, so no two share one.
Classes are counted over all files; a device draws `ways` of them in its own order (0: all, with their true labels).
docs/howto-own-data.md shows one.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.arrays import read_arrays
from tinyfed.data.delimited import FormatError, TableFormat
from tinyfed.data.shard import CLASS_SAMPLES_MAX, write_shard
from tinyfed.data.tables import FLOAT32_MAX, read_number, read_table, table_files
from tinyfed.errors import UsageError
from tinyfed.fields import checked, text, whole, word
from tinyfed.tasks.standardization import Standardization
from tinyfed.tasks.task import Client, Task, classification
from tinyfed.text import names_in, shown


@dataclass(frozen=True)
class _Samples:
    """What a client's file holds."""

    path: Path
    rows: NDArray[np.float64]  # (samples, features)
    labels: NDArray[np.object_]  # (samples,) of str; empty where there are targets
    place: Callable[[int], str]  # of a row, for messages
    columns: tuple[str, ...] = ()  # of the features; () for NPZ, which names none
    targets: NDArray[np.float64] | None = None  # (samples, targets)

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


@dataclass(frozen=True)
class _Wanted:
    """What of the files is what."""

    label: str
    targets: tuple[str, ...]
    drop: tuple[str, ...]
    form: TableFormat

    @property
    def answers(self) -> tuple[str, ...]:
        """The columns that are learned."""
        return self.targets or (self.label,)


@checked("task folder")
def make(
    path: Annotated[str, text(is_path=True)] = "",
    label: str = "label",
    target: Annotated[str, text(or_texts=True)] = "",
    order: Annotated[str, word("shuffled", "stream")] = "shuffled",
    ways: Annotated[int, whole(0, 32)] = 0,
    shots: Annotated[int, whole(1, 1024)] = 5,
    standardize: Annotated[int, whole(0, 1)] = 1,
    drop: Annotated[str, text(or_texts=True)] = "",
    separator: str = "",
    decimal: str = ".",
    encoding: str = "",
    comment: str = "",
    thousands: str = "",
) -> Task:
    """The task of the files in `path`; `label` names the column with the class, or `target` those with the numbers to
    learn, `drop` those to leave out ("time, note"). With `order` "stream" a visit takes a client's samples as they
    stand in its file, and the next goes on behind them. `standardize` 1 subtracts the training clients' mean from each
    feature and divides by their deviation; what is constant there becomes 0; targets likewise, which must not be
    constant. The rest is a `TableFormat`; `separator` "" is a comma, in .tsv files a tab. Raises UsageError naming the
    file."""
    if not path:
        raise UsageError("is missing: the folder with train/ and held_out/", where="task folder", key="path")
    targets = names_in(target)
    if ways and (targets or order == "stream"):
        problem = "numbers are learned, there are no classes to draw" if targets else "a stream has all classes"
        raise UsageError(problem, where="task folder", key="ways", value=f"{ways}", remedy="set task.ways = 0")
    dropped = names_in(drop)
    try:
        form = TableFormat(separator, decimal, encoding, comment, thousands)
        wanted = _Wanted(label, targets, dropped, form)
        parts = _read_parts([_client_files(Path(path) / part) for part in ("train", "held_out")], wanted)
    except FormatError as error:
        setting = error.setting.replace("\t", "\\t")
        remedy = f'take it with task.{error.option} = "{setting}"'
        raise UsageError(error.problem, where=f"task folder: {error.where}", remedy=remedy) from error
    except UsageError as error:
        raise UsageError(f"task folder: {error}") from error
    everything = parts[0] | parts[1]
    first = next(iter(everything.values()))
    classes = tuple(sorted({str(c) for samples in everything.values() for c in samples.labels}))
    if not targets:
        _check_classes(parts, classes, ways)
    if targets or order == "stream":
        _check_lengths(everything.values(), shots)
    else:
        _check_shots(everything.values(), classes, shots)
    made = Standardization.of(np.concatenate([s.rows for s in parts[0].values()])) if standardize else None
    of_targets = _of_targets(parts[0], targets) if targets and standardize else None

    def shard(samples: _Samples, rows: NDArray[np.float64]) -> bytes:
        if samples.targets is not None:
            return write_shard([rows], samples.targets if of_targets is None else of_targets.apply(samples.targets))
        if order == "stream":
            return write_shard([rows], np.array([[classes.index(label)] for label in samples.labels], np.float64))
        return write_shard([rows[samples.labels == label] for label in classes])

    clients = [
        tuple(
            Client(name, partial(shard, s, s.rows if made is None else s.standardized(made)))
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
        in_order=len(targets) or (len(classes) if order == "stream" else 0),
    )
    task = replace(task, takes_all=True, targets=targets, of_targets=of_targets)
    if order == "stream":
        task = replace(task, order=replace(task.order, in_time=True), adapt=replace(task.adapt, in_time=True))
    if targets:
        task = replace(task, loss="mse")
    if of_targets is not None:
        task = replace(task, notes=(*task.notes, _unit_of_loss(targets, of_targets)))
    task = task if made is None else task.standardized(made, first.feature)
    return replace(task, notes=(*task.notes, *_copies(parts)))


def _copies(parts: list[dict[str, _Samples]]) -> tuple[str, ...]:
    """Of held-out files whose samples a training client has too: what is judged on them was learned from them."""
    trained = {samples.rows.tobytes(): samples.path for samples in parts[0].values()}
    return tuple(
        f"{held.path} holds the samples of {trained[held.rows.tobytes()]}"
        for held in parts[1].values()
        if held.rows.tobytes() in trained
    )


def _of_targets(train: dict[str, _Samples], names: tuple[str, ...]) -> Standardization:
    """Raises UsageError for a target that the training clients do not differ in."""
    found = Standardization.of(np.concatenate([s.targets for s in train.values() if s.targets is not None]))
    for number in found.constant:
        problem = f"target {names[number]!r} is constant over the training clients: there is nothing to learn"
        raise UsageError(problem, where="task folder", remedy="leave it out of task.target")
    return found


def _unit_of_loss(names: tuple[str, ...], of: Standardization) -> str:
    each = ", ".join(f"{name} {deviation:.4g}" for name, deviation in zip(names, of.deviation, strict=True))
    return f"targets are learned in deviations of the training clients ({each}): a loss of 1 is one, squared"


def _check_classes(parts: list[dict[str, _Samples]], classes: tuple[str, ...], ways: int) -> None:
    _check_alike(parts)
    train = {str(label) for samples in parts[0].values() for label in samples.labels}
    for samples in parts[1].values():
        for row, label in enumerate(samples.labels):
            if label not in train:
                problem = f"class {shown(repr(str(label)), 60)} is only in held-out files: no training client has it"
                raise UsageError(f"task folder: {samples.place(row)}: {problem}")
    if not 2 <= len(classes) <= 65_535 or ways > len(classes) or (not ways and len(classes) > 32):
        listed = shown(", ".join(map(repr, classes[:5])), 100) + (", ..." if len(classes) > 5 else "")
        problem = f"the files have {len(classes)} classes: {listed}"
        raise UsageError(problem, where="task folder", key="ways", value=f"{ways}")


def _check_lengths(everybody: Iterable[_Samples], shots: int) -> None:
    for samples in everybody:
        if not shots < len(samples.rows) <= CLASS_SAMPLES_MAX:
            problem = f"{len(samples.rows)} samples: a visit of shots = {shots} needs {shots + 1}, one to judge on"
            if len(samples.rows) > shots:
                problem = f"{len(samples.rows)} samples: at most {CLASS_SAMPLES_MAX} fit into a shard"
            raise UsageError(f"task folder: {samples.path}: {problem}")


def _check_shots(everybody: Iterable[_Samples], classes: tuple[str, ...], shots: int) -> None:
    found = [(s, label, np.flatnonzero(s.labels == label)) for s in everybody for label in classes]
    few = [(samples, label, rows) for samples, label, rows in found if len(rows) <= shots]
    for samples, label, rows in sorted(few, key=lambda each: len(each[2]) == 0)[:1]:  # best one with a line to show
        place = samples.place(int(rows[0])) if len(rows) else str(samples.path)
        problem = f"{len(rows)} samples of class {shown(repr(label), 60)} here: a visit of shots = {shots} needs "
        remedy = "set task.shots lower, or leave the file or the class out"
        raise UsageError(f"task folder: {place}: {problem}{shots + 1}, one to judge on", remedy=remedy)


def _check_alike(parts: list[dict[str, _Samples]]) -> None:
    """No two labels are the same word in another case, with spaces around it, or one number written in two ways."""
    seen: dict[str, tuple[str, Path]] = {}
    for samples in (*parts[0].values(), *parts[1].values()):
        _, first = np.unique(samples.labels, return_index=True)
        for row in sorted(first):
            label = str(samples.labels[row])
            value = read_number(label)
            word, path = seen.setdefault(
                f"{value:g}" if value is not None else label.strip().casefold(), (label, samples.path)
            )
            if word != label:
                how = (
                    "spaces"
                    if word.strip() == label.strip()
                    else "how the number is written"
                    if value is not None
                    else "case"
                )
                problem = (
                    f"labels {shown(repr(word), 60)} (of {path}) and {shown(repr(label), 60)} differ only in {how}"
                )
                raise UsageError(f"task folder: {samples.place(int(row))}: {problem}: write them alike")
            if not label.strip():
                raise UsageError(f"task folder: {samples.place(int(row))}: the label is empty")


def _client_files(folder: Path) -> dict[str, Path]:
    """The file of each client, by name."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: it holds a CSV or NPZ file for each client")
    found: dict[str, Path] = {}
    for path in table_files(folder, (".csv", ".tsv", ".parquet", ".npz")):
        _check_name(found, path)
        found[path.stem] = path
    if not found:
        raise UsageError(f"{folder} holds no CSV, TSV, Parquet or NPZ file")
    return found


def _check_name(found: dict[str, Path], path: Path) -> None:
    if path.stem in found:
        raise UsageError(f"{found[path.stem]} and {path} are one client by name: rename or remove one")


def _read_parts(parts: list[dict[str, Path]], wanted: _Wanted) -> list[dict[str, _Samples]]:
    for path in parts[1].values():
        _check_name(parts[0], path)
    first: _Samples | None = None
    read: list[dict[str, _Samples]] = [{}, {}]
    for part, paths in zip(read, parts, strict=True):
        for name, path in paths.items():
            npz = path.suffix.lower() == ".npz"
            samples = _read_npz(path, wanted.targets) if npz else _read_columns(path, wanted, first)
            first = first or samples
            count, needed = samples.rows.shape[1], first.rows.shape[1]
            if count != needed:
                raise UsageError(f"{path} has {count} features, {first.path} has {needed}")
            if bool(samples.columns) != bool(first.columns):
                problem = (
                    f"names no columns, {first.path} does" if first.columns else f"names columns, {first.path} none"
                )
                raise UsageError(f"{path} {problem}: use one kind of file for all clients")
            part[name] = samples
    return read


def _read_columns(path: Path, asked: _Wanted, first: _Samples | None) -> _Samples:
    form = asked.form
    if not form.separator:
        form = replace(form, separator="\t" if path.suffix.lower() == ".tsv" else ",")
    table = read_table(path, form)
    for name in (*asked.answers, *table.columns):
        table.column(name)  # is there, and once
    labels = table.text(asked.label) if not asked.targets else np.array([], object)
    columns = tuple(name for name in table.columns if name not in asked.answers and name not in asked.drop)
    for name in table.unnamed:
        if name in columns:
            problem = f"{name} has no name: is it an index?"
            raise UsageError(problem, where=str(path), remedy=f'leave it out with task.drop = "{name}", or name it')
    wanted = columns if first is None or not first.columns else first.columns
    for name in wanted:
        if name not in columns:
            there = shown(", ".join(columns), 200)
            problem = f"column {shown(repr(name), 60)} of {first.path if first else path} is missing; there are {there}"
            raise UsageError(problem, where=str(path))
    for name in columns:
        if name not in wanted and first is not None:
            problem = f"column {shown(repr(name), 60)} is not in {first.path}: all files need the same columns"
            raise UsageError(problem, where=str(path))
    if not table.rows:
        raise UsageError(f"{path} holds no samples")
    if not columns:
        raise UsageError(f"{path} has no column beside the label and those of task.drop")
    rows = np.stack([table.numbers(name) for name in wanted], axis=1)
    targets = np.stack([table.numbers(name) for name in asked.targets], axis=1) if asked.targets else None
    return _Samples(path, rows, labels, table.place, wanted, targets)


def _read_npz(path: Path, targets: tuple[str, ...]) -> _Samples:
    arrays = read_arrays(path)
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        advice = "write it with numpy.savez(path, x=..., y=...)"
        raise UsageError(f"{path} has no array {missing[0]!r}: {advice}")
    x, y = arrays["x"], arrays["y"]
    if x.dtype.kind not in "fiu":
        raise UsageError(f"{path}: x is an array of {x.dtype}, not of real numbers")
    if targets:
        return _Samples(path, _numbers(path, "x", x), np.array([], object), lambda row: f"{path}: y[{row}]",
                        targets=_npz_targets(path, x, y, targets))  # fmt: skip
    if y.dtype.kind not in "fiuUSb":
        raise UsageError(f"{path}: y is an array of {y.dtype}, not of labels")
    try:
        labels = y.astype(str).astype(object)
        labels[y != y] = ""  # NaN: missing
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} cannot be read: y holds a label that is not ASCII: {error}") from None
    if x.ndim < 2 or y.shape != (len(x),) or x.size == 0:
        raise UsageError(f"{path}: x has shape {x.shape}, y {y.shape}: needed are (n, ...) and (n,)")
    return _Samples(path, _numbers(path, "x", x), labels, lambda row: f"{path}: y[{row}]")


def _npz_targets(path: Path, x: NDArray[Any], y: NDArray[Any], targets: tuple[str, ...]) -> NDArray[np.float64]:
    """(samples, targets)."""
    if y.dtype.kind not in "fiu":
        raise UsageError(f"{path}: y is an array of {y.dtype}, not of numbers as task.target says")
    shape = (len(x), len(targets))
    if x.ndim < 2 or y.shape not in ((shape, shape[:1]) if len(targets) == 1 else (shape,)) or x.size == 0:
        problem = f"{path}: x has shape {x.shape}, y {y.shape}: needed are (n, ...) and (n, {len(targets)})"
        raise UsageError(f"{problem}, a column for each name in task.target")
    return _numbers(path, "y", y)


def _numbers(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    """(samples, values)."""
    with np.errstate(over="ignore"):  # of longer floats: told below
        rows: NDArray[np.float64] = array.reshape(len(array), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise UsageError(f"{path}: {name} holds NaN or infinity: clean the data first")
    wrong = np.argwhere(np.abs(rows) > FLOAT32_MAX)
    if len(wrong):
        sample, value = wrong[0]
        raise UsageError(
            f"{path}: value {value} of {name}[{sample}] is {rows[sample, value]:g}: float32 ends at 3.4e38: "
            "clean the data first"
        )
    return rows
