"""Arrays in .npy and .npz files. What a file says of its sizes is checked before any of it is unpacked."""

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.reading import ARRAYS_BYTES_MAX, read_bytes, size_text

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# What reading a damaged archive raises.
DAMAGE = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
ARRAYS_MAX = 4096  # in one .npz


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, or the one of an .npy file under the name "x"; all together at most
    `ARRAYS_BYTES_MAX`. Raises `UsageError` of one line."""
    content = read_bytes(path, ARRAYS_BYTES_MAX)
    where = str(path)
    if content.startswith(np.lib.format.MAGIC_PREFIX):
        return {"x": _array(io.BytesIO(content), len(content), where)}
    if not content.startswith(ZIP_MAGIC):
        kind = "is empty" if not content else "is text" if _is_text(content) else "is something else"
        remedy = "write numbers with numpy.savez(path, x=..., y=...)"
        raise UsageError(f"not a whole .npz or .npy file of numbers: it {kind}", where=where, remedy=remedy)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _members(archive, where)
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or "it is cut short"
        raise UsageError(f"not a whole .npz or .npy file of numbers: {reason}", where=where) from error


def _members(archive: zipfile.ZipFile, where: str) -> dict[str, NDArray[Any]]:
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    if total > ARRAYS_BYTES_MAX:
        problem = f"unpacks to {total:,} bytes, at most {size_text(ARRAYS_BYTES_MAX)} are read"
        raise UsageError(problem, where=where, remedy="docs/limits.md says why")
    if len(entries) > ARRAYS_MAX:
        raise UsageError(f"holds {len(entries):,} arrays, at most {ARRAYS_MAX:,} are read", where=where)
    arrays = {}
    for entry in entries:
        if not entry.filename.endswith(".npy"):
            raise UsageError(f"holds {entry.filename[:80]!r}, which is no array", where=where)
        name = entry.filename.removesuffix(".npy")
        with archive.open(entry) as file:
            arrays[name] = _array(file, entry.file_size, f'{where}: array "{name[:80]}"')
    return arrays


def _array(file: Any, size: int, where: str) -> NDArray[Any]:
    """The array of `size` bytes with its header."""
    source: BinaryIO = file
    try:
        version = np.lib.format.read_magic(source)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(source)
        elif version == (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(source)
        else:
            raise ValueError(f"its format is version {version[0]}.{version[1]}, not 1.0 or 2.0")
        if dtype.hasobject:
            problem = "holds Python objects, not numbers"
            raise UsageError(problem, where=where, remedy="make one array of one dtype of it before saving")
        needed, there = math.prod(shape) * dtype.itemsize, size - source.tell()
        if needed > there or min(shape, default=0) < 0:
            raise ValueError(f"it is cut short: its header says {needed:,} bytes, there are {there:,}")
        source.seek(0)
        return np.lib.format.read_array(source, allow_pickle=False)
    except DAMAGE as error:
        reason = " ".join(str(error).split()) or "it is cut short"
        raise UsageError(f"not a whole .npz or .npy file of numbers: {reason}", where=where) from error


def _is_text(content: bytes) -> bool:
    start = content[:4096]
    return b"\0" not in start and all(byte >= 32 or byte in b"\t\r\n" for byte in start)
