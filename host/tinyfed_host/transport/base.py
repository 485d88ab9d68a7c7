"""What carries bytes to a device and back."""

from typing import Protocol


class Transport(Protocol):
    """A line to one device. One thread at a time uses it; `close` may come from any.

    Methods raise `DeviceError` when the line is gone: it names the port and says what to do.
    """

    name: str  # as a person would type it: /dev/ttyACM0, socket://127.0.0.1:5000
    bytes_per_s: float  # what the line carries at most, for timers

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, waiting at most `timeout_s` seconds for the first byte; empty when none came."""

    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    def close(self) -> None:
        """Let go of the line; a second call does nothing."""
