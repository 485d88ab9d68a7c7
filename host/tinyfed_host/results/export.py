"""A run's metrics for other programs: CSV, Parquet, TensorBoard, MLflow."""

import csv
import datetime
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinyfed.errors import MissingToolError, UsageError
from tinyfed.files import is_stdout
from tinyfed.text import first_line
from tinyfed_host.results.facts import read_facts
from tinyfed_host.run.store import MODEL, RunStore, StoreError

SUFFIXES = (".csv", ".parquet")
BATCH = 1000  # metrics that an MLflow server takes at once
PARAMETERS = 100
FIGURES = ("loss", "loss_first", "loss_last", "answered", "failed", "bytes_down", "bytes_up", "seconds")

Row = dict[str, Any]


def round_rows(folder: Path) -> list[Row]:
    """A row for each round: its number, metrics, and the weights' hash. Raises `StoreError`."""
    with RunStore.read(folder) as store:
        found = store.round_metrics()
    if not found:
        raise StoreError("the run has no round yet", where=str(folder))
    return _even(found)


def visit_rows(folder: Path) -> list[Row]:
    """A row for each visit to a device, without its checkpoints. Raises `StoreError`."""
    with RunStore.read(folder) as store:
        found = [{"round": each["round"], **visit} for each in store.rounds() for visit in each["visits"]]
    if not found:
        raise StoreError("the run has no visit yet", where=str(folder))
    return _even([{key: value for key, value in row.items() if key != "checkpoints"} for row in found])


def _even(rows: list[Row]) -> list[Row]:
    """All with the same keys."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [{key: row.get(key) for key in keys} for row in rows]


def as_file(rows: list[Row], path: Path) -> bytes:
    """The content of a file whose name says its format; CSV for a pipe or a terminal. Raises `UsageError`,
    `MissingToolError`."""
    nameless = path.suffix not in SUFFIXES and (is_stdout(path) or (path.exists() and not path.is_file()))
    if path.suffix == ".csv" or nameless:
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode("utf-8")
    if path.suffix != ".parquet":
        raise UsageError(f"use a name that ends in one of {', '.join(SUFFIXES)}", where=str(path))
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingToolError("Parquet needs pyarrow", remedy="pip install 'tinyfed[data]'") from error
    sink = pyarrow.BufferOutputStream()
    try:
        parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    except pyarrow.ArrowException as error:
        raise UsageError(f"the metrics are no table: {first_line(error, 120)}", where=str(path)) from error
    content: bytes = sink.getvalue().to_pybytes()
    return content


def to_tensorboard(folder: Path, place: Path) -> Path:
    """Write the rounds as scalars of a TensorBoard run `place`/NAME, which must be new. Returns its folder."""
    rows, begun = round_rows(folder), _begun(folder)
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise MissingToolError("TensorBoard is not installed", remedy="pip install 'tinyfed[tensorboard]'") from error
    target = place / folder.resolve().name
    if target.exists() and any(target.iterdir()):
        raise UsageError("is there already", where=str(target), remedy="name another folder")
    writer = EventFileWriter(str(target))
    for row, at_s in _timed(rows, begun):
        values = [Summary.Value(tag=name, simple_value=value) for name, value in _figures(row)]
        writer.add_event(Event(wall_time=at_s, step=row["round"], summary=Summary(value=values)))
    writer.close()
    return target


def to_mlflow(folder: Path, uri: str) -> str:
    """Record the run with an MLflow server or store: experiment, rounds, model. Returns the id that it has there."""
    rows, facts, begun = round_rows(folder), read_facts(folder), _begun(folder)
    try:
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingToolError("MLflow is not installed", remedy="pip install 'tinyfed[mlflow]'") from error
    try:
        client = MlflowClient(tracking_uri=uri)
        there = client.get_experiment_by_name("tinyfed")
        experiment = there.experiment_id if there else client.create_experiment("tinyfed")
        name = folder.resolve().name
        tags = {"weights_sha256": facts.weights_sha256}
        run_id: str = client.create_run(experiment, int(begun * 1000), tags, run_name=name).info.run_id
        parameters = [Param(key.replace("[", ".").replace("]", ""), value) for key, value in facts.experiment.items()]
        for at in range(0, len(parameters), PARAMETERS):
            client.log_batch(run_id, params=parameters[at : at + PARAMETERS])
        metrics = [
            Metric(name, value, int(at_s * 1000), row["round"])
            for row, at_s in _timed(rows, begun)
            for name, value in _figures(row)
        ]
        metrics += [
            Metric(name.replace(" ", "_"), value, metrics[-1].timestamp, rows[-1]["round"])
            for name, value in facts.figures.items()
            if name not in FIGURES
        ]
        for at in range(0, len(metrics), BATCH):
            client.log_batch(run_id, metrics=metrics[at : at + BATCH])
        if (folder / MODEL).is_file():
            client.log_artifact(run_id, str(folder / MODEL))
        client.set_terminated(run_id, end_time=metrics[-1].timestamp)
    except (MlflowException, OSError) as error:
        raise UsageError(f"MLflow refuses: {error}", where=uri) from error
    return run_id


def _begun(folder: Path) -> float:
    """Seconds since 1970."""
    with RunStore.read(folder) as store:
        created = store.header().created
    try:
        return datetime.datetime.fromisoformat(created).timestamp()
    except ValueError as error:
        raise StoreError("the run's record is damaged: when it began", where=str(folder)) from error


def _timed(rows: list[Row], begun: float) -> Iterator[tuple[Row, float]]:
    """Each round with the time of its end, as if nothing had come between the rounds."""
    for row in rows:
        begun += float(row.get("seconds") or 0.0)
        yield row, begun


def _figures(row: Mapping[str, Any]) -> list[tuple[str, float]]:
    return [(name, row[name]) for name in FIGURES if isinstance(row.get(name), int | float)]
