"""What a move does as the engine reads it: steps in bytes over few dimensions, the last one as long as can be."""

import math
import struct

from tinyfed.errors import UsageError
from tinyfed.model.int8.spec import MOST_DIMENSIONS, Piece

TABLE = struct.Struct(f"<I{MOST_DIMENSIONS}I{2 * MOST_DIMENSIONS}i4I4x")


def pack_move(piece: Piece, source_count: int, target_count: int, fill: int | None, element: int = 1) -> bytes:
    """The table of a move (docs/int8.md) between tensors of so many values of `element` bytes each."""
    for what, count, first, steps in (
        ("source", source_count, piece.source_first, piece.source_steps),
        ("target", target_count, piece.target_first, piece.target_steps),
    ):
        spans = [(n - 1) * step for n, step in zip(piece.counts, steps, strict=True)]
        low, high = first + sum(min(s, 0) for s in spans), first + sum(max(s, 0) for s in spans)
        if low < 0 or high >= count:
            raise UsageError(f"reaches value {low if low < 0 else high} of a {what} of {count}")
    dimensions = merged(piece)
    if len(dimensions) > MOST_DIMENSIONS:
        raise UsageError(f"{len(dimensions)} dimensions; at most {MOST_DIMENSIONS} can be moved at once")
    dimensions = [(1, 0, 0)] * (MOST_DIMENSIONS - len(dimensions)) + dimensions
    counts, sources, targets = zip(*dimensions, strict=True)
    both = [element * step for step in (*sources, *targets)]
    firsts = (element * piece.source_first, element * piece.target_first)
    return TABLE.pack(element, *counts, *both, *firsts, 0 if fill is None else 1, (fill or 0) & 0xFF)


def merged(piece: Piece) -> list[tuple[int, int, int]]:
    """(count, source step, target step) of each dimension: those of one value left out, neighbours that go on in both
    made one."""
    found: list[tuple[int, int, int]] = []
    for count, source, target in zip(piece.counts, piece.source_steps, piece.target_steps, strict=True):
        if count == 1:
            continue
        if found and found[-1][1] == count * source and found[-1][2] == count * target:
            found[-1] = (found[-1][0] * count, source, target)
        else:
            found.append((count, source, target))
    return found or [(1, 1, 1)]


def is_run(piece: Piece) -> bool:
    """Whether the values lie one after the other in both."""
    return merged(piece) == [(math.prod(piece.counts), 1, 1)]
