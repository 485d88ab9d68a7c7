"""The table at the head of docs/reproduction.md: TinyReptile beside serial Reptile, and where the time goes."""

from dataclasses import dataclass

from studies.reproduction.results import BITS_PER_S, Price, Results

ASKED = 2.0
FAST_BITS_PER_S = 921_600
TINY, SERIAL, REBUILT = "TinyReptile", "Reptile, serial", ", last layer rebuilt"
HEAD = (
    "| task, performance | RAM beside the weights | device time | of it computing | the line's share of a visit | "
    f"visits | device time at {FAST_BITS_PER_S:,} baud |",
    "|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Spent:
    """What an algorithm took to the performance asked for, with the settings that took the least device time."""

    price: Price
    visits: int | None  # None: not reached

    def time_s(self, bits_per_s: int) -> float:
        """Device time to the performance; infinite when it was not reached."""
        return float("inf") if self.visits is None else self.visits * self.price.visit_s_at(bits_per_s)


def spent(results: Results, algorithm: str) -> Spent | None:
    """The cheapest of the algorithm's rows, those named like it or like it with ", for time"; None without prices."""
    found = [
        Spent(row.price, row.to_target.mean)
        for row in results.rows
        if row.label in (algorithm, f"{algorithm}, for time") and row.price is not None and row.to_target is not None
    ]
    return min(found, key=lambda each: each.time_s(BITS_PER_S), default=None)


def claim(results: Results) -> str | None:
    """A task's lines: TinyReptile's figure, serial Reptile's, and how many times less it is; below it the same with a
    last layer that each device rebuilds, where the study has it. None without prices."""
    lines = [line for line in (_line(results, ""), _line(results, REBUILT)) if line is not None]
    return "\n".join(lines) or None


def _line(results: Results, variant: str) -> str | None:
    tiny, serial = spent(results, TINY + variant), spent(results, SERIAL + variant)
    if tiny is None or serial is None:
        return None
    ram = compared(tiny.price.ram_bytes, serial.price.ram_bytes, "B")
    start = f"| {results.task}, {results.bound}{variant} | {ram} |"
    if tiny.visits is None or serial.visits is None:
        missing = [name for name, each in (("TinyReptile", tiny), ("serial Reptile", serial)) if each.visits is None]
        return f"{start} {' and '.join(missing)} did not reach it | | | | |"
    cells = (
        compared(tiny.time_s(BITS_PER_S), serial.time_s(BITS_PER_S), "s"),
        factor(serial.visits * serial.price.compute_s / (tiny.visits * tiny.price.compute_s)),
        ", ".join(f"{100 * each.price.wire_s / each.price.visit_s:.1f} %" for each in (tiny, serial)),
        f"{tiny.visits:,}, {serial.visits:,}",
        factor(serial.time_s(FAST_BITS_PER_S) / tiny.time_s(FAST_BITS_PER_S)),
    )
    return f"{start} {' | '.join(cells)} |"


def factor(ratio: float) -> str:
    """How much less (or more) the second takes than the first, when first / second is `ratio`."""
    return f"{ratio:.1f} times less" if ratio >= 1 else f"{1 / ratio:.1f} times more"


def compared(tiny: float, serial: float, unit: str) -> str:
    """Both figures, the factor between them, and by how much it misses what is claimed."""
    ratio = serial / tiny
    verdict = "" if ratio >= ASKED else f" (asked {ASKED:g}, reached {ratio:.2f})"
    return f"{tiny:,.0f} {unit} against {serial:,.0f} {unit}: {factor(ratio)}{verdict}"
