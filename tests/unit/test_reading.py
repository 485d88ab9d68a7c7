"""Files from outside end in one line, whatever they are: within the limits of docs/limits.md, under RLIMIT_AS."""

import io
import os
import resource
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from tinyfed_host.experiment import toml
from tinyfed_host.transport.socket import connect

from tinyfed import reading
from tinyfed.data.arrays import read_arrays
from tinyfed.errors import UsageError

ROOT = Path(__file__).parents[2]
TEXT = "größe,λ\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_is_read_with_and_without_a_bom(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    path.write_bytes(mark + TEXT.encode(encoding))
    assert reading.read_text(path) == TEXT


def test_another_encoding_is_named_and_taken_when_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("a\ngröße".encode("latin-1"))
    with pytest.raises(UsageError, match=r"a\.csv: is not UTF-8 text: byte 0xf6 in line 2; it may be Latin-1"):
        reading.read_text(path)
    assert reading.read_text(path, encoding="latin-1") == "a\ngröße"
    with pytest.raises(UsageError, match=r'"klingon" is no encoding'):
        reading.read_text(path, encoding="klingon")
    path.write_bytes(b"\x80\0\0\1" * 9)
    with pytest.raises(UsageError, match="is no text"):
        reading.read_text(path)


def test_what_is_no_file_is_called_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, said in (("fifo", "is a FIFO"), ("zero", "is a device"), (".", "is a folder"), ("a\0b", "is no name")):
        with pytest.raises(UsageError, match=said):
            reading.read_bytes(tmp_path / name, 10)
    (tmp_path / "ten").write_bytes(bytes(10))
    assert reading.read_bytes(tmp_path / "ten", 10) == bytes(10)
    with pytest.raises(UsageError, match="is larger than 9 bytes"):
        reading.read_bytes(tmp_path / "ten", 9)


@pytest.mark.parametrize("count", [33, 2_000, 5_000, 100_000])
@pytest.mark.parametrize("shape", ["x = {open}{close}", "x = {tables}1{ends}", "{dots} = 1"])
def test_deep_toml_is_refused_in_one_line(count: int, shape: str) -> None:
    text = shape.format(
        open="[" * count,
        close="]" * count,
        tables="{a=" * count,
        ends="}" * count,
        dots=".".join("a" * min(count, 5000)),
    )
    with pytest.raises(UsageError, match=r"^x\.toml: lists and tables are nested more than 32 deep$"):
        toml.parse(text, "x.toml")


def test_numbers_of_thousands_of_digits_are_no_toml() -> None:
    with pytest.raises(UsageError, match=r"x\.toml: not TOML"):
        toml.parse(f"x = {'1' * 5000}", "x.toml")


def test_lines_of_large_toml_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """450 KB took 18 s: for each of its 30,000 keys the text before it was counted anew."""

    class Counting(str):
        looked_at = 0

        def count(self, *arguments: object) -> int:
            start, end = arguments[1], arguments[2]
            assert isinstance(start, int) and isinstance(end, int)
            Counting.looked_at += end - start
            return super().count(*arguments)  # type: ignore[arg-type]

    text = Counting("".join(f"key{number} = [1, 2]\n" for number in range(2_000)))
    lines = toml._Scanner(text).scan()
    assert lines[("key1999", 1)] == 2_000
    assert Counting.looked_at <= len(text)


def test_an_address_that_is_none() -> None:
    for url in ("socket://[bad:80", "socket://a:99999", "socket://"):
        with pytest.raises(UsageError, match="write socket://HOST:PORT"):
            connect(url)


def npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def archive(path: Path, names: list[str], start: bytes, count: int) -> None:
    """A zip whose members each unpack to `start` and `count` zeros; packed once and copied."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (
        packer.compress(start) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(count >> 20)) + packer.flush()
    )
    crc = zlib.crc32(start)
    for _ in range(count >> 20):
        crc = zlib.crc32(bytes(1 << 20), crc)
    size, body, directory = len(start) + (count >> 20 << 20), io.BytesIO(), b""
    for name in map(str.encode, names):
        common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(packed), size, len(name), 0)
        directory += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, body.tell()) + name
        body.write(b"PK\3\4" + common + name + packed)
    at = body.tell()
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(directory), at, 0)
    path.write_bytes(body.getvalue() + directory + end)


# Beyond what the process has when it begins.
MEMORY_BYTES = 400 * 2**20


def under_a_limit(work: str, *arguments: object) -> str:
    """What a child of `MEMORY_BYTES` says of the UsageError that `work` raises."""
    script = f"""
        import resource, sys
        from pathlib import Path
        import numpy as np
        from tinyfed import reading, tasks
        from tinyfed.data import datasets
        from tinyfed.data.arrays import read_arrays
        from tinyfed.data.recording import read_takes
        from tinyfed.errors import UsageError
        from tinyfed.model.convert import read_model
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + {MEMORY_BYTES}
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            {work}
        except UsageError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout


def test_the_limit_of_the_tests_is_one(tmp_path: Path) -> None:
    """A child that reads half a gigabyte of zeros does not get them."""
    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", 600 * 2**20)
    with pytest.raises(AssertionError, match="MemoryError"):
        under_a_limit("Path(sys.argv[1]).read_bytes()", tmp_path / "a")
    assert resource.RLIMIT_AS  # of this platform


@pytest.mark.slow
def test_an_npz_of_a_few_megabytes_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    count = 1_100 << 20
    archive(tmp_path / "a.npz", ["x.npy"], npy((count // 8,)), count)
    said = under_a_limit("read_arrays(Path(sys.argv[1]))", tmp_path / "a.npz")
    assert "a.npz: unpacks to 1,153,4" in said and "at most 1 GiB are read" in said


@pytest.mark.slow
def test_a_zip_of_a_few_megabytes_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    (tmp_path / "fsdd").mkdir()
    archive(tmp_path / "fsdd/fsdd.zip", [f"{number}.wav" for number in range(84)], b"", 100 << 20)
    (tmp_path / "occupancy").mkdir()
    with zipfile.ZipFile(tmp_path / "occupancy/a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("datatest.txt", bytes(200 << 20))
    for name in ("fsdd", "occupancy"):
        work = "import os; os.environ['TINYFED_DATA'] = sys.argv[1]; datasets.read(sys.argv[2])"
        said = under_a_limit(work, tmp_path, name)
        assert f"data {name}: " in said and "at most 128 MiB are read" in said


def test_a_header_that_says_petabytes(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(npy((200_000_000_000_000,), bytes(64)))
    said = under_a_limit("read_arrays(Path(sys.argv[1]))", tmp_path / "a.npy")
    assert "cut short: its header says 1,600,000,000,000,000 bytes, there are 64" in said
    archive(tmp_path / "b.npz", ["x.npy"], npy((-1, -8), bytes(64)), 0)
    assert "cut short" in under_a_limit("read_arrays(Path(sys.argv[1]))", tmp_path / "b.npz")


@pytest.mark.parametrize(
    "work", ["read_takes(Path(sys.argv[1]) / 'train/a.csv')", "tasks.get('folder', path=sys.argv[1])"]
)
@pytest.mark.parametrize("kind", ["fifo", "zero", "large"])
def test_a_table_that_is_none(work: str, kind: str, tmp_path: Path) -> None:
    for part in ("train", "held_out"):
        (tmp_path / part).mkdir()
        path = tmp_path / part / f"{'a' if part == 'train' else 'b'}.csv"
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        else:
            path.touch()
            os.truncate(path, 5 << 30)
    said = under_a_limit(work, tmp_path)
    assert f"a.csv: is {dict(fifo='a FIFO', zero='a device', large='larger than 256 MiB')[kind]}" in said


@pytest.mark.parametrize("name", ["a.tfm", "a.tflite", "a.keras", "a.h5"])
def test_a_model_that_is_none(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    os.mkfifo(path)
    assert "is a FIFO" in under_a_limit("read_model(Path(sys.argv[1]))", path)
    path.unlink()
    path.touch()
    os.truncate(path, 5 << 30)
    assert "larger than" in under_a_limit("read_model(Path(sys.argv[1]))", path)


def test_every_limit_is_stated() -> None:
    stated = (ROOT / "docs/limits.md").read_text(encoding="utf-8")
    for name, value in vars(reading).items():
        if name.endswith("_BYTES_MAX"):
            assert f"{reading.size_text(value)} |" in stated, name


def test_arrays_come_as_they_were_saved(tmp_path: Path) -> None:
    x, y = np.arange(6, dtype=np.int16).reshape(2, 3), np.array(["a", "b"])
    np.savez_compressed(tmp_path / "a.npz", x=np.asfortranarray(x), y=y, empty=np.zeros((0, 3)))
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == ["x", "y", "empty"] and found["empty"].shape == (0, 3)
    assert (found["x"] == x).all() and (found["y"] == y).all() and found["x"].dtype == np.int16
    np.save(tmp_path / "a.npy", x)
    assert (read_arrays(tmp_path / "a.npy")["x"] == x).all()
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(UsageError, match=r"it is text; write numbers with numpy\.savez"):
        read_arrays(tmp_path / "a.csv")
