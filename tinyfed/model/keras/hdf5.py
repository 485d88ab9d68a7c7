"""A reader of HDF5 files as Keras writes them, that checks every offset before it follows it.

The HDF5 library can crash or hang on a damaged file. This knows the part of the format that h5py writes unless told
otherwise (superblock 0 and 1, version 1 object headers, symbol-table groups, contiguous and compact data sets,
attributes with fixed and variable-length text); anything else is refused by name. Nothing a file says can make it
read outside the file, recurse, or allocate more than the file's own size: arrays are views.

Source: the HDF5 File Format Specification, version 3.0.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 0xFFFFFFFFFFFFFFFF
MOST_MESSAGES = 4096  # of one object
MOST_LINKS = 65536  # of one group
DEEPEST_TREE = 8
LONGEST_NAME = 1024

_DATASPACE, _DATATYPE, _LINK_INFO, _LINK, _LAYOUT = 0x1, 0x3, 0x2, 0x6, 0x8
_FILTERS, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = 0xB, 0xC, 0x10, 0x11
_FLOATS: dict[int, np.dtype[Any]] = {2: np.dtype("<f2"), 4: np.dtype("<f4"), 8: np.dtype("<f8")}
_INTEGERS: dict[str, np.dtype[Any]] = {f"{s}{n}": np.dtype(f"<{s}{n}") for s in "iu" for n in (1, 2, 4, 8)}
# Exponent and mantissa of IEEE 754: what the properties of those types must say.
_FLOAT_LAYOUTS = {2: (10, 5, 0, 10), 4: (23, 8, 0, 23), 8: (52, 11, 0, 52)}


class Hdf5Error(UsageError):
    """The bytes are not HDF5 that this reads; the message says which object and which offset."""


@dataclass(frozen=True)
class _Type:
    """Of an element. `dtype` None: `kind` "string" (fixed length) or "text" (in the global heap)."""

    kind: str
    size: int
    dtype: np.dtype[Any] | None = None


@dataclass(frozen=True)
class Hdf5File:
    """A file in memory; `what` names it in messages. Raises Hdf5Error."""

    content: bytes
    what: str
    known_links: dict[int, dict[str, int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.content[:8] != SIGNATURE:
            raise Hdf5Error(f"{self.what}: its first bytes are not HDF5's signature")

    def refuse(self, at: int, reason: str) -> Hdf5Error:
        return Hdf5Error(f"{self.what}: offset {at}: {reason}")

    def take(self, at: int, size: int) -> memoryview:
        """`size` bytes of the file."""
        if at < 0 or size < 0 or at + size > len(self.content):
            raise self.refuse(at, f"{size} bytes there leave the file of {len(self.content)} bytes")
        return memoryview(self.content)[at : at + size]

    def number(self, at: int, size: int) -> int:
        if at < 0 or at + size > len(self.content):
            self.take(at, size)
        return int.from_bytes(self.content[at : at + size], "little")

    @property
    def root(self) -> "Group":
        """The group that holds everything."""
        version, offset_bytes, length_bytes = self.number(8, 1), self.number(13, 1), self.number(14, 1)
        if version > 1:
            raise self.refuse(8, f"superblock version {version}; save the model again with h5py's default versions")
        if (offset_bytes, length_bytes) != (8, 8):
            raise self.refuse(13, f"addresses of {offset_bytes} and lengths of {length_bytes} bytes, expected 8")
        start = 24 if version == 0 else 28
        if self.number(start, 8) != 0:
            raise self.refuse(start, "a base address other than 0")
        return Group(self, self.number(start + 40, 8), "/")


@dataclass(frozen=True)
class _Messages:
    """(type, offset, bytes) of every header message of an object."""

    found: tuple[tuple[int, int, int], ...]

    def of(self, kind: int) -> list[tuple[int, int]]:
        return [(at, size) for number, at, size in self.found if number == kind]


def _read_messages(file: Hdf5File, address: int) -> _Messages:
    version = file.number(address, 1)
    if version != 1:
        raise file.refuse(address, f"object header version {version}, expected 1")
    total = file.number(address + 2, 2)
    blocks = [(address + 16, file.number(address + 8, 4))]
    seen = {address + 16}
    found: list[tuple[int, int, int]] = []
    while blocks:
        at, left = blocks.pop(0)
        file.take(at, left)
        while left >= 8 and len(found) < total:
            kind, size, flags = file.number(at, 2), file.number(at + 2, 2), file.number(at + 4, 1)
            if size + 8 > left:
                raise file.refuse(at, f"a header message of {size} bytes where {left - 8} are left")
            if len(found) >= MOST_MESSAGES:
                raise file.refuse(at, f"more than {MOST_MESSAGES} header messages")
            if flags & 2:
                raise file.refuse(at, "a shared header message, which is not read")
            found.append((kind, at + 8, size))
            if kind == _CONTINUATION:
                more = file.number(at + 8, 8)
                if more in seen:
                    raise file.refuse(at, "header blocks that lead in a circle")
                seen.add(more)
                blocks.append((more, file.number(at + 16, 8)))
            at, left = at + 8 + size, left - 8 - size
    return _Messages(tuple(found))


@dataclass(frozen=True)
class _Object:
    file: Hdf5File
    address: int
    path: str
    messages: _Messages = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            messages = _read_messages(self.file, self.address)
        except Hdf5Error as error:
            raise self.refused(error) from error
        object.__setattr__(self, "messages", messages)

    def refused(self, error: Hdf5Error) -> Hdf5Error:
        """The error with this object's path in it, once."""
        text = str(error).removeprefix(f"{self.file.what}: ")
        return error if text.startswith('"') else Hdf5Error(f'{self.file.what}: "{self.path}": {text}')

    def attributes(self) -> dict[str, Any]:
        """Text, lists of text and arrays by name. Raises Hdf5Error."""
        found: dict[str, Any] = {}
        try:
            for at, size in self.messages.of(_ATTRIBUTE):
                name, value = _attribute(self.file, at, size)
                found[name] = value
        except Hdf5Error as error:
            raise self.refused(error) from error
        return found


class Dataset(_Object):
    """An array."""

    def array(self) -> NDArray[Any]:
        """Its values, a view of the file. Raises Hdf5Error."""
        try:
            return self._array()
        except Hdf5Error as error:
            raise self.refused(error) from error

    def _one(self, kind: int, name: str) -> tuple[int, int]:
        found = self.messages.of(kind)
        if len(found) != 1:
            raise self.file.refuse(self.address, f"{len(found)} {name} messages in a data set, expected one")
        return found[0]

    def _array(self) -> NDArray[Any]:
        file = self.file
        if self.messages.of(_FILTERS):
            raise file.refuse(self.address, "a compressed data set; save the model again without compression")
        shape = _shape(file, *self._one(_DATASPACE, "shape"))
        kind = _type(file, *self._one(_DATATYPE, "type"))
        if kind.dtype is None:
            raise file.refuse(self.address, "text where numbers are expected")
        at, size = self._one(_LAYOUT, "layout")
        version, layout = file.number(at, 1), file.number(at + 1, 1)
        if version not in (3, 4) or layout > 1:
            raise file.refuse(at, f"layout {layout} of version {version}; only whole arrays without chunks are read")
        start, stored = (file.number(at + 2, 8), file.number(at + 10, 8))
        if layout == 0:
            start, stored = at + 4, file.number(at + 2, 2)
            if stored + 4 > size:
                raise file.refuse(at, f"{stored} bytes of values in a message of {size}")
        needed = kind.size * math.prod(shape)
        if stored < needed:
            raise file.refuse(at, f"{stored} bytes are stored where shape {list(shape)} needs {needed}")
        if start == UNDEFINED:
            raise file.refuse(at, "values were never written")
        return np.frombuffer(file.take(start, needed), kind.dtype).reshape(shape)


class Group(_Object):
    """Named objects."""

    def links(self) -> dict[str, int]:
        """Address of each member. Raises Hdf5Error."""
        known = self.file.known_links
        if self.address not in known:
            try:
                known[self.address] = self._links()
            except Hdf5Error as error:
                raise self.refused(error) from error
        return known[self.address]

    def _links(self) -> dict[str, int]:
        file = self.file
        if self.messages.of(_LINK) or self.messages.of(_LINK_INFO):
            raise file.refuse(self.address, "a group of the newer form; save the model again with h5py's defaults")
        tables = self.messages.of(_SYMBOL_TABLE)
        if len(tables) != 1:
            raise file.refuse(self.address, "not a group: it has no symbol table")
        at, _ = tables[0]
        tree, heap = file.number(at, 8), file.number(at + 8, 8)
        if bytes(file.take(heap, 4)) != b"HEAP":
            raise file.refuse(heap, "not the names of a group")
        names = file.take(file.number(heap + 24, 8), file.number(heap + 8, 8))
        found: dict[str, int] = {}
        for leaf in _leaves(file, tree):
            if bytes(file.take(leaf, 4)) != b"SNOD":
                raise file.refuse(leaf, "not a list of members")
            for index in range(file.number(leaf + 6, 2)):
                entry = leaf + 8 + 40 * index
                found[_name(file, names, file.number(entry, 8), entry)] = file.number(entry + 8, 8)
                if len(found) > MOST_LINKS:
                    raise file.refuse(leaf, f"more than {MOST_LINKS} members")
        return found

    def member(self, name: str) -> "Group | Dataset | None":
        """The group or data set of that name."""
        address = self.links().get(name)
        if address is None:
            return None
        path = f"{self.path.rstrip('/')}/{name}"
        group = Group(self.file, address, path)
        return group if group.messages.of(_SYMBOL_TABLE) else Dataset(self.file, address, path)

    def find(self, path: str) -> "Group | Dataset | None":
        """What `path`, names with slashes, leads to from here."""
        found: Group | Dataset | None = self
        for name in path.split("/"):
            found = found.member(name) if isinstance(found, Group) else None
        return found


def _leaves(file: Hdf5File, tree: int) -> list[int]:
    """The member lists of a group's tree."""
    level, nodes = DEEPEST_TREE, [tree]
    while True:
        below: list[int] = []
        for node in nodes:
            if bytes(file.take(node, 4)) != b"TREE" or file.number(node + 4, 1) != 0:
                raise file.refuse(node, "not the tree of a group")
            if (own := file.number(node + 5, 1)) >= level:
                raise file.refuse(node, f"a tree of level {own} where less than {level} is expected")
            below += [file.number(node + 32 + 16 * child, 8) for child in range(file.number(node + 6, 2))]
            if len(below) > MOST_LINKS:
                raise file.refuse(node, f"more than {MOST_LINKS} nodes")
        if not nodes or own == 0:
            return below
        level, nodes = own, below


def _name(file: Hdf5File, names: memoryview, at: int, entry: int) -> str:
    end = bytes(names[at : at + LONGEST_NAME]).find(b"\0")
    if at >= len(names) or end < 0:
        raise file.refuse(entry, "a member's name lies outside the names")
    return printable(bytes(names[at : at + end]))


def printable(raw: bytes) -> str:
    """Text on one line: what is not UTF-8 or does not print is shown escaped."""
    text = raw.decode("utf-8", errors="backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shape(file: Hdf5File, at: int, size: int) -> tuple[int, ...]:
    version, rank = file.number(at, 1), file.number(at + 1, 1)
    if version not in (1, 2) or rank > 32:
        raise file.refuse(at, f"a shape of version {version} and {rank} dimensions")
    start = 8 if version == 1 else 4
    if start + 8 * rank > size:
        raise file.refuse(at, f"a shape of {rank} dimensions in {size} bytes")
    return tuple(file.number(at + start + 8 * axis, 8) for axis in range(rank))


def _type(file: Hdf5File, at: int, size: int) -> _Type:
    if size < 8:
        raise file.refuse(at, f"a type in {size} bytes")
    kind, bits, element = file.number(at, 1) & 15, file.number(at + 1, 3), file.number(at + 4, 4)
    if kind == 0 and element in (1, 2, 4, 8) and not bits & 1:
        sign = "i" if bits & 8 else "u"
        return _Type("integer", element, _INTEGERS[f"{sign}{element}"])
    if kind == 1 and element in _FLOATS and not bits & 1 and size >= 20:
        layout = tuple(file.number(at + 12 + place, 1) for place in range(4))
        if layout == _FLOAT_LAYOUTS[element]:
            return _Type("float", element, _FLOATS[element])
    if kind == 3 and element:
        return _Type("string", element)
    if kind == 9 and element == 16 and bits & 15 == 1:
        return _Type("text", 16)
    raise file.refuse(at, f"type class {kind} of {element} bytes; little-endian numbers and text are read")


def _attribute(file: Hdf5File, at: int, size: int) -> tuple[str, Any]:
    version = file.number(at, 1)
    if version not in (1, 2, 3):
        raise file.refuse(at, f"an attribute of version {version}")
    sizes = [file.number(at + 2 + 2 * part, 2) for part in range(3)]
    step = 8 if version == 1 else 1
    padded = [-(-part // step) * step for part in sizes]
    start = at + (9 if version == 3 else 8)
    if start + sum(padded) > at + size:
        raise file.refuse(at, f"an attribute that leaves its message of {size} bytes")
    name = printable(bytes(file.take(start, sizes[0])).rstrip(b"\0"))
    type_at = start + padded[0]
    kind = _type(file, type_at, sizes[1])
    shape = _shape(file, type_at + padded[1], sizes[2])
    values_at = start + sum(padded)
    count = math.prod(shape)
    if values_at + kind.size * count > at + size:
        raise file.refuse(at, f'attribute "{name}" of shape {list(shape)} leaves its message of {size} bytes')
    values = file.take(values_at, kind.size * count)
    if kind.dtype is not None:
        return name, np.frombuffer(values, kind.dtype).reshape(shape)
    if kind.kind == "string":
        texts = [bytes(values[k * kind.size : (k + 1) * kind.size]).rstrip(b"\0") for k in range(count)]
    else:
        texts = [_heap_text(file, values_at + 16 * k) for k in range(count)]
    return name, texts if shape else texts[0]


def _heap_text(file: Hdf5File, at: int) -> bytes:
    """Variable-length text: its length, and where it lies in a global heap."""
    length, heap, wanted = file.number(at, 4), file.number(at + 4, 8), file.number(at + 12, 4)
    if length == 0:
        return b""
    if bytes(file.take(heap, 4)) != b"GCOL":
        raise file.refuse(heap, "not a global heap, where an attribute's text should be")
    end = heap + file.number(heap + 8, 8)
    file.take(heap, end - heap)
    place = heap + 16
    while place + 16 <= end:
        index, size = file.number(place, 2), file.number(place + 8, 8)
        if index == 0:
            break
        if index == wanted:
            if length > size:
                raise file.refuse(place, f"text of {length} bytes in {size}")
            return bytes(file.take(place + 16, length))
        place += 16 + -(-size // 8) * 8
    raise file.refuse(at, f"text {wanted} is not in the global heap at {heap}")
