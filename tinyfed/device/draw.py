"""What an order has a device draw from its samples (docs/order.md), for a host that holds them too."""

from collections.abc import Sequence

from tinyfed.random import SplitMix64
from tinyfed.wire.order import Order


def judged_samples(order: Order, counts: Sequence[int]) -> list[tuple[int, list[int]]]:
    """For each label the class of the shard that it stands for, and the indices of that class's samples that judge.

    `counts` are the samples of each class of the shard. The order's source is "shard".
    """
    drawing = SplitMix64(order.seed)
    ways, shots, queries = order.ways, order.shots, order.queries
    classes = list(range(ways)) if order.true_labels else drawing.sequence(ways, len(counts))
    learned = [
        [(order.start + i) % counts[c] for i in range(shots)] if order.in_time else drawing.sequence(shots, counts[c])
        for c in classes
    ]
    judging = SplitMix64(order.seed ^ (2**64 - 1))
    found = []
    for number, taken in zip(classes, learned, strict=True):
        rest = [index for index in range(counts[number]) if index not in taken]
        if queries and order.in_time:
            rest = [(order.start + shots + i) % counts[number] for i in range(queries)]
        elif queries:
            rest = [rest[rank] for rank in judging.sequence(queries, len(rest))]
        found.append((number, rest))
    return found
