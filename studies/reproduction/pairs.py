"""Spoken words (FSDD) with two speakers held out at a time, all pairs: where meta-learning helps, and where not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from studies.reproduction.intervals import value_over
from studies.reproduction.measure import Reached, Study, reach, reach_reference
from studies.reproduction.results import PairRow, Value
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


def pair_rows(pairs: Sequence[Pair]) -> tuple[PairRow, ...]:
    """As they are kept: a row a pair, and the mean over all, in which each seed counts once."""
    if not pairs:
        return ()
    rows = [
        PairRow(
            pair.held_out,
            {row.label: row.by_shots() for row in pair.rows},
            {shots: value_over(pair.lead(shots)) for shots in SHOTS},
        )
        for pair in pairs
    ]
    means = {
        kind: {shots: Value(float(np.mean([row.values[kind][shots].mean for row in rows]))) for shots in SHOTS}
        for kind in KINDS
    }
    leads = {shots: value_over(np.mean([pair.lead(shots) for pair in pairs], axis=0)) for shots in SHOTS}
    return (*rows, PairRow((), means, leads))


def to_markdown(rows: Sequence[PairRow], seeds: int) -> str:
    """The table, and what it says."""
    columns = [f"{kind}, {shots}" for shots in SHOTS for kind in KINDS]
    lines = [
        f"### {TASK}: every pair of speakers held out",
        "",
        f"5-way, each speaker's words in the speaker's own order, {seeds} seeds: accuracy after "
        "1 and 5 samples a class, and by how much TinyReptile is ahead of transfer learning (+- is half of the 95 % "
        "interval over seeds).",
        "",
        "| held out | " + " | ".join([*columns, *(f"ahead, {shots}" for shots in SHOTS)]) + " |",
        "|---|" + "---|" * (len(columns) + len(SHOTS)),
    ]
    for row in rows:
        cells = [f"{row.values[kind][shots].mean:.3f}" for shots in SHOTS for kind in KINDS]
        leads = [_lead(row.ahead[shots]) for shots in SHOTS]
        lines.append(f"| {', '.join(row.held_out) or '**mean**'} | {' | '.join([*cells, *leads])} |")
    pairs = [row for row in rows if row.held_out]
    return "\n".join([*lines, "", *(_verdict(shots, pairs) for shots in SHOTS)]) + "\n"


def _lead(ahead: Value) -> str:
    return f"{ahead.mean:+.3f}" + ("" if ahead.half_width is None else f" +-{ahead.half_width:.3f}")


def _verdict(shots: int, pairs: Sequence[PairRow]) -> str:
    """How many pairs are better off, beyond the interval."""
    leads = [pair.ahead[shots] for pair in pairs]
    sure = [lead.mean for lead in leads if lead.half_width is not None and abs(lead.mean) > lead.half_width]
    ahead = sum(mean > 0 for mean in sure)
    return (
        f"- After {shots} sample{'s' if shots > 1 else ''} a class TinyReptile is ahead of transfer learning on "
        f"{ahead} of {len(pairs)} pairs, behind on {len(sure) - ahead}, and on {len(pairs) - len(sure)} the interval "
        "holds 0."
    )
