from typing import TypedDict

class StatusError(Exception):
    args: tuple[int, int]  # tinyfed_status_t, bytes short

class Facts(TypedDict):
    arena_bytes: int
    feature_count: int
    class_count: int
    parameter_count: int
    structure_hash: int
    weights_hash: int

class Device:
    def __new__(cls, arena_bytes: int, shard: bytes | None = None) -> Device: ...
    def load(self, image: bytes) -> None: ...
    def visit(self, order: bytes, weights: bytes | None, want_weights: bool) -> tuple[bytes, bytes | None]: ...
    def cancel(self, on: bool) -> None: ...
    def facts(self) -> Facts: ...
