"""Figures of a measurement, and where instructions and estimated cycles went, as tables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinyfed_host.cli.output import print_table

if TYPE_CHECKING:
    from tinyfed_host.bench.cycles import Profile


def print_figures(figures: Mapping[str, Any]) -> None:
    """A row for each; what has several values has a table behind."""
    rows = [[name.replace("_", " "), value] for name, value in figures.items() if not isinstance(value, dict)]
    print_table(["what", "value"], rows)
    print_table(["cause", "cycles (estimated)"], list(figures["causes_estimated"].items()))
    chips = figures["chips_estimated"].items()
    heads = ["chip", "cycles (estimated)", "of these flash", "microseconds (estimated)"]
    print_table(heads, [[name, *chip.values()] for name, chip in chips])
    if "cycles_per_mac_estimated" in figures:
        print_table(["chip", "cycles a multiply-add (estimated)"], list(figures["cycles_per_mac_estimated"].items()))


def print_profile(profile: "Profile", times: int) -> None:
    """By function, what was measured `times` times taken once."""
    chips = list(profile.flash)
    print_table(
        ["function", "ran", "cycles", *chips],
        [
            [name, round(count / times), round(cycles / times)]
            + [round(profile.flash[chip].get(name, 0) / times) for chip in chips]
            for name, (count, cycles) in sorted(profile.by_function.items(), key=lambda item: -item[1][1])
            if cycles >= times
        ],
        "instructions that ran, the core's cycles (estimated), and those of each chip's flash (estimated)",
    )
