"""A run's folder: `run.sqlite`, from which everything else in it is written.

A round is one transaction, durable before the next begins (WAL, synchronous=FULL). `metrics.jsonl` and
`model.tfm` are copies for people and programs; losing them loses nothing.
"""

import contextlib
import errno
import fcntl
import functools
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from tinyfed.errors import TinyfedError
from tinyfed.fields import near
from tinyfed.files import replace_all
from tinyfed.text import first_line, listed
from tinyfed.weights import Weights
from tinyfed_host.run.names import DATABASE

SCHEMA_VERSION = 1
METRICS = "metrics.jsonl"
MODEL = "model.tfm"
LOG = "run.log"
REPORT = "report.html"
LOCK = "run.lock"
_LOCK_MARK = b"a run of tinyfed\n"  # what the lock holds: this folder is of our making
_DATABASE_FILES = (DATABASE + "-wal", DATABASE + "-shm", DATABASE + "-journal", DATABASE)
_COPIES = (REPORT, MODEL, LOG, METRICS)
_ASIDE = ".replaced"  # the files of a run that is being replaced, until the new one has done a round

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


_LAYOUT = "SELECT type, name, tbl_name, sql FROM sqlite_master"


@functools.cache
def _own_layout() -> frozenset[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_SCHEMA)
        return frozenset(connection.execute(_LAYOUT))


class StoreError(TinyfedError):
    """A run is not there, in use by another process, damaged, or its disk is full."""

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
    return json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n"


class RunStore:
    """One run, open for writing by this process only, or for reading. Use it as a context manager."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: IO[bytes] | None) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = lock
        self._made_folder = False
        self._metrics: IO[str] | None = None
        self._metrics_behind = False

    @classmethod
    def create(cls, folder: Path, header: RunHeader, *, replace: bool = False) -> Self:
        """Begin a run, in a folder that is new or empty. With `replace` a run that is there goes with this one's
        first round, and is back when there is none.

        Raises `StoreError` when there is anything else in it, or the disk refuses; then nothing new is left.
        """
        check_free(folder, replace=replace)
        made = _make_folder(folder)
        try:
            with _translate(folder):
                lock = _take_lock(folder)
        except BaseException:
            if made:
                _remove_empty(folder)
            raise
        try:
            check_free(folder, locked=True, replace=replace)  # another process may have been quicker
        except BaseException:
            lock.close()
            raise
        try:
            with _translate(folder):
                if replace and (folder / DATABASE).exists() and not _is_unfinished(folder / DATABASE):
                    _set_aside(folder)
                for name in _DATABASE_FILES:  # of a process that was killed before it had made them whole
                    (folder / name).unlink(missing_ok=True)
                store = cls(folder, _connect(folder / DATABASE), lock)
                store._made_folder = made
                store._fill(header)
        except BaseException:
            _remove_begun(folder, made_folder=made)
            lock.close()
            raise
        return store

    def _fill(self, header: RunHeader) -> None:
        facts = {
            "name": header.name,
            "experiment": header.experiment,
            "created": header.created,
            "command": header.command,
            "extra": dict(header.extra),
        }
        try:
            self._connection.executescript(_SCHEMA)
            with self._transaction() as cursor:
                cursor.executemany(
                    "INSERT INTO run VALUES (?, ?)",
                    [(key, json.dumps(value, allow_nan=False)) for key, value in facts.items()],
                )
                cursor.execute("INSERT INTO image VALUES (?)", (header.image,))
                cursor.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._open_metrics()
        except BaseException:
            self._connection.close()
            raise

    def discard(self) -> None:
        """Close a run that `create` began, and remove the files it made, then the folder if it made that too and
        nothing else lies in it. The lock is held until then.
        """
        self._close_files()
        _remove_begun(self.folder, made_folder=self._made_folder)
        self._let_go()

    @classmethod
    def resume(cls, folder: Path) -> Self:
        """Go on with a run. Raises `StoreError` when there is none, it is damaged or in use."""
        check_there(folder)
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
        check_there(folder)
        with _translate(folder):
            connection = sqlite3.connect(
                f"{(folder / DATABASE).absolute().as_uri()}?mode=ro", uri=True, timeout=10, isolation_level=None
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
        if set(self._connection.execute(_LAYOUT)) != _own_layout():  # a trigger or view would act on what is written
            raise StoreError(f"{self.folder / DATABASE}: its tables are not those of a run: it is damaged")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close everything; the lock is let go last. Closing twice does nothing."""
        self._close_files()
        self._let_go()

    def _close_files(self) -> None:
        if self._metrics is not None:
            with _ignore_full_disk():
                self._metrics.close()
                if self._metrics_behind:  # interrupted between the commit and its line
                    self._open_metrics()
                    self._metrics.close()
            self._metrics = None
        with _ignore_full_disk():
            self._connection.close()

    def _let_go(self) -> None:
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
        with _translate(self.folder), damage_told(self.folder):
            facts = {key: json.loads(value) for key, value in self._connection.execute("SELECT * FROM run")}
            (image,) = self._connection.execute("SELECT bytes FROM image").fetchone()
            header = RunHeader(image=image, **facts)
            texts = (header.name, header.created, header.command)
            tables = (header.experiment, header.extra)
            if not all(isinstance(text, str) for text in texts) or not all(isinstance(table, dict) for table in tables):
                raise ValueError("the header's values are of other kinds")
        return header

    def set_rounds(self, rounds: int) -> None:
        """The run is to have so many rounds in all, and its command says so."""
        header = self.header()
        facts = {
            "experiment": {**header.experiment, "rounds": rounds},
            "command": f"{header.command} --rounds {rounds}",
        }
        with _translate(self.folder), self._transaction() as cursor:
            cursor.executemany(
                "UPDATE run SET value = ? WHERE key = ?", [(json.dumps(value), key) for key, value in facts.items()]
            )

    # ---- rounds

    def commit_round(self, record: RoundRecord) -> None:
        """Make a round durable, whole or not at all. Raises `StoreError` when the disk refuses it."""
        self._metrics_behind = True
        with _translate(self.folder), self._transaction() as cursor:
            cursor.execute(
                "INSERT INTO round VALUES (?, ?, ?)",
                (record.number, record.weights_sha256, json.dumps(dict(record.metrics), allow_nan=False)),
            )
            cursor.executemany(
                "INSERT INTO visit VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        record.number,
                        visit.device,
                        visit.attempt,
                        visit.failure,
                        json.dumps(dict(visit.metrics), allow_nan=False),
                    )
                    for visit in record.visits
                ],
            )
            cursor.execute(
                "INSERT OR REPLACE INTO state VALUES (0, ?, ?)",
                (record.number, json.dumps(dict(record.document), allow_nan=False)),
            )
            cursor.executemany("INSERT OR REPLACE INTO array VALUES (?, ?)", list(record.arrays.items()))
        if self._metrics is not None:
            with _translate(self.folder):
                self._metrics.write(record.line())
                self._metrics.flush()
                self._metrics_behind = False
        if (self.folder / _ASIDE).is_dir():
            _drop_aside(self.folder)

    def snapshot(self) -> Snapshot | None:
        """The state after the last round, or None before the first."""
        with _translate(self.folder), self._reading():
            row = self._connection.execute("SELECT round, document FROM state").fetchone()
            arrays = dict(self._connection.execute("SELECT name, bytes FROM array"))
        with damage_told(self.folder):
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
        with damage_told(self.folder):
            return [json.loads(line) for line in self._lines()]

    def round_metrics(self) -> list[dict[str, Any]]:
        """`rounds` without the visits."""
        with _translate(self.folder), damage_told(self.folder):
            rows = self._connection.execute("SELECT number, weights_sha256, metrics FROM round ORDER BY number")
            return [{"round": row[0], "weights_sha256": row[1], **json.loads(row[2])} for row in rows]

    def last_round(self) -> dict[str, Any] | None:
        """The last round's metrics, without visits."""
        with _translate(self.folder):
            row = self._connection.execute("SELECT * FROM round ORDER BY number DESC LIMIT 1").fetchone()
        with damage_told(self.folder):
            return None if row is None else {"round": row[0], "weights_sha256": row[1], **json.loads(row[2])}

    def losses(self, count: int) -> list[float]:
        """`loss_last` of the last `count` rounds that have one, in order."""
        with _translate(self.folder):
            query = "SELECT metrics FROM round ORDER BY number DESC"
            found: list[float] = []
            for (metrics,) in self._connection.execute(query):
                loss = json.loads(metrics).get("loss_last")
                found += [] if loss is None else [loss]
                if len(found) == count:
                    break
        return found[::-1]

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
            cursor.execute(
                "INSERT OR REPLACE INTO device VALUES (?, ?)", (unique_id, json.dumps(dict(facts), allow_nan=False))
            )

    def devices(self) -> dict[str, dict[str, Any]]:
        """Facts by unique id."""
        with _translate(self.folder), damage_told(self.folder):
            rows = self._connection.execute("SELECT unique_id, facts FROM device ORDER BY unique_id")
            return {unique_id: json.loads(facts) for unique_id, facts in rows}

    def put_result(self, key: str, value: Any) -> None:
        """Remember something found after the rounds, as JSON."""
        with _translate(self.folder), self._transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO result VALUES (?, ?)", (key, json.dumps(value, allow_nan=False)))

    def results(self) -> dict[str, Any]:
        """All of them."""
        with _translate(self.folder), damage_told(self.folder):
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
            replace_all({path: image})
        return path


def check_free(folder: Path, *, locked: bool = False, replace: bool = False) -> None:
    """Raises `StoreError` when a run cannot begin here, because there is something already. What a tinyfed that was
    killed had begun to make is nothing, with `replace` nor is a run. `locked`: this process holds the lock.
    """
    try:
        found = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError as error:
        if folder.is_symlink():
            problem = "is a link that leads nowhere"
            raise StoreError(problem, where=str(folder), remedy="remove it, or choose another --name") from error
        return
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}: choose another --name") from error
    ours = _is_ours(folder)
    if replace and ours and DATABASE in found:
        check_there(folder)
    with _translate(folder), contextlib.ExitStack() as held:
        if ours and not locked:
            held.enter_context(_take_lock(folder))  # refuses one in use
        whole = DATABASE in found and not (ours and _is_unfinished(folder / DATABASE))
    if whole and not replace:
        raise StoreError(
            f"{folder}: there is a run already: go on with `tinyfed run --resume {folder}`, "
            "choose another --name, or replace it with --force"
        )
    known = {LOCK, *_DATABASE_FILES, *(_COPIES if whole else ()), *([_ASIDE] if replace else [])} if ours else set()
    others = [name for name in found if name not in known]
    if others:
        some = ", ".join(repr(name)[1:-1] for name in others[:3]) + (", …" if len(others) > 3 else "")
        raise StoreError(f"{folder}: the folder is not empty ({some}): choose another --name, or empty it yourself")


def _is_ours(folder: Path) -> bool:
    """Whether a tinyfed has locked the folder for a run; a full disk or a kill may have cut its mark short."""
    path = folder / LOCK
    return path.is_file() and path.stat().st_size <= len(_LOCK_MARK) and _LOCK_MARK.startswith(path.read_bytes())


def _is_unfinished(database: Path) -> bool:
    """Whether it was begun by a process that was killed before it had made it whole."""
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
            return bool(connection.execute("PRAGMA user_version").fetchone()[0] == 0)
    except sqlite3.Error:
        return False


def _make_folder(folder: Path) -> bool:
    """Whether it was not there before."""
    with _translate(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            if not folder.is_dir():
                raise
            return False
    return True


def _remove_begun(folder: Path, *, made_folder: bool) -> None:
    """The files of a run that this process has begun, by name, in a folder that was empty and that it has locked."""
    replaces = (folder / _ASIDE).is_dir()
    for name in (LOG, METRICS, *_DATABASE_FILES, *(() if replaces else (LOCK,))):
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    if replaces:
        for path in _aside(folder):
            with contextlib.suppress(OSError):
                path.rename(folder / path.name)
        _remove_empty(folder / _ASIDE)
    if made_folder:
        _remove_empty(folder)


def _set_aside(folder: Path) -> None:
    """The files of a run that is to be replaced; of one that has replaced another but done no round they go."""
    with contextlib.suppress(sqlite3.Error):  # what its log holds goes into the database
        _connect(folder / DATABASE).close()
    (folder / _ASIDE).mkdir(exist_ok=True)
    before = (folder / _ASIDE / DATABASE).exists()
    for name in (*_DATABASE_FILES[::-1], *_COPIES):
        path = folder / name
        if before:
            path.unlink(missing_ok=True)
        elif path.exists():
            path.rename(folder / _ASIDE / name)


def _aside(folder: Path) -> list[Path]:
    found = (folder / _ASIDE / name for name in (*_COPIES, *_DATABASE_FILES))
    return [path for path in found if path.exists()]


def _drop_aside(folder: Path) -> None:
    for path in _aside(folder):
        with contextlib.suppress(OSError):
            path.unlink()
    _remove_empty(folder / _ASIDE)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # something else lies in it
        folder.rmdir()


def check_there(folder: Path, problem: str = "there is no run") -> None:
    """Raises `StoreError` where there is no run, which is the `problem`, or what a run's folder does not hold."""
    for name in (*_DATABASE_FILES, *_COPIES, LOCK, _ASIDE):
        path = folder / name
        is_right = path.is_dir() if name == _ASIDE else path.is_file()
        if path.is_symlink() or (path.exists() and not is_right):  # what is written there would land elsewhere
            raise StoreError(f"{path}: is a link or no file: a run's folder holds files of its own only")
    if (folder / DATABASE).exists():
        return
    known = sorted(path.parent.name for path in folder.parent.glob(f"*/{DATABASE}"))
    hint = [near(folder.name, known), f"runs there: {listed(known, 8)}"] if known else ["`tinyfed run sine` makes one"]
    raise StoreError(problem, where=str(folder), remedy="; ".join(text for text in hint if text))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _take_lock(folder: Path) -> IO[bytes]:
    """Held until closed or until this process ends, however it ends."""
    path = folder / LOCK
    while True:
        is_new = not path.exists()
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise StoreError(
                f"{folder}: another tinyfed process is working on this run: wait for it or choose another --name"
            ) from error
        except OSError as error:
            lock.close()
            if is_new:
                path.unlink()
            raise StoreError(
                f"its file system takes no lock ({error.strerror})",
                where=str(folder),
                remedy="choose a folder on a local disk",
            ) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                break
        lock.close()  # of a run that was removed between opening and locking it
    if path.stat().st_size == 0:
        lock.write(_LOCK_MARK)
        lock.flush()
    os.set_inheritable(lock.fileno(), False)
    return lock


def is_locked(folder: Path) -> bool:
    """Whether a process is working on this run now."""
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _full(folder: Path) -> StoreError:
    return StoreError("the disk is full", where=str(folder), remedy="free some space")


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
        raise StoreError(str(error.strerror or error), where=str(folder)) from error


@contextmanager
def damage_told(folder: Path) -> Iterator[None]:
    """What values of another kind or shape than a run writes raise becomes a `StoreError` of one line."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {first_line(error, 120)}"
        raise StoreError(f"{folder / DATABASE}: the run's record is damaged ({said})") from error


@contextmanager
def _ignore_full_disk() -> Iterator[None]:
    """Closing must not fail: what matters was committed."""
    try:
        yield
    except (OSError, sqlite3.DatabaseError, StoreError):
        return
