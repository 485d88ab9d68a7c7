"""Runs held against each other: groups of them over seeds, the best, and whether the others are worse by chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinyfed.text import listed
from tinyfed.text import shown as shown_text
from tinyfed_host.evaluation.kept import shown
from tinyfed_host.results.facts import (
    Group,
    RunFacts,
    differing,
    grouped,
    is_better_low,
    shared_figures,
)
from tinyfed_host.results.significance import Difference, compare, corrected
from tinyfed_host.run.names import shown_name

VALUE_MOST = 60  # characters of a value in a table
LABEL_MOST = 48  # characters of what sets a group apart; where it is longer it is called by a run of it
Row = list[str]


@dataclass(frozen=True)
class Test:
    """A group against the best one."""

    difference: Difference
    p: float | None  # corrected for so many comparisons


@dataclass(frozen=True)
class Comparison:
    """All of it. Groups stand in the order of their runs."""

    groups: Sequence[Group]
    keys: Sequence[str]  # in which the experiments differ
    figures: Sequence[str]  # that all have; by the first the best is chosen
    best: int  # of the groups
    tests: Sequence[Test | None]  # of each group; None: the best

    def name(self, group: Group) -> str:
        """What a group is called: a run by its name, several by what sets them apart."""
        if len(group.runs) == 1:
            return shown_name(group.runs[0].folder)
        if 0 < len(group.label) <= LABEL_MOST:
            return group.label
        return f"{shown_name(group.runs[0].folder)} and {len(group.runs) - 1} more"


def compared(runs: Sequence[RunFacts]) -> Comparison:
    """Raises `UsageError` when the runs have no figure in common."""
    groups, figures = grouped(runs), shared_figures(runs)
    means = [group.figure(figures[0]).mean for group in groups]
    best = means.index(min(means) if is_better_low(figures[0]) else max(means))
    found = [compare(group.by_seed(figures[0]), groups[best].by_seed(figures[0])) for group in groups]
    others = [number for number in range(len(groups)) if number != best]
    ps = dict(zip(others, corrected([found[number].p for number in others]), strict=True))
    tests = [None if number == best else Test(found[number], ps[number]) for number in range(len(groups))]
    return Comparison(groups, differing(runs), figures, best, tests)


def figures_table(made: Comparison) -> tuple[Row, list[Row]]:
    """A row for each group: how many runs, its figures, how far from the best."""
    columns = ["runs of" if any(len(group.runs) > 1 for group in made.groups) else "run", "runs", "rounds"]
    columns += [*made.figures, "to the best", "p"]
    rows = []
    for group, test in zip(made.groups, made.tests, strict=True):
        means = [group.figure(name) for name in made.figures]
        rounds = sorted({run.rounds for run in group.runs})
        told = ["best", ""] if test is None else _told(test)
        figures = [shown(each.mean, each.half) for each in means]
        span = f"{rounds[0]:,}" + (f" to {rounds[-1]:,}" if len(rounds) > 1 else "")
        rows.append([made.name(group), str(len(group.runs)), span, *figures, *told])
    return columns, rows


def _told(test: Test) -> Row:
    apart = test.difference.difference
    half = "" if apart.half is None else f" ± {apart.half:.3f}"
    return [f"{apart.mean:+.3f}{half}", "" if test.p is None else f"{test.p:.3f}"]


def differences_table(made: Comparison) -> tuple[Row, list[Row]]:
    """A row for each key in which the experiments differ."""
    columns = ["differs", *(made.name(group) for group in made.groups)]
    return columns, [[key, *(shown_text(group.values[key], VALUE_MOST) for group in made.groups)] for key in made.keys]


def remarks(made: Comparison) -> list[str]:
    """What must be known to read the tables."""
    found = []
    unfinished = [shown_name(run.folder) for group in made.groups for run in group.runs if run.rounds < run.of]
    if unfinished:
        found.append(f"not at their end yet: {', '.join(unfinished)}")
    runs = [run for group in made.groups for run in group.runs]
    for name in dict.fromkeys(name for run in runs for name in run.figures):
        without = [shown_name(run.folder) for run in runs if name not in run.figures]
        if without:
            said = f"{name} is left out: {listed(without, 4)} has none"
            found.append(f"{said} (`tinyfed evaluate RUN` judges held-out clients)")
    if any(len(group.runs) > 1 for group in made.groups):
        found.append("± is half of the mean's 95 % interval over seeds, by Student's t")
    again = [
        shown_name(run.folder)
        for group in made.groups
        for number, run in enumerate(group.runs)
        if run.seed in [later.seed for later in group.runs[number + 1 :]]
    ]
    if again:
        found.append(f"left out of the figures, since another run has the same experiment and seed: {', '.join(again)}")
    tests = [test for test in made.tests if test is not None]
    told = [test for test in tests if test.p is not None]
    if told:
        paired = {test.difference.paired for test in told}
        how = "of pairs with the same seed" if all(paired) else "of all runs"
        more = f", corrected for {len(told)} comparisons (Holm)" if len(told) > 1 else ""
        least = max(test.difference.least for test in told)
        found.append(
            f"p: permutation test {how}{more}; so few runs cannot give less than {least:.2g} in one comparison"
        )
    if len(told) < len(tests):
        found.append("one run of each says nothing of chance: `tinyfed sweep ... --seeds 5` gives several")
    return found


def curves(made: Comparison) -> list[tuple[str, list[tuple[float, float]]]]:
    """By group the mean of the runs' losses, of the rounds that all of its runs have."""
    found = []
    for group in made.groups:
        each = [dict(run.curve) for run in group.runs]
        rounds = sorted(set.intersection(*(set(curve) for curve in each)))
        mean = [(float(number), sum(curve[number] for curve in each) / len(each)) for number in rounds]
        found.append((made.name(group), mean))
    return found


def to_json(made: Comparison) -> list[dict[str, Any]]:
    """An object for each group; the last one says which is the best."""
    lines: list[dict[str, Any]] = []
    for group, test in zip(made.groups, made.tests, strict=True):
        figures = {}
        for name in made.figures:
            mean = group.figure(name)
            figures[name] = {"mean": mean.mean, "half": mean.half, "by_seed": group.by_seed(name)}
        line: dict[str, Any] = {"group": made.name(group), "values": group.values, "figures": figures}
        line["runs"] = [str(run.folder) for run in group.runs]
        if test is not None:
            apart = test.difference
            line["to_best"] = {
                "mean": apart.difference.mean, "half": apart.difference.half, "paired": apart.paired,
                "p": apart.p, "p_corrected": test.p, "p_least": apart.least,
            }  # fmt: skip
        lines.append(line)
    best = made.name(made.groups[made.best])
    return [*lines, {"best": best, "by": made.figures[0], "differs": list(made.keys), "remarks": remarks(made)}]
