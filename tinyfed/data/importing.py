"""Samples out of files as people have them: columns chosen, readings resampled and cut into windows, clients split.

Whatever is left out on the way is counted, and the first of its kind is named.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.delimited import FormatError, TableFormat
from tinyfed.data.tables import FLOAT32_MAX, Table, read_table, tables_below
from tinyfed.data.times import STAMPS, UNITS, elapsed, is_named_time, unit_of
from tinyfed.data.windows import pieces, rate_of, resampled, summarized, windows
from tinyfed.errors import UsageError
from tinyfed.fields import near
from tinyfed.random import SplitMix64, derive_seed
from tinyfed.text import listed, printable

PARTS = ("train", "held_out")
LABELS = ("label", "labels", "activity", "class", "target", "y")  # what a label's column may be called
CLIENT_WORDS = {"client", "subject", "person", "participant", "user", "device", "sensor", "room", "patient", "people"}
_INDEX_WORDS = ("index", "idx", "row", "no", "nr", "number")
_NAMELESS = re.compile(r"unnamed:? \d+(\.\d+)?|__index_level_\d+__", re.IGNORECASE)  # what pandas calls such a column
CLASSES_MAX = 32
RATES_DIFFER = 0.1  # of the first file's


@dataclass(frozen=True)
class Span:
    """A length in readings, in seconds, or as a share of another."""

    amount: float
    unit: str = ""  # "": readings; "s"; "%"

    @classmethod
    def parse(cls, text: str, *, share: bool = False) -> "Span":
        """Of "128", "2.56s", "10min" or, where it may be a share, "50%". Raises UsageError."""
        found = re.fullmatch(r"([0-9]{1,7}(?:\.[0-9]{1,9})?)\s*(s|ms|m|min|h|%|)", text.strip())
        if found:
            amount, unit = float(found[1]), found[2]
            if unit in ("ms", "m", "min", "h"):
                amount, unit = amount / 1000 if unit == "ms" else amount * (3600 if unit == "h" else 60), "s"
            if amount > 0 and (unit or amount.is_integer()) and (unit != "%" or (share and amount <= 100)):
                return cls(amount, unit)
        raise UsageError(
            f"must be readings or seconds, such as 128, 2.56s or 10min{', or 50%' if share else ''}", value=text
        )

    def readings(self, rate_hz: float, whole: int = 0) -> int:
        """At least 1; `whole` is what a share is of. Raises UsageError where a rate is needed that nobody knows."""
        if self.unit == "s" and not rate_hz:
            raise UsageError("is in seconds, and no column tells the time", remedy="say --rate, or count in readings")
        factor = {"": 1.0, "s": rate_hz, "%": whole / 100}[self.unit]
        return max(1, round(self.amount * factor))


@dataclass(frozen=True)
class Request:
    """What is to be made of the files."""

    client: str = ""  # "file", "folder", "file:REGEX" or a column; "": as the files lie
    label: str = ""  # the same; "": a column called so
    targets: tuple[str, ...] = ()  # columns with numbers to learn, in place of a label
    keep: tuple[str, ...] = ()  # columns; (): all that hold numbers
    drop: tuple[str, ...] = ()
    time: str = ""  # a column, or "COLUMN:UNIT"; "": one called so; "none"
    rate_hz: float = 0.0  # to resample to; 0: as it is
    window: Span | None = None  # None: each row is a sample
    step: Span | None = None  # None: windows that share nothing
    features: tuple[str, ...] = ()  # of `windows.FEATURES`; (): the readings themselves
    relabel: Mapping[str, str] = field(default_factory=dict)  # "" leaves a label out
    held_out: float | tuple[str, ...] | None = None  # a share, names, or as the folder is split, else 0.2
    seed: int = 0
    min_samples: int = 6  # of each class
    format: TableFormat = field(default_factory=TableFormat)


@dataclass
class Skipped:
    """What was left out for one reason."""

    count: int = 0
    first: str = ""  # where, or which


@dataclass(frozen=True)
class Samples:
    """A client's. `x` float32 (samples, ...), `y` names of classes (samples,) or float64 (samples, targets)."""

    x: NDArray[np.float32]
    y: NDArray[Any]

    def count(self, label: str) -> int:
        """Samples of a class; without classes ("") all."""
        return int((self.y == label).sum()) if label else len(self.y)


@dataclass
class Imported:
    """What came of it."""

    parts: dict[str, dict[str, Samples]]  # train and held_out: by client
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    files: int
    rows: int
    label: str
    time: str  # the column with its unit, or what a file says; "": nobody knows
    rate_hz: float  # of what the samples are made of; 0: nobody knows
    length: int  # readings in a window; 0: rows are samples
    step: int
    features: tuple[str, ...]
    left_out: tuple[str, ...]  # columns, with the reason
    skipped: dict[str, Skipped]

    @property
    def names(self) -> tuple[str, ...]:
        """What the values along a sample's last axis are called."""
        return tuple(f"{c}_{f}" for c in self.columns for f in self.features) if self.features else self.columns

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return next(iter(self.parts["train"].values())).x.shape[1:]


def import_samples(source: Path, request: Request, told: Callable[[str], None] = lambda _: None) -> Imported:
    """Samples of all clients in the files of `source`, a folder or a file. `told` hears how far it is.

    Raises UsageError naming the file and the place; MissingToolError where a package is needed.
    """
    files = tables_below(source)
    whose: tuple[str, ...] = ()
    while True:
        reader = _Reader(request, source, files, whose)
        for number, path in enumerate(files):
            told(f"{number + 1:,} of {len(files):,}: {path.name}")
            reader.read(path)
        if not (found := reader.client_columns()):
            return reader.done()
        whose += found  # all files had to be seen for that: read them again without


class NoLabelError(UsageError):
    """None was told, and no column is called as labels are."""


class _Reader:
    """Reads files one by one, by what the first one holds."""

    def __init__(self, request: Request, source: Path, files: Sequence[Path], whose: tuple[str, ...]) -> None:
        self._request = request
        self._whose = whose  # columns that only tell the client
        self._values: dict[str, dict[str, set[float]]] = {}  # of columns that may do so: by client up to two
        self._source = source
        self._files = files
        self._root = source if source.is_dir() else source.parent
        inner = [path.relative_to(self._root).parts[:-1] for path in files]
        self._is_split = {parts[0] if parts else "" for parts in inner} == set(PARTS)
        self._inner = dict(zip(files, (parts[self._is_split :] for parts in inner), strict=True))
        self._client = request.client or self._layout()
        self._label = request.label
        self._columns: tuple[str, ...] = ()
        self._left_out: list[str] = []
        self._time, self._unit, self._time_said = "", "", ""
        self._rate_hz = 0.0
        self._first: Path | None = None
        self._rows = 0
        self._codes: dict[str, int] = {}  # label -> its number, in the order of appearance
        self._labels_seen: set[str] = set()
        self._samples: dict[str, list[tuple[NDArray[np.float32], NDArray[Any]]]] = {}
        self._part: dict[str, str] = {}  # client -> the folder it lies in, where the folder is split
        self._of_file: dict[str, Path] = {}
        self._skipped: dict[str, Skipped] = {}

    def _layout(self) -> str:
        if len(self._files) == 1 and self._source.is_file():
            return ""
        depths = {bool(parts) for parts in self._inner.values()}
        if len(depths) > 1:
            problem = "some files lie in folders of it and some do not"
            raise UsageError(problem, where=str(self._source), remedy="say --client file, folder or COLUMN")
        return "folder" if depths.pop() else "file"

    def _skip(self, reason: str, count: int, first: str) -> None:
        if count:
            entry = self._skipped.setdefault(reason, Skipped(first=first))
            entry.count += count

    def read(self, path: Path) -> None:
        """The samples of one file."""
        table = read_table(path, self._request.format) if path.stat().st_size else None
        if table is None or not table.rows:
            self._skip("files without rows", 1, str(path))
            return
        if self._first is None:
            self._first = path
            self._choose(table)
        else:
            self._check(table)
        self._rows += table.rows
        values = np.stack([table.values(name) for name in self._numbers], axis=1)
        labels = np.zeros(table.rows, np.int64) if self._request.targets else self._labels(table)
        clients = list(self._clients(table))
        times = self._times(table, clients)
        good = np.isfinite(values.sum(axis=1) if times is None else values.sum(axis=1) + times)
        if not good.all():
            self._skip("rows with a cell that is no number", int((~good).sum()), self._first_fault(table, good))
        for client, rows in clients:
            self._read_client(client, rows, table, values, labels, times, good)

    @property
    def _numbers(self) -> tuple[str, ...]:
        """The columns that must hold numbers: behind those that are measured the targets."""
        return (*self._columns, *self._request.targets)

    def _split(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Samples with a label, and what each is to give: its label, or the targets with a window's last reading."""
        x, y = x[y >= 0], y[y >= 0]
        if not self._request.targets:
            return x, y
        count = len(self._columns)
        return x[..., :count], (x if x.ndim == 2 else x[:, -1])[:, count:]

    def _first_fault(self, table: Table, good: NDArray[np.bool_]) -> str:
        row = int(np.flatnonzero(~good)[0])
        for name in self._numbers:
            if np.isnan(table.values(name)[row]):
                return str(table.fault(name, row))
        return f"{table.place(row)}: column {self._time!r} is no time"

    def _choose(self, table: Table) -> None:
        """Columns, label and time, by the first file."""
        request, there = self._request, table.columns
        if not self._label and not request.targets:
            lower = {name.lower(): name for name in reversed(there)}
            self._label = next((lower[word] for word in LABELS if word in lower), "")
            if not self._label:
                problem = f"no column is called label; there are {listed(there)}"
                raise NoLabelError(problem, where=str(table.path), remedy="say --label COLUMN, file or folder")
        if not self._client:
            problem = f"is one file: which column names the client? There are {listed(there)}"
            raise UsageError(problem, where=str(table.path), remedy="say --client COLUMN")
        for name in (
            *request.keep,
            *request.drop,
            *request.targets,
            *filter(is_column, filter(None, (self._client, self._label))),
        ):
            table.column(name)  # raises where it is missing
        self._choose_time(table)
        taken = {self._client, self._label, self._time, *request.targets, *request.drop}
        if request.keep:
            self._columns = tuple(name for name in request.keep if name not in taken)
            for name in self._columns:
                wrong = np.flatnonzero(np.isnan(table.values(name)))
                if 2 * len(wrong) > table.rows:
                    raise table.fault(name, int(wrong[0]))
        else:
            self._columns = tuple(name for name in there if name not in taken and self._is_wanted(table, name))
        for name in request.targets:
            wrong = np.flatnonzero(np.isnan(table.values(name)))
            if 2 * len(wrong) > table.rows:
                raise table.fault(name, int(wrong[0]))
        if not self._columns:
            raise UsageError("no column is left that holds numbers", where=str(table.path))

    def _choose_time(self, table: Table) -> None:
        given, colon, unit = self._request.time.rpartition(":")
        if not colon or self._request.time in table.columns:
            given, unit = self._request.time, ""
        if given == "none" or (not given and table.rate_hz):
            return
        if given:
            self._time, self._unit = given, unit or unit_of(table, given)
            if self._unit not in (*UNITS, *STAMPS):
                remedy = f"where the day is first in dates say {given}:DMY, else {given}:MDY"
                raise UsageError(f"column {given!r} holds no times", where=str(table.path), key="--time", remedy=remedy)
            return
        for name in table.columns:
            if is_named_time(name) and name not in (self._client, self._label, *self._request.keep):
                unit = unit_of(table, name)
                times = elapsed(table, name, unit) if unit else np.empty(0)
                if unit and (self._steps(table, times) >= 0).mean() > 0.9:
                    self._time, self._unit = name, unit
                    return

    def _steps(self, table: Table, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """From each known time to the next one of the same client."""
        cells = table.text(self._client) if is_column(self._client) else np.zeros(table.rows)
        _, whose = np.unique(cells, return_inverse=True)
        order = np.argsort(whose, kind="stable")
        order = order[~np.isnan(times[order])]
        steps: NDArray[np.float64] = np.diff(times[order])[np.diff(whose[order]) == 0]
        return steps

    def _is_wanted(self, table: Table, name: str) -> bool:
        values = table.values(name)
        numbers, reason = ~np.isnan(values), ""
        filled = numbers.sum() + sum(1 for cell in table.text(name)[~numbers] if cell.strip())
        if not filled:
            reason = "empty"
        elif 2 * numbers.sum() < filled:
            reason = "text"
            fault = table.fault(name, int(np.flatnonzero(~numbers)[0]))
            if isinstance(fault, FormatError):  # numbers, read in another way
                raise fault
        elif is_index(table, name, values):
            reason = "an index"
        elif name in self._whose:
            reason = "only tells the client"
        if reason:
            self._left_out.append(f"{name} ({reason})")
        return not reason

    def _check(self, table: Table) -> None:
        """The file has the columns of the first one."""
        for name in filter(is_column, filter(None, (self._client, self._label, self._time))):
            table.column(name)  # raises where it is missing
        missing = [name for name in self._numbers if name not in table.columns]
        if missing:
            names, there = ", ".join(missing), listed(table.columns)
            raise UsageError(
                f"{self._first} has columns that are missing here: {listed(missing)}; there are {there}",
                where=str(table.path),
                remedy=f'leave them out with --drop "{printable(names)}"',
            )

    def _labels(self, table: Table) -> NDArray[np.int64]:
        """The number of each row's label, (rows,); -1 for none."""
        if not is_column(self._label):
            texts = [self._from_path(self._label, table.path, last=True)] * table.rows
        else:
            texts = [cell.strip() for cell in table.text(self._label)]
        names, at = np.unique(np.array(texts, object), return_inverse=True)
        self._labels_seen.update(names.tolist())
        codes = np.empty(len(names), np.int64)
        for k, name in enumerate(names.tolist()):
            renamed = self._request.relabel.get(name, name)
            codes[k] = self._codes.setdefault(renamed, len(self._codes)) if renamed else -1
            if not renamed:
                reason = f"rows of {name!r}, left out by --map" if name else "rows without a label"
                rows = np.flatnonzero(at == k)
                self._skip(reason, len(rows), table.place(int(rows[0])))
        if len(self._codes) > 1000:
            problem = f"column {self._label!r} has more than 1,000 different labels: does it hold numbers?"
            raise UsageError(problem, where=str(table.path))
        return codes[at]

    def _times(self, table: Table, clients: Sequence[tuple[str, NDArray[np.intp]]]) -> NDArray[np.float64] | None:
        """When each row was read, (rows,) in s; None where nobody knows."""
        if table.rate_hz:
            self._time_said = self._time_said or f"{table.rate_hz:.6g} Hz, as {table.path.name} says"
            times: NDArray[np.float64] = np.arange(table.rows) / table.rate_hz
        elif self._time:
            self._time_said = f"{self._time}, {self._unit}"
            times = elapsed(table, self._time, self._unit)
        else:
            self._rate_hz = self._request.rate_hz
            return None
        if self._request.rate_hz:
            self._rate_hz = self._request.rate_hz
            return times
        known = [times[rows[~np.isnan(times[rows])]] for _, rows in clients]  # a client's clock is its own
        self._rate_hz = self._rate_hz or rate_of(*known)
        for (client, _), one in zip(clients, known, strict=True):
            rate_hz = rate_of(one)
            if not self._request.window or not rate_hz or len(one) < self._spans()[0]:
                continue
            if abs(rate_hz / self._rate_hz - 1) > RATES_DIFFER:
                whose = f"client {client!r} " if is_column(self._client) else ""
                others = "others have" if whose else f"{self._first} has"
                problem = f"{whose}has {rate_hz:.4g} readings a second, {others} {self._rate_hz:.4g}"
                raise UsageError(problem, where=str(table.path), remedy="say --rate to resample all of them")
        return times

    def _clients(self, table: Table) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """The clients in a file, each with the rows it has."""
        if not is_column(self._client):
            yield self._from_path(self._client, table.path), np.arange(table.rows)
            return
        names, at = np.unique(np.array([cell.strip() for cell in table.text(self._client)]), return_inverse=True)
        for k, name in enumerate(names.tolist()):
            rows = np.flatnonzero(at == k)
            if name:
                yield name, rows
            else:
                self._skip("rows without a client", len(rows), table.place(int(rows[0])))

    def _from_path(self, what: str, path: Path, *, last: bool = False) -> str:
        """A client's name, or a label (`last`: of the folder next to the file), out of a path."""
        text = word_of_path(what, path, self._inner[path], last=last)
        if what == "file" and not last and self._of_file.setdefault(text, path) != path:
            problem = f"{self._of_file[text]} and {path} are one client by name"
            raise UsageError(problem, remedy="say --client folder, or rename one")
        return text

    def _read_client(
        self,
        client: str,
        rows: NDArray[np.intp],
        table: Table,
        values: NDArray[np.float64],
        labels: NDArray[np.int64],
        times: NDArray[np.float64] | None,
        good: NDArray[np.bool_],
    ) -> None:
        if self._is_split:
            part = table.path.relative_to(self._root).parts[0]
            if self._part.setdefault(client, part) != part:
                raise UsageError(f"client {client!r} lies in train/ and in held_out/", where=str(self._source))
        made = self._samples.setdefault(client, [])
        request = self._request
        kept = rows[good[rows]]
        for name in filter(names_client, () if request.keep else self._columns):
            seen = self._values.setdefault(name, {}).setdefault(client, set())
            seen.update(np.unique(values[kept, self._columns.index(name)])[:2].tolist())
        if request.window is None and not (times is not None and request.rate_hz):  # each row is a sample
            x, y = self._split(values[kept], labels[kept])
            made.append((x.astype(np.float32), y))
            return
        if times is None:  # nobody knows what lies where a row was left out
            stretches = np.split(kept, np.flatnonzero(np.diff(np.searchsorted(rows, kept)) > 1) + 1)
        else:
            still = np.flatnonzero(np.diff(times[kept]) == 0) + 1
            if still.size:
                self._skip("rows at the same time as the one before", still.size, table.place(int(kept[still[0]])))
                kept = np.delete(kept, still)
            stretches = [kept[piece] for piece in pieces(times[kept])]
        if len(stretches) > 1:
            self._skip("gaps, which no window crosses", len(stretches) - 1, table.place(int(stretches[1][0])))
        for stretch in stretches:
            if len(stretch):
                made.append(self._cut(stretch, table, values, labels, times))

    def _cut(
        self,
        rows: NDArray[np.intp],
        table: Table,
        values: NDArray[np.float64],
        labels: NDArray[np.int64],
        times: NDArray[np.float64] | None,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """The samples in rows without a gap."""
        request = self._request
        x, y = values[rows], labels[rows]
        if times is not None and request.rate_hz:
            x, y = resampled(times[rows], x, y, request.rate_hz)
        if request.window is not None:
            length, step = self._spans()
            if len(x) < length:
                self._skip("stretches shorter than a window", 1, table.place(int(rows[0])))
            x, y = windows(x, y, length, step)
            self._skip("windows without a label that most of it has", int((y < 0).sum()), table.place(int(rows[0])))
        x, answers = self._split(x, y)
        if request.features:
            x = summarized(x, request.features)
            if x.size and np.abs(x).max() > FLOAT32_MAX:
                raise UsageError("a feature is larger than float32 holds", where=table.place(int(rows[0])))
        return x.astype(np.float32), answers

    def _spans(self) -> tuple[int, int]:
        window, step = self._request.window, self._request.step
        assert window is not None
        try:
            length = window.readings(self._rate_hz)
        except UsageError as error:
            raise error.located(key="--window") from None
        try:
            return length, length if step is None else step.readings(self._rate_hz, length)
        except UsageError as error:
            raise error.located(key="--step") from None

    def client_columns(self) -> tuple[str, ...]:
        """Columns that are called as clients are, and hold a whole number for each client, not the same for all."""
        return tuple(
            name
            for name, seen in self._values.items()
            if all(len(some) < 2 and all(map(float.is_integer, some)) for some in seen.values())
            and len(set().union(*seen.values())) > 1
        )

    def done(self) -> Imported:
        """All that was read, split. Raises UsageError where nothing can be learned from it."""
        if self._first is None:
            raise UsageError("no file holds a row", where=str(self._source))
        names = list(self._codes)
        self._check_labels(names)
        joined = {}
        for client in sorted(self._samples):
            found = self._samples[client]
            if sum(len(y) for _, y in found):
                y = np.concatenate([y for _, y in found])
                answers = y if self._request.targets else np.array(names)[y]
                joined[client] = Samples(np.concatenate([x for x, y in found if len(y)]), answers)
            else:
                self._skip("clients without a sample", 1, client)
        classes: tuple[str, ...] = ()
        if not self._request.targets:
            classes = tuple(sorted({str(c) for samples in joined.values() for c in np.unique(samples.y)}))
        if not self._request.targets and not 2 <= len(classes) <= CLASSES_MAX:
            problem = f"there are {len(classes)} classes in {self._label!r}, needed are 2 to {CLASSES_MAX}"
            raise UsageError(
                f"{problem}: {listed(classes) or 'no sample'}",
                where=str(self._source),
                remedy="--map old=new joins some, --map old= leaves one out",
            )
        kept = self._enough(joined, classes or ("",))
        held_out = self._held_out(list(kept))
        parts = {
            "train": {name: samples for name, samples in kept.items() if name not in held_out},
            "held_out": {name: samples for name, samples in kept.items() if name in held_out},
        }
        length, step = self._spans() if self._request.window else (0, 0)
        return Imported(
            parts,
            self._columns,
            classes,
            self._request.targets,
            len(self._files),
            self._rows,
            self._label,
            self._time_said,
            self._rate_hz,
            length,
            step,
            self._request.features if length else (),
            tuple(self._left_out),
            self._skipped,
        )

    def _check_labels(self, names: Sequence[str]) -> None:
        for old in self._request.relabel:
            if old not in self._labels_seen:
                raise UsageError(
                    f"no row has the label {old!r}; there are {listed(sorted(self._labels_seen))}",
                    key="--map",
                    remedy=near(old, tuple(self._labels_seen)),
                )
        folded: dict[str, str] = {}
        for name in names:
            other = folded.setdefault(name.casefold(), name)
            if other != name:
                raise UsageError(
                    f"labels {other!r} and {name!r} differ only in case",
                    where=str(self._source),
                    remedy=f"--map {other}={name} makes them one",
                )

    def _enough(self, joined: Mapping[str, Samples], classes: Sequence[str]) -> dict[str, Samples]:
        """The clients that have enough samples of each class."""
        least = self._request.min_samples
        kept, lacking = {}, dict.fromkeys(classes, 0)
        reason = f"clients with fewer than {least} samples" + (" of a class" if classes[0] else "")
        for client, samples in joined.items():
            counts = {label: samples.count(label) for label in classes}
            few = [label for label in classes if counts[label] < least]
            for label in few:
                lacking[label] += 1
            if few:
                self._skip(reason, 1, f"{client}: {counts[few[0]]}" + (f" of {few[0]!r}" if few[0] else ""))
            else:
                kept[client] = samples
        if len(joined) < 2:
            problem = f"there is one client, {next(iter(joined))!r}: two are needed, one to train and one to hold out"
            raise UsageError(problem, where=str(self._source), remedy="--client says what a client is")
        if len(kept) < 2 and not classes[0]:
            problem = (
                f"{len(kept)} of {len(joined)} clients have {least} samples: two are needed, one to train and one to"
            )
            raise UsageError(
                f"{problem} hold out", where=str(self._source), remedy="--min-samples, or a smaller --step"
            )
        if len(kept) < 2:
            worst = max(classes, key=lambda label: lacking[label])
            raise UsageError(
                f"{len(kept)} of {len(joined)} clients have {least} samples of each class: {lacking[worst]} lack "
                f"{worst!r}: two are needed, one to train and one to hold out",
                where=str(self._source),
                remedy=f"--min-samples, a smaller --step, or --map {worst}= to leave that class out",
            )
        return kept

    def _held_out(self, names: Sequence[str]) -> set[str]:
        wanted = self._request.held_out
        if wanted is None and self._is_split:
            chosen = {name for name in names if self._part[name] == "held_out"}
        elif isinstance(wanted, tuple):
            for name in wanted:
                if name not in self._samples:
                    raise UsageError(
                        f"there is no client {name!r}; there are {listed(sorted(self._samples))}",
                        key="--held-out",
                        remedy=near(name, tuple(self._samples)),
                    )
            chosen = set(wanted) & set(names)
        else:
            count = min(len(names) - 1, max(1, math.floor((0.2 if wanted is None else wanted) * len(names) + 0.5)))
            random = SplitMix64(derive_seed(self._request.seed, len(names)))
            chosen = {names[k] for k in random.sequence(count, len(names))}
        if not chosen or len(chosen) == len(names):
            whom = "to hold out" if not chosen else "to train"
            raise UsageError(f"no client is left {whom}, of {len(names)} with enough samples", key="--held-out")
        return chosen


def names_client(name: str) -> bool:
    """Whether a column is called as clients are: `subject`, `user_id`, `SensorId`."""
    return not CLIENT_WORDS.isdisjoint(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name))


def is_index(table: Table, name: str, values: NDArray[np.float64]) -> bool:
    """Whether a column of whole numbers counts the rows, also where some were left out: it has no name; or an index's,
    and hardly ever falls or stays; or it only rises, mostly by 1."""
    if not (values == np.rint(values)).all():
        return False
    if name in table.unnamed or _NAMELESS.fullmatch(name):
        return True
    steps = np.diff(values)
    if len(steps) < 2:
        return False
    if name.lower() in _INDEX_WORDS:
        return bool((steps > 0).mean() > 0.9)
    return bool((steps > 0).all() and (steps == 1).mean() > 0.5)


def word_of_path(what: str, path: Path, inner: Sequence[str], *, last: bool = False) -> str:
    """What "file", "folder", "file:REGEX" or "folder:REGEX" says of a file in the folders `inner`, of which a label
    (`last`) is the last one, a client the first. Raises UsageError."""
    word, _, pattern = what.partition(":")
    if word == "folder" and not inner:
        raise UsageError("lies in no folder of its own", where=str(path), key="--label" if last else "--client")
    text = path.stem if word == "file" else inner[-1] if last else inner[0]
    if not pattern:
        return text
    found = re.search(pattern, text)
    if not found:
        raise UsageError(f"{text!r} does not match {pattern!r}", where=str(path))
    return found[1] if found.re.groups else found[0]


def is_column(what: str) -> bool:
    """Of what says whose a row is, or its label."""
    return what.partition(":")[0] not in ("file", "folder")
