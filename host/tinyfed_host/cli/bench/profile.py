"""Where instructions and estimated cycles went, as tables."""

from typing import TYPE_CHECKING

from tinyfed_host.cli.output import print_table

if TYPE_CHECKING:
    from tinyfed_host.bench.cycles import Profile


def print_profile(profile: "Profile", times: int) -> None:
    """By function and by cause, what was measured `times` times taken once."""
    rows = sorted(profile.by_function.items(), key=lambda item: -item[1][1])
    print_table(
        ["function", "instructions", "cycles (estimated)"],
        [[name, round(count / times), round(cycles / times)] for name, (count, cycles) in rows if cycles >= times],
    )
    causes = sorted(profile.by_cause.items(), key=lambda item: -item[1])
    print_table(["cause", "cycles (estimated)"], [[name, round(cycles / times)] for name, cycles in causes])
