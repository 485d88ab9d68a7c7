"""What a round's answers are made into: their mean, or what a few liars cannot move far. docs/robust.md has more."""

import statistics
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]

RULES = ("mean", "median", "trimmed_mean", "krum", "geometric_median")
WEISZFELD_STEPS = 32
NEAREST = 1e-6  # a distance counts as at least this in the geometric median

ROUND_LEAST = 3  # updates of one round whose median says something
RUN_LEAST = 8  # and of the run
RUN_KEPT = 64
# So many times the median is still honest: twice the most that was seen in honest runs (docs/robust.md).
FACTOR = 10.0
# And so large a part of the weights' norm is always: near the end, when most devices have little to learn, one that
# still has some stands far from the median without moving the model far.
SHARE = 0.5


def combined(rows: Sequence[Array], samples: Sequence[float], rule: str, liars: int) -> Array:
    """One float32 array, (parameters,), of the rows, (n, parameters), that devices sent, by one of `RULES`.

    `samples` of each weigh the mean and the geometric median. `liars`: as many of the rows may be lies, for
    "trimmed_mean" and "krum".
    """
    match rule:
        case "mean":
            return mean(rows, samples)
        case "median":
            return median(rows)
        case "trimmed_mean":
            return trimmed_mean(rows, liars)
        case "krum":
            return rows[krum(rows, liars)]
        case _:
            return geometric_median(rows, samples)


def needed(rule: str, liars: int) -> int:
    """Devices of a round that a rule needs so that so many may lie."""
    return {"trimmed_mean": 2 * liars + 1, "krum": 2 * liars + 3}.get(rule, 1)


def mean(rows: Sequence[Array], samples: Sequence[float]) -> Array:
    """Weighted by samples, in float32: for row after row `sum += float32(samples / all samples) * row`."""
    total = sum(samples)
    result = np.zeros_like(rows[0])
    for row, count in zip(rows, samples, strict=True):
        result = result + np.float32(count / total) * row
    return result


def median(rows: Sequence[Array]) -> Array:
    """Of each weight by itself; of an even number the mean of the middle two, in float32 (Yin, Chen, Ramchandran,
    Bartlett: Byzantine-robust distributed learning: towards optimal statistical rates, ICML 2018, definition 1)."""
    ordered = np.sort(np.stack(rows), axis=0)
    middle = len(rows) // 2
    if len(rows) % 2:
        return np.asarray(ordered[middle])
    return np.asarray(np.float32(0.5) * (ordered[middle - 1] + ordered[middle]))


def trimmed_mean(rows: Sequence[Array], liars: int) -> Array:
    """Of each weight the mean without its `liars` smallest and largest values, in float32 from the smallest on (Yin et
    al. 2018, definition 2). Of too few rows so many are left out that one or two remain."""
    ordered = np.sort(np.stack(rows), axis=0)
    cut = min(liars, (len(rows) - 1) // 2)
    kept = ordered[cut : len(rows) - cut]
    total = np.zeros_like(rows[0])
    for row in kept:
        total = total + row
    return np.asarray(total / np.float32(len(kept)))


def krum(rows: Sequence[Array], liars: int) -> int:
    """The number of the row whose `n - liars - 2` nearest others (at least one) are nearest to it in all, by the sum of
    squared distances; of equal ones the first (Blanchard, El Mhamdi, Guerraoui, Stainer: Machine learning with
    adversaries: Byzantine tolerant gradient descent, NeurIPS 2017, section 4)."""
    wide = [row.astype(np.float64) for row in rows]
    near = max(1, len(rows) - liars - 2)
    scores = []
    for i, row in enumerate(wide):
        distances = sorted(squared_norm(row - other) for j, other in enumerate(wide) if j != i)
        scores.append(sum(distances[:near]))
    return scores.index(min(scores))


def geometric_median(rows: Sequence[Array], samples: Sequence[float]) -> Array:
    """The point whose distances to the rows, weighted by their samples, have the least sum, by the smoothed Weiszfeld
    algorithm in float64 from the mean on (Pillutla, Kakade, Harchaoui: Robust aggregation for federated learning, IEEE
    Transactions on Signal Processing 2022, algorithm 2): `WEISZFELD_STEPS` steps, each the mean of the rows weighted by
    `samples / max(NEAREST, distance)`."""
    wide = [row.astype(np.float64) for row in rows]
    point: Any = _weighted(wide, samples)
    for _ in range(WEISZFELD_STEPS):
        shares = [
            count / max(NEAREST, squared_norm(row - point) ** 0.5) for row, count in zip(wide, samples, strict=True)
        ]
        point = _weighted(wide, shares)
    return np.asarray(point, np.float32)


def squared_norm(values: NDArray[np.floating[Any]]) -> float:
    """The sum of squares in float64, added one after the other: the same bits on every computer."""
    return float(np.cumsum(np.square(values, dtype=np.float64))[-1]) if values.size else 0.0


def _weighted(rows: Sequence[NDArray[np.float64]], shares: Sequence[float]) -> NDArray[np.float64]:
    total = sum(shares)
    result = np.zeros_like(rows[0])
    for row, share in zip(rows, shares, strict=True):
        result = result + share / total * row
    return result


class UpdateBound:
    """Refuses updates that are too large: a liar within a bound on the weights can still move the mean as far as it
    likes. An update's norm is held against the median of its round, or, where fewer than `ROUND_LEAST` came, of the
    run's so far. Use from one thread."""

    def __init__(self, rule: float | str) -> None:
        """`rule`: the largest norm, "auto" or "off"."""
        self._rule = rule
        self._norms: deque[float] = deque(maxlen=RUN_KEPT)

    def judge(self, norms: Sequence[float], weights_norm: float = 0.0) -> list[str]:
        """Why each of these updates, which came together, is too large; "" for one that is not. `weights_norm`: of the
        weights that they start from."""
        if self._rule == "off":
            return [""] * len(norms)
        limit, against = self._limit(norms, weights_norm)
        self._norms.extend(norm for norm in norms if norm <= limit)
        return [
            "" if norm <= limit else f"its update's norm is {norm:.3g}, more than {against} (round.max_update)"
            for norm in norms
        ]

    def document(self) -> list[float]:
        """The norms so far that count, as JSON can hold them."""
        return list(self._norms)

    def restore(self, document: Sequence[float]) -> None:
        """Go on from what `document` gave."""
        self._norms = deque(document, maxlen=RUN_KEPT)

    def _limit(self, norms: Sequence[float], weights_norm: float) -> tuple[float, str]:
        if not isinstance(self._rule, str):
            return self._rule, f"{self._rule:g}"
        limit, against = float("inf"), ""
        if len(norms) >= ROUND_LEAST:
            limit, against = _times(norms, "round")
        elif len(self._norms) >= RUN_LEAST:
            limit, against = _times(self._norms, "run")
        return max(limit, SHARE * weights_norm), against


def _times(norms: Sequence[float], whose: str) -> tuple[float, str]:
    middle = statistics.median(norms)
    if not middle:  # most learned nothing: that says nothing of the others
        return float("inf"), ""
    return FACTOR * middle, f"{FACTOR:g} times the {whose}'s median of {middle:.3g}"
