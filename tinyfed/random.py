"""SplitMix64: the generator of the draw on devices and of every choice of the server.

Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014). Its state is one 64-bit number,
so a run's generator is stored and resumed as a plain integer. `firmware/visit/random.c` is the same stream.
"""

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def _checked(seed: int) -> int:
    if not 0 <= seed <= _MASK:  # beyond it would be another's stream
        raise UsageError(f"must be a whole number, 0..{_MASK}", key="seed", value=str(seed))
    return seed


class SplitMix64:
    """A stream of 64-bit numbers from a 64-bit seed. Raises `UsageError` for any other."""

    def __init__(self, seed: int) -> None:
        self.state = _checked(seed)

    def next(self) -> int:
        """The next number, 0 <= n < 2**64."""
        self.state = (self.state + _GAMMA) & _MASK
        z = self.state
        for shift, factor in _STEPS:
            z = ((z ^ (z >> shift)) * factor) & _MASK
        return z ^ (z >> 31)

    def below(self, bound: int) -> int:
        """Unbiased, 0 <= n < bound, 1 <= bound < 2**32 (Lemire, Fast random integer generation, 2019)."""
        product = (self.next() >> 32) * bound
        if product & 0xFFFFFFFF < bound:
            threshold = (1 << 32) % bound
            while product & 0xFFFFFFFF < threshold:
                product = (self.next() >> 32) * bound
        return product >> 32

    def unit(self) -> float:
        """0 <= x < 1 in steps of 2**-24, exact in float32."""
        return (self.next() >> 40) * 2.0**-24

    def sequence(self, length: int, bound: int) -> list[int]:
        """`length` distinct numbers below `bound` in random order, every such sequence equally likely
        (Bentley, Floyd: A sample of brilliance, CACM 1987, algorithm P)."""
        drawn: list[int] = []
        for last in range(bound - length, bound):
            candidate = self.below(last + 1)
            if candidate in drawn:
                drawn.insert(drawn.index(candidate) + 1, last)
            else:
                drawn.insert(0, candidate)
        return drawn


def splitmix64(seed: int, count: int) -> NDArray[np.uint64]:
    """The first `count` numbers of the stream, as an array."""
    with np.errstate(over="ignore"):
        z = np.uint64(_checked(seed)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GAMMA)
        for shift, factor in _STEPS:
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return z ^ (z >> np.uint64(31))


def derive_seed(seed: int, *parts: int) -> int:
    """A seed for one purpose out of a run's seed: `derive_seed(seed, round, index)`, 0 <= n < 2**64."""
    derived = SplitMix64(seed).next()
    for part in parts:
        derived = SplitMix64(derived ^ (part & _MASK)).next()
    return derived
