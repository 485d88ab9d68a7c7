"""Finding, checking and fetching data sets, with a small one of our own; no network but loopback."""

import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinyfed.errors import TinyfedError, UsageError
from tinyfed.tasks import datasets
from tinyfed.tasks.datasets import Dataset, digest

MEMBERS = {"a.txt": b"1,2\n", "b.txt": b"3,4\n"}
SMALL = Dataset(
    "small", "two files", "file", "none", "here", (("a.txt", "one"), ("b.txt", "two")), ".txt", 2, digest(MEMBERS)
)


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
    with pytest.raises(UsageError, match="given/small holds another version"):
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
    with pytest.raises(UsageError, match=r"small.*packed.*(damaged or cut short|holds \d .txt files of 2)"):
        datasets.read("small")


def test_a_missing_member_is_counted(small: Path) -> None:
    put(small / "cache/tinyfed/data/small", {"a.txt": MEMBERS["a.txt"]})
    with pytest.raises(UsageError, match=r"holds 1 \.txt files of 2: remove it and run"):
        datasets.read("small")


def test_fetch_keeps_only_what_was_published(small: Path) -> None:
    answers = {"one": MEMBERS["a.txt"], "two": b"spoiled"}
    with pytest.raises(UsageError, match="what was downloaded holds another version"):
        datasets.fetch("small", answers.__getitem__)
    assert datasets.folder("small") is None
    answers["two"] = MEMBERS["b.txt"]
    place = datasets.fetch("small", answers.__getitem__)
    assert sorted(path.name for path in place.iterdir()) == ["a.txt", "b.txt"]
    assert [path.name for path in place.parent.iterdir()] == ["small"]
    assert datasets.fetch("small", {}.__getitem__) == place  # it is here: nothing is downloaded


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
