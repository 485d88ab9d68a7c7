"""A sensor's readings for an emulated board to play: docs/recording.md."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError

MAGIC = b"TFRC"
VERSION = 1
CHANNELS_MAX = 16
_HEADER = struct.Struct("<4sBBHIIII")


def write_recording(takes: Sequence[NDArray[np.float64]], rate_hz: int, period_us: int | None = None) -> bytes:
    """The bytes of a recording: one array (readings, channels) float64 for each take, in the sensor's unit.

    `period_us` is the board's time between two readings (None: as the rate says); a smaller one plays faster. Raises
    UsageError when shapes or numbers are out of range.
    """
    arrays = [np.ascontiguousarray(take, dtype="<f8") for take in takes]
    channels = arrays[0].shape[1] if arrays and arrays[0].ndim == 2 else 0
    if not 1 <= channels <= CHANNELS_MAX:
        raise UsageError(f"recording: {channels} channels in a take, allowed is 1 to {CHANNELS_MAX}")
    if any(take.ndim != 2 or take.shape[1] != channels or len(take) == 0 for take in arrays):
        raise UsageError(f"recording: every take must have readings of {channels} channels")
    if not 1 <= rate_hz <= 65535:
        raise UsageError(f"recording: {rate_hz} readings a second, allowed is 1 to 65535")
    period_us = round(1e6 / rate_hz) if period_us is None else period_us
    ends = np.cumsum([len(take) for take in arrays]).astype("<u4").tobytes()
    total = sum(len(take) for take in arrays)
    head = _HEADER.pack(MAGIC, VERSION, channels, rate_hz, period_us, len(arrays), total, 0) + ends
    return head.ljust(-(-len(head) // 8) * 8, b"\0") + b"".join(take.tobytes() for take in arrays)
