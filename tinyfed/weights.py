"""A model's weights on their way: one immutable object from the strategy's state to the line and back."""

import hashlib
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tinyfed.engine import hash64


class Content(bytes):
    """Bytes that go to devices, perhaps to many: their hash is computed once."""

    @cached_property
    def hash64(self) -> int:
        """FNV-1a, 64 bit, as a device computes it."""
        return hash64(self)


class Weights(Content):
    """All weights of a model in the image's order: their float32 little-endian bytes. Arithmetic is done on `array`."""

    @classmethod
    def of(cls, values: "bytes | NDArray[np.floating]") -> "Weights":
        """From an array of any shape, rounded to float32, or from bytes; what is one already stays the same object."""
        if isinstance(values, cls):
            return values
        return cls(values if isinstance(values, bytes) else np.ascontiguousarray(values, "<f4").tobytes())

    @property
    def array(self) -> NDArray[np.float32]:
        """(parameters,), float32. A view: it cannot be written to."""
        return np.frombuffer(self, "<f4").astype(np.float32, copy=False)

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self) // 4

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal, of the bytes."""
        return hashlib.sha256(self).hexdigest()


def content_hash(content: bytes) -> int:
    """`Content.hash64` of any bytes."""
    return content.hash64 if isinstance(content, Content) else hash64(content)
