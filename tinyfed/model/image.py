"""The model image of docs/model-image.md: the bytes a device runs and trains in place."""

import math
import struct
import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinyfed.engine import hash64, model_open
from tinyfed.errors import UsageError
from tinyfed.model import spec as s
from tinyfed.model.records import (
    HAS_BIAS,
    KIND_NAMES,
    KINDS,
    RECORD,
    RECORD_BYTES,
    TRAIN_BIAS,
    Record,
    lower,
    parameter_shapes,
    three,
)

Weights = NDArray[np.float32]

MAGIC = b"TFM1"
VERSION = 1
HEADER = struct.Struct("<4sHHIIQIIHHBBBBHHII12s")
HEADER_BYTES = HEADER.size
assert HEADER_BYTES == 64
CRC_AT, HASH_AT, STRUCTURE_AT = 12, 16, 24


def _checked(weights: NDArray[np.floating], count: int) -> Weights:
    array = np.ascontiguousarray(weights, dtype="<f4")
    if array.shape != (count,):
        raise UsageError(f"the model has {count} parameters in one flat vector, not an array of shape {weights.shape}")
    return array


def encode(spec: s.ModelSpec, weights: NDArray[np.floating]) -> bytes:
    """The image of a model. `weights`: float32, shape (spec.parameter_count,). Raises `UsageError`."""
    records = lower(spec)
    count = sum(record.parameter_count for record in records)
    table = b"".join(record.pack() for record in records)
    return _assemble(spec, table, len(records), _checked(weights, count).tobytes())


def _assemble(spec: s.ModelSpec, table: bytes, layers: int, payload: bytes) -> bytes:
    if len(spec.frozen) % 16:
        raise UsageError(f"the frozen int8 program has {len(spec.frozen)} bytes, not a multiple of 16: encode it again")
    table += spec.frozen
    offset = HEADER_BYTES + len(table)
    header = HEADER.pack(
        MAGIC, VERSION, HEADER_BYTES, offset + len(payload), 0, 0, offset, len(payload) // 4, layers,
        RECORD_BYTES, s.LOSSES.index(spec.loss) + 1, len(spec.input_shape), 1, 0, *three(spec.input_shape),
        len(spec.frozen), bytes(12),
    )  # fmt: skip
    image = bytearray(header + table + payload)
    struct.pack_into("<Q", image, HASH_AT, hash64(bytes(image[STRUCTURE_AT:offset])))
    _seal(image)
    return bytes(image)


def _seal(image: bytearray) -> None:
    crc = zlib.crc32(image[HASH_AT:], zlib.crc32(image[:CRC_AT]))
    struct.pack_into("<I", image, CRC_AT, crc)


def read_weights(image: bytes) -> Weights:
    """A copy of the flat float32 weights, shape (parameter_count,). Trusts a checked image."""
    offset, count = struct.unpack_from("<II", image, STRUCTURE_AT)
    return np.frombuffer(image, dtype="<f4", count=count, offset=offset).astype(np.float32)


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
    return bool(fields[17]) or KINDS["standardize"] in kinds


def replace_weights(image: bytes, weights: NDArray[np.floating]) -> bytes:
    """The same model with other weights, checksum and all."""
    offset, count = struct.unpack_from("<II", image, STRUCTURE_AT)
    result = bytearray(image)
    result[offset:] = _checked(weights, count).tobytes()
    _seal(result)
    return bytes(result)


def structure_hash(image: bytes) -> int:
    """Equal for images that can exchange weights."""
    return int(struct.unpack_from("<Q", image, HASH_AT)[0])


def weights_hash(weights: NDArray[np.floating]) -> int:
    """FNV-1a of the little-endian float32 values, as a device reports it."""
    return hash64(np.ascontiguousarray(weights, dtype="<f4").tobytes())


def read_records(image: bytes) -> tuple[s.Shape, str, list[Record]]:
    """Input shape, loss and records. Raises `ImageError` with the reason and the offset."""
    model_open(image)  # the one that validates: the same code as on the device
    fields = HEADER.unpack_from(image)
    layers, loss, rank, shape = fields[8], fields[10], fields[11], fields[14:17]
    input_shape: s.Shape = tuple(shape[3 - rank :])
    shapes = [input_shape]
    records: list[Record] = []
    for index in range(layers):
        values = RECORD.unpack_from(image, HEADER_BYTES + index * RECORD_BYTES)
        kind, flags, source = KIND_NAMES[values[0]], values[2], values[13]
        rank = values[3] if kind == "reshape" else 1 if kind in ("dense", "global_average") else len(shapes[source])
        record = Record(
            kind, tuple(values[4:7][3 - rank :]), s.ACTIVATIONS[values[1]], flags, values[3], values[7:9],
            values[9:11], values[11:13], source, values[14], values[16], values[17],
        )  # fmt: skip
        records.append(_with_parameters(record, shapes[source]))
        shapes.append(record.shape)
    return input_shape, s.LOSSES[loss - 1], records


def _with_parameters(record: Record, source: s.Shape) -> Record:
    channels = record.shape[-1]
    match record.kind:
        case "dense":
            weights: s.Shape = (math.prod(source), channels)
        case "conv2d":
            weights = (*record.kernel, source[-1], channels)
        case "depthwise":
            weights = (*record.kernel, channels, 1)
        case "scale":
            weights = (channels,)
        case "standardize":
            count = math.prod(source)
            return replace(record, parameter_shapes=((count,), (count,), (1,)))
        case _:
            return record
    shapes = parameter_shapes(weights, record.shape, bool(record.flags & HAS_BIAS))
    return replace(record, parameter_shapes=shapes)


def decode(image: bytes) -> tuple[s.ModelSpec, Weights]:
    """The model and its flat weights. Raises `ImageError` with the reason and the offset."""
    input_shape, loss, records = read_records(image)
    layers = tuple(_raise_layer(record, index) for index, record in enumerate(records))
    return s.ModelSpec(input_shape, layers, loss, read_frozen(image)), read_weights(image)


def _raise_layer(record: Record, index: int) -> s.Layer:
    source = None if record.input == index else record.input
    slope = record.alpha if record.activation == "leaky_relu" else 0.2
    use_bias, trainable = bool(record.flags & HAS_BIAS), record.trains_weights
    bias_learns = bool(record.flags & TRAIN_BIAS)
    trainable_bias = None if bias_learns == trainable or not use_bias else bias_learns
    weighted = (record.activation, use_bias, trainable, trainable_bias, slope, source)
    padding = ("valid", "same")[record.mode] if record.mode < 2 else ""
    channels, sequence = record.shape[-1], len(record.shape) == 2
    match record.kind:
        case "dense":
            return s.Dense(channels, *weighted)
        case "conv2d" if sequence and record.kernel[0] == record.stride[0] == 1:
            return s.Conv1D(channels, record.kernel[1], record.stride[1], padding, *weighted)
        case "conv2d":
            return s.Conv2D(channels, record.kernel, record.stride, padding, *weighted)
        case "depthwise":
            return s.DepthwiseConv2D(record.kernel, record.stride, padding, *weighted)
        case "max_pool":
            return s.MaxPool(record.kernel, record.stride, padding, source)
        case "average_pool":
            return s.AveragePool(record.kernel, record.stride, padding, source)
        case "global_average":
            return s.GlobalAveragePool(source)
        case "add":
            return s.Add(record.input_b, record.activation, slope, source)
        case "scale":
            return s.ScaleShift(*weighted)
        case "standardize":
            return s.Standardize(int(record.alpha), source)
        case "activation":
            return s.Activation(record.activation, slope, source)
        case _ if len(record.shape) == 1:
            return s.Flatten(source)
        case _:
            return s.Reshape(record.shape, source)


__all__ = [
    "decode",
    "encode",
    "read_frozen",
    "read_records",
    "read_weights",
    "replace_weights",
    "structure_hash",
    "weights_hash",
]
