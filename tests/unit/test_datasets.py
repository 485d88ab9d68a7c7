"""Finding, checking and fetching data sets, with a small one of our own; no network but loopback."""

import hashlib
import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tinyfed.data import datasets
from tinyfed.data.datasets import Dataset, digest
from tinyfed.errors import TinyfedError, UsageError

MEMBERS = {"a.txt": b"1,2\n", "b.txt": b"3,4\n"}
SMALL = Dataset(
    "small", "two files", "file", "none", "here", (("a.txt", "one"), ("b.txt", "two")), ".txt", 2, digest(MEMBERS)
)
FEW = replace(SMALL, contents=tuple((name, hashlib.sha256(content).hexdigest()) for name, content in MEMBERS.items()))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own, with nothing in it."""
    monkeypatch.delenv("TINYFED_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(datasets.DATASETS, "small", SMALL)
    datasets._read.cache_clear()
    return tmp_path


def put(folder: Path, members: dict[str, bytes]) -> None:
    folder.mkdir(parents=True)
    for name, content in members.items():
        (folder / name).write_bytes(content)


def test_what_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(UsageError, match="`tinyfed data fetch small`, or set TINYFED_DATA"):
        datasets.read("small")
    with pytest.raises(UsageError, match="'smal' is unknown, allowed are omniglot"):
        datasets.read("smal")


def test_the_folder_of_the_environment_comes_first(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(small / "cache/tinyfed/data/small", MEMBERS)
    assert datasets.read("small") == MEMBERS
    put(small / "given/small", {"a.txt": b"other", "b.txt": b"3,4\n"})
    monkeypatch.setenv("TINYFED_DATA", str(small / "given"))
    with pytest.raises(UsageError, match=r"the .txt files in a.txt, b.txt of .*given/small are not"):
        datasets.read("small")


@pytest.mark.parametrize("kind", ["zip", "tar.xz", "tar.gz"])
def test_an_archive_with_the_same_members_is_the_same_data(small: Path, kind: str) -> None:
    place = small / "cache/tinyfed/data/small"
    put(place, {"SOURCE.md": b"notes are not data"})
    path = place / f"packed.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in MEMBERS.items():
                archive.writestr(f"some/folder/{name}", content)
    else:
        with tarfile.open(path, f"w:{kind[4:]}") as tar:
            for name, content in MEMBERS.items():
                member = tarfile.TarInfo(f"some/folder/{name}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    assert datasets.read("small") == MEMBERS
    datasets._read.cache_clear()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"small.*packed.*(damaged or cut short|has \d .txt files of 2)"):
        datasets.read("small")


def test_a_missing_member_is_counted(small: Path) -> None:
    put(small / "cache/tinyfed/data/small", {"a.txt": MEMBERS["a.txt"]})
    with pytest.raises(UsageError, match=r"small lacks b\.txt: run `tinyfed data fetch small`"):
        datasets.read("small")


def test_fetch_keeps_only_what_was_published(small: Path) -> None:
    answers = {"one": MEMBERS["a.txt"], "two": b"spoiled"}
    with pytest.raises(
        UsageError, match=r"data small: a.txt, b.txt was downloaded, but is not what was published: try"
    ):
        datasets.fetch("small", answers.__getitem__)
    assert datasets.folder("small") is None
    answers["two"] = MEMBERS["b.txt"]
    place = datasets.fetch("small", answers.__getitem__)
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "b.txt"]
    assert [path.name for path in place.parent.iterdir()] == ["small"]
    assert datasets.fetch("small", {}.__getitem__) == place  # it is here: nothing is downloaded


KILLED = """
import os, signal
from test_datasets import MEMBERS, SMALL, datasets
datasets.DATASETS["small"] = SMALL
datasets.fetch("small", lambda at: MEMBERS["a.txt"] if at == "one" else os.kill(os.getpid(), signal.SIGKILL))
"""


def test_what_a_killed_fetch_left_goes_with_the_next(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a file is on the disk before it is in its place."""
    done = subprocess.run([sys.executable, "-c", KILLED], cwd=Path(__file__).parent, stderr=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    place = small / "cache/tinyfed/data/small"
    (left,) = place.iterdir()
    assert left.name.startswith(".tinyfed-") and (left / "came/a.txt").read_bytes() == MEMBERS["a.txt"]
    flushed, flush = set(), os.fsync

    def noted(descriptor: int) -> None:
        flush(descriptor)
        flushed.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    datasets.fetch("small", {"one": MEMBERS["a.txt"], "two": MEMBERS["b.txt"]}.__getitem__)
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "b.txt"]
    assert {path.stat().st_ino for path in place.iterdir()} <= flushed


@pytest.fixture
def few(small: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a set whose files are told one by one, with all of them."""
    monkeypatch.setitem(datasets.DATASETS, "small", FEW)
    put(small / "given/small", MEMBERS | {"SOURCE.md": b"notes"})
    monkeypatch.setenv("TINYFED_DATA", str(small / "given"))
    return small / "given/small"


def test_the_file_that_is_wrong_is_named_and_can_be_fetched_again(few: Path) -> None:
    (few / "b.txt").write_bytes(b"3,")
    for attempt in (datasets.read, lambda name: datasets.fetch(name, {}.__getitem__)):
        with pytest.raises(
            UsageError,
            match=r"given/small/b.txt is not the published file \(SHA-256 differs\): remove b.txt and run",
        ):
            attempt("small")
    (few / "b.txt").unlink()
    with pytest.raises(UsageError, match=r"data small: .*given/small lacks b.txt: run `tinyfed data fetch small`$"):
        datasets.read("small")
    with pytest.raises(UsageError, match=r"data small: b.txt was downloaded, but is not what was published: try again"):
        datasets.fetch("small", {"two": b"spoiled"}.__getitem__)
    assert sorted(path.name for path in few.iterdir()) == ["SOURCE.md", "a.txt"]
    assert datasets.fetch("small", {"two": MEMBERS["b.txt"]}.__getitem__) == few  # a.txt stays
    assert datasets.read("small") == MEMBERS
    assert sorted(path.name for path in few.iterdir()) == ["SOURCE.md", "a.txt", "b.txt"]


def test_all_missing_files_are_listed(few: Path) -> None:
    for name in MEMBERS:
        (few / name).unlink()
    with pytest.raises(UsageError, match=r"given/small lacks a.txt, b.txt: run"):
        datasets.read("small")


def test_a_wrong_member_of_an_archive_is_named(few: Path) -> None:
    for name in MEMBERS:
        (few / name).unlink()
    with zipfile.ZipFile(few / "packed.zip", "w") as archive:
        archive.writestr("a.txt", MEMBERS["a.txt"])
        archive.writestr("in/b.txt", b"changed")
    with pytest.raises(UsageError, match=r"b.txt in .*/packed.zip is not the published file .*: remove packed.zip and"):
        datasets.read("small")
    with zipfile.ZipFile(few / "packed.zip", "w") as archive:
        for name in (*MEMBERS, "c.txt"):
            archive.writestr(name, MEMBERS.get(name, b""))
    with pytest.raises(UsageError, match=r"packed.zip of .*small has 3 .txt files of 2: remove packed.zip and run"):
        datasets.read("small")


def test_a_folder_that_cannot_be_written_is_told(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (few / "b.txt").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(UsageError, match=r"given/small cannot be written: Permission denied"):
        datasets.fetch("small", {"two": MEMBERS["b.txt"]}.__getitem__)


def test_the_contents_listed_are_those_of_the_whole() -> None:
    for wanted in (FEW, *datasets.DATASETS.values()):
        whole = hashlib.sha256("".join(f"{name} {sha256}\n" for name, sha256 in sorted(wanted.contents)).encode())
        assert not wanted.contents or whole.hexdigest() == wanted.sha256


@pytest.mark.parametrize("kind", ["zip", "tar.xz", "tar.gz", "tar"])
def test_any_damage_to_an_archive_is_one_line(small: Path, kind: str) -> None:
    """Wherever a byte is changed: the members are whole, or the file is named."""
    place = small / "cache/tinyfed/data/small"
    place.mkdir(parents=True)
    path, refused = place / f"packed.{kind}", 0
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in MEMBERS.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{kind[4:]}") as tar:
            for name, content in MEMBERS.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    whole = path.read_bytes()[:2048]
    for at in range(0, len(whole), max(1, len(whole) // 400)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        datasets._read.cache_clear()
        try:
            assert datasets.read("small") == MEMBERS
        except UsageError as error:
            refused += 1
            assert str(error).startswith("data small: ") and "\n" not in str(error)
    assert refused > 50


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = MEMBERS.get(self.path[1:])
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.server_address[1]}"
        listener.shutdown()
        thread.join()


def test_download_over_http(server: str) -> None:
    from tinyfed_host.cli.data import download

    assert download(f"{server}/a.txt") == MEMBERS["a.txt"]
    with pytest.raises(TinyfedError, match=r"nothing.txt cannot be read.*TINYFED_DATA"):
        download(f"{server}/nothing.txt")
