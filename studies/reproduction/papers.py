"""What the papers claim of an algorithm, and what a table says of it: the list below each task's tables.

TinyReptile: Ren, Anicic, Runkler, IJCNN 2023, arXiv 2304.05201. TinyMetaFed: Ren, Li, Anicic, Runkler, 2023, arXiv
2307.06822. Both claims are those of the abstracts.
"""

from collections.abc import Iterator

import numpy as np

from studies.reproduction.claim import SERIAL, TINY, factor
from studies.reproduction.measure import Reached
from studies.reproduction.table import Row, Table, amount

META = "TinyMetaFed"
REFERENCES = {"random": "random first weights", "global": "one global model", "transfer": "transfer learning"}


def found(table: Table) -> list[str]:
    """A line a claim, of those that the table's rows can say something of."""
    rows = {row.reached.label: row for row in table.rows}
    lines: list[str] = []
    if TINY in rows:
        lines += _initialization(table, rows[TINY].reached)
        if SERIAL in rows:
            lines += _comparable(table, rows[TINY].reached, rows[SERIAL].reached)
        if META in rows:
            lines += _meta_fed(table, rows[META], rows[TINY])
        lines += _below_random(table)
    return ["Beside what the papers claim:", "", *lines] if lines else []


def _initialization(table: Table, tiny: Reached) -> Iterator[str]:
    shots = table.study.target[0]
    others = "".join(f", {_value(each, shots)} from {REFERENCES[each.label]}" for each in table.references)
    yield (
        f"- TinyReptile, *a start that a new device adapts quickly*: {_value(tiny, tiny.shots[0])} after "
        f"{amount(table.study, tiny.shots[0])}, {_value(tiny, shots)} after {amount(table.study, shots)}{others}."
    )


def _comparable(table: Table, tiny: Reached, serial: Reached) -> Iterator[str]:
    shots = table.study.target[0]
    yield (
        f"- TinyReptile, *comparable performance*: {_value(tiny, shots)} after {amount(table.study, shots)} against "
        f"{_value(serial, shots)} of serial Reptile, both with all visits: {_verdict(table, tiny, serial, shots)}."
    )


def _meta_fed(table: Table, meta: Row, tiny: Row) -> Iterator[str]:
    shots, target = table.study.target
    if meta.price is not None and tiny.price is not None:
        down, up = (
            f"{less:,} B against {more:,} B, {factor(more / less)}"
            for less, more in (
                (meta.price.bytes_down, tiny.price.bytes_down),
                (meta.price.bytes_up, tiny.price.bytes_up),
            )
        )
        yield f"- TinyMetaFed, *less communication* than TinyReptile: down {down}; up {up}, a visit."
    visits = [row.reached.visits_to(target, smaller_is_better=table.smaller_is_better) for row in (meta, tiny)]
    told = ["never" if count is None else f"in {count:,} visits" for count in visits]
    yield f"- TinyMetaFed, *faster convergence*: {table.bound} {told[0]}, TinyReptile {told[1]}."
    if len(table.seeds) > 1:
        yield (
            f"- TinyMetaFed, *steadier training*: over seeds the standard deviation after {amount(table.study, shots)} "
            f"is {_deviation(meta.reached, shots):.3f}, TinyReptile's {_deviation(tiny.reached, shots):.3f}."
        )
    if meta.price is not None and tiny.price is not None and visits[0] and visits[1]:
        ratio = visits[1] * tiny.price.visit_s / (visits[0] * meta.price.visit_s)
        yield (
            "- TinyMetaFed, *less energy*: no board, no joules; the device time that it takes to the performance, "
            f"computing and line, is {factor(ratio)} than TinyReptile's."
        )


def _below_random(table: Table) -> Iterator[str]:
    """Rows that would have done better with nothing learned."""
    shots, smaller = table.study.target[0], table.smaller_is_better
    random = next((each for each in table.references if each.label == "random"), None)
    if random is None:
        return
    worse = [
        f"{row.reached.label} ({_value(row.reached, shots)})"
        for row in table.rows
        if (row.reached.mean(shots) > random.mean(shots)) == smaller
    ]
    if worse:
        yield (
            f"- Worse than random first weights ({_value(random, shots)}) after {amount(table.study, shots)}: "
            f"{', '.join(worse)}. Their rates were tried once or twice, TinyReptile's and serial Reptile's up to 22 "
            "times; and what learns one model for all gives those nothing whose labels are their own."
        )


def _value(reached: Reached, shots: int) -> str:
    return f"{reached.mean(shots):.3f}"


def _deviation(reached: Reached, shots: int) -> float:
    values = reached.values[:, reached.shots.index(shots)]
    return float(values.std(ddof=1))


def _verdict(table: Table, tiny: Reached, serial: Reached, shots: int) -> str:
    """By the 95 % intervals over seeds."""
    lead = tiny.mean(shots) - serial.mean(shots)
    halves = tiny.half_width(shots), serial.half_width(shots)
    if np.isnan(halves).any():
        return "one seed says no more"
    if abs(lead) <= sum(halves):
        return "the intervals overlap"
    return "TinyReptile is better" if (lead < 0) == table.smaller_is_better else "TinyReptile is worse"
