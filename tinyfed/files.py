"""Output files appear whole or not at all; temporary folders end with the process that made them, or with the next.

What is a regular file, or nothing yet, is replaced by one written beside it. Anything else (a pipe, `/dev/null`,
`/dev/stdout`, a terminal) is written through, never replaced.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import sys
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from tinyfed.errors import UsageError

_PREFIX = "tinyfed-"
_LOCK = "tinyfed.lock"
_MARK = b"a temporary folder of tinyfed\n"
_DESCRIPTOR = re.compile(r"/dev/fd/(\d+)|/proc/self/fd/(\d+)")


class TemporaryFolder:
    """A folder in `parent` (the system's for temporary files) that `close` removes, with all in it.

    It holds a locked file while its process lives. One that was left by a process that was killed is removed by the
    next that makes one in the same place; what has no such file, is locked, or is another user's is not touched.
    """

    def __init__(self, parent: Path | None = None, *, hidden: bool = False) -> None:
        """Raises OSError where no folder can be made."""
        place = Path(tempfile.gettempdir()) if parent is None else parent
        _sweep(place)
        self.path = Path(tempfile.mkdtemp(prefix="." * hidden + _PREFIX, dir=place))
        self._remove = weakref.finalize(self, _remove_own, self.path, os.getpid())
        self._lock: IO[bytes] | None = None
        try:
            fresh = self.path / f"{_LOCK}.new"
            self._lock = fresh.open("wb")
            self._lock.write(_MARK)
            self._lock.flush()
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            fresh.rename(self.path / _LOCK)  # it is never seen unlocked
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove it; a second call does nothing."""
        self._remove()
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock.close()
            self._lock = None

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()


def _remove_own(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # a child that was forked ends without taking its parent's files
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove the temporary folders here whose process has ended without doing so."""
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith((_PREFIX, f".{_PREFIX}")):
                with contextlib.suppress(OSError):
                    _remove_left(Path(entry.path))


def _remove_left(folder: Path) -> None:
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
        return
    with os.fdopen(os.open(folder / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock.read(len(_MARK) + 1) == _MARK:
            shutil.rmtree(folder, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all. Links are followed; a file that is there keeps mode and owner.

    Raises UsageError where it cannot be written.
    """
    write_all({path: content})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """`write_whole` for files that belong together: none is replaced before all of them are written."""
    try:
        replace_all(contents)
    except BrokenPipeError:
        raise  # the reader has gone, which is no mistake
    except OSError as error:
        name = error.filename2 or error.filename or "output"
        raise UsageError(f"cannot write the file: {error.strerror}", where=str(name)) from error


def replace_all(contents: Mapping[Path, bytes]) -> None:
    """As `write_all`, for files the user did not name: raises the OSError, whose `filename` is that of `contents`."""
    through: list[Path] = []
    with contextlib.ExitStack() as stack:
        waiting = []
        for path, content in contents.items():
            with _naming(path):
                if is_special(path):
                    through.append(path)
                else:
                    waiting.append(stack.enter_context(_Replacement(path, content)))
        for one in waiting:
            with _naming(one.named):
                one.put()
        for path in through:
            with _naming(path):
                _write_through(path, contents[path])


def is_stdout(path: Path) -> bool:
    """Whether what is written there comes out of this process's standard output."""
    return _open_descriptor(path) == 1


class _Replacement:
    """The new content of a regular file, written and flushed to the disk beside it."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.named = path
        self._target = Path(os.path.realpath(path))
        self._content = content
        self._folder: TemporaryFolder | None = None
        before = self._target.stat() if self._target.exists() else None
        if before is not None and not os.access(self._target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        try:
            self._folder = TemporaryFolder(self._target.parent, hidden=True)
            self._part = self._folder.path / "part"
            with self._part.open("xb") as file:
                file.write(content)
                if before is not None:
                    with contextlib.suppress(PermissionError):
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                    os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
                file.flush()
                os.fsync(file.fileno())
        except PermissionError:
            self._close()
            if before is None:
                raise  # else the file itself may be written, though nothing beside it
        except BaseException:
            self._close()
            raise

    def put(self) -> None:
        """In the place of what was there."""
        if self._folder is not None:
            try:
                self._part.replace(self._target)
            except OSError as error:
                if error.errno != errno.EBUSY:  # a file that is mounted by itself, as containers do
                    raise
            else:
                _flush_folder(self._target.parent)
                return
        with self._target.open("r+b") as file:
            file.write(self._content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    def _close(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()


def flush_tree(folder: Path) -> None:
    """Have the disk hold all the files below, before they are moved to where they are looked for. Raises OSError."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_special(path: Path) -> bool:
    """Whether it is no regular file, and written through. Raises IsADirectoryError for a folder."""
    if _open_descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "this is a folder; name a file")
    return not stat.S_ISREG(mode)


def _open_descriptor(path: Path) -> int | None:
    """The descriptor of this process that the path stands for: of `/dev/fd/3`, or of its output under any name."""
    found = _DESCRIPTOR.fullmatch(str(path))
    if found:
        return int(found[1] or found[2])
    with contextlib.suppress(OSError):
        state = path.stat()
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                if os.path.samestat(state, os.fstat(descriptor)) and not _is_null(state):
                    return descriptor
    return None


def _is_null(state: os.stat_result) -> bool:
    return stat.S_ISCHR(state.st_mode) and state.st_rdev == os.makedev(1, 3)


def _write_through(path: Path, content: bytes) -> None:
    descriptor = _open_descriptor(path)
    if descriptor in (1, 2):
        (sys.stdout if descriptor == 1 else sys.stderr).flush()
    opened = os.open(path, os.O_WRONLY) if descriptor is None else os.dup(descriptor)
    with os.fdopen(opened, "wb", buffering=0) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]


class _naming(contextlib.AbstractContextManager[None]):
    """An OSError inside says the path that the caller knows, not that of a temporary file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(self._path), None
