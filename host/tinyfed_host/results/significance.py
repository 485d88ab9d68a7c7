"""Whether two experiments differ by more than their seeds do: permutation tests (Fisher: The design of experiments,
1935, section 21), which ask of figures nothing but that without a difference the labels could have been swapped."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyfed_host.evaluation.intervals import Interval, interval

EXACT_MOST = 20_000  # permutations that are all gone through; of more so many are drawn
SEED = 1


@dataclass(frozen=True)
class Difference:
    """Of a figure between two experiments."""

    difference: Interval  # of the means, first less second
    paired: int  # seeds that both have; 0: none in common, the runs were compared as two samples
    p: float | None  # two-sided; None: one run of each tells nothing
    least: float  # the smallest p that so few runs could give


def compare(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """Two figures by seed. Where two seeds or more are in both, only these count, in pairs."""
    seeds = sorted(first.keys() & second.keys())
    if len(seeds) >= 2:
        apart = np.array([first[seed] - second[seed] for seed in seeds])
        return Difference(interval(apart.tolist()), len(seeds), _paired(apart), 2.0 ** (1 - len(seeds)))
    a, b = np.array(list(first.values())), np.array(list(second.values()))
    mean = float(a.mean() - b.mean())
    ways = math.comb(len(a) + len(b), len(a))
    if ways <= 2:
        return Difference(Interval(mean, None), 0, None, 1.0)
    least = (2.0 if len(a) == len(b) else 1.0) / ways
    return Difference(Interval(mean, None), 0, _unpaired(a, b), least)


def _paired(apart: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float:
    """Of all ways to swap the two figures of each pair, the share whose mean is as far from 0."""
    count = len(apart)
    if 2**count <= EXACT_MOST:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=count)))
        return _share(np.abs(signs @ apart), abs(apart.sum()), drawn=False)
    signs = np.random.default_rng(SEED).choice((1.0, -1.0), (EXACT_MOST, count))
    return _share(np.abs(signs @ apart), abs(apart.sum()), drawn=True)


def _unpaired(
    a: "np.ndarray[tuple[int], np.dtype[np.float64]]", b: "np.ndarray[tuple[int], np.dtype[np.float64]]"
) -> float:
    """Of all ways to deal the figures into two groups of these sizes, the share whose means are as far apart."""
    both, count = np.concatenate([a, b]), len(a)
    ways = math.comb(len(both), count)
    if ways <= EXACT_MOST:
        dealt = np.array([both[list(chosen)].sum() for chosen in itertools.combinations(range(len(both)), count)])
    else:
        rng = np.random.default_rng(SEED)
        dealt = np.array([rng.permutation(both)[:count].sum() for _ in range(EXACT_MOST)])
    rest = both.sum() - dealt
    apart = np.abs(dealt / count - rest / len(b))
    return _share(apart, abs(a.mean() - b.mean()), drawn=ways > EXACT_MOST)


def _share(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", found: float, *, drawn: bool) -> float:
    """Of the values at least as large; what was found counts as one of those that are drawn."""
    as_far = int((values >= found * (1 - 1e-9) - 1e-300).sum())
    return (as_far + drawn) / (len(values) + drawn)


def corrected(ps: Sequence[float | None]) -> list[float | None]:
    """For so many comparisons, as Holm (A simple sequentially rejective multiple test procedure, 1979) says."""
    order = sorted((number for number, p in enumerate(ps) if p is not None), key=lambda number: ps[number] or 0.0)
    found: list[float | None] = [None] * len(ps)
    last = 0.0
    for place, number in enumerate(order):
        last = max(last, min(1.0, (ps[number] or 0.0) * (len(order) - place)))
        found[number] = last
    return found
