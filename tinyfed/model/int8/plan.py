"""Where the tensors of an int8 network lie in its work area: offsets chosen at conversion, so that the engine reads
them and the bytes needed are known before anything is flashed."""

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 16


@dataclass(frozen=True)
class Buffer:
    """`byte_count` bytes in use from step `first` to step `last`, both included."""

    byte_count: int
    first: int
    last: int


def aligned(byte_count: int) -> int:
    return (byte_count + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def place(buffers: Sequence[Buffer]) -> tuple[list[int], int]:
    """(offset of each buffer, bytes of the whole): buffers whose times overlap do not overlap in memory.

    First fit in several orders, the smallest result taken; the same answer every time. It is at least
    `most_live(buffers)`."""
    bound = most_live(buffers)
    best: tuple[list[int], int] | None = None
    indices = range(len(buffers))
    orders = (
        sorted(indices, key=lambda i: (-aligned(buffers[i].byte_count), buffers[i].first)),
        sorted(indices, key=lambda i: (buffers[i].first, -aligned(buffers[i].byte_count))),
        sorted(indices, key=lambda i: (buffers[i].first - buffers[i].last, -aligned(buffers[i].byte_count))),
        sorted(indices, key=lambda i: -aligned(buffers[i].byte_count) * (buffers[i].last - buffers[i].first + 1)),
        sorted(indices, key=lambda i: (buffers[i].last, -aligned(buffers[i].byte_count)), reverse=True),
    )
    for order in orders:
        found = _first_fit(buffers, order)
        if best is None or found[1] < best[1]:
            best = found
        if best[1] == bound:
            break
    assert best is not None
    return best


def most_live(buffers: Sequence[Buffer]) -> int:
    """The largest sum of bytes in use at one step: no placement needs less."""
    steps = {b.first for b in buffers}
    return max((sum(aligned(b.byte_count) for b in buffers if b.first <= s <= b.last) for s in steps), default=0)


def _first_fit(buffers: Sequence[Buffer], order: Sequence[int]) -> tuple[list[int], int]:
    offsets = [0] * len(buffers)
    placed: list[int] = []
    total = 0
    for index in order:
        buffer = buffers[index]
        others = sorted(
            (offsets[i], offsets[i] + aligned(buffers[i].byte_count))
            for i in placed
            if buffers[i].first <= buffer.last and buffer.first <= buffers[i].last
        )
        at = 0
        for start, end in others:
            if at + aligned(buffer.byte_count) <= start:
                break
            at = max(at, end)
        offsets[index] = at
        placed.append(index)
        total = max(total, at + aligned(buffer.byte_count))
    return offsets, total
