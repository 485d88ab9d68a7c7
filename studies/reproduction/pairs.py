"""Spoken words (FSDD) with two speakers held out at a time, all pairs: where meta-learning helps, and where not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from studies.reproduction.measure import Reached, Study, half_width, reach, reach_reference
from tinyfed.meta.simulate import Watcher

TASK = "fsdd"
SHOTS = (1, 5)
KINDS = ("TinyReptile", "transfer", "random")


@dataclass(frozen=True)
class Pair:
    """Two speakers, and what each kind of initialization gives them, by `KINDS`."""

    held_out: tuple[str, str]
    rows: tuple[Reached, ...]

    def lead(self, shots: int) -> NDArray[np.float64]:
        """By how much TinyReptile is ahead of transfer learning, (seeds,)."""
        learned, transfer = (row.values[:, row.shots.index(shots)] for row in self.rows[:2])
        return learned - transfer


def measure_pair(
    whole: Study, held_out: tuple[str, str], seeds: Sequence[int], *, watch: Watcher | None = None
) -> Pair:
    """A pair of speakers, with the study's model, visits and settings of TinyReptile. `watch` as for `run`."""
    study = replace(whole, options={"held_out": ",".join(held_out)})
    learned = reach(study, study.methods[0], seeds, points=1, watch=watch)
    return Pair(held_out, (learned, *(reach_reference(study, kind, seeds, watch=watch)[0] for kind in KINDS[1:])))


def to_markdown(pairs: Sequence[Pair]) -> str:
    """The table, and what it says."""
    columns = [f"{kind}, {shots}" for shots in SHOTS for kind in KINDS]
    lines = [
        f"### {TASK}: every pair of speakers held out",
        "",
        f"5-way, each speaker's words in the speaker's own order, {len(pairs[0].rows[0].values)} seeds: accuracy after "
        "1 and 5 samples a class, and by how much TinyReptile is ahead of transfer learning (+- is half of the 95 % "
        "interval over seeds).",
        "",
        "| held out | " + " | ".join([*columns, *(f"ahead, {shots}" for shots in SHOTS)]) + " |",
        "|---|" + "---|" * (len(columns) + len(SHOTS)),
    ]
    for pair in pairs:
        cells = [f"{row.mean(shots):.3f}" for shots in SHOTS for row in pair.rows]
        lines.append(f"| {', '.join(pair.held_out)} | " + " | ".join([*cells, *map(_lead, _leads(pair))]) + " |")
    means = [
        f"{np.mean([pair.rows[k].mean(shots) for pair in pairs]):.3f}" for shots in SHOTS for k in range(len(KINDS))
    ]
    leads = [np.mean([pair.lead(shots) for pair in pairs], axis=0) for shots in SHOTS]
    lines += [f"| **mean** | {' | '.join([*means, *map(_lead, leads)])} |", "", *map(_verdict, SHOTS, [pairs] * 2)]
    return "\n".join(lines) + "\n"


def _leads(pair: Pair) -> list[NDArray[np.float64]]:
    return [pair.lead(shots) for shots in SHOTS]


def _lead(values: NDArray[np.float64]) -> str:
    half = half_width(values)
    return f"{values.mean():+.3f}" + ("" if np.isnan(half) else f" +-{half:.3f}")


def _verdict(shots: int, pairs: Sequence[Pair]) -> str:
    """How many pairs are better off, beyond the interval."""
    signs = {1: 0, -1: 0, 0: 0}
    for pair in pairs:
        values = pair.lead(shots)
        half = half_width(values)
        signs[0 if np.isnan(half) or abs(values.mean()) <= half else int(np.sign(values.mean()))] += 1
    return (
        f"- After {shots} sample{'s' if shots > 1 else ''} a class TinyReptile is ahead of transfer learning on "
        f"{signs[1]} of {len(pairs)} pairs, behind on {signs[-1]}, and on {signs[0]} the interval holds 0."
    )
