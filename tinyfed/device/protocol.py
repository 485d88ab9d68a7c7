"""What the coordinator sees of a device, whatever carries the bytes, and what a device says of itself."""

from dataclasses import dataclass
from typing import Protocol

from tinyfed.weights import Weights
from tinyfed.wire.encodings import Shortened
from tinyfed.wire.order import Order, Result


@dataclass(frozen=True)
class DeviceInfo:
    """What a device says of itself in its hello. It says nothing about its samples but their shape."""

    unique_id: str  # hexadecimal
    board: str  # name of its manifest in boards/, or "simulated"
    firmware_build: str  # hexadecimal hash of the firmware's sources and board
    protocol_version: int
    arena_bytes: int
    max_payload_bytes: int  # largest chunk it takes in one frame
    capabilities: frozenset[str]
    feature_count: int  # of its sample source; 0: it has none stored (a generator or nothing)
    class_count: int
    structure_hash: int  # of the loaded model's architecture; 0: none
    weights_hash: int  # of the loaded model's weights; 0: none
    boot: int = 0  # another number after each reset; 0: not known
    reset_cause: str = "unknown"  # why it started: a name of tinyfed.wire.messages.RESET_CAUSES


@dataclass
class Traffic:
    """Bytes that passed the line, frames and retries included."""

    down: int = 0  # host to device
    up: int = 0
    retries: int = 0


@dataclass(frozen=True)
class VisitOutcome:
    """What came back from a visit."""

    result: Result
    weights: Weights | None  # when they were asked for
    bytes_down: int
    bytes_up: int
    wire_s: float  # transfers, both ways
    train_s: float  # from the order's acknowledgement to the result


class Device(Protocol):
    """A device that answers. Methods block; each raises `DeviceError` naming the device when it does not answer,
    refuses or is gone. One thread at a time uses a device; `cancel` may come from any."""

    traffic: Traffic

    @property
    def info(self) -> DeviceInfo:
        """What it said of itself last."""

    def load(self, image: bytes) -> None:
        """Give it a model image (structure and weights). Raises `DoesNotFitError` when the arena is too small."""

    def visit(
        self, weights: Weights | None, order: Order, *, want_weights: bool, shortened: Shortened | None = None
    ) -> VisitOutcome:
        """Send weights (None: keep what it has), let it work on the order, take the weights back if wanted.

        `shortened` is a shorter way to say the same weights, which the device can read: a line may use it.
        """

    def cancel(self) -> None:
        """Make a blocked call of another thread raise `DeviceError` soon."""

    def close(self) -> None:
        """Let go of the line. The device stays as it is."""
