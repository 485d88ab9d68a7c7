"""Output files are whole or absent, what is no regular file is written through, and temporary folders have an owner."""

import fcntl
import os
import pty
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from preload import full_disk
from sine_toml import sine_toml
from tinyfed_host.cli.main import run_command

from tinyfed.errors import UsageError
from tinyfed.files import TemporaryFolder, write_all, write_whole


def program(text: str, *words: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    """Python, with `write_whole` and `Path` at hand."""
    head = "import os, sys\nfrom pathlib import Path\nfrom tinyfed.files import *\n"
    return subprocess.run([sys.executable, "-c", head + text, *words], capture_output=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_has_the_mode_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "x", b"1")
    finally:
        os.umask(before)
    assert (tmp_path / "x").read_bytes() == b"1"
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    assert left(tmp_path) == ["x"]


def test_mode_and_owner_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"0")
    file.chmod(0o2751)
    if os.geteuid() == 0:
        os.chown(file, 1234, 2345)
        file.chmod(0o2751)
    before = file.stat()
    write_whole(file, b"longer")
    after = file.stat()
    assert file.read_bytes() == b"longer"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino  # replaced, not written into


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_bytes(b"0")
    (tmp_path / "one").symlink_to("there/file")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "new").symlink_to("there/new")
    write_all({tmp_path / "two": b"1", tmp_path / "new": b"2"})
    assert (tmp_path / "one").is_symlink()
    assert (tmp_path / "two").is_symlink()
    assert (tmp_path / "new").is_symlink()
    assert (tmp_path / "there/file").read_bytes() == b"1"
    assert (tmp_path / "there/new").read_bytes() == b"2"
    assert left(tmp_path / "there") == ["file", "new"]


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    for name in ("x" * 255, "ß" * 127):
        write_whole(tmp_path / name, b"1")
        write_whole(tmp_path / name, b"2")
        assert (tmp_path / name).read_bytes() == b"2"
    with pytest.raises(UsageError, match="File name too long"):
        write_whole(tmp_path / ("x" * 256), b"1")


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    content = bytes(range(256)) * 1024  # more than a pipe holds
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    write_whole(fifo, content)
    reader.join(60)
    assert got == [content]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_device_is_written_through(tmp_path: Path) -> None:
    before = Path("/dev/null").stat()
    write_whole(Path("/dev/null"), b"1")
    assert Path("/dev/null").stat().st_ino == before.st_ino
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    (tmp_path / "link").symlink_to("/dev/null")
    write_whole(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    ours, terminal = pty.openpty()
    write_whole(Path(os.ttyname(terminal)), b"shown")
    assert os.read(ours, 100) == b"shown"
    os.close(ours)
    os.close(terminal)
    if os.geteuid() == 0 and hasattr(os, "mknod"):
        node = tmp_path / "null"
        try:
            os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except PermissionError:
            return  # a container without devices of its own
        try:
            write_whole(node, b"1")
        except UsageError as error:
            assert "Permission denied" in str(error)  # a file system that opens none
        assert stat.S_ISCHR(node.stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_written_through(tmp_path: Path, name: str) -> None:
    """Also where it is a file, which is gone on with where it stands: nothing before or behind is lost."""
    text = "print('before'); write_whole(Path(sys.argv[1]), b'content\\n'); print('after')"
    assert program(text, name).stdout == b"before\ncontent\nafter\n"
    out = tmp_path / "out"
    out.write_bytes(b"first\n")
    with out.open("ab") as file:
        subprocess.run(
            [sys.executable, "-c", f"import sys\nfrom pathlib import Path\nfrom tinyfed.files import *\n{text}", name],
            stdout=file,
            check=True,
        )
    assert out.read_bytes() == b"first\nbefore\ncontent\nafter\n"
    assert left(tmp_path) == ["out"]


def test_what_a_command_says_stays_out_of_the_file_on_standard_output(tmp_path: Path) -> None:
    take = tmp_path / "take.csv"
    take.write_text("".join(f"{number},2,3,4,5,6\n" for number in range(20)))
    words = [sys.executable, "-c", "from tinyfed_host.cli.main import main; main()", "data", "recording", str(take)]
    subprocess.run([*words, "-o", str(tmp_path / "x.tfrc")], check=True, capture_output=True)
    expected = (tmp_path / "x.tfrc").read_bytes()
    for more in ([], ["--json"]):
        done = subprocess.run([*words, "-o", "/dev/stdout", *more], check=True, capture_output=True)
        assert done.stdout == expected
        assert b"/dev/stdout" in done.stderr


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"this is a folder; name a file"):
        write_whole(tmp_path, b"")
    with pytest.raises(UsageError, match=r"missing/x: cannot write the file: No such file or directory"):
        write_whole(tmp_path / "missing/x", b"")
    (tmp_path / "x").write_bytes(b"0")
    with pytest.raises(UsageError, match=r"missing/y: cannot"):
        write_all({tmp_path / "x": b"1", tmp_path / "missing/y": b"1"})
    assert (tmp_path / "x").read_bytes() == b"0"
    assert left(tmp_path) == ["x"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "old").write_bytes(b"old")
    text = "write_all({Path(sys.argv[1]) / 'old': bytes(70000), Path(sys.argv[1]) / 'new': bytes(70000)})"
    for after in (0, 1, 40, 5_000, 100_000, 139_999):
        done = program(text, str(place), env=full_disk(tmp_path, place, after=after))
        assert done.returncode == 1
        assert b"UsageError" in done.stderr
        assert b"cannot write the file: No space left on device" in done.stderr, done.stderr
        assert left(place) == ["old"]
        assert (place / "old").read_bytes() == b"old"
    assert program(text, str(place), env=full_disk(tmp_path, place, after=200_000)).returncode == 0
    assert left(place) == ["new", "old"]


@pytest.mark.slow
def test_every_command_that_writes_leaves_nothing_half_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "out"
    place.mkdir()
    take = tmp_path / "take.csv"
    take.write_text("".join(f"{number},2,3,4,5,6\n" for number in range(2000)))
    (tmp_path / "x.toml").write_text(sine_toml(2))
    assert run_command(["run", str(tmp_path / "x.toml"), "--name", "x"]) == 0
    model = Path("runs/x/model.tfm")
    np.save(tmp_path / "x.npy", np.zeros((500, 1), np.float32))
    for words in (
        ["data", "recording", str(take), "-o", str(place / "x.tfrc")],
        ["model", "export", str(model), "-o", str(place / "x.npz")],
        ["model", "codegen", str(model), "-o", str(place)],
        ["model", "run", str(model), "--input", str(tmp_path / "x.npy"), "-o", str(place / "y.npy")],
    ):
        done = subprocess.run(
            [sys.executable, "-c", "from tinyfed_host.cli.main import main; main()", *words],
            env=full_disk(tmp_path, place, after=100),
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 2, (words, done.stderr)
        assert b"No space left on device" in done.stderr
        assert left(place) == [], words


def test_an_input_that_is_the_output_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    take = tmp_path / "take.csv"
    take.write_text("".join(f"{number},2,3,4,5,6\n" for number in range(20)))
    (tmp_path / "link").symlink_to(take)
    assert run_command(["data", "recording", str(take), "-o", str(tmp_path / "x.tfrc")]) == 0
    assert "was the input" not in capfd.readouterr().err
    assert run_command(["data", "recording", str(take), "-o", str(tmp_path / "link")]) == 0
    assert f"{tmp_path / 'link'} was the input and is now the result" in capfd.readouterr().err
    assert take.read_bytes() == (tmp_path / "x.tfrc").read_bytes()


def test_a_temporary_folder_ends_with_its_process(tmp_path: Path) -> None:
    with TemporaryFolder(tmp_path) as folder:
        (folder / "x").write_bytes(b"1")
        assert left(tmp_path) == [folder.name]
    assert left(tmp_path) == []
    program("kept = TemporaryFolder(Path(sys.argv[1]))", str(tmp_path))
    assert left(tmp_path) == []


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for name in ("tinyfed-mine", "tinyfed-notes", ".tinyfed-mine"):
        (place / name).mkdir()
        (place / name / "notes").write_text("mine")
    (place / "tinyfed-notes" / "tinyfed.lock").write_text("mine")
    (place / "x.part").write_text("mine")
    (place / "tinyfed-file").write_text("mine")
    with TemporaryFolder(tmp_path) as other:  # a live one of ours, seen through a link
        (place / "tinyfed-link").symlink_to(other)
        mine = left(place)
        killed = program(
            "kept = TemporaryFolder(Path(sys.argv[1]), hidden=sys.argv[2] == 'h')\n"
            "(kept.path / 'part').write_text('half')\nos.kill(os.getpid(), 9)",
            str(place),
            "h",
        )
        assert killed.returncode == -signal.SIGKILL
        assert len(left(place)) == len(mine) + 1
        with TemporaryFolder(place) as alive:
            assert left(place) == sorted([*mine, alive.name])
            program("write_whole(Path(sys.argv[1]) / 'x', b'1')", str(place))
            assert left(place) == sorted([*mine, alive.name, "x"])
            assert (alive / "tinyfed.lock").is_file()
        assert other.is_dir()


def test_a_child_that_was_forked_takes_nothing_along(tmp_path: Path) -> None:
    folder = TemporaryFolder(tmp_path)
    child = os.fork()
    if child == 0:
        folder._remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert folder.path.is_dir()
    with (folder.path / "tinyfed.lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    folder.close()
    assert not folder.path.exists()
