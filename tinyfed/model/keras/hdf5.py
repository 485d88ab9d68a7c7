"""HDF5 files by h5py, which damaged files can crash: it reads in a process of its own and hands over plain arrays.

What comes back has no offsets left to follow: groups, arrays and attributes in memory. Nothing outside the file is
read: links to other places, virtual arrays and external storage are refused. docs/decisions/010-hdf5.md says why.
"""

import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model.isolated import isolated
from tinyfed.text import first_line, printable

SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST_BYTES = 1 << 29  # of all arrays, unpacked
MOST_OBJECTS = 65536  # groups, arrays and attributes of a file
DEEPEST_GROUP = 64
# By the clock, so with room for a computer that is busy: for any file, and more for a large one.
LONGEST_S, SLOWEST_BYTES_PER_S = 60.0, 2 << 20
# What the process may take beside the file's bytes and the arrays, each once more.
WORK_BYTES = 256 << 20
_NUMBERS = "biuf"  # NumPy's kinds


class Hdf5Error(UsageError):
    """The bytes are not HDF5 that this reads; `key` is the path of the object inside, in quotes."""


@dataclass(frozen=True)
class Dataset:
    """An array, in this computer's byte order, and its attributes."""

    values: NDArray[Any]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Named groups and arrays. Attributes: `bytes` for text, lists of them, and arrays of numbers."""

    members: dict[str, Union["Group", Dataset]]
    attributes: dict[str, Any]

    def find(self, path: str) -> Union["Group", Dataset, None]:
        """What `path`, names with slashes, leads to from here."""
        found: Group | Dataset | None = self
        for name in path.split("/"):
            found = found.members.get(name) if isinstance(found, Group) else None
        return found


def read(content: bytes, source: str, without: Collection[str] = ()) -> Group:
    """Everything in a file, but the members of its root that are named in `without`.

    `source` names the file in errors. Raises Hdf5Error where it is damaged or holds what is not read, UsageError where
    reading it crashes, takes too long (LONGEST_S for a small file), or more memory than LARGEST_BYTES of arrays need.
    """
    memory_bytes = 2 * len(content) + 2 * LARGEST_BYTES + WORK_BYTES
    longest_s = LONGEST_S + len(content) // SLOWEST_BYTES_PER_S
    arguments = (content, source, tuple(without))
    return isolated(read_here, *arguments, source=source, memory_bytes=memory_bytes, longest_s=longest_s)


def read_here(content: bytes, source: str, without: Collection[str] = ()) -> Group:
    """`read` in this process, which a damaged file may end. Raises Hdf5Error."""
    import h5py

    reader = _Reader(h5py)
    try:
        with h5py.File(h5py.h5f.open_file_image(content)) as file:
            return reader.group(file, set(without))
    except Hdf5Error as error:
        raise error.located(source, f'"{printable(reader.path)}"') from error
    except MemoryError:
        raise
    except Exception as error:  # whatever h5py raises, which is of many kinds, is about the file
        key = f'"{printable(reader.path)}"' if reader.path else ""
        raise Hdf5Error(f"damaged HDF5: {first_line(error)}", where=source, key=key) from error


class _Reader:
    """Takes a file's objects over, and counts what they come to. `path`: of the object at hand."""

    def __init__(self, h5py: Any) -> None:
        self.h5py = h5py
        self.path = ""
        self.objects = 0
        self.bytes = 0

    def group(self, group: Any, without: Collection[str] = (), path: str = "/", depth: int = 0) -> Group:
        if depth > DEEPEST_GROUP:
            raise Hdf5Error(f"groups more than {DEEPEST_GROUP} deep")
        self.path = path
        attributes = self._attributes(group)
        members: dict[str, Group | Dataset] = {}
        for name in group:
            if name in without:
                continue
            self.path = f"{path.rstrip('/')}/{name}"
            self._count()
            if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
                raise Hdf5Error("a link to another place, which is not followed")
            member = group[name]
            if isinstance(member, self.h5py.Group):
                members[name] = self.group(member, (), self.path, depth + 1)
            elif isinstance(member, self.h5py.Dataset):
                members[name] = Dataset(self._values(member), self._attributes(member))
            else:
                raise Hdf5Error("neither a group nor an array")
        return Group(members, attributes)

    def _count(self) -> None:
        self.objects += 1
        if self.objects > MOST_OBJECTS:
            raise Hdf5Error(f"more than {MOST_OBJECTS:,} groups, arrays and attributes")

    def _values(self, dataset: Any) -> NDArray[Any]:
        if dataset.is_virtual or dataset.external:
            raise Hdf5Error("its values lie in other files, which are not read")
        if dataset.dtype == np.dtype("V2"):  # HDF5 has no such type: Keras keeps the bytes
            raise Hdf5Error("holds bfloat16; convert a model with the float32 policy")
        if dataset.dtype.kind not in _NUMBERS or dataset.shape is None:
            raise Hdf5Error(f"holds {dataset.dtype} where numbers are expected")
        self.bytes += dataset.nbytes
        if self.bytes > LARGEST_BYTES:
            raise Hdf5Error(f"up to here the file unpacks to more than {LARGEST_BYTES:,} bytes")
        if dataset.size and not dataset.id.get_storage_size():
            raise Hdf5Error("its values were never written")
        return np.asarray(dataset[()], dataset.dtype.newbyteorder("="))

    def _attributes(self, item: Any) -> dict[str, Any]:
        return {name: self._attribute(name, item.attrs[name]) for name in self._counted(item.attrs)}

    def _counted(self, names: Any) -> Iterator[str]:
        for name in names:
            self._count()
            yield name

    def _attribute(self, name: str, value: Any) -> Any:
        if isinstance(value, str | bytes):
            return _text(value)
        values = np.asarray(value)
        if values.dtype.kind in _NUMBERS:
            return values.astype(values.dtype.newbyteorder("="))
        texts = values.reshape(-1).tolist()
        if not all(isinstance(text, str | bytes) for text in texts):
            raise Hdf5Error(f'attribute "{printable(name)}" is neither text nor numbers')
        return [_text(text) for text in texts]


def _text(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)


def write(root: Group) -> bytes:
    """An HDF5 file of what was read, in h5py's default form. Raises what h5py raises about names and sizes."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        waiting: list[tuple[Group, Any]] = [(root, file)]
        while waiting:
            group, target = waiting.pop()
            target.attrs.update(group.attributes)
            for name, member in group.members.items():
                if isinstance(member, Group):
                    waiting.append((member, target.create_group(name)))
                else:
                    target.create_dataset(name, data=member.values).attrs.update(member.attributes)
    return buffer.getvalue()
