"""What comes back of a visit that shares only a part of its weights: the bytes of docs/order.md, read."""

import math
import struct

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model.image import read_records
from tinyfed.weights import Weights
from tinyfed.wire.encodings import WeightsEncoding, decode
from tinyfed.wire.order import Order

_HEAD = struct.Struct("<BBHIII")
VERSION = 1
BITMAP, GAPS = 1, 2


def layer_sizes(image: bytes) -> tuple[int, ...]:
    """Parameters of each layer of a model image that has any, in order."""
    _, _, records = read_records(image)
    sizes = (sum(math.prod(shape) for shape in record.parameter_shapes) for record in records)
    return tuple(size for size in sizes if size)


def shared_part(order: Order, sizes: tuple[int, ...]) -> tuple[int, int]:
    """First and number of the values an order shares. Raises UsageError when its local layers leave none."""
    end = len(sizes) - order.local_last
    if order.local_first >= end:
        local = order.local_first + order.local_last
        problem = f"{local} local layers, the model has {len(sizes)} with parameters: leave one that is shared"
        raise UsageError(problem, where="order", key="local_last", value=f"{order.local_last}")
    return sum(sizes[: order.local_first]), sum(sizes[order.local_first : end])


def expand(order: Order, content: bytes, base: bytes, part: tuple[int, int]) -> Weights:
    """All weights, float32: those of `base`, which the visit began with, and in their place those that came back.

    Raises UsageError when the bytes are not an update for this order and part.
    """
    first, count = part
    weights = Weights.of(base).array.copy()
    if order.answer != "float32":
        content = decode(WeightsEncoding.named(order.answer), content, Weights.of(weights[first : first + count]))
    if not order.top:
        if len(content) != 4 * count:
            raise UsageError(f"{len(content)} bytes where {count} weights are expected", where="update")
        weights[first : first + count] = Weights.of(content).array
        return Weights.of(weights)
    indices, values = read_update(content, part)
    weights[first + indices] = values
    return Weights.of(weights)


def read_update(content: bytes, part: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices within the part, ascending, and values of an update. Raises UsageError when it is damaged."""
    if len(content) < _HEAD.size:
        raise UsageError(f"{len(content)} bytes are no update", where="update")
    version, coding, reserved, first, count, chosen = _HEAD.unpack_from(content)
    at = _HEAD.size + 4 * chosen
    if version != VERSION or reserved or (first, count) != part or chosen > count or at > len(content):
        raise UsageError("its head is wrong: docs/order.md says what it holds", where="update")
    listed = content[at:]
    if coding == BITMAP and len(listed) == (count + 7) // 8:
        bits = np.unpackbits(np.frombuffer(listed, np.uint8), bitorder="little")
        indices = np.flatnonzero(bits)
    elif coding == GAPS:
        indices = np.cumsum(_gaps(listed) + 1) - 1
    else:
        raise UsageError(f"coding {coding} with {len(listed)} bytes of indices is unknown", where="update")
    if len(indices) != chosen or (chosen and indices[-1] >= count):
        raise UsageError("its indices do not fit its values", where="update")
    return indices, Weights(content[_HEAD.size : at]).array


def _gaps(listed: bytes) -> NDArray[np.int64]:
    """Numbers in groups of seven bits, the lowest first."""
    found, value, shift = [], 0, 0
    for byte in listed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value)
            value, shift = 0, 0
        elif shift > 28:
            raise UsageError("a gap is longer than 32 bits", where="update")
    if shift:
        raise UsageError("it ends in a gap", where="update")
    return np.array(found, np.int64)
