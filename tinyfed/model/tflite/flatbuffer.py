"""A reader of flatbuffers that checks every offset before it follows it.

It knows the encoding only (tables, vectors, strings), not a schema. Nothing a file says can make it read outside
the file, recurse, or allocate more than the file's own size: vectors are views.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.text import printable

_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
# Names are shown in messages and turned into identifiers; nobody needs longer ones.
LONGEST_STRING = 4096


class FlatbufferError(UsageError):
    """The bytes are not what the flatbuffer encoding allows; the message says where."""


def _unpack(buffer: bytes, layout: struct.Struct, position: int, what: str) -> int:
    if position < 0 or position + layout.size > len(buffer):
        raise FlatbufferError(f"offset {position} is outside the file of {len(buffer)} bytes", key=what)
    value = layout.unpack_from(buffer, position)[0]
    assert isinstance(value, int)
    return value


@dataclass(frozen=True)
class Table:
    """A table at `position`. `what` names it in messages."""

    buffer: bytes
    position: int
    what: str

    def _field(self, slot: int, width: int) -> int | None:
        """Position of the field's `width` bytes, or None where the writer left the default."""
        vtable = self.position - _unpack(self.buffer, _I32, self.position, self.what)
        vtable_bytes = _unpack(self.buffer, _U16, vtable, self.what)
        table_bytes = _unpack(self.buffer, _U16, vtable + 2, self.what)
        if vtable_bytes < 4 or vtable_bytes % 2 or vtable + vtable_bytes > len(self.buffer):
            raise FlatbufferError(f"table of {vtable_bytes} field bytes at offset {vtable} is not valid", key=self.what)
        if self.position + table_bytes > len(self.buffer):
            raise FlatbufferError(f"{table_bytes} bytes at offset {self.position} leave the file", key=self.what)
        if 4 + 2 * slot >= vtable_bytes:
            return None
        offset = _unpack(self.buffer, _U16, vtable + 4 + 2 * slot, self.what)
        if offset == 0:
            return None
        if offset < 4 or offset + width > table_bytes:
            raise FlatbufferError(f"field {slot} lies outside its table", key=self.what)
        return self.position + offset

    def scalar(self, slot: int, layout: str, default: Any) -> Any:
        """A number: `layout` is a struct code ("b", "i", "I", "f", "?" ...)."""
        packer = struct.Struct("<" + layout)
        position = self._field(slot, packer.size)
        return default if position is None else packer.unpack_from(self.buffer, position)[0]

    def _target(self, slot: int) -> int | None:
        position = self._field(slot, 4)
        if position is None:
            return None
        return position + _unpack(self.buffer, _U32, position, self.what)

    def _vector(self, slot: int, width: int) -> tuple[int, int]:
        """Position of the first element and their number; (0, 0) where there is no vector."""
        start = self._target(slot)
        if start is None:
            return 0, 0
        count = _unpack(self.buffer, _U32, start, self.what)
        if count * width > len(self.buffer) - start - 4:
            raise FlatbufferError(f"field {slot} announces {count} elements, more than the file holds", key=self.what)
        return start + 4, count

    def vector(self, slot: int, dtype: str) -> NDArray[Any]:
        """A vector of numbers, little-endian, as a read-only view; empty where there is none."""
        element = np.dtype(dtype).newbyteorder("<")
        start, count = self._vector(slot, element.itemsize)
        return np.frombuffer(self.buffer, dtype=element, count=count, offset=start)

    def string(self, slot: int) -> str:
        """Text on one line: bytes that are not UTF-8 and characters that do not print are shown escaped."""
        start, count = self._vector(slot, 1)
        if count > LONGEST_STRING:
            raise FlatbufferError(f"a name of {count} bytes; at most {LONGEST_STRING} are read", key=self.what)
        return printable(self.buffer[start : start + count].decode("utf-8", errors="backslashreplace"))

    def table(self, slot: int, what: str) -> "Table | None":
        """The table a field points to."""
        position = self._target(slot)
        return None if position is None else Table(self.buffer, position, what)

    def tables(self, slot: int, what: str, most: int) -> "list[Table]":
        """A vector of tables, at most `most`; element i is named "{what} i"."""
        start, count = self._vector(slot, 4)
        if count > most:
            raise FlatbufferError(f"{count} times {what}; at most {most} are read", key=self.what)
        found = []
        for index in range(count):
            position = start + 4 * index
            target = position + _unpack(self.buffer, _U32, position, self.what)
            found.append(Table(self.buffer, target, f"{what} {index}"))
        return found


def root(buffer: bytes, identifier: bytes, what: str) -> Table:
    """The root table of a file whose bytes 4 to 8 are `identifier`."""
    if len(buffer) < 8 or buffer[4:8] != identifier:
        raise FlatbufferError(f"bytes 4 to 8 are not {identifier.decode()!r}", key=what)
    return Table(buffer, _unpack(buffer, _U32, 0, what), what)
