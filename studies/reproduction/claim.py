"""The table at the head of docs/reproduction.md: TinyReptile beside serial Reptile, and where the time goes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from studies.reproduction.measure import STUDIES
from studies.reproduction.price import BITS_PER_S, CLOCK_HZ, Price
from studies.reproduction.table import Table

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


def spent(table: Table, algorithm: str) -> Spent | None:
    """The cheapest of the algorithm's rows, those named like it or like it with ", for time"; None without prices."""
    found: list[Spent] = []
    for row in table.rows:
        if row.reached.label in (algorithm, f"{algorithm}, for time") and row.price is not None:
            visits = row.reached.visits_to(table.study.target[1], smaller_is_better=table.smaller_is_better)
            found.append(Spent(row.price, visits))
    return min(found, key=lambda each: each.time_s(BITS_PER_S), default=None)


def claim(table: Table) -> str | None:
    """A task's lines: TinyReptile's figure, serial Reptile's, and how many times less it is; below it the same with a
    last layer that each device rebuilds, where the study has it. None without prices."""
    lines = [line for line in (_line(table, ""), _line(table, REBUILT)) if line is not None]
    return "\n".join(lines) or None


def _line(table: Table, variant: str) -> str | None:
    tiny, serial = spent(table, TINY + variant), spent(table, SERIAL + variant)
    if tiny is None or serial is None:
        return None
    ram = compared(tiny.price.ram_bytes, serial.price.ram_bytes, "B")
    start = f"| {table.study.task}, {table.bound}{variant} | {ram} |"
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


def kept_claims(old: str) -> dict[str, str]:
    """The lines of a page written before, by task."""
    head = old.split("\n## ", 1)[0]
    found: dict[str, list[str]] = {}
    for match in re.finditer(r"^\| (\w+), .*\|$", head, flags=re.MULTILINE):
        found.setdefault(match[1], []).append(match[0])
    return {task: "\n".join(lines) for task, lines in found.items() if task in STUDIES}


def section(claims: Sequence[str]) -> list[str]:
    """The table with what it says."""
    return [
        "TinyReptile's claim is at least a factor of two less resources and time than the baselines at comparable "
        f"performance. Against serial Reptile, each with the settings of its rows below that get there first, at "
        f"{CLOCK_HZ // 1_000_000} MHz and {BITS_PER_S:,} baud (TinyReptile's figure first):",
        "",
        *HEAD,
        *claims,
        "",
        "Memory: TinyReptile does without a gradient buffer and, where Reptile goes through its samples more than once "
        "(all but the sines and ROBOD's row for time), without a stored set. Computing: it goes through them once. "
        "Device time: both send the whole "
        "model both ways, so where the line takes most of a visit, the time to a performance follows the number of "
        "visits and not the computing; a faster line shifts it towards the computing, as the last column shows. "
        "Where a curve is flat from its first points on (presence: everybody has the same labels, and meta-learning "
        "adds little), which point is the first to reach it is chance. *Last layer rebuilt*: the devices and newcomers "
        "of both start the last layer at zero and never send it (TinyMetaFed with all other values sent back, whose "
        "alpha falls as a cosine; Reptile with `local_last`): no more RAM.",
        "",
    ]
