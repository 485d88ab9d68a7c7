"""firmware/app whole and in-process as a transport of the host's, by a clock that is a number."""

import random

from tinyfed.engine._device import LineDevice


class Board:
    """A transport to a `LineDevice`: each byte takes its time on the line. It loses its power now and then."""

    name = "in-process"

    def __init__(self, bytes_per_s: float, rng: random.Random | None = None, cut_chance: float = 0.0) -> None:
        self.bytes_per_s = bytes_per_s
        self.now_s = 100.0
        self.cuts = 0
        self._rng = rng or random.Random(0)
        self._cut_chance = cut_chance
        self._device = self._new()
        self._pending = b""

    def _new(self) -> LineDevice:
        return LineDevice(65536, bytes(range(12)), "some-board")

    def clock(self) -> float:
        return self.now_s

    def _feed(self, data: bytes) -> None:
        if self._rng.random() < self._cut_chance:
            self.cuts += 1
            self._device = self._new()
            self._pending = self._pending[: len(self._pending) // 2]  # in the middle of a frame
        self.now_s += len(data) / self.bytes_per_s
        said = self._device.feed(data, int(self.now_s * 1e6) % 2**32, 4)
        self.now_s += len(said) / self.bytes_per_s
        self._pending += said

    def read(self, timeout_s: float) -> bytes:
        self._feed(b"")
        if not self._pending:
            self.now_s += min(max(timeout_s, 1e-4), 0.05)
            self._feed(b"")
        data, self._pending = self._pending, b""
        return data

    def write(self, data: bytes) -> None:
        self._feed(data)

    def close(self) -> None:
        pass
