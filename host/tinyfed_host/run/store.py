"""A run's folder: `run.sqlite`, from which everything else in it is written.

A round is one transaction, durable before the next begins (WAL, synchronous=FULL). `metrics.jsonl` and
`model.tfm` are copies for people and programs; losing them loses nothing.
"""

import errno
import fcntl
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from tinyfed.errors import TinyfedError, UsageError
from tinyfed.weights import Weights

SCHEMA_VERSION = 1
DATABASE = "run.sqlite"
METRICS = "metrics.jsonl"
MODEL = "model.tfm"

_SCHEMA = """
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE image (bytes BLOB NOT NULL) STRICT;
CREATE TABLE state (only INTEGER PRIMARY KEY CHECK (only = 0), round INTEGER NOT NULL, document TEXT NOT NULL) STRICT;
CREATE TABLE array (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE round (number INTEGER PRIMARY KEY, weights_sha256 TEXT NOT NULL, metrics TEXT NOT NULL) STRICT;
CREATE TABLE visit (
    round INTEGER NOT NULL, device TEXT NOT NULL, attempt INTEGER NOT NULL, failure TEXT, metrics TEXT NOT NULL,
    PRIMARY KEY (round, device, attempt)
) STRICT;
CREATE TABLE device (unique_id TEXT PRIMARY KEY, facts TEXT NOT NULL) STRICT;
CREATE TABLE result (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


class StoreError(TinyfedError):
    """A run is in use by another process, damaged, or its disk is full."""

    exit_code = 7


@dataclass(frozen=True)
class VisitRecord:
    """What one visit to a device came to. `failure` is None when it went well, else the reason."""

    device: str  # unique id
    attempt: int
    failure: str | None
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class RoundRecord:
    """Everything that a round changed: the strategy's state as JSON and named float32 little-endian arrays."""

    number: int  # 1 is the first
    document: Mapping[str, Any]
    arrays: Mapping[str, bytes]  # "weights" among them
    metrics: Mapping[str, Any]
    visits: Sequence[VisitRecord]

    @property
    def weights_sha256(self) -> str:
        """Of the weights after the round."""
        return weights_sha256(self.arrays["weights"])

    def line(self) -> str:
        """Its line in `metrics.jsonl`."""
        return _round_line(self.number, self.weights_sha256, self.metrics, self.visits)


@dataclass(frozen=True)
class Snapshot:
    """Where a run stands."""

    round: int  # rounds done
    document: Mapping[str, Any]
    arrays: Mapping[str, bytes]


@dataclass(frozen=True)
class RunHeader:
    """What a run is, fixed when it begins."""

    name: str
    experiment: Mapping[str, Any]  # JSON, overrides of the command line applied
    image: bytes  # with the initial weights
    created: str  # ISO 8601, UTC
    command: str
    extra: Mapping[str, Any] = field(default_factory=dict)


def weights_sha256(weights: bytes) -> str:
    """Hexadecimal SHA-256 of the float32 little-endian weights."""
    return Weights.of(weights).sha256


def _round_line(number: int, sha256: str, metrics: Mapping[str, Any], visits: Sequence[VisitRecord]) -> str:
    told = [
        {"device": visit.device, "attempt": visit.attempt, "failure": visit.failure, **visit.metrics}
        for visit in visits
    ]
    record = {"round": number, "weights_sha256": sha256, **metrics, "visits": told}
    return json.dumps(record, separators=(",", ":")) + "\n"


def run_folder(name_or_path: str, base: Path = Path("runs")) -> Path:
    """`runs/NAME`, or the path itself when it is one. Raises `UsageError` for a name no folder should have."""
    if "/" in name_or_path:
        return Path(name_or_path)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name_or_path):
        raise UsageError(
            f'"{name_or_path}" is no name for a run: write 1..64 letters, digits, ".", "_" or "-", the first a letter '
            "or digit"
        )
    return base / name_or_path


class RunStore:
    """One run, open for writing by this process only, or for reading. Use it as a context manager."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: IO[bytes] | None) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = lock
        self._metrics: IO[str] | None = None
        self._metrics_behind = False

    @classmethod
    def create(cls, folder: Path, header: RunHeader) -> Self:
        """Begin a run. Raises `StoreError` when the folder has one with rounds, or the disk refuses."""
        with _translate(folder):
            folder.mkdir(parents=True, exist_ok=True)
            lock = _take_lock(folder)
            if _has_rounds(folder):
                lock.close()
                raise StoreError(
                    f"{folder}: there is a run already: go on with `tinyfed run --resume {folder}`, "
                    "choose another --name, or delete the folder"
                )
            for suffix in ("", "-wal", "-shm", "-journal"):  # of a run without a round
                (folder / (DATABASE + suffix)).unlink(missing_ok=True)
            connection = _connect(folder / DATABASE)
            connection.executescript(_SCHEMA)
            store = cls(folder, connection, lock)
            facts = {
                "name": header.name,
                "experiment": header.experiment,
                "created": header.created,
                "command": header.command,
                "extra": dict(header.extra),
            }
            with store._transaction() as cursor:
                cursor.executemany(
                    "INSERT INTO run VALUES (?, ?)", [(key, json.dumps(value)) for key, value in facts.items()]
                )
                cursor.execute("INSERT INTO image VALUES (?)", (header.image,))
                cursor.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            store._open_metrics()
        return store

    @classmethod
    def resume(cls, folder: Path) -> Self:
        """Go on with a run. Raises `StoreError` when there is none, it is damaged or in use."""
        _must_exist(folder)
        with _translate(folder):
            lock = _take_lock(folder)
            try:
                store = cls(folder, _connect(folder / DATABASE), lock)
                store._check()
                store._open_metrics()
            except BaseException:
                lock.close()
                raise
        return store

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Look at a run, which may be going on. Raises `StoreError` when there is none or it is damaged."""
        _must_exist(folder)
        with _translate(folder):
            connection = sqlite3.connect(
                f"file:{(folder / DATABASE).absolute()}?mode=ro", uri=True, timeout=10, isolation_level=None
            )
            store = cls(folder, connection, None)
            store._check()
        return store

    def _check(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:  # ended while it was made
            raise StoreError(f"{self.folder}: the run has not begun: start it with `tinyfed run EXPERIMENT.toml`")
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.folder / DATABASE}: written by another version of tinyfed "
                f"(layout {version}, this one knows {SCHEMA_VERSION}): use that version"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close everything; the lock is let go last. Closing twice does nothing."""
        if self._metrics is not None:
            with _ignore_full_disk():
                self._metrics.close()
                if self._metrics_behind:  # interrupted between the commit and its line
                    self._open_metrics()
                    self._metrics.close()
            self._metrics = None
        with _ignore_full_disk():
            self._connection.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        cursor = self._connection.cursor()
        try:  # an interrupt may come as soon as it has begun
            cursor.execute("BEGIN IMMEDIATE")
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                cursor.execute("ROLLBACK")
            raise

    # ---- what the run is

    def header(self) -> RunHeader:
        """What was given to `create`."""
        with _translate(self.folder):
            facts = {key: json.loads(value) for key, value in self._connection.execute("SELECT * FROM run")}
            (image,) = self._connection.execute("SELECT bytes FROM image").fetchone()
        return RunHeader(image=image, **facts)

    # ---- rounds

    def commit_round(self, record: RoundRecord) -> None:
        """Make a round durable, whole or not at all. Raises `StoreError` when the disk refuses it."""
        self._metrics_behind = True
        with _translate(self.folder), self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO round VALUES (?, ?, ?)",
                (record.number, record.weights_sha256, json.dumps(dict(record.metrics))),
            )
            cursor.executemany(
                "INSERT INTO visit VALUES (?, ?, ?, ?, ?)",
                [
                    (record.number, visit.device, visit.attempt, visit.failure, json.dumps(dict(visit.metrics)))
                    for visit in record.visits
                ],
            )
            cursor.execute(
                "INSERT OR REPLACE INTO state VALUES (0, ?, ?)", (record.number, json.dumps(dict(record.document)))
            )
            cursor.executemany("INSERT OR REPLACE INTO array VALUES (?, ?)", list(record.arrays.items()))
        if self._metrics is not None:
            with _translate(self.folder):
                self._metrics.write(record.line())
                self._metrics.flush()
                self._metrics_behind = False

    def snapshot(self) -> Snapshot | None:
        """The state after the last round, or None before the first."""
        with _translate(self.folder), self._reading():
            row = self._connection.execute("SELECT round, document FROM state").fetchone()
            arrays = dict(self._connection.execute("SELECT name, bytes FROM array"))
        return None if row is None else Snapshot(row[0], json.loads(row[1]), arrays)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Several queries that see one state, also while another process writes."""
        try:
            self._connection.execute("BEGIN")
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")

    def rounds(self) -> list[dict[str, Any]]:
        """Each round's metrics, with `round`, `weights_sha256` and the list `visits`."""
        return [json.loads(line) for line in self._lines()]

    def last_round(self) -> dict[str, Any] | None:
        """The last round's metrics, without visits."""
        with _translate(self.folder):
            row = self._connection.execute("SELECT * FROM round ORDER BY number DESC LIMIT 1").fetchone()
        return None if row is None else {"round": row[0], "weights_sha256": row[1], **json.loads(row[2])}

    def _lines(self, after: int = 0) -> Iterator[str]:
        """The lines of `metrics.jsonl` for the rounds behind `after`."""
        with _translate(self.folder):
            visits: dict[int, list[VisitRecord]] = {}
            query = "SELECT round, device, attempt, failure, metrics FROM visit WHERE round > ? ORDER BY round, rowid"
            for number, device, attempt, failure, metrics in self._connection.execute(query, (after,)):
                visits.setdefault(number, []).append(VisitRecord(device, attempt, failure, json.loads(metrics)))
            query = "SELECT number, weights_sha256, metrics FROM round WHERE number > ? ORDER BY number"
            for number, sha256, metrics in self._connection.execute(query, (after,)):
                yield _round_line(number, sha256, json.loads(metrics), visits.get(number, []))

    # ---- devices and results

    def put_device(self, unique_id: str, facts: Mapping[str, Any]) -> None:
        """Remember what is known of a device; later facts replace earlier ones."""
        with _translate(self.folder), self._transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO device VALUES (?, ?)", (unique_id, json.dumps(dict(facts))))

    def devices(self) -> dict[str, dict[str, Any]]:
        """Facts by unique id."""
        with _translate(self.folder):
            rows = self._connection.execute("SELECT unique_id, facts FROM device ORDER BY unique_id")
            return {unique_id: json.loads(facts) for unique_id, facts in rows}

    def put_result(self, key: str, value: Any) -> None:
        """Remember something found after the rounds, as JSON."""
        with _translate(self.folder), self._transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO result VALUES (?, ?)", (key, json.dumps(value)))

    def results(self) -> dict[str, Any]:
        """All of them."""
        with _translate(self.folder):
            return {key: json.loads(value) for key, value in self._connection.execute("SELECT * FROM result")}

    # ---- copies

    def _open_metrics(self) -> None:
        """Open it to go on: whole lines stay, a broken one goes, missing ones are written from the database."""
        path = self.folder / METRICS
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.count(b"\n")
        if lines > self._round_count():  # not of this run
            whole, lines = b"", 0
        with path.open("ab") as file:
            file.truncate(len(whole))
        self._metrics = path.open("a", encoding="utf-8")
        self._metrics.writelines(self._lines(after=lines))
        self._metrics.flush()

    def _round_count(self) -> int:
        with _translate(self.folder):
            (count,) = self._connection.execute("SELECT count(*) FROM round").fetchone()
        return int(count)

    def write_model(self, image: bytes) -> Path:
        """Replace `model.tfm`."""
        path = self.folder / MODEL
        with _translate(self.folder):
            part = path.with_suffix(".part")
            part.write_bytes(image)
            part.replace(path)
        return path


def _has_rounds(folder: Path) -> bool:
    """Whether there is something to lose: a run that failed before its first round may be begun anew."""
    path = folder / DATABASE
    if not path.exists() or path.stat().st_size == 0:
        return False
    connection = sqlite3.connect(path, timeout=10)
    try:
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            return False
        return connection.execute("SELECT 1 FROM round LIMIT 1").fetchone() is not None
    finally:
        connection.close()


def _must_exist(folder: Path) -> None:
    if (folder / DATABASE).exists():
        return
    known = sorted(path.parent.name for path in folder.parent.glob(f"*/{DATABASE}"))
    hint = f"; runs there: {', '.join(known[:8])}" if known else ""
    raise StoreError(f"{folder}: there is no run{hint}")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _take_lock(folder: Path) -> IO[bytes]:
    """Held until closed or until this process ends, however it ends."""
    lock = (folder / "run.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(
            f"{folder}: another tinyfed process is working on this run: wait for it or choose another --name"
        ) from error
    os.set_inheritable(lock.fileno(), False)
    return lock


def _full(folder: Path) -> StoreError:
    return StoreError(
        f"{folder}: the disk is full: free some space, then `tinyfed run --resume {folder}`; the run so far is kept"
    )


@contextmanager
def _translate(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part; none: not SQLite's own
        if code == sqlite3.SQLITE_FULL:
            raise _full(folder) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(f"{folder}: the run's database is locked by another process") from error
        raise StoreError(f"{folder / DATABASE}: the run's database cannot be used: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(folder) from error
        raise StoreError(f"{folder}: {error.strerror or error}: the run so far is kept") from error


@contextmanager
def _ignore_full_disk() -> Iterator[None]:
    """Closing must not fail: what matters was committed."""
    try:
        yield
    except (OSError, sqlite3.DatabaseError, StoreError):
        return
