"""Weights written shorter than float32, exactly as firmware/wire/wire_expand.c reads them. See docs/wire.md.

What a device trains from is what `decode` gives, bit for bit: whoever averages must start from that.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.weights import Weights
from tinyfed.wire.messages import Encoding

Floats = NDArray[np.float32]
_SEGMENT = struct.Struct("<If")

# What a person writes, and the capability a device must have.
FORMATS = {"float32": Encoding.PLAIN, "float16": Encoding.FLOAT16, "int8": Encoding.INT8}

_DELTA = "-delta"
# A difference of float32 is as long as the weights, and adding it up again rounds: nobody wants it.
NAMES = ("float32", "float16", "int8", "float16-delta", "int8-delta")


@dataclass(frozen=True)
class WeightsEncoding:
    """How weights go down: `format` is float32, float16 or int8; `delta`: as a difference to what the device holds."""

    format: str = "float32"
    delta: bool = False

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise UsageError(f"allowed are {', '.join(FORMATS)}", key=f"weights encoding {self.format!r}")

    @classmethod
    def named(cls, name: str) -> "WeightsEncoding":
        """The one that a person calls so: one of NAMES. Raises UsageError."""
        return cls(name.removesuffix(_DELTA), name.endswith(_DELTA))

    @property
    def name(self) -> str:
        """What a person calls it: int8, int8-delta."""
        return self.format + _DELTA * self.delta

    @property
    def number(self) -> int:
        """The byte on the wire."""
        return FORMATS[self.format] | (Encoding.DELTA if self.delta else 0)

    def negotiated(self, capabilities: frozenset[str], *, holds_weights: bool) -> "WeightsEncoding":
        """This one, or the nearest that a device with these capabilities takes."""
        if self.format != "float32" and self.format not in capabilities:
            return WeightsEncoding()
        delta = self.delta and holds_weights and "delta" in capabilities
        return WeightsEncoding(self.format, delta)


@dataclass(frozen=True)
class Shortened:
    """Weights as they go over a line, and what a device makes of them."""

    encoding: WeightsEncoding
    content: bytes  # on the line
    weights: Weights  # what the device trains from
    base: bytes | None  # with `delta`: what the device must hold


def shorten(
    encoding: WeightsEncoding, weights: bytes, tensor_sizes: Sequence[int] = (), base: bytes | None = None
) -> Shortened:
    """Both ways at once. Raises what `encode` raises."""
    content = encode(encoding, weights, tensor_sizes, base)
    return Shortened(encoding, content, Weights.of(decode(encoding, content, base)), base if encoding.delta else None)


def encode(
    encoding: WeightsEncoding, weights: bytes, tensor_sizes: Sequence[int] = (), base: bytes | None = None
) -> bytes:
    """The bytes on the wire.

    Args:
        encoding: how.
        weights: float32 little-endian.
        tensor_sizes: values of each tensor, in order; each gets its int8 scale. Empty: all are one tensor.
        base: with `delta`, the weights that the device holds, as long as `weights`.

    Raises:
        UsageError: a weight that is not finite, or for float16 one beyond 65,504.
    """
    if not encoding.delta and encoding.format == "float32":
        return weights
    values = Weights.of(weights).array
    if encoding.delta:
        values = values - _base(base, values)
    if not np.isfinite(values).all():
        raise UsageError("weights that are not finite cannot be sent: lower the learning rate")
    if encoding.format == "float32":
        return Weights.of(values)
    if encoding.format == "float16":
        if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
            raise UsageError("a weight beyond 65,504 does not fit float16: use float32")
        return values.astype("<f2").tobytes()
    sizes = list(tensor_sizes) or [values.size]
    if sum(sizes) != values.size:
        raise UsageError(f"the tensors have {sum(sizes)} values, the weights {values.size}")
    parts = []
    start = 0
    for size in sizes:
        if size == 0:
            continue
        tensor = values[start : start + size]
        start += size
        # a scale that is too small to divide by leaves zeros
        scale = np.float32(np.abs(tensor).max() / np.float32(127))
        quotient = np.zeros_like(tensor) if scale < np.float32(1e-37) else tensor / scale
        steps = np.clip(np.rint(quotient), -127, 127).astype(np.int8)
        parts.append(_SEGMENT.pack(size, scale) + steps.tobytes())
    return b"".join(parts)


def decode(encoding: WeightsEncoding, data: bytes, base: bytes | None = None) -> bytes:
    """The float32 weights that a device makes of it."""
    if not encoding.delta and encoding.format == "float32":
        return data
    if encoding.format == "float32":
        values = Weights.of(data).array
    elif encoding.format == "float16":
        if len(data) % 2:
            raise UsageError(f"the float16 weights end in the middle of one, after {len(data)} bytes")
        values = np.frombuffer(data, "<f2").astype(np.float32)
    else:
        values = _decode_int8(data)
    if encoding.delta:
        values = _base(base, values) + values
    return Weights.of(values)


def _decode_int8(data: bytes) -> Floats:
    parts: list[Floats] = []
    at = 0
    while at < len(data):
        if at + _SEGMENT.size > len(data):
            raise UsageError("the int8 weights end in the head of a tensor")
        size, scale = _SEGMENT.unpack_from(data, at)
        at += _SEGMENT.size
        steps = np.frombuffer(data, np.int8, size, at) if at + size <= len(data) else None
        if steps is None:
            raise UsageError("the int8 weights end in a tensor")
        parts.append(np.float32(scale) * steps.astype(np.float32))
        at += size
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _base(base: bytes | None, values: Floats) -> Floats:
    held = Weights.of(base or b"").array
    if held.size != values.size:
        raise UsageError(f"a difference of {values.size} weights to {held.size} that the device holds")
    return held
