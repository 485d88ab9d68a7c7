"""`tinyfed reproduce [TASK...]`."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tinyfed.fields import whole
from tinyfed_host.cli.options import complete_task, number_option

app = typer.Typer(add_completion=False)

SHORT_SHARE = 0.05


@app.command(epilog="Examples: tinyfed reproduce watch · tinyfed reproduce --output docs/reproduction.md")
def reproduce(
    task: Annotated[
        list[str] | None,
        typer.Argument(autocompletion=complete_task, help="Only these tasks; without: all whose data is here."),
    ] = None,
    seeds: Annotated[int, number_option(whole(1, 100), "--seeds", help="Runs of each row.")] = 5,
    short: Annotated[bool, typer.Option("--short", help="A twentieth of the visits: to see that it works.")] = False,
    boards: Annotated[
        bool, typer.Option(help="Repeat each row on emulated Cortex-M4 boards, and measure what a visit costs there.")
    ] = True,
    jobs: Annotated[int, number_option(whole(1, 64), "--jobs", help="Rows at a time.")] = os.cpu_count() or 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write the page here, pictures into images/ beside it; what other tasks' rows there are is kept.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            help="Keep the page's rows in this folder, a JSON file a task. Without: studies/reproduction/results for "
            "docs/reproduction.md, a folder named as the page for any other.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row, the last one the result.")] = False,
) -> None:
    """Run the comparison of the papers: each strategy on each task, what it reaches and what a visit costs a device."""
    _find_studies()
    from studies.reproduction import page
    from studies.reproduction.measure import STUDIES, shortened, study
    from studies.reproduction.results import Measured, Results
    from studies.reproduction.table import Measurement
    from tinyfed.errors import UsageError
    from tinyfed_host.cli.output import print_json, print_line, print_note
    from tinyfed_host.cli.working import standing, working

    if results is not None and output is None:
        raise UsageError("reproduce: --results keeps the rows of a page: add --output PAGE")
    studies, skipped = [], []
    for each in [study(name) for name in (task or STUDIES)]:
        whole = shortened(each, SHORT_SHARE) if short else each
        try:
            whole.make_task()
        except UsageError as error:
            if task:
                raise
            skipped.append(each.task)
            print_note(f"{each.task} is left out: {error}")
        else:
            studies.append(whole)
    command = " ".join(["tinyfed reproduce", *(task or []), *(["--short"] if short else []), f"--seeds {seeds}"])
    command += "" if boards else " --no-boards"
    folder = Path()
    if output is not None:
        beside = page.RESULTS if output.resolve() == page.PAGE else output.with_suffix("")
        folder = beside if results is None else results
        page.prepare(output, folder)
    begun = time.monotonic()
    tables: list[Results] = []

    def done() -> str:
        left = " ".join(each.task for each in studies[len(tables) :])
        kept = f"and kept for {output}" if output else "and shown above"
        return (
            f"{len(tables)} of {len(studies)} tasks are measured {kept}: "
            f"go on with `tinyfed reproduce {left}` and the same options"
        )

    with (
        standing(done),
        Measurement(studies, range(1, seeds + 1), boards=boards, jobs=jobs, tell=print_note) as measurement,
        working("measuring"),
    ):
        for table in measurement.tables():
            tables.append(table)
            if as_json:
                for row in page.to_json(table):
                    print_json(row)
            else:
                for line in page.to_markdown(table).splitlines():
                    print_line(line)
            if output is not None:  # at once: what is measured stays, whatever comes
                measured = Measured(
                    command,
                    table.measured.board,
                    round(sum(os.times()[:4]), 1),
                    round((time.monotonic() - begun) / 60, 1),
                    len(tables) == len(studies),
                )
                page.write(output, folder, [replace(each, measured=measured) for each in tables])
    if as_json:
        print_json({"tasks": [t.task for t in tables], "left_out": skipped, "page": str(output) if output else None})


def _find_studies() -> None:
    """Make the checkout's `studies/` importable. Raises `UsageError`: a wheel has none."""
    from tinyfed.errors import UsageError
    from tinyfed.paths import share

    root = share()
    if not (root / "studies" / "reproduction").is_dir():
        raise UsageError(
            "reproduce: the studies are part of a checkout of tinyfed, not of its wheel; run it from there"
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
