"""`tinyfed report`."""

from typing import Annotated

import typer

from tinyfed_host.cli.options import complete_run

app = typer.Typer(add_completion=False)


@app.command(epilog="Examples: tinyfed report demo · tinyfed report runs/sine --json")
def report(
    run: Annotated[str, typer.Argument(autocompletion=complete_run, help="The run's name or folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object with the report's path.")] = False,
) -> None:
    """Write a run's report.html: pictures, tables and how to repeat it, in one file. The run may be going on.

    Exit codes: 7 there is no such run, or it has no round.
    """
    from tinyfed_host.cli.output import print_json, print_line
    from tinyfed_host.cli.working import working
    from tinyfed_host.report.document import write_report
    from tinyfed_host.run.names import run_folder

    with working(f"writing the report of {run}"):
        path = write_report(run_folder(run))
    if as_json:
        print_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        print_line(f"wrote {path}")
