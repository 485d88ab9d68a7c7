"""Where the tensors of an int8 network lie in its work area: offsets chosen at conversion, so that the engine reads
them and the bytes needed are known before anything is flashed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

ALIGNMENT = 16
# Of the search: exchanges tried times buffers placed each time, and exchanges at most.
MOST_PLACED, MOST_EXCHANGES = 20_000, 400


@dataclass(frozen=True)
class Buffer:
    """`byte_count` bytes in use from step `first` to step `last`, both included."""

    byte_count: int
    first: int
    last: int


# (output, input) -> bytes: the output may begin so many below the input's beginning, or more, and reach into it, since
# the step that writes it has read by then what it writes over.
Behind = Mapping[tuple[int, int], int]


def aligned(byte_count: int) -> int:
    return (byte_count + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def place(buffers: Sequence[Buffer], behind: Behind | None = None) -> tuple[list[int], int]:
    """(offset of each buffer, bytes of the whole): buffers whose times overlap do not overlap in memory, but for those
    that `behind` lets.

    First fit in several orders, then in the best of these with two buffers exchanged, the smallest result taken; the
    same answer every time. It is at least `most_live(buffers, behind)`."""
    forbidden = _Forbidden(buffers, behind or {})
    bound = most_live(buffers, behind)
    indices = [index for index, size in enumerate(forbidden.size) if size]
    best: tuple[list[int], int] | None = None
    best_order: list[int] = []
    for order in (
        sorted(indices, key=lambda i: (-forbidden.size[i], buffers[i].first)),
        sorted(indices, key=lambda i: (buffers[i].first, -forbidden.size[i])),
        sorted(indices, key=lambda i: (buffers[i].first - buffers[i].last, -forbidden.size[i])),
        sorted(indices, key=lambda i: -forbidden.size[i] * (buffers[i].last - buffers[i].first + 1)),
        sorted(indices, key=lambda i: (buffers[i].last, -forbidden.size[i]), reverse=True),
        sorted(indices, key=lambda i: (-buffers[i].last, -forbidden.size[i])),
    ):
        found = forbidden.first_fit(order)
        if best is None or found[1] < best[1]:
            best, best_order = found, order
        if best[1] == bound:
            return best
    assert best is not None
    for first, second in _exchanges(len(indices)):
        order = list(best_order)
        order[first], order[second] = order[second], order[first]
        found = forbidden.first_fit(order)
        if found[1] < best[1]:
            best, best_order = found, order
        if best[1] == bound:
            break
    return best


def _exchanges(count: int) -> Iterable[tuple[int, int]]:
    """Pairs of places in an order, those of its front first, as many as there is time for."""
    pairs = sorted(combinations(range(count), 2), key=lambda pair: (pair[1], pair[0]))
    return pairs[: min(MOST_EXCHANGES, MOST_PLACED // max(count, 1))]


def most_live(buffers: Sequence[Buffer], behind: Behind | None = None) -> int:
    """The largest sum of bytes in use at one step, less what outputs may share with inputs: no placement needs less."""
    shared: dict[int, int] = {}
    for (output, source), distance in (behind or {}).items():
        step = buffers[output].first
        saved = max(min(aligned(buffers[output].byte_count) - distance, aligned(buffers[source].byte_count)), 0)
        shared[step] = shared.get(step, 0) + saved
    steps = {b.first for b in buffers}
    return max(
        (
            sum(aligned(b.byte_count) for b in buffers if b.first <= step <= b.last) - shared.get(step, 0)
            for step in steps
        ),
        default=0,
    )


class _Forbidden:
    """Where a buffer must not begin, given where others lie."""

    def __init__(self, buffers: Sequence[Buffer], behind: Behind) -> None:
        self.size = [aligned(buffer.byte_count) for buffer in buffers]
        self.rivals: list[list[tuple[int, int, int]]] = [[] for _ in buffers]
        for a, b in combinations([index for index, size in enumerate(self.size) if size], 2):
            if buffers[a].first <= buffers[b].last and buffers[b].first <= buffers[a].last:
                # b begins `before` or more below a's beginning, or `after` or more above it
                before = min(behind.get((b, a), self.size[b]), self.size[b])
                after = min(behind.get((a, b), self.size[a]), self.size[a])
                self.rivals[b].append((a, before, after))
                self.rivals[a].append((b, after, before))

    def first_fit(self, order: Sequence[int]) -> tuple[list[int], int]:
        """Every buffer of `order` in turn at the lowest place that is free."""
        offsets, placed = [0] * len(self.size), [False] * len(self.size)
        total = 0
        for index in order:
            at = 0
            taken = sorted(
                (offsets[rival] - before, offsets[rival] + after)
                for rival, before, after in self.rivals[index]
                if placed[rival]
            )
            for start, end in taken:
                if at <= start:
                    break
                at = max(at, end)
            offsets[index], placed[index] = at, True
            total = max(total, at + self.size[index])
        return offsets, total
