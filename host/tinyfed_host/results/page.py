"""A comparison as a page: its tables, its curves."""

from tinyfed import __version__
from tinyfed_host.report.figures import NARROW, WIDE, thin
from tinyfed_host.report.markup import Markup
from tinyfed_host.report.page import Column, note, page, picture, section, table
from tinyfed_host.report.svg import COLORS, Axis, Line, line_chart
from tinyfed_host.results.comparison import Comparison, Row, curves, differences_table, figures_table, remarks


def comparison_page(made: Comparison) -> Markup:
    """The whole document."""
    count = sum(len(group.runs) for group in made.groups)
    body = [
        section("Figures", "", _table(*figures_table(made)), *map(note, remarks(made))),
        *_curves(made),
        section("What differs", "" if made.keys else "Nothing but the seed.", *_differences(made)),
    ]
    names = ", ".join(made.name(group) for group in made.groups)
    return page("tinyfed: runs compared", f"{count} runs: {names}.", body, f"Written by tinyfed {__version__}.")


def _table(columns: Row, rows: list[Row]) -> Markup:
    return table([Column(name, number=at > 0) for at, name in enumerate(columns)], rows, cards=True)


def _differences(made: Comparison) -> list[Markup]:
    return [_table(*differences_table(made))] if made.keys else []


def _curves(made: Comparison) -> list[Markup]:
    """The best ones, when there are more than colours."""
    found = [(name, points) for name, points in curves(made) if points]
    if not found:
        return []
    drawn = sorted(found, key=lambda each: each[1][-1][1])[:COLORS]
    lines = [
        Line(name, thin([x for x, _ in points], [y for _, y in points]), color=number)
        for number, (name, points) in enumerate(each for each in found if each in drawn)
    ]
    pictures = [
        line_chart("Loss over the rounds", lines, Axis("round"), Axis("loss", low=0.0), size=size, legend_right=False)
        for size in (WIDE, NARROW)
    ]
    words = "The loss at the end of visits, mean of the last 20 rounds; of several runs their mean."
    if len(drawn) < len(found):
        words += f" The {len(drawn)} lowest of {len(found)} are drawn."
    return [section("Curves", words, picture(*pictures))]
