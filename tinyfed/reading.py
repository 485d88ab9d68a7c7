"""Files from outside: read whole within a stated limit, or refused in one line. docs/limits.md lists the limits."""

import errno
import os
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_LE
from pathlib import Path

from tinyfed.errors import UsageError

MIB = 2**20
TEXT_BYTES_MAX = MIB  # an experiment, labels, a board's manifest
TABLE_BYTES_MAX = 256 * MIB  # a CSV file
ARRAYS_BYTES_MAX = 1024 * MIB  # an .npy or .npz file, and all it unpacks to
MODEL_BYTES_MAX = 1024 * MIB  # a model image, .tflite or Keras file
DATA_BYTES_MAX = 128 * MIB  # all that one file of a published data set unpacks to

_NO_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a regular file, at most `most`: its size is looked at before anything is read.

    Raises `UsageError` where it is missing, is no file (a FIFO, a device, a folder), or is larger.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would wait for its writer
        try:
            state = os.fstat(descriptor)
            for is_kind, kind in _NO_FILES:
                if is_kind(state.st_mode):
                    raise UsageError(f"is {kind}, not a file", where=str(path))
            content = _read(descriptor, state.st_size, most) if state.st_size <= most else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise UsageError("is a socket, not a file", where=str(path)) from error
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:  # a null byte in the name
        raise UsageError("is no name a file can have", where=str(path).replace("\0", "\\0")) from error
    if state.st_size > most or len(content) > most:
        raise UsageError(f"is larger than {size_text(most)}", where=str(path), remedy="docs/limits.md says why")
    return content


def read_model_file(path: Path, most: int = MODEL_BYTES_MAX) -> bytes:
    """`read_bytes` of a model of any format."""
    try:
        return read_bytes(path, most)
    except UsageError as error:
        raise UsageError(f"cannot read the model: {error.problem}", where=error.where) from error


def _read(descriptor: int, size: int, most: int) -> bytes:
    """What a file of `size` bytes holds; more where it grows or does not say its size, but hardly more than `most`."""
    parts = [os.read(descriptor, size + 1)]
    total = len(parts[0])
    while parts[-1] and total <= most:
        parts.append(os.read(descriptor, MIB))
        total += len(parts[-1])
    return b"".join(parts) if parts[1:] and parts[1] else parts[0]


def read_text(path: Path, most: int = TEXT_BYTES_MAX, encoding: str = "", remedy: str = "") -> str:
    """The text of a file of at most `most` bytes: UTF-8, with or without a BOM, or UTF-16 with one; or as `encoding`
    says. Line ends stay as they are. Raises `UsageError`, with `remedy` where it is in another encoding."""
    return decode_text(read_bytes(path, most), str(path), encoding, remedy)


def decode_text(content: bytes, where: str, encoding: str = "", remedy: str = "") -> str:
    """`read_text` of bytes."""
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) and not content.startswith(BOM_UTF32_LE):
        named = "utf-16"
    else:
        named = encoding or "utf-8"
        content = content.removeprefix(BOM_UTF8)
    try:
        return content.decode(named)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        if b"\0" in content[:4096]:
            raise UsageError("is no text", where=where) from error
        problem = f"is not {named.upper()} text: byte 0x{byte:02x} in line {line}; it may be Latin-1 or Windows-1252"
        raise UsageError(problem, where=where, remedy=remedy or "save it as UTF-8") from error
    except LookupError as error:
        raise UsageError(
            f'"{encoding}" is no encoding that Python knows', where=where, remedy="latin-1 is one"
        ) from error


def size_text(count: int) -> str:
    """`256 MiB`."""
    for unit, name in ((1024 * MIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if count >= unit and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count:,} bytes"
