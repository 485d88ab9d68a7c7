"""The run store: rounds are whole or absent, one writer, and the copies follow the database."""

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest
from conftest import ROOT
from tinyfed_host.run import store as store_module
from tinyfed_host.run.store import (
    DATABASE,
    LOCK,
    METRICS,
    MODEL,
    RoundRecord,
    RunHeader,
    RunStore,
    StoreError,
    VisitRecord,
    check_free,
    weights_sha256,
)

HEADER = RunHeader("r", {"rounds": 3}, b"image", "2026-01-01T00:00:00+00:00", "tinyfed run x.toml")


def record(number: int) -> RoundRecord:
    weights = bytes([number % 256]) * 16
    visits = [VisitRecord("aa", 1, None, {"loss_last": 0.5}), VisitRecord("bb", 1, "gone", {})]
    return RoundRecord(number, {"round": number}, {"weights": weights, "m": b"abcd"}, {"loss_last": 0.5}, visits)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        assert store.snapshot() is None
        store.commit_round(record(1))
        store.commit_round(record(2))
        store.put_device("aa", {"board": "mps2_an386"})
        store.put_result("adaptation", {"learned": {"1": 0.8}})
    with RunStore.read(tmp_path / "r") as store:
        snapshot = store.snapshot()
        assert snapshot is not None
        assert (snapshot.round, snapshot.document) == (2, {"round": 2})
        assert snapshot.arrays == {"weights": bytes([2]) * 16, "m": b"abcd"}
        assert store.header() == HEADER
        assert store.devices() == {"aa": {"board": "mps2_an386"}}
        assert store.results() == {"adaptation": {"learned": {"1": 0.8}}}
        rounds = store.rounds()
        briefly = [{key: value for key, value in entry.items() if key != "visits"} for entry in rounds]
        assert store.round_metrics() == briefly
        assert store.last_round() == briefly[1]
    assert [entry["round"] for entry in rounds] == [1, 2]
    assert rounds[0]["weights_sha256"] == weights_sha256(bytes([1]) * 16)
    assert rounds[0]["visits"][1] == {"device": "bb", "attempt": 1, "failure": "gone"}
    lines = (tmp_path / "r" / METRICS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == rounds


def test_the_page_has_the_schema(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "run-store.md").read_text(encoding="utf-8")
    with RunStore.create(tmp_path / "run", HEADER) as store:
        store.commit_round(record(1))
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "run.sqlite")) as made:
        layout = {sql for (sql,) in made.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        tables = {name for (name,) in made.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        keys = {key for (key,) in made.execute("SELECT key FROM run")}
        (version,) = made.execute("PRAGMA user_version").fetchone()
    (block,) = re.findall(r"^```sql\n(.*?)^```", page, re.M | re.S)
    assert {sql.strip() for sql in block.split(";") if sql.strip()} == layout
    assert f"`PRAGMA user_version` is {version}." in page
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.M))
    assert rows.keys() == tables
    assert keys == set(re.findall(r"`(\w+)`", rows["run"]))


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """SQLite opens the one that is meant, also where its name means something in an address."""
    for name in ("a#b", "a?b", "a%41b", "größe 1", os.fsdecode(b"\xff")):
        with RunStore.create(tmp_path / name, HEADER):
            pass
        with RunStore.read(tmp_path / name) as store:
            assert store.header() == HEADER
    assert len(list(tmp_path.iterdir())) == 5, "nothing was made beside them"


@pytest.mark.parametrize("key", ["name", "experiment", "created", "command", "extra"])
def test_a_header_of_other_kinds_is_damaged(tmp_path: Path, key: str) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store._connection.execute("UPDATE run SET value = '-1' WHERE key = ?", (key,))
        with pytest.raises(StoreError, match="damaged"):
            store.header()


def test_resume_rewrites_metrics_and_goes_on(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store.commit_round(record(1))
    (tmp_path / "r" / METRICS).write_text('{"round": 1}\n{"rou')
    with RunStore.resume(tmp_path / "r") as store:
        store.commit_round(record(2))
        store.write_model(b"model")
    lines = (tmp_path / "r" / METRICS).read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2]
    assert (tmp_path / "r" / MODEL).read_bytes() == b"model"


def test_whole_lines_of_metrics_stay_and_those_of_another_run_go(tmp_path: Path) -> None:
    """Two rounds. One line is there: it stays as it is, the second is written. Three lines are not of this run."""
    metrics = tmp_path / "r" / METRICS
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store.commit_round(record(1))
        store.commit_round(record(2))
        rounds = store.rounds()
    metrics.write_text('{"round": 1, "note": "mine"}\n')
    RunStore.resume(tmp_path / "r").close()
    first, second = metrics.read_text().splitlines()
    assert (first, json.loads(second)) == ('{"round": 1, "note": "mine"}', rounds[1])
    metrics.write_text('{"round": 1, "note": "mine"}\n' * 3)
    RunStore.resume(tmp_path / "r").close()
    assert [json.loads(line) for line in metrics.read_text().splitlines()] == rounds


def test_what_the_disk_refuses_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        (tmp_path / "r" / MODEL).mkdir()
        with pytest.raises(StoreError, match=r"r: this is a folder; name a file$"):
            store.write_model(b"model")
        for code in (errno.ENOSPC, errno.EDQUOT):

            def refuse(contents: dict[Path, bytes], code: int = code) -> None:
                raise OSError(code, os.strerror(code))

            monkeypatch.setattr(store_module, "replace_all", refuse)
            with pytest.raises(StoreError, match=r"r: the disk is full; free some space$"):
                store.write_model(b"model")


def test_a_round_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store.commit_round(record(1))
        broken = RoundRecord(2, {}, {"weights": b"", "bad": None}, {}, [])  # type: ignore[dict-item]
        with pytest.raises(StoreError):
            store.commit_round(broken)
        snapshot = store.snapshot()
        assert snapshot is not None
        assert snapshot.round == 1
        assert len(store.rounds()) == 1
        store.commit_round(record(2))


def test_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store.commit_round(record(1))
        with pytest.raises(StoreError, match="another tinyfed process"):
            RunStore.resume(tmp_path / "r")
        with pytest.raises(StoreError, match="another tinyfed process"):
            RunStore.create(tmp_path / "r", HEADER)
        with RunStore.read(tmp_path / "r") as reader:
            assert len(reader.rounds()) == 1
            store.commit_round(record(2))
            assert len(reader.rounds()) == 2
    with RunStore.resume(tmp_path / "r") as store:
        assert len(store.rounds()) == 2


def test_what_is_no_run(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", HEADER):
        pass
    with pytest.raises(StoreError, match="there is a run already"):
        RunStore.create(tmp_path / "r", HEADER)
    with pytest.raises(StoreError, match="there is no run; runs there: r"):
        RunStore.resume(tmp_path / "other")
    with pytest.raises(StoreError, match="there is no run"):
        RunStore.read(tmp_path / "other")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / DATABASE).write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        RunStore.resume(tmp_path / "bad")
    (tmp_path / "new").mkdir()
    connection = sqlite3.connect(tmp_path / "new" / DATABASE)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="another version"):
        RunStore.read(tmp_path / "new")


def test_a_run_begins_in_a_folder_that_is_new_or_empty_only(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"r: the folder is not empty \(notes\.txt\): choose another --name"):
        RunStore.create(folder, HEADER)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    RunStore.create(folder, HEADER).discard()
    assert list(folder.iterdir()) == []  # it was there before, so it stays
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="file: "):
        RunStore.create(tmp_path / "file", HEADER)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_is_discarded_takes_its_own_files_only(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "r", HEADER)
    (tmp_path / "r" / "notes.txt").write_text("written meanwhile")
    (tmp_path / "r" / "folder").mkdir()
    store.discard()
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["folder", "notes.txt"]
    store = RunStore.create(tmp_path / "other", HEADER)
    store.discard()
    assert not (tmp_path / "other").exists()


def test_the_lock_is_held_until_the_cleaning_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore.create(tmp_path / "r", HEADER)
    seen: list[str] = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if (tmp_path / "r" / LOCK).exists():
            with pytest.raises(StoreError, match="another tinyfed process"):
                check_free(tmp_path / "r")
            seen.append(path.name)
        unlink(path, missing_ok)

    with monkeypatch.context() as during:
        during.setattr(Path, "unlink", watched)
        store.discard()
    assert seen[-1] == LOCK  # the last file to go
    RunStore.create(tmp_path / "r", HEADER).close()


def test_a_lock_that_its_run_removed_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that opened the lock file just before another removed it must not hold a lock that nobody sees."""
    (tmp_path / "r").mkdir()
    flock = fcntl.flock
    removed: list[int] = []

    def late(lock: IO[bytes], how: int) -> None:
        if not removed:
            removed.append(1)
            (tmp_path / "r" / LOCK).unlink()
        flock(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with RunStore.create(tmp_path / "r", HEADER):
        monkeypatch.undo()
        with pytest.raises(StoreError, match="another tinyfed process"):
            RunStore.resume(tmp_path / "r")


def test_a_run_that_cannot_begin_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as during:
        during.setattr(store_module, "_SCHEMA", "CREATE TABLE run (key TEXT); CREATE NONSENSE")
        with pytest.raises(StoreError):
            RunStore.create(tmp_path / "r", HEADER)
    assert list(tmp_path.iterdir()) == []
    RunStore.create(tmp_path / "r", HEADER).close()  # and no lock


def test_another_process_that_begins_its_run_first_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes its whole run between this one's look at the folder and its lock."""
    take = store_module._take_lock

    def late(folder: Path) -> IO[bytes]:
        monkeypatch.undo()
        with RunStore.create(folder, HEADER) as other:
            other.commit_round(record(1))
        return take(folder)

    monkeypatch.setattr(store_module, "_take_lock", late)
    with pytest.raises(StoreError, match="there is a run already"):
        RunStore.create(tmp_path / "r", HEADER)
    with RunStore.resume(tmp_path / "r") as store:
        assert [entry["round"] for entry in store.rounds()] == [1]


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_is_left_as_it_was_when_no_lock_is_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    folder = tmp_path / "r"
    if there:
        folder.mkdir()

    def refuses(lock: IO[bytes], how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with (
        monkeypatch.context() as during,
        pytest.raises(StoreError, match=r"r: its file system takes no lock \(No locks available\); choose a folder on"),
    ):
        during.setattr(fcntl, "flock", refuses)
        RunStore.create(folder, HEADER)
    assert folder.exists() == there


@pytest.mark.parametrize("written", [0, 3])
def test_a_lock_that_a_full_disk_cut_short_hinders_no_new_run(tmp_path: Path, written: int) -> None:
    store = RunStore.create(tmp_path / "whole", HEADER)
    mark = (tmp_path / "whole" / LOCK).read_bytes()
    store.close()
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / LOCK).write_bytes(mark[:written])
    RunStore.create(tmp_path / "r", HEADER).close()


def test_what_a_killed_process_had_begun_to_make_is_no_run(tmp_path: Path) -> None:
    """Its lock says whose it is; a database that holds anything, or another's files, are not touched."""
    folder = tmp_path / "r"
    store = RunStore.create(folder, HEADER)
    store.close()
    mark = (folder / LOCK).read_bytes()
    for name in list(folder.iterdir()):
        name.unlink()
    (folder / LOCK).write_bytes(mark)
    sqlite3.connect(folder / DATABASE).close()
    RunStore.create(folder, HEADER).discard()
    assert list(folder.iterdir()) == []
    (folder / LOCK).write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"not empty \(run\.lock\)"):
        RunStore.create(folder, HEADER)
    (folder / LOCK).write_bytes(mark)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"not empty \(notes\.txt\)"):
        RunStore.create(folder, HEADER)
    (folder / "notes.txt").unlink()
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(StoreError, match="there is a run already"):
        RunStore.create(folder, HEADER)


WRITER = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from typing import Any
from test_store import HEADER, record
from tinyfed_host.run.store import RunStore
folder = Path({folder!r})
store = RunStore.resume(folder) if (folder / "run.sqlite").exists() else RunStore.create(folder, HEADER)
snapshot = store.snapshot()
number = snapshot.round if snapshot else 0
print("ready", flush=True)
while True:
    number += 1
    store.commit_round(record(number))
    print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_writer_loses_nothing_it_told_of(tmp_path: Path) -> None:
    """SIGKILL at arbitrary moments: what was reported as committed is there, whole, and it goes on."""
    folder = tmp_path / "r"
    program = WRITER.format(path=[str(Path(__file__).parent), str(Path(__file__).parent.parent)], folder=str(folder))
    for attempt in range(3):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.02 * attempt)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        told = [int(line) for line in process.stdout.read().splitlines() if line.strip().isdigit()]
        process.stdout.close()
        with RunStore.read(folder) as store:
            snapshot = store.snapshot()
            rounds = store.rounds()
        done = snapshot.round if snapshot else 0
        assert done >= max(told, default=0)
        assert [entry["round"] for entry in rounds] == list(range(1, done + 1))
        assert snapshot is None or snapshot.arrays == record(done).arrays
    assert done > 0


class _InterruptedWhenBegun:
    """A connection whose user presses Ctrl-C just when a transaction has begun, or after another statement."""

    def __init__(self, connection: sqlite3.Connection, statement: str = "BEGIN") -> None:
        self._connection = connection
        self._statement = statement

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def cursor(self) -> Any:
        return _InterruptedWhenBegun(self._connection.cursor(), self._statement)  # type: ignore[arg-type]

    def execute(self, statement: str, *values: Any) -> Any:
        done = self._connection.execute(statement, *values)
        if statement.startswith(self._statement):
            raise KeyboardInterrupt
        return done


def test_an_interrupt_as_a_transaction_begins_leaves_none_open(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store.commit_round(record(1))
        connection = store._connection
        for use in (lambda: store.put_result("a", 1), store.snapshot):
            store._connection = _InterruptedWhenBegun(connection)  # type: ignore[assignment]
            with pytest.raises(KeyboardInterrupt):
                use()
            store._connection = connection
            assert not connection.in_transaction
            assert store.snapshot() is not None
        assert store.results() == {}


def test_a_full_disk_is_told_by_sqlites_code_and_the_run_so_far_kept(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store.commit_round(record(1))
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages}")  # as if the disk had no more
        large = RoundRecord(2, {}, {"weights": bytes(1 << 20)}, {}, [])
        with pytest.raises(StoreError, match="the disk is full; free some space"):
            store.commit_round(large)
        snapshot = store.snapshot()
        assert snapshot is not None and snapshot.round == 1


def test_a_locked_database_is_told_by_sqlites_code(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store._connection.execute("PRAGMA busy_timeout = 0")
        other = sqlite3.connect(tmp_path / "r" / DATABASE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another process"):
            store.commit_round(record(1))
        other.close()
        store.commit_round(record(1))


@pytest.mark.parametrize("word", ["full", "locked"])
def test_what_sqlite_says_in_words_decides_nothing(tmp_path: Path, word: str) -> None:
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store._connection.execute(f"CREATE TRIGGER t BEFORE INSERT ON round BEGIN SELECT RAISE(ABORT, '{word}'); END")
        with pytest.raises(StoreError, match=f"cannot be used: {word}"):
            store.commit_round(record(1))


def test_an_interrupt_between_a_commit_and_its_line_loses_no_line(tmp_path: Path) -> None:
    """The round is committed; its line of metrics is written when the store is closed."""
    with RunStore.create(tmp_path / "r", HEADER) as store:
        store.commit_round(record(1))
        connection = store._connection
        store._connection = _InterruptedWhenBegun(connection, "COMMIT")  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            store.commit_round(record(2))
        store._connection = connection
    assert [json.loads(line)["round"] for line in (tmp_path / "r" / METRICS).read_text().splitlines()] == [1, 2]


def test_a_run_that_is_replaced_is_kept_until_the_first_round_whatever_happens(tmp_path: Path) -> None:
    """Killed before it, the new run goes on or is replaced itself: the old one stays aside, and is back when none has a
    round."""
    folder = tmp_path / "x"
    with RunStore.create(folder, HEADER) as store:
        store.commit_round(record(1))
    old = (folder / "run.sqlite").read_bytes()
    RunStore.create(folder, HEADER, replace=True).close()  # as if killed then
    assert (folder / ".replaced/run.sqlite").read_bytes() == old
    RunStore.create(folder, HEADER, replace=True).discard()
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "run.lock", "run.sqlite"]
    with RunStore.read(folder) as store:
        assert [entry["round"] for entry in store.rounds()] == [1]
    RunStore.create(folder, HEADER, replace=True).close()
    with RunStore.resume(folder) as store:
        assert store.rounds() == []
        store.commit_round(record(1))
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "run.lock", "run.sqlite"]
    (folder / ".replaced").symlink_to(tmp_path)
    with pytest.raises(StoreError, match="is a link or no file"):
        RunStore.create(folder, HEADER, replace=True)
