"""How well newcomers learn from an initialization."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinyfed.meta.adaptation import adaptation
from tinyfed_host.run.parts import Parts

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Adapted:
    """Accuracies, (clients and seeds, draws, checkpoints)."""

    shots: tuple[int, ...]  # samples a class at each checkpoint
    accuracy: NDArray[np.float64]

    def joined(self, other: "Adapted") -> "Adapted":
        """With those of another seed."""
        return Adapted(self.shots, np.concatenate([self.accuracy, other.accuracy]))

    def means(self) -> dict[str, float]:
        """Mean accuracy by samples a class."""
        found = self.accuracy.mean(axis=(0, 1))
        return {str(k): round(float(value), 4) for k, value in zip(self.shots, found, strict=True)}

    def detail(self) -> dict[str, dict[str, float]]:
        """Mean and 95 % interval by samples a class. Draws of one client are alike, so clients are what counts."""
        each = self.accuracy.mean(axis=1)
        means = each.mean(axis=0)
        half = NORMAL_95 * each.std(axis=0, ddof=1) / np.sqrt(len(each))
        count = self.accuracy.shape[0] * self.accuracy.shape[1]
        return {
            str(k): {"mean": float(mean), "low": float(mean - h), "high": float(mean + h), "count": count}
            for k, mean, h in zip(self.shots, means, half, strict=True)
        }


def adapt(parts: Parts, image: bytes, seed: int, draws: int) -> Adapted:
    """All held-out clients on simulated devices, from the weights in `image`."""
    found = adaptation(image, parts.task.held_out, parts.task.adapt, draws=draws, seed=seed)
    return Adapted(found.shots, found.accuracy)
