"""The draw of docs/order.md once more, written plainly from that page; shares no code with tinyfed."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15


def nth(seed: int, n: int) -> int:
    """The n-th number, from 0, of the generator."""
    z = (seed + (n + 1) * GAMMA) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Generator:
    def __init__(self, seed: int) -> None:
        self.seed = seed & MASK
        self.used = 0

    def next(self) -> int:
        self.used += 1
        return nth(self.seed, self.used - 1)

    def below(self, bound: int) -> int:
        while True:
            m = (self.next() >> 32) * bound
            if m % 2**32 >= 2**32 % bound:
                return m >> 32

    def sequence(self, length: int, bound: int) -> list[int]:
        found: list[int] = []
        for j in range(bound - length, bound):
            t = self.below(j + 1)
            found = [t, *found] if t not in found else [*found[: found.index(t) + 1], j, *found[found.index(t) + 1 :]]
        return found


def draw(
    counts: list[int],
    seed: int,
    ways: int,
    shots: int,
    queries: int,
    passes: int = 1,
    flags: int = 0,
    start: int = 0,
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """(class, index, label) of each training step, and of each evaluation sample."""
    generator = Generator(seed)
    true_labels, in_time = flags & 1, flags & 2
    classes = list(range(ways)) if true_labels else generator.sequence(ways, len(counts))
    streams = [
        [(start + i) % counts[c] for i in range(shots)] if in_time else generator.sequence(shots, counts[c])
        for c in classes
    ]
    train = []
    for number in range(shots * passes):
        for label in generator.sequence(ways, ways):
            train.append((classes[label], streams[label][number % shots], label))
    other = Generator(~seed)
    evaluate = []
    for label, c in enumerate(classes):
        rest = [i for i in range(counts[c]) if i not in streams[label]]
        if queries and in_time:
            rest = [(start + shots + i) % counts[c] for i in range(queries)]
        elif queries:
            rest = [rest[rank] for rank in other.sequence(queries, len(rest))]
        evaluate += [(c, i, label) for i in rest]
    return train, evaluate


def arrays(drawn: list[tuple[int, int, int]]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Samples of `encode_shard` and labels of a draw."""
    return np.array([(c, i) for c, i, _ in drawn], np.float32), np.array([label for _, _, label in drawn])


def encode_order(source: int, ways: int, passes: int, shots: int, queries: int, seed: int, rate: float,
                 checkpoints: tuple[int, ...] = ()) -> bytes:  # fmt: skip
    points = list(checkpoints) + [0] * (8 - len(checkpoints))
    return struct.pack("<BBBBHHQfB3x8H", 1, source, ways, passes, shots, queries, seed, rate, len(checkpoints), *points)


def encode_more(
    order: bytes, update: int = 0, flags: int = 0, batch: int = 0, proximal: float = 0.0, start: int = 0
) -> bytes:
    """An order of version 2, or with a start of version 4, out of one of version 1."""
    more = struct.pack("<BBHf8x", update, flags, batch, proximal)
    return b"\4" + order[1:] + more + struct.pack("<I", start) if start else b"\2" + order[1:] + more


def flags_of(order: bytes) -> tuple[int, int]:
    """Its flags and its start."""
    return order[41] if order[0] > 1 else 0, int.from_bytes(order[56:], "little")


def encode_shard(counts: list[int], features: int = 2) -> bytes:
    """A shard whose samples say their class and index."""
    table, total = [], 0
    for count in counts:
        total += count
        table.append(total)
    offset = (32 + 4 * len(counts) + 15) // 16 * 16
    rows = b"".join(
        struct.pack(f"<{features}f", c, i, *[0.0] * (features - 2)) for c, n in enumerate(counts) for i in range(n)
    )
    body = struct.pack(f"<{len(counts)}I", *table).ljust(offset - 32, b"\0") + rows
    head = struct.pack("<4sBBHIIIII", b"TFSH", 1, 1, 0, features, len(counts), total, offset, 32 + len(body))
    return head + struct.pack("<I", zlib.crc32(head + body)) + body


def draw_line(counts: list[int], order: bytes) -> str:
    """A line for tests/c/visit/test_visit.c: what each step must look at."""
    ways, passes = order[2], order[3]
    shots, queries, seed = struct.unpack_from("<HHQ", order, 4)
    train, evaluate = draw(counts, seed, ways, shots, queries, passes, *flags_of(order))
    parts = [",".join(f"{c}:{i}:{label}" for c, i, label in steps) for steps in (train, evaluate)]
    return f"draw {order.hex()} {','.join(map(str, counts))} {parts[0]} {parts[1] or '-'}"
