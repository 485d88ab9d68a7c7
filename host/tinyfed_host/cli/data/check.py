"""`tinyfed data check`."""

import shlex
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from tinyfed import tasks
from tinyfed.data.delimited import TableFormat
from tinyfed.data.importing import is_column
from tinyfed.data.survey import Column, Survey, column_facts, survey
from tinyfed.data.times import is_named_time, moment_text
from tinyfed.errors import UsageError
from tinyfed.tasks.task import Task
from tinyfed.text import listed, printable, shown
from tinyfed_host.cli.data.experiment import experiment_text, visit_shots
from tinyfed_host.cli.output import print_json, print_line, print_table, write_file
from tinyfed_host.cli.working import working

CLASSES_SHOWN = 8
COLUMNS_SHOWN = 30
CLIENTS_SHOWN = 60
WINDOWS_HZ = 5.0  # from this rate on, samples are windows of readings: the longest of which there are enough
WINDOWS_S = (2.0, 1.0, 0.5, 0.25)
WINDOWS_MIN = 12  # of a class
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'"}
ENDINGS = {"csv", "tsv", "parquet", "npz"}  # what a client's file may be in a folder that is run as it is


def check(
    source: Annotated[Path, typer.Argument(help="A folder of CSV, TSV, NPZ, Parquet or WAV files, or one file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the experiment that fits (needs train/ and held_out/).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what a folder of samples holds before anything is learned: format, columns, time, labels, clients, gaps.

    Prints the experiment that fits, where the folder has train/ and held_out/ with a file for each client; otherwise
    the `tinyfed data import` line that makes such a folder. Exit code 2 where a run would refuse the folder.
    """
    with working(f"reading {source}") as told:
        found = survey(source, TableFormat(), told)
    fewest = min((client.labels[label] for client in found.clients.values() for label in found.classes), default=0)
    shots, command, text, refusal = visit_shots(fewest), "", "", None
    found.notes += _too_few(found, shots)
    task: Task | None = None
    if _is_ready(found):
        try:
            task = tasks.get("folder", **_options(found, shots))
            text = _experiment(found, task, shots, output)
            found.notes += task.notes
        except UsageError as error:
            refusal = error
    else:
        command = _import_line(found)
    if as_json:
        print_json({**_facts(found), "shots": shots, "experiment": text or None, "import": command or None})
    else:
        _print(found, shots, task)
    if refusal is not None:
        raise refusal
    if output is not None:
        if not text:
            raise UsageError(f"there is no train/ and held_out/ yet: {command}", key="--output")
        write_file(output, text.encode())
        if not as_json:
            print_line(f"wrote {output}; next: tinyfed run {shlex.quote(str(output))}")
    elif not as_json:
        print_line("")
        print_line(f"next: {command}" if command else "an experiment that fits (-o FILE writes it):")
        for line in text.splitlines():
            print_line(line)


def _is_ready(found: Survey) -> bool:
    return found.is_split and found.by == "file" and found.label in found.columns and set(found.kinds) <= ENDINGS


def _dropped(found: Survey) -> list[str]:
    return list(dict.fromkeys((*found.of_role("time", "text", "index", "constant", "empty", "client"), *found.partly)))


def _format(found: Survey) -> dict[str, str]:
    """The options that a task needs to read these files."""
    form = found.format
    options = {"separator": form.separator, "decimal": form.decimal, "thousands": form.thousands}
    options |= {"encoding": form.encoding, "comment": form.comment}
    plain = "\t" if set(found.kinds) == {"tsv"} else ","
    blank = {"separator": ("", plain), "decimal": (".",), "comment": ("", "#")}
    return {key: value for key, value in options.items() if value not in blank.get(key, ("",))}


def _options(found: Survey, shots: int) -> dict[str, Any]:
    dropped = {"drop": ", ".join(_dropped(found))} if _dropped(found) and set(found.kinds) != {"npz"} else {}
    label = {"label": found.label} if set(found.kinds) != {"npz"} else {}
    return {"path": str(found.source), **label, **dropped, **_format(found), "shots": shots}


def _experiment(found: Survey, task: Task, shots: int, output: Path | None) -> str:
    """An experiment on the folder as it is; its path is from where the file is written."""
    folder = found.source if output is None else found.source.absolute()
    if output is not None and found.source.absolute().is_relative_to(output.absolute().parent):
        folder = found.source.absolute().relative_to(output.absolute().parent)
    options = _options(found, shots) | {"path": str(folder)}
    names = [name for name in found.of_role("number") if name not in _dropped(found)]
    head = f"{len(task.train)} clients train, {len(task.held_out)} held out."
    what = printable(shown(", ".join(names), 60))
    return experiment_text(head, len(task.train), task.feature_count, what, task.classes, options)


def _import_line(found: Survey) -> str:
    words = ["tinyfed", "data", "import", str(found.source), f"{found.source.absolute().stem}-samples"]
    by = found.by if found.by != "file" or len(found.clients) > 1 else "COLUMN"
    words += ["--client", by, *(("--label", found.label) if found.label else ("--target", "COLUMN"))]
    dropped = dict.fromkeys(name for name in (*found.of_role("constant"), *found.partly) if name in found.first)
    words += ["--drop", ",".join(dropped)] if dropped else []
    words += ["--time", name] if (name := next(iter(found.of_role("time")), "")) and not is_named_time(name) else []
    if cased := [f"{label}={other}" for label, other in found.alike.items() if label.strip() != other.strip()]:
        words += ["--map", ",".join(cased)]
    if found.rates_hz and max(found.rates_hz) > 1.1 * min(found.rates_hz):
        words += ["--rate", f"{found.rate_hz:.3g}"]
    for seconds in WINDOWS_S if found.rate_hz >= WINDOWS_HZ else ():
        length = seconds * found.rate_hz
        if length <= found.file_rows and 2 * _usual_rows(found) / length - 1 >= WINDOWS_MIN:
            words += ["--window", f"{seconds:g}s", "--step", "50%"]
            break
    for key, value in _format(found).items():
        words += [f"--{key}", value.replace("\t", "\\t")]
    if not found.is_split:
        words += ["--held-out", "0.2", "--seed", "0"]
    return shlex.join(words)


def _usual_rows(found: Survey) -> float:
    """Rows of the class of which a client has the fewest: half of the clients have more."""
    fewest = []
    for client in found.clients.values():
        rows: Counter[str] = Counter()
        for label in found.classes:
            rows[found.alike.get(label, label)] += client.labels[label]
        fewest.append(min(rows.values(), default=0))
    return median(fewest)


def _facts(found: Survey) -> dict[str, Any]:
    return {
        "source": str(found.source),
        "files": dict(found.kinds),
        "rows": sum(client.rows for client in found.clients.values()),
        "separator": found.format.separator or None,
        "decimal": found.format.decimal,
        "encoding": found.format.encoding or "utf-8",
        "split": found.is_split,
        "client": found.by,
        "label": found.label or None,
        "rate_hz": found.rate_hz or None,
        "gaps": found.gaps,
        "longest_gap_s": found.longest_gap_s,
        "columns": [column_facts(column) for column in found.columns.values()],
        "clients": {
            name: {"part": client.part, "rows": client.rows, "classes": dict(sorted(client.labels.items()))}
            for name, client in found.clients.items()
        },
        "notes": list(found.notes),
    }


def _print(found: Survey, shots: int, task: Task | None) -> None:
    form = found.format
    kinds = " and ".join(f"{count:,} {kind.upper()}" for kind, count in found.kinds.most_common())
    rows = sum(client.rows for client in found.clients.values())
    files = "files" if found.kinds.total() > 1 else "file"
    print_line(f"{found.source}: {kinds} {files}, {rows:,} rows")
    if form.separator:
        said = [f"columns separated by {SEPARATORS.get(form.separator, repr(form.separator))}"]
        said += ["decimal comma"] if form.decimal == "," else []
        said += [f"{form.thousands!r} between thousands"] if form.thousands else []
        said += [form.encoding or "UTF-8", *([f"lines with {form.comment!r} left out"] if form.comment else [])]
        print_line(", ".join(said))
    print_line("")
    columns = list(found.columns.values())
    print_table(["column", "looks like", "values"], [_column_row(column) for column in columns[:COLUMNS_SHOWN]])
    if len(columns) > COLUMNS_SHOWN:
        print_line(f"and {len(columns) - COLUMNS_SHOWN:,} more columns")
    print_line("")
    if found.rates_hz:
        many = "gaps" if found.gaps > 1 else "gap"
        longest = f"the longest {_duration(found.longest_gap_s)}" if found.longest_gap_s else "where time goes back"
        gaps = f"{found.gaps:,} {many}, {longest}, the first at {found.first_gap}"
        rate = f"{found.rate_hz:.4g} Hz" if found.rate_hz >= 1 else f"a reading each {_duration(1 / found.rate_hz)}"
        print_line(f"time: {rate}; {gaps if found.gaps else 'no gaps'}")
    parts = [f"{sum(c.part == part for c in found.clients.values())} in {part}/" for part in ("train", "held_out")]
    split = f" ({', '.join(parts)})" if found.is_split else ""
    by = f"one a {found.by}" if found.by in ("file", "folder") else f"by {found.by}"
    by = f"by column {found.by!r}" if is_column(found.by) else by
    print_line(
        f"clients: {len(found.clients):,}, {by}{split}; classes: {len(found.classes)}, by {found.label or 'nothing'}"
    )
    if found.label:
        _print_classes(found, shots)
    for note in found.notes:
        print_line(f"- {note}")
    if task is not None:
        judged = f"{task.order.queries} to judge on" if task.order.queries else "the others to judge on"
        print_line(f"a visit draws {shots} samples of each of {task.order.ways} classes to learn from, {judged}")


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _column_row(column: Column) -> list[str]:
    said = ""
    if column.numbers:
        said = f"{column.low:.6g} to {column.high:.6g}"
    if column.role == "time":
        said = " to ".join(moment_text(time_s, column.unit) for time_s in column.times_s)
    if column.role in ("label", "client", "text") and column.values is not None:
        said = f"{len(column.values):,}: {shown(', '.join(value for value, _ in column.values.most_common(6)), 60)}"
    looks = f"time in {column.unit}" if column.role == "time" else column.role
    more = [f"{column.empty:,} empty"] if column.empty else []
    return [shown(column.name, 40), looks, "; ".join([*([said] if said else []), *more])]


def _print_classes(found: Survey, shots: int) -> None:
    """Rows by client and class; the clients with the fewest first where there are many."""
    classes = found.classes[:CLASSES_SHOWN]
    clients = sorted(found.clients.items(), key=lambda item: min(item[1].labels[label] for label in found.classes))
    shown_clients = clients[:CLIENTS_SHOWN] if len(clients) > CLIENTS_SHOWN else sorted(found.clients.items())
    rows = [[shown(name, 30), *(client.labels[label] for label in classes)] for name, client in shown_clients]
    print_line("")
    print_table(["client", *(shown(label, 16) for label in classes)], rows)
    if len(clients) > CLIENTS_SHOWN:
        print_line(f"and {len(clients) - CLIENTS_SHOWN:,} more clients, with more rows")
    if len(found.classes) > CLASSES_SHOWN:
        print_line(f"and {len(found.classes) - CLASSES_SHOWN} more classes")
    print_line("")


def _too_few(found: Survey, shots: int) -> list[str]:
    """A note that names the clients of whom a visit could not be judged."""
    few = sorted(
        name
        for name, client in found.clients.items()
        if min((client.labels[label] for label in found.classes), default=shots + 1) <= shots
    )
    said = f"too few rows of a class for a visit of {shots} and one to judge on: {listed(few)}"
    return [said] if few else []
