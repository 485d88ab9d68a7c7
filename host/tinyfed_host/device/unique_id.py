"""The id that tells a device from all others: 12 bytes, written as 24 hexadecimal digits."""

import re

from tinyfed.errors import UsageError

UNIQUE_ID_BYTES = 12
_WRITTEN = re.compile(rf"[0-9a-fA-F]{{{2 * UNIQUE_ID_BYTES}}}")


def is_unique_id(text: str) -> bool:
    """Whether a text is one, in digits of either case."""
    return _WRITTEN.fullmatch(text) is not None


def device_id(number: int) -> str:
    """The unique id of the `number`-th simulated or emulated device. Raises `UsageError` beyond 32 bits."""
    if not 0 <= number < 1 << 32:
        raise UsageError("must be 0..4294967295", where=f"device number {number}")
    return (b"tinyfed" + bytes(1) + number.to_bytes(4, "big")).hex()
