"""`tinyfed compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed_host.cli.options import complete_run

app = typer.Typer(add_completion=False)

POINTS = 48  # of a curve in a terminal


@app.command(
    epilog="Examples: tinyfed compare sine sine-2 · tinyfed compare runs/sweep --html sweep.html · "
    "tinyfed compare runs/sweep/*_seed-1 --json"
)
def compare(
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", autocompletion=complete_run, help="Runs, or folders of runs such as a sweep's."
        ),
    ],
    html: Annotated[
        Path | None, typer.Option("--html", "--output", "-o", help="Write a page with the tables and the curves.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a group, the last one the best.")] = False,
) -> None:
    """Hold runs against each other: figures, what differs in their experiments, curves, chance.

    Runs that differ in nothing but the seed are taken together, with 95 % intervals. The best is chosen by held-out
    clients where all runs have judged them (`tinyfed evaluate`), else by the loss; the others are tested against it.

    Exit codes: 2 the runs have nothing to compare, 7 there is no such run, or it has no round.
    """
    from tinyfed_host.cli.output import print_json, print_line, write_file
    from tinyfed_host.cli.working import working
    from tinyfed_host.results.comparison import compared, to_json
    from tinyfed_host.results.facts import find_runs, read_facts

    with working("reading the runs"):
        made = compared([read_facts(folder) for folder in find_runs(run)])
    if html is not None:
        from tinyfed_host.results.page import comparison_page

        write_file(html, comparison_page(made).encode("utf-8"))
    if as_json:
        for line in to_json(made):
            print_json(line)
        return
    tell(made)
    if html is not None:
        print_line(f"wrote {html}")


def tell(made: Any) -> None:
    """Print a comparison's tables and curves."""
    from tinyfed_host.cli.output import print_line, print_table, terminal_width
    from tinyfed_host.results.comparison import curves, differences_table, figures_table, remarks
    from tinyfed_host.view.progress import Curve, sparkline

    columns, rows = figures_table(made)
    print_table(columns, rows, spare=("rounds", "runs"))
    for text in remarks(made):
        print_line(text)
    if made.keys and (len(made.keys) > 1 or all(len(group.runs) == 1 for group in made.groups)):
        print_line("")
        print_table(*differences_table(made))
    drawn, found = [], curves(made)
    room = (terminal_width() or 200) - max(len(name) for name, _ in found) - 4
    for name, points in found:
        curve = Curve()
        for _, loss in points:
            curve.add(loss)
        drawn.append((name, curve.points(max(16, min(POINTS, room)))))
    values = [value for _, points in drawn for value in points]
    if values:
        low, high = min(values), max(values)
        print_line("")
        print_table(["loss over the rounds", ""], [[name, sparkline(points, low, high)] for name, points in drawn])
        print_line(f"▁ {low:.4f}  █ {high:.4f}")
