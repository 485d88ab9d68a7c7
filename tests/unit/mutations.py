"""Seeded damage to files, for tests of readers: the same seed gives the same bytes."""

from collections.abc import Iterator

import numpy as np

WORDS = (0, 1, 2, 3, 7, 8, 255, 0x7F, 0x80, 0xFFFF, 0x8000, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0)


def mutations(content: bytes, count: int, seed: int, hot: np.ndarray | None = None) -> Iterator[bytes]:
    """`count` damaged copies. `hot` are the positions that matter (int64[n]): half of the damage hits those."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        damaged = bytearray(content)

        def position() -> int:
            if hot is not None and len(hot) and rng.random() < 0.5:
                return int(rng.choice(hot))
            return int(rng.integers(len(content)))

        kind = int(rng.integers(6))
        if kind == 0:
            del damaged[position() :]
        elif kind == 1:
            for _ in range(int(rng.integers(1, 5))):
                damaged[position()] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            at = position() & ~3
            damaged[at : at + 4] = int(rng.choice(WORDS)).to_bytes(4, "little")
        elif kind == 3:
            at = position()
            damaged[at : at + int(rng.integers(1, 64))] = rng.bytes(int(rng.integers(0, 64)))
        elif kind == 4:
            at, source, length = position(), position(), int(rng.integers(1, 32))
            damaged[at : at + length] = content[source : source + length]
        else:
            at = position() & ~1
            damaged[at : at + 2] = int(rng.integers(65536)).to_bytes(2, "little")
        yield bytes(damaged)
