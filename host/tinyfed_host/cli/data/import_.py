"""`tinyfed data import`."""

import io
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from tinyfed.data.delimited import FormatError, TableFormat
from tinyfed.data.importing import Imported, NoLabelError, Request, Samples, Span, import_samples
from tinyfed.data.survey import survey
from tinyfed.data.tables import read_number
from tinyfed.data.windows import FEATURES
from tinyfed.errors import UsageError
from tinyfed.fields import near, number, whole
from tinyfed.files import TemporaryFolder, flush_tree
from tinyfed.reading import read_text
from tinyfed.text import listed, names_in, printable, shown
from tinyfed_host.cli.data.experiment import experiment_text, visit_shots
from tinyfed_host.cli.options import number_option
from tinyfed_host.cli.output import print_json, print_line, print_table, wrote
from tinyfed_host.cli.working import working

EXPERIMENT = "experiment.toml"
NAMED = 12  # classes or columns, where some are named


def import_(
    source: Annotated[Path, typer.Argument(help="A folder of CSV, TSV, Parquet, NPZ or WAV files, or one file.")],
    out: Annotated[Path, typer.Argument(help="The folder to write: a new or an empty one.")],
    client: Annotated[
        str,
        typer.Option(
            help="Whose samples: file, folder, file:REGEX (its first group in the name), or a COLUMN.",
            show_default="as the files lie",
        ),
    ] = "",
    label: Annotated[
        str, typer.Option(help="Their class: a COLUMN, file, folder, file:REGEX.", show_default="a column called so")
    ] = "",
    target: Annotated[str, typer.Option(help="Columns with numbers to learn, a,b, in place of a label.")] = "",
    keep: Annotated[str, typer.Option(help="Columns to take, a,b.", show_default="all that hold numbers")] = "",
    drop: Annotated[str, typer.Option(help="Columns to leave out, c,d.")] = "",
    time: Annotated[
        str,
        typer.Option(
            help="The COLUMN with the time, also COLUMN:UNIT (s, ms, us, ns, DMY, MDY), or none.",
            show_default="a column called so",
        ),
    ] = "",
    rate: Annotated[
        float | None, number_option(number(0, 1e6, above=True), "--rate", help="Resample to so many readings a second.")
    ] = None,
    window: Annotated[
        str, typer.Option(help="Cut windows: 128 readings, 2.56s, 10min.", show_default="each row a sample")
    ] = "",
    step: Annotated[str, typer.Option(help="From window to window: 64, 1s or 50%.", show_default="100%")] = "",
    features: Annotated[
        str, typer.Option(help=f"Of each column in a window, not all readings but: {','.join(FEATURES)}, or all.")
    ] = "",
    map: Annotated[str, typer.Option(help="Rename labels, old=new,...; old= leaves its rows out.")] = "",
    held_out: Annotated[
        str,
        typer.Option(
            help="To judge on: a share of the clients, names a,b, or a FILE with a name a line.",
            show_default="0.2, or as the folder is split",
        ),
    ] = "",
    seed: Annotated[int, number_option(whole(0, 2**53), "--seed", help="Of who is held out.")] = 0,
    min_samples: Annotated[
        int, number_option(whole(2, 1_000_000), "--min-samples", help="Of each class that a client must have.")
    ] = 6,
    separator: Annotated[str, typer.Option(help="Of columns, such as ';' or '\\t'.", show_default="by looks")] = "",
    decimal: Annotated[str, typer.Option(help="The mark before a fraction: . or ,")] = ".",
    thousands: Annotated[str, typer.Option(help="The mark between thousands.")] = "",
    encoding: Annotated[str, typer.Option(help="Of text, such as latin-1.", show_default="UTF-8, or by BOM")] = "",
    comment: Annotated[str, typer.Option(help="What lines begin with that are none.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and sum up, write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Make samples of raw files: choose columns, resample, cut windows, split the clients into those that train and
    those held out to judge on.

    Writes OUT/train/NAME.npz, OUT/held_out/NAME.npz and OUT/experiment.toml, which `tinyfed run` runs as it is. What is
    left out is counted in the summary. The same input and seed give the same bytes.
    """
    request = Request(
        client=_pattern(client, "--client"),
        label=_pattern(label, "--label"),
        targets=names_in(target),
        keep=names_in(keep),
        drop=names_in(drop),
        time=time,
        rate_hz=rate or 0.0,
        window=_span(window, "--window") if window else None,
        step=_span(step, "--step") if step else None,
        features=_features(features),
        relabel=_relabel(map),
        held_out=_held_out(held_out),
        seed=seed,
        min_samples=min_samples,
        format=TableFormat(separator.replace("\\t", "\t"), decimal, encoding, comment, thousands),
    )
    if target and (label or map):
        raise UsageError(
            "has no classes", key="--target", value=target, remedy=f"leave --{'label' if label else 'map'}"
        )
    if (step or features) and not window:
        raise UsageError("needs --window", key="--step" if step else "--features")
    place = _place(out, source)
    with working(f"reading {source}") as told:
        try:
            made = import_samples(source, request, told)
        except NoLabelError as error:
            label = survey(source, request.format).label
            remedy = f"say --label {shlex.quote(label)}, which looks like one" if label else error.remedy
            remedy += ", or --target COLUMN for numbers to learn"
            raise UsageError(error.problem, where=error.where, remedy=remedy) from error
        except FormatError as error:
            remedy = f"say --{error.option} {shlex.quote(error.setting)}"
            raise UsageError(error.problem, where=error.where, remedy=remedy) from error
    toml, shots = _experiment(made, out, seed)
    if not dry_run:
        with working(f"writing {out}"):
            _write(place, made, toml)
            wrote(out)
    if as_json:
        print_json({"out": str(out), "written": not dry_run, **_facts(made), "shots": shots})
    else:
        _sum_up(made, out, is_written=not dry_run)


def _pattern(text: str, option: str) -> str:
    word, colon, pattern = text.partition(":")
    if colon and word in ("file", "folder"):
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(f"is no regular expression: {error}", key=option, value=pattern) from error
    return text


def _span(text: str, option: str) -> Span:
    try:
        return Span.parse(text, share=option == "--step")
    except UsageError as error:
        raise error.located(key=option) from None


def _features(text: str) -> tuple[str, ...]:
    names = tuple(FEATURES) if text == "all" else names_in(text)
    for name in names:
        if name not in FEATURES:
            raise UsageError(
                f"must be of {', '.join(FEATURES)}", key="--features", value=name, remedy=near(name, tuple(FEATURES))
            )
    return names


def _relabel(text: str) -> dict[str, str]:
    found = {}
    for pair in names_in(text):
        old, equals, new = pair.partition("=")
        if not equals or not old.strip():
            raise UsageError("must be old=new,...", key="--map", value=pair)
        found[old.strip()] = new.strip()
    return found


def _held_out(text: str) -> float | tuple[str, ...] | None:
    if not text:
        return None
    share = read_number(text)
    if share is not None and not Path(text).is_file():
        if 0 < share < 1:
            return share
        raise UsageError("must be a share between 0 and 1, names, or a file of names", key="--held-out", value=text)
    if Path(text).is_file():
        lines = [line.strip() for line in read_text(Path(text)).splitlines()]
        return tuple(line for line in lines if line and not line.startswith("#"))
    return names_in(text)


def _place(out: Path, source: Path) -> Path:
    """Where the folder will be, links followed. Raises UsageError unless it can be written."""
    place = Path(os.path.realpath(out))
    if source.is_dir() and place.is_relative_to(source.resolve()):
        raise UsageError(f"lies in {source}: name a folder beside it", where=str(out))
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError("is there already and stays as it is: name another folder", where=str(out))
    if not place.parent.is_dir():
        raise UsageError("there is no such folder", where=str(out.parent))
    return place


def _write(place: Path, made: Imported, toml: str) -> None:
    """All of it, or nothing. A folder that is there is filled and stays: it may be the shell's own, or mounted."""
    is_there = place.exists()
    try:
        with TemporaryFolder(place if is_there else place.parent, hidden=True) as temporary:
            folder = temporary / "out"
            names = _file_names(sorted(name for clients in made.parts.values() for name in clients))
            for part, clients in made.parts.items():
                (folder / part).mkdir(parents=True)
                for name, samples in clients.items():
                    (folder / part / f"{names[name]}.npz").write_bytes(_npz(made, samples))
            (folder / EXPERIMENT).write_text(toml, encoding="utf-8")
            flush_tree(folder)
            for name in (*made.parts, EXPERIMENT) if is_there else ():
                (folder / name).rename(place / name)
            if not is_there:
                folder.rename(place)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=str(place)) from error


def _npz(made: Imported, samples: Samples) -> bytes:
    file = io.BytesIO()
    np.savez(file, x=samples.x, y=samples.y, columns=np.array(made.names), rate_hz=np.array([made.rate_hz]))
    return file.getvalue()


def _file_names(clients: list[str]) -> dict[str, str]:
    """A file's name for each client: its own, without what no file's name should hold."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for client in clients:
        plain = re.sub(r"[^\w.() +-]", "_", client).strip(" .").encode()[:200].decode(errors="ignore") or "client"
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        names[client] = name
    return names


def _experiment(made: Imported, out: Path, seed: int) -> tuple[str, int]:
    """The experiment file, and the samples of each class that a visit learns from."""
    everybody = [*made.parts["train"].values(), *made.parts["held_out"].values()]
    fewest = min(samples.count(label) for samples in everybody for label in made.classes or ("",))
    shots = visit_shots(fewest)
    columns = listed(made.names, 6)
    what = f"{made.length} readings of {columns}" if made.length and not made.features else columns
    command = printable("tinyfed " + shlex.join(sys.argv[1:])) if sys.argv[1:2] == ["data"] else "tinyfed data import"

    clients = len(made.parts["train"])
    run = shlex.quote(printable(str(out / EXPERIMENT)))
    head = (
        f"{clients} clients train, {len(made.parts['held_out'])} held out. Made by\n  {command}\n\n  tinyfed run {run}"
    )
    task: dict[str, str | int] = {"path": ".", "shots": shots}
    size = int(np.prod(made.shape))
    if made.targets:
        task["target"] = ", ".join(made.targets)
        text = experiment_text(head, clients, size, what, made.targets, task, seed, loss="mse")
    else:
        text = experiment_text(head, clients, size, what, made.classes, task, seed)
    return text, shots


def _facts(made: Imported) -> dict[str, Any]:
    return {
        "files": made.files,
        "rows": made.rows,
        "columns": list(made.columns),
        "left_out": list(made.left_out),
        "label": made.label,
        "time": made.time,
        "rate_hz": made.rate_hz,
        "window": made.length,
        "step": made.step,
        "features": list(made.features),
        "shape": list(made.shape),
        "classes": list(made.classes),
        "targets": list(made.targets),
        **{
            part: {
                name: {c: one.count(c) for c in made.classes} if made.classes else len(one.y)
                for name, one in clients.items()
            }
            for part, clients in made.parts.items()
        },
        "skipped": {reason: {"count": one.count, "first": one.first} for reason, one in made.skipped.items()},
    }


def _sum_up(made: Imported, out: Path, *, is_written: bool) -> None:
    answer = f"targets: {listed(made.targets)}" if made.targets else f"label: {made.label}"
    files = f"{made.files:,} {'file' if made.files == 1 else 'files'}"
    print_line(f"read     {files}, {made.rows:,} rows; {answer}; time: {made.time or 'none'}")
    left_out = f"; left out: {listed(made.left_out)}" if made.left_out else ""
    print_line(f"columns  {listed(made.columns)}{left_out}")
    shape = " x ".join(map(str, made.shape))
    rate = ""
    if made.rate_hz:
        rate = f" at {made.rate_hz:.4g} Hz" if made.rate_hz >= 1 else f" at one each {1 / made.rate_hz:.4g} s"
    if made.length:
        seconds = f" ({made.length / made.rate_hz:.4g} s)" if made.rate_hz else ""
        of = f" as {', '.join(made.features)}" if made.features else ""
        every = f"one every {made.step}{of}"
        print_line(f"samples  windows of {made.length} readings{seconds}{rate}, {every}: {shape} values")
    else:
        print_line(f"samples  rows{rate}: {shape} values")
    for reason, skipped in made.skipped.items():
        print_line(f"skipped  {skipped.count:,} {reason} (first: {skipped.first})")
    rows = []
    for part, clients in made.parts.items():
        counts = [sum(one.count(label) for one in clients.values()) for label in made.classes[:NAMED]]
        rows.append([part, len(clients), sum(len(one.y) for one in clients.values()), *counts])
    print_table(["", "clients", "samples", *(shown(label, 20) for label in made.classes[:NAMED])], rows)
    if len(made.classes) > NAMED:
        print_line(f"and {len(made.classes) - NAMED} more classes")
    print_line(f"held out {listed(made.parts['held_out'])}")
    if is_written:
        print_line(f"wrote {out}/; next: tinyfed run {shlex.quote(str(out / EXPERIMENT))}")
    else:
        print_line(f"nothing is written; without --dry-run it is {out}/")
