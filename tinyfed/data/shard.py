"""A client's samples as they lie in a board's data flash: docs/shard.md."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError

MAGIC = b"TFSH"
# What a sample holds: version and feature type of a shard.
FEATURES = (1, 1)
FEATURES_AND_TARGETS = (2, 2)
TARGETS_MAX = 65535
HEADER_BYTES = 32
ALIGNMENT = 16
CLASS_SAMPLES_MAX = 65535
_HEADER = struct.Struct("<4sBBHIIIIII")


@dataclass(frozen=True)
class Shard:
    """Samples by class: one array (samples, features) float32 for each class; or one array in order of time, and what
    each sample's `targets` (samples, targets) are."""

    classes: tuple[NDArray[np.float32], ...]
    targets: NDArray[np.float32] | None = None

    @property
    def feature_count(self) -> int:
        """Numbers in a sample."""
        return int(self.classes[0].shape[1])

    @property
    def sample_count(self) -> int:
        """Samples of all classes."""
        return sum(len(samples) for samples in self.classes)


def write_shard(classes: Sequence[NDArray[np.floating]], targets: NDArray[np.floating] | None = None) -> bytes:
    """The bytes of docs/shard.md from one array (samples, features) for each class, stored as float32; with `targets`
    (samples, targets), from one array, whose samples stay in their order.

    Raises UsageError when the shapes do not fit together, a class is empty or too large, or a value is not finite.
    """
    if not 1 <= len(classes) <= CLASS_SAMPLES_MAX:
        raise UsageError(f"shard: {len(classes)} classes, allowed is 1 to {CLASS_SAMPLES_MAX}")
    with np.errstate(over="ignore"):  # told below
        arrays = [np.ascontiguousarray(samples, dtype="<f4") for samples in classes]
    features = arrays[0].shape[1] if arrays[0].ndim == 2 else 0
    width = 0
    if targets is not None:
        width = targets.shape[1] if targets.ndim == 2 and len(classes) == 1 and len(targets) == len(arrays[0]) else 0
        if not 1 <= width <= TARGETS_MAX or not features:
            raise UsageError(f"shard: targets of shape {targets.shape} for samples of shape {arrays[0].shape}")
        with np.errstate(over="ignore"):
            arrays = [np.concatenate([arrays[0], targets.astype("<f4")], axis=1)]
    for label, samples in enumerate(arrays):
        if samples.ndim != 2 or samples.shape[1] != features + width or features == 0:
            raise UsageError(
                f"shard: class {label} has shape {samples.shape}, needed is (samples, {features or 'features'})"
            )
        if not 1 <= len(samples) <= CLASS_SAMPLES_MAX:
            raise UsageError(f"shard: class {label} has {len(samples)} samples, allowed is 1 to {CLASS_SAMPLES_MAX}")
        if not np.isfinite(samples).all():
            raise UsageError(f"shard: class {label} holds NaN or infinity in float32: clean the data first")
    ends = np.cumsum([len(samples) for samples in arrays], dtype=np.uint32).astype("<u4").tobytes()
    offset = -(-(HEADER_BYTES + len(ends)) // ALIGNMENT) * ALIGNMENT
    body = ends.ljust(offset - HEADER_BYTES, b"\0") + b"".join(samples.tobytes() for samples in arrays)
    total = HEADER_BYTES + len(body)
    count = sum(len(samples) for samples in arrays)
    if total > 0xFFFFFFFF:
        raise UsageError("shard: larger than 4 GB: give the client fewer samples")
    version = FEATURES_AND_TARGETS if width else FEATURES
    head = _HEADER.pack(MAGIC, *version, width, features, len(arrays), count, offset, total, 0)
    crc = zlib.crc32(body, zlib.crc32(head[:28]))
    return head[:28] + struct.pack("<I", crc) + body


def read_shard(data: bytes) -> Shard:
    """The arrays of a shard; trailing bytes (of the flash) are ignored. Raises UsageError saying what is wrong."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        raise UsageError("shard: it does not begin with 'TFSH': not a shard")
    _, version, kind, width, features, classes, samples, offset, total, crc = _HEADER.unpack_from(data)
    if (version, kind) != (FEATURES_AND_TARGETS if width else FEATURES):
        raise UsageError(f"shard: version {version}, feature type {kind}: this tinyfed reads versions 1 and 2, float32")
    if total > len(data):
        raise UsageError(f"shard: {len(data)} bytes of {total}: it is cut short")
    expected = -(-(HEADER_BYTES + 4 * classes) // ALIGNMENT) * ALIGNMENT
    if (
        not features
        or not 0 < classes <= (1 if width else CLASS_SAMPLES_MAX)
        or offset != expected
        or total != offset + 4 * (features + width) * samples
    ):
        raise UsageError("shard: its sizes do not fit together: it is damaged")
    if crc != zlib.crc32(data[HEADER_BYTES:total], zlib.crc32(data[:28])):
        raise UsageError("shard: the CRC-32 does not match: it is damaged")
    if any(data[HEADER_BYTES + 4 * classes : offset]):
        raise UsageError("shard: reserved bytes behind the class table are not 0: it is damaged")
    ends = np.frombuffer(data, "<u4", classes, HEADER_BYTES).astype(np.int64)
    counts = np.diff(ends, prepend=0)
    if ends[-1] != samples or counts.min() < 1 or counts.max() > CLASS_SAMPLES_MAX:
        raise UsageError("shard: the class table does not fit the samples: it is damaged")
    values = np.frombuffer(data, "<f4", samples * (features + width), offset)
    rows = values.reshape(samples, features + width).astype(np.float32)
    if width:
        return Shard((rows[:, :features],), rows[:, features:])
    return Shard(tuple(np.split(rows, ends[:-1])))
