from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

class StatusError(Exception):
    args: tuple[int, ...]  # tinyfed_status_t, bytes short; of a fleet's visits also the number of the first that failed

class Facts(TypedDict):
    arena_bytes: int
    feature_count: int
    class_count: int
    parameter_count: int
    structure_hash: int
    weights_hash: int

def log_mel(samples: bytes) -> bytes: ...
def motion_windows(readings: bytes) -> bytes: ...

class Device:
    def __new__(cls, arena_bytes: int, shard: bytes | None = None) -> Device: ...
    def load(self, image: bytes) -> None: ...
    def visit(self, order: bytes, weights: bytes | None, want_weights: bool) -> tuple[bytes, bytes | None]: ...
    def cancel(self, on: bool) -> None: ...
    def facts(self) -> Facts: ...

class Fleet:
    """Devices that differ in their shards alone. An arena a thread; nothing is kept of a device between visits."""

    def __new__(cls, image: bytes, arena_bytes: int, shards: Sequence[bytes | None]) -> Fleet: ...
    def visit(
        self,
        results: NDArray[np.void],
        answers: NDArray[np.float32] | None,
        clients: NDArray[np.uint32],
        orders: NDArray[np.uint8],
        weights: bytes,
        threads: int,
    ) -> None: ...

class LineDevice:
    """firmware/app in-process, byte for byte: what a board's port does around it is left to the caller."""

    def __new__(
        cls,
        arena_bytes: int,
        unique_id: bytes,
        board: str = "simulated",
        shard: bytes | None = None,
        model: bytes | None = None,
        watchdog_ms: int = 0,
        store: bytearray | memoryview | None = None,
        sensor: bytes | None = None,
        record_bytes: int = 0,
        window: tuple[int, int, int, int, int, bytes] | None = None,
    ) -> LineDevice: ...
    def feed(self, received: bytes, now_us: int, work: int = 1) -> bytes: ...
    def idle_ms(self, now_us: int) -> int: ...
    def reset_wanted(self) -> bool: ...
