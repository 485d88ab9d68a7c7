"""A transport that spoils what passes: flipped bits and lost frames, by a seeded generator."""

import math
import random

from tinyfed_host.transport.base import Transport


class FaultyLine:
    """Wraps a transport. `bit_error_rate` a bit and `frame_loss` a frame (what stands before a zero), both ways."""

    def __init__(
        self, line: Transport, rng: random.Random, *, bit_error_rate: float = 0.0, frame_loss: float = 0.0
    ) -> None:
        self.name = line.name
        self.bytes_per_s = line.bytes_per_s
        self.flipped = 0
        self.lost = 0
        self._line = line
        self._rng = rng
        self._rate = bit_error_rate
        self._loss = frame_loss
        self._losing = [False, False]
        self._to_flip = [self._distance(), self._distance()]  # bits until the next error, by direction

    def read(self, timeout_s: float) -> bytes:
        return self._spoil(self._line.read(timeout_s), 1)

    def write(self, data: bytes) -> None:
        self._line.write(self._spoil(data, 0))

    def close(self) -> None:
        self._line.close()

    def _distance(self) -> int:
        if self._rate == 0:
            return 1 << 62
        return int(math.log(1 - self._rng.random()) / math.log(1 - self._rate))

    def _spoil(self, data: bytes, side: int) -> bytes:
        out = bytearray()
        for byte in data:
            while self._to_flip[side] < 8:
                bit = self._to_flip[side]
                self._to_flip[side] += 1 + self._distance()
                byte ^= 1 << bit
                self.flipped += 1
            self._to_flip[side] -= 8
            if byte == 0:  # the end of a frame, or the beginning of one
                self._losing[side] = self._rng.random() < self._loss
                self.lost += self._losing[side]
            elif self._losing[side]:
                continue
            out.append(byte)
        return bytes(out)
