"""What a folder of tables holds, before anything is learned: kinds of columns, time, labels, clients, what is odd."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.delimited import FormatError, TableFormat
from tinyfed.data.importing import CLASSES_MAX, LABELS, PARTS, is_column, is_index, names_client, word_of_path
from tinyfed.data.tables import FLOAT32_ROUNDING, Table, read_table, tables_below
from tinyfed.data.times import elapsed, is_named_time, seconds, unit_of
from tinyfed.data.windows import pieces, rate_of
from tinyfed.errors import UsageError
from tinyfed.text import listed

VALUES_MAX = 4096  # different values of a column that may be a label or a client


@dataclass
class Column:
    """A column over all files it is in."""

    name: str
    files: int = 0
    rows: int = 0
    numbers: int = 0  # cells that are one
    empty: int = 0
    fault: str = ""  # the first cell that is neither, where most are numbers
    low: float = np.inf
    high: float = -np.inf
    is_whole: bool = True
    is_index: bool = True  # in each file
    values: Counter[str] | None = field(default_factory=Counter)  # None: too many
    unit: str = ""  # of time
    times_s: tuple[float, float] = (np.inf, -np.inf)  # from, to
    role: str = ""  # number, label, client, time, index, constant, text, empty

    @property
    def is_constant(self) -> bool:
        """To float32, but for cells that are none."""
        if self.numbers:
            return self.high - self.low <= FLOAT32_ROUNDING * max(abs(self.low), abs(self.high))
        return self.values is not None and len(self.values) == 1


@dataclass
class Client:
    """Of whom there are samples: rows of each label."""

    part: str  # "train", "held_out" or ""
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)


@dataclass
class Survey:
    """What was found."""

    source: Path
    files: list[Path]
    kinds: Counter[str]  # of files, by suffix
    format: TableFormat  # of the text files
    is_split: bool  # into train/ and held_out/
    by: str  # whose samples: "file", "folder", "file:REGEX", or a column
    label: str  # the same, or "" where nothing looks like one
    columns: dict[str, Column]
    clients: dict[str, Client]
    first: tuple[str, ...] = ()  # the columns of the first file with rows
    rates_hz: tuple[float, ...] = ()  # of each file, or client in one, that tells the time
    file_rows: float = 0.0  # nine of ten files have more
    gaps: int = 0
    longest_gap_s: float = 0.0
    first_gap: str = ""
    notes: list[str] = field(default_factory=list)

    def of_role(self, *roles: str) -> list[str]:
        """The columns that look so."""
        return [column.name for column in self.columns.values() if column.role in roles]

    @property
    def alike(self) -> dict[str, str]:
        """Labels that are another one but for case or spaces, and that other, which more rows have."""
        rows: Counter[str] = sum((client.labels for client in self.clients.values()), Counter())
        words: dict[str, str] = {}
        for label, _ in rows.most_common():
            words.setdefault(label.strip().casefold(), label)
        return {label: words[label.strip().casefold()] for label in rows if words[label.strip().casefold()] != label}

    @property
    def partly(self) -> list[str]:
        """The columns that some files with rows lack."""
        most = max(column.files for column in self.columns.values())
        return [column.name for column in self.columns.values() if column.files < most]

    @property
    def classes(self) -> list[str]:
        """Of all clients, by name."""
        return sorted({label for client in self.clients.values() for label in client.labels if label.strip()})

    @property
    def rate_hz(self) -> float:
        """The median of the files'; 0 where none tells the time."""
        return float(f"{np.median(self.rates_hz):.6g}") if self.rates_hz else 0.0


@dataclass
class _Seen:
    """What is kept of a file: the columns that may be labels or clients, as numbers of their values."""

    path: Path
    rows: int
    codes: dict[str, tuple[list[str], NDArray[np.uint16]]]
    times: NDArray[np.float64] | None = None  # of each row, s


def survey(source: Path, form: TableFormat, told: Callable[[str], None] = lambda _: None) -> Survey:
    """Of a folder or a file. What `form` leaves open is looked for, also decimal comma, thousands, encoding. `told`
    hears how far it is. Raises UsageError naming the file and the place; MissingToolError where a package is needed."""
    files = tables_below(source)
    root = source if source.is_dir() else source.parent
    inner = {path: path.relative_to(root).parts[:-1] for path in files}
    is_split = {parts[0] if parts else "" for parts in inner.values()} == set(PARTS)
    found = Survey(source, files, Counter(), form, is_split, "file", "", {}, {})
    seen = []
    for number, path in enumerate(files):
        told(f"{number + 1:,} of {len(files):,}: {path.name}")
        found.kinds[path.suffix.lower().lstrip(".")] += 1
        table, values = _read(path, found)
        if not table.rows:
            found.notes.append(f"{path} holds no rows")
            continue
        found.first = found.first or table.columns
        seen.append(_look(table, values, found))
    if not seen:
        raise UsageError("holds no rows", where=str(source))
    for column in found.columns.values():
        column.role = _role(column)
    if not found.of_role("number"):  # what only rises like a clock is a reading, where nothing else is
        for column in found.columns.values():
            if column.role == "time" and column.numbers and not is_named_time(column.name):
                column.role = "number"
    found.file_rows = float(np.quantile([one.rows for one in seen], 0.1))
    below = {path: parts[is_split:] for path, parts in inner.items()}
    _choose_clients(found, seen, below)
    _set_client_columns(found, seen, inner)
    _choose_label(found)
    if not found.label and not found.partly:
        _choose_from_names(found, seen, below)
    _count(found, seen, inner)
    _look_at_times(found, seen, inner)
    _note(found)
    return found


def _read(path: Path, found: Survey) -> tuple[Table, dict[str, NDArray[np.float64]]]:
    """A file and its numbers, by the format that reads it: what the first says is taken for all."""
    for _ in range(4):
        try:
            table = read_table(path, found.format)
            values = {name: table.values(name) for name in table.columns}  # raises for a name that is there twice
            for name, column in values.items():
                wrong = np.flatnonzero(np.isnan(column))[:1]
                if wrong.size and re.match(r"\s*[+-]?[\d,]", str(table.text(name)[wrong[0]])):
                    error = table.fault(name, int(wrong[0]))
                    if isinstance(error, FormatError):
                        raise error
            if path.suffix.lower() not in (".npz", ".npy", ".parquet", ".wav"):
                if found.format.separator == "":
                    found.format = replace(found.format, comment=table.format.comment)
                known = found.format.separator or table.format.separator
                if known != table.format.separator:
                    found.notes.append(f"{path} is separated otherwise than the files before it")
                found.format = replace(found.format, separator=known)
            return table, values
        except FormatError as error:
            found.format = replace(found.format, **{error.option: error.setting})
    raise UsageError("is read by no format that was tried", where=str(path))


def _look(table: Table, numbers: dict[str, NDArray[np.float64]], found: Survey) -> _Seen:
    seen = _Seen(table.path, table.rows, {})
    for name in table.columns:
        column = found.columns.setdefault(name, Column(name))
        values = numbers[name]
        good = ~np.isnan(values)
        column.files += 1
        column.rows += table.rows
        column.numbers += int(good.sum())
        text = None if good.all() else table.text(name)
        if text is not None:
            blank = np.array([not cell.strip() for cell in text[~good]], bool)
            column.empty += int(blank.sum())
            if not column.fault and good.any() and not blank.all():
                column.fault = str(table.fault(name, int(np.flatnonzero(~good)[~blank][0])))
        if good.any():
            some = values[good]
            column.low, column.high = min(column.low, float(some.min())), max(column.high, float(some.max()))
            column.is_whole = column.is_whole and bool((some == np.rint(some)).all())
        column.is_index = column.is_index and is_index(table, name, values)
        _keep_values(table, column, seen, values, text)
        is_time = (
            is_named_time(name)
            or _is_stamp(text)
            or (not column.is_index and not table.rate_hz and good.all() and _is_even(values))
        )
        if seen.times is None and is_time and (unit := unit_of(table, name)):
            times = elapsed(table, name, unit)
            if not np.isnan(times).all() and ((np.diff(times[~np.isnan(times)]) >= 0).mean() > 0.5 or table.rows < 2):
                column.unit, seen.times = unit, times
                told = seconds(table, name, unit)
                column.times_s = min(column.times_s[0], np.nanmin(told)), max(column.times_s[1], np.nanmax(told))
        elif seen.times is None and not column.unit and _is_stamp(text):
            found.notes.append(
                f"{table.path}: column {name!r}: is the day first, or the month? --time {name}:DMY or MDY"
            )
    if table.rate_hz:
        seen.times, found.rates_hz = None, (*found.rates_hz, table.rate_hz)
    return seen


def _is_even(values: NDArray[np.float64]) -> bool:
    """Whether a column rises by nearly the same from row to row, as clocks do."""
    steps = np.diff(values)
    middle = float(np.median(steps)) if len(steps) > 10 else 0.0
    return middle > 0 and bool((np.abs(steps - middle) <= 0.5 * middle).mean() > 0.9)


def _is_stamp(text: NDArray[np.object_] | None) -> bool:
    stamp = r"\s*(\d{4}-\d\d-\d\d|\d\d?([./-])\d\d?\2\d{4},?)[T ]\d\d?:\d\d"
    return text is not None and re.match(stamp, str(text[0])) is not None


def _keep_values(
    table: Table, column: Column, seen: _Seen, values: NDArray[np.float64], text: NDArray[np.object_] | None
) -> None:
    """Count the values of a column that may be a label or a client: text or whole numbers, not too many."""
    if column.values is None:
        return
    whole = text is None and bool((values == np.rint(values)).all())
    if text is None and not whole:
        first = np.unique(values[:1000])
        if len(first) > 1 or not column.is_constant:
            column.values = None
            return
    if whole and len(np.unique(values)) > VALUES_MAX:
        column.values = None
        return
    cells = table.text(column.name) if text is None else text
    names, at = np.unique(cells, return_inverse=True)
    if len(names) > VALUES_MAX or len(column.values) > VALUES_MAX:
        column.values = None
        return
    column.values.update(dict(zip(names.tolist(), np.bincount(at).tolist(), strict=True)))
    seen.codes[column.name] = names.tolist(), at.astype(np.uint16)


def _look_at_times(found: Survey, seen: Sequence[_Seen], inner: dict[Path, tuple[str, ...]]) -> None:
    """Rates and gaps by client: in a file of many each has a clock of its own."""
    for one in seen:
        if one.times is None:
            continue
        names, whose = _whose(one, found, inner)
        order = np.argsort(whose, kind="stable")
        order = order[~np.isnan(one.times[order])]
        for rows in np.split(order, np.searchsorted(whose[order], np.arange(1, len(names)))):
            times = one.times[rows]
            if rate := rate_of(times):
                found.rates_hz = (*found.rates_hz, rate)
            for after in pieces(times)[1:]:
                found.gaps += 1
                found.longest_gap_s = max(found.longest_gap_s, float(times[after.start] - times[after.start - 1]))
                found.first_gap = found.first_gap or _read(one.path, found)[0].place(int(rows[after.start]))


def _role(column: Column) -> str:
    filled = column.rows - column.empty
    if not filled:
        return "empty"
    if column.unit:
        return "time"
    if column.is_index:
        return "index"
    if column.is_constant and (column.numbers or column.files > 1):
        return "constant"
    return "number" if 2 * column.numbers > filled else "text"


def _choose_clients(found: Survey, seen: Sequence[_Seen], inner: dict[Path, tuple[str, ...]]) -> None:
    """Whose samples: a folder each, a file each; a column in one file, or where most of its values are in several."""
    if all(inner[one.path] for one in seen):
        found.by = "folder"
        return
    words = [c for c in found.columns.values() if c.values is not None and 1 < len(c.values) < c.rows / 2]
    for column in words:
        if len(seen) > 1 and (column.files < len(seen) or len(column.values or ()) < 3):
            continue
        each = [len(one.codes[column.name][0]) for one in seen]
        if len(seen) > 1 and (min(each) < 2 or sum(each) < 1.5 * len(column.values or ())):
            continue
        if names_client(column.name):
            found.by, column.role = column.name, "client"
            return


def _set_client_columns(found: Survey, seen: Sequence[_Seen], inner: dict[Path, tuple[str, ...]]) -> None:
    """What only tells the client is nothing to learn from: one value in each client, not the same in all."""
    for column in found.columns.values():
        if column.role not in ("number", "text") or not (
            column.is_whole and column.values and names_client(column.name)
        ):
            continue
        values: dict[str, set[str]] = {}
        for one in seen:
            names, whose = _whose(one, found, inner)
            words, which = one.codes.get(column.name, ([""], np.zeros(one.rows, np.uint16)))
            for k, name in enumerate(names):
                values.setdefault(name, set()).update(words[at] for at in np.unique(which[whose == k]).tolist())
        if all(len(some) == 1 for some in values.values()) and len(set().union(*values.values())) > 1:
            column.role = "client"
            found.notes.append(f"column {column.name!r} only tells the client: it is left out")


def _choose_label(found: Survey) -> None:
    lower = {name.lower(): column for name, column in reversed(found.columns.items())}
    named = [lower[word] for word in LABELS if word in lower]
    likely = [c for c in found.columns.values() if c.values is not None and c.role in ("text", "number") and c.is_whole]
    likely = [c for c in likely if 2 <= len(c.values or ()) <= CLASSES_MAX and c.rows >= 4 * len(c.values or ())]
    for column in (*named, *sorted(likely, key=lambda c: (c.role != "text", len(c.values or ())))):
        if column.values is not None and column.role != "client":
            found.label, column.role = column.name, "label"
            return


def _choose_from_names(found: Survey, seen: Sequence[_Seen], inner: dict[Path, tuple[str, ...]]) -> None:
    """The label by what files or their folders are called, where clients have several of a few words there; with it
    the client, where both stand in a file's name."""
    words = {"file": tuple(one.path.stem for one in seen)}
    parts = {name: re.split("[ _.-]", name) for name in words["file"]}
    count = len(next(iter(parts.values())))
    if count > 1 and all(len(each) == count for each in parts.values()):
        for k in range(count):
            words[f"file:^{'[^ _.-]*[ _.-]' * k}([^ _.-]+)"] = tuple(parts[one.path.stem][k] for one in seen)
    labels, clients = dict(words), {f"{what}:.+" if what == "file" else what: each for what, each in words.items()}
    if all(inner[one.path] for one in seen):
        labels["folder"] = tuple(inner[one.path][-1] for one in seen)
        clients["folder"] = tuple(inner[one.path][0] for one in seen)
    if is_column(found.by):
        whose = {found.by: [set(one.codes[found.by][0]) for one in seen]}
    else:
        is_deep = any(len(inner[one.path]) > 1 for one in seen)  # or walk/p01.csv, where folders are classes
        order = sorted(clients, key=lambda what: (is_deep or not _are_numbered(clients[what]), what != "folder"))
        whose = {what: [{name} for name in clients[what]] for what in order
                 if what == "folder" or any(re.search(r"[^\W\d_]", name) for name in clients[what])}  # fmt: skip
    for by, names in whose.items():
        for label in sorted(labels, key=lambda what: len(set(labels[what]))):
            if _are_classes(label, labels[label]) and _are_shared(labels[label], names):
                found.by, found.label = by, label
                return


def _are_numbered(words: Sequence[str]) -> bool:
    """As clients are: p01, p02; the word before is the same."""
    found = [re.fullmatch(r"([^\W\d]+[ _-]?)\d+", word) for word in words]
    return all(found) and len({each[1] for each in found if each}) == 1


def _are_classes(what: str, words: Sequence[str]) -> bool:
    """A few, which count nothing; digits are classes in front of a name, but for years."""
    if not 2 <= len(set(words)) <= CLASSES_MAX or _are_numbered(words):
        return False
    digits = not all(re.search(r"[^\W\d_]", word) for word in words)
    return not digits or (what.startswith("file:^(") and not any(re.fullmatch(r"(19|20)\d\d", word) for word in words))


def _are_shared(labels: Sequence[str], names: Sequence[set[str]]) -> bool:
    """Whether each label is of several clients, and half of the clients have several labels."""
    pairs = {(label, name) for label, some in zip(labels, names, strict=True) for name in some}
    clients, by_label = Counter(name for _, name in pairs), Counter(label for label, _ in pairs)
    return min(by_label.values()) > 1 and 2 * sum(count > 1 for count in clients.values()) >= len(clients)


def _whose(one: _Seen, found: Survey, inner: dict[Path, tuple[str, ...]]) -> tuple[list[str], NDArray[np.uint16]]:
    """The clients in a file, and of each row which of them it is of."""
    if not is_column(found.by):
        return [word_of_path(found.by, one.path, inner[one.path][found.is_split :])], np.zeros(one.rows, np.uint16)
    return one.codes[found.by]


def _count(found: Survey, seen: Sequence[_Seen], inner: dict[Path, tuple[str, ...]]) -> None:
    for one in seen:
        part = inner[one.path][0] if found.is_split else ""
        below, all_rows = inner[one.path][found.is_split :], np.zeros(one.rows, np.uint16)
        if found.label and not is_column(found.label):
            labels, which = [word_of_path(found.label, one.path, below, last=True)], all_rows
        else:
            labels, which = one.codes.get(found.label, ([""], all_rows))
        names, whose = _whose(one, found, inner)
        table = np.zeros((len(names), len(labels)), np.int64)
        np.add.at(table, (whose, which), 1)
        for name, counts in zip(names, table.tolist(), strict=True):
            client = found.clients.setdefault(name, Client(part))
            if client.part != part:
                found.notes.append(
                    f"client {name!r} is in train/ and in held_out/: what is judged on it was learned from"
                )
            client.rows += sum(counts)
            client.labels.update({label: count for label, count in zip(labels, counts, strict=True) if count})


def _note(found: Survey) -> None:
    """What a person should know."""
    say = found.notes.append
    if found.partly:
        say(f"columns that some files lack: {listed(found.partly)}")
    for column in found.columns.values():
        if column.role == "number" and column.fault:
            say(f"{column.rows - column.numbers - column.empty:,} cells are no numbers, first: {column.fault}")
    empty = sum(column.empty for column in found.columns.values() if column.role == "number")
    if empty:
        say(f"{empty:,} cells of columns with numbers are empty: a run refuses them, an import leaves their rows out")
    unlabelled = sum(
        count for one in found.clients.values() for label, count in one.labels.items() if not label.strip()
    )
    if unlabelled and found.label:
        say(f"{unlabelled:,} rows have no label: an import leaves them out")
    for label, other in found.alike.items():
        how = "spaces" if label.strip() == other.strip() else "case"
        say(f"labels {other!r} and {label!r} differ only in {how}")
    if not found.label:
        say("no column looks like a label: 2 to 32 different words or whole numbers; --target takes numbers to learn")
    if found.rates_hz and max(found.rates_hz) > 1.1 * min(found.rates_hz):
        who = "clients" if is_column(found.by) else "files"
        low, high = min(found.rates_hz), max(found.rates_hz)
        say(f"{who} differ in rate: {low:.4g} to {high:.4g} Hz: resample with --rate")


def column_facts(column: Column) -> dict[str, Any]:
    """For programs."""
    numbers = {"low": column.low, "high": column.high} if column.numbers else {}
    values = {} if column.values is None else {"different": len(column.values)}
    unit = {"unit": column.unit} if column.unit else {}
    return {
        "column": column.name,
        "looks_like": column.role,
        "files": column.files,
        "cells": column.rows,
        "numbers": column.numbers,
        "empty": column.empty,
        **numbers,
        **values,
        **unit,
    }
