"""The model image of docs/model-image.md: the bytes a device runs and trains in place."""

import struct
import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinyfed.engine import hash64, model_open
from tinyfed.errors import UsageError
from tinyfed.model.layers import KINDS, NUMBERS, layer_of_record
from tinyfed.model.layers.base import ACTIVATIONS, RECORD, RECORD_BYTES, Record, Shape, three
from tinyfed.model.spec import LOSSES, ModelSpec
from tinyfed.weights import Content, Weights

Array = NDArray[np.float32]

MAGIC = b"TFM1"
VERSION = 1
HEADER = struct.Struct("<4sHHIIQIIHHBBBBHHII12s")
HEADER_BYTES = HEADER.size
assert HEADER_BYTES == 64
CRC_AT, HASH_AT, STRUCTURE_AT = 12, 16, 24


def _checked(weights: Weights | NDArray[np.floating], count: int) -> Weights:
    shape = (weights.size,) if isinstance(weights, Weights) else weights.shape
    if shape != (count,):
        raise UsageError(f"the model has {count} parameters in one flat vector, not an array of shape {shape}")
    return Weights.of(weights)


def encode(spec: ModelSpec, weights: Weights | NDArray[np.floating]) -> bytes:
    """The image of a model. `weights`: float32, shape (spec.parameter_count,). Raises `UsageError`."""
    payload = _checked(weights, spec.parameter_count)
    if len(spec.frozen) % 16:
        raise UsageError(f"the frozen int8 program has {len(spec.frozen)} bytes, not a multiple of 16: encode it again")
    table = b"".join(record.pack() for record in spec.records) + spec.frozen
    offset = HEADER_BYTES + len(table)
    header = HEADER.pack(
        MAGIC, VERSION, HEADER_BYTES, offset + len(payload), 0, 0, offset, len(payload) // 4, len(spec.layers),
        RECORD_BYTES, LOSSES.index(spec.loss) + 1, len(spec.input_shape), 1, 0, *three(spec.input_shape),
        len(spec.frozen), bytes(12),
    )  # fmt: skip
    image = bytearray(header + table + payload)
    struct.pack_into("<Q", image, HASH_AT, hash64(bytes(image[STRUCTURE_AT:offset])))
    _seal(image)
    return bytes(image)


def _seal(image: bytearray) -> None:
    crc = zlib.crc32(image[HASH_AT:], zlib.crc32(image[:CRC_AT]))
    struct.pack_into("<I", image, CRC_AT, crc)


def read_weights(image: bytes) -> Array:
    """A copy of the flat float32 weights, shape (parameter_count,). Trusts a checked image."""
    offset, count = struct.unpack_from("<II", image, STRUCTURE_AT)
    return Weights(image[offset : offset + 4 * count]).array.copy()


def read_frozen(image: bytes) -> bytes:
    """The int8 program before the first layer, or nothing. Trusts a checked image."""
    fields = HEADER.unpack_from(image)
    start = HEADER_BYTES + RECORD_BYTES * fields[8]
    return bytes(image[start : start + fields[17]])


def needs_int8(image: bytes) -> bool:
    """Does it run only on a device with the capability `frozen`? For a frozen network or running statistics."""
    if len(image) < HEADER_BYTES or image[:4] != MAGIC:
        return False
    fields = HEADER.unpack_from(image)
    kinds = image[HEADER_BYTES : HEADER_BYTES + RECORD_BYTES * fields[8] : RECORD_BYTES]
    return bool(fields[17]) or KINDS["standardize"].number in kinds


def replace_weights(image: bytes, weights: Weights | NDArray[np.floating]) -> Content:
    """The same model with other weights, checksum and all."""
    offset, count = struct.unpack_from("<II", image, STRUCTURE_AT)
    result = bytearray(image)
    result[offset:] = _checked(weights, count)
    _seal(result)
    return Content(result)


def structure_hash(image: bytes) -> int:
    """Equal for images that can exchange weights."""
    return int(struct.unpack_from("<Q", image, HASH_AT)[0])


def weights_hash(weights: NDArray[np.floating]) -> int:
    """FNV-1a of the little-endian float32 values, as a device reports it."""
    return Weights.of(weights).hash64


def read_records(image: bytes) -> tuple[Shape, str, list[Record]]:
    """Input shape, loss and records. Raises `ImageError` with the reason and the offset."""
    model_open(image)  # the one that validates: the same code as on the device
    fields = HEADER.unpack_from(image)
    layers, loss, rank, shape = fields[8], fields[10], fields[11], fields[14:17]
    shapes: list[Shape] = [tuple(shape[3 - rank :])]
    records: list[Record] = []
    for index in range(layers):
        values = RECORD.unpack_from(image, HEADER_BYTES + index * RECORD_BYTES)
        rules, source = NUMBERS[values[0]], shapes[values[13]]
        record = Record(
            rules, tuple(values[4:7]), ACTIVATIONS[values[1]], values[2], values[3], values[7:9], values[9:11],
            values[11:13], values[13], values[14] if rules.inputs == 2 else None, values[16], values[17],
        )  # fmt: skip
        record = replace(record, shape=record.shape[3 - rules.rank(record, source) :])
        records.append(replace(record, parameter_shapes=rules.parameter_shapes(record, source)))
        shapes.append(record.shape)
    return shapes[0], LOSSES[loss - 1], records


def decode(image: bytes) -> tuple[ModelSpec, Array]:
    """The model and its flat weights. Raises `ImageError` with the reason and the offset."""
    input_shape, loss, records = read_records(image)
    layers = tuple(layer_of_record(record, index) for index, record in enumerate(records))
    return ModelSpec(input_shape, layers, loss, read_frozen(image)), read_weights(image)
