"""What the papers claim of an algorithm, and what a table says of it: the list below each task's tables.

TinyReptile: Ren, Anicic, Runkler, IJCNN 2023, arXiv 2304.05201. TinyMetaFed: Ren, Li, Anicic, Runkler, 2023, arXiv
2307.06822. Both claims are those of the abstracts.
"""

from collections.abc import Iterator

from studies.reproduction.claim import SERIAL, TINY, factor
from studies.reproduction.intervals import deviation
from studies.reproduction.results import Results, Row

META = "TinyMetaFed"
REFERENCES = {"random": "random first weights", "global": "one global model", "transfer": "transfer learning"}


def found(results: Results) -> list[str]:
    """A line a claim, of those that the table's rows can say something of."""
    rows = {row.label: row for row in results.rows}
    lines: list[str] = []
    if TINY in rows:
        lines += _initialization(results, rows[TINY])
        if SERIAL in rows:
            lines += _comparable(results, rows[TINY], rows[SERIAL])
        if META in rows:
            lines += _meta_fed(results, rows[META], rows[TINY])
        lines += _below_random(results)
    return ["Beside what the papers claim:", "", *lines] if lines else []


def _initialization(results: Results, tiny: Row) -> Iterator[str]:
    shots = results.target[0]
    others = "".join(f", {_value(each, shots)} from {REFERENCES[each.label]}" for each in results.references)
    yield (
        f"- TinyReptile, *a start that a new device adapts quickly*: {_value(tiny, tiny.shots[0])} after "
        f"{results.amount(tiny.shots[0])}, {_value(tiny, shots)} after {results.amount(shots)}{others}."
    )


def _comparable(results: Results, tiny: Row, serial: Row) -> Iterator[str]:
    shots = results.target[0]
    yield (
        f"- TinyReptile, *comparable performance*: {_value(tiny, shots)} after {results.amount(shots)} against "
        f"{_value(serial, shots)} of serial Reptile, both with all visits: {_verdict(results, tiny, serial, shots)}."
    )


def _meta_fed(results: Results, meta: Row, tiny: Row) -> Iterator[str]:
    shots = results.target[0]
    if meta.price is not None and tiny.price is not None:
        down, up = (
            f"{less:,} B against {more:,} B, {factor(more / less)}"
            for less, more in (
                (meta.price.bytes_down, tiny.price.bytes_down),
                (meta.price.bytes_up, tiny.price.bytes_up),
            )
        )
        yield f"- TinyMetaFed, *less communication* than TinyReptile: down {down}; up {up}, a visit."
    visits = [row.to_target.mean if row.to_target is not None else None for row in (meta, tiny)]
    told = ["never" if count is None else f"in {count:,} visits" for count in visits]
    yield f"- TinyMetaFed, *faster convergence*: {results.bound} {told[0]}, TinyReptile {told[1]}."
    if (seeds := len(results.seeds)) > 1:
        yield (
            f"- TinyMetaFed, *steadier training*: over seeds the standard deviation after {results.amount(shots)} "
            f"is {deviation(meta.values[shots], seeds):.3f}, TinyReptile's {deviation(tiny.values[shots], seeds):.3f}."
        )
    if meta.price is not None and tiny.price is not None and visits[0] and visits[1]:
        ratio = visits[1] * tiny.price.visit_s / (visits[0] * meta.price.visit_s)
        yield (
            "- TinyMetaFed, *less energy*: no board, no joules; the device time that it takes to the performance, "
            f"computing and line, is {factor(ratio)} than TinyReptile's."
        )


def _below_random(results: Results) -> Iterator[str]:
    """Rows that would have done better with nothing learned."""
    shots, smaller = results.target[0], results.smaller_is_better
    random = next((each for each in results.references if each.label == "random"), None)
    if random is None:
        return
    worse = [
        f"{row.label} ({_value(row, shots)})"
        for row in results.rows
        if (row.mean(shots) > random.mean(shots)) == smaller
    ]
    if worse:
        yield (
            f"- Worse than random first weights ({_value(random, shots)}) after {results.amount(shots)}: "
            f"{', '.join(worse)}."
        )


def _value(row: Row, shots: int) -> str:
    return f"{row.mean(shots):.3f}"


def _verdict(results: Results, tiny: Row, serial: Row, shots: int) -> str:
    """By the 95 % intervals over seeds."""
    lead = tiny.mean(shots) - serial.mean(shots)
    halves = [row.values[shots].half_width for row in (tiny, serial)]
    known = [half for half in halves if half is not None]
    if len(known) < len(halves):
        return "one seed says no more"
    if abs(lead) <= sum(known):
        return "the intervals overlap"
    return "TinyReptile is better" if (lead < 0) == results.smaller_is_better else "TinyReptile is worse"
