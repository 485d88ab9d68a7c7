"""`tinyfed runs`: list them, write their metrics as files."""

import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed.errors import UsageError
from tinyfed_host.cli.options import complete_run

EXAMPLES = "Examples: tinyfed runs · tinyfed runs runs/sine-sweep --json · tinyfed runs export sine -o metrics.csv"

app = typer.Typer(add_completion=False, epilog=EXAMPLES)


@app.callback()
def runs() -> None:
    """List runs (`tinyfed runs`), write their metrics as files (`tinyfed runs export`)."""


@app.command("list", epilog=EXAMPLES)
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the runs in a folder: rounds done, loss, weights, whether they can go on.

    Exit codes: 0 also when there is none, 2 where the folder is a file. A run that cannot be read is listed with its
    error.
    """
    from tinyfed_host.cli.output import print_json, print_line, print_table
    from tinyfed_host.run.names import DATABASE, check_folder

    check_folder(folder, "name another folder")
    found = [_describe(path.parent) for path in sorted(folder.glob(f"*/{DATABASE}"))]
    below = Counter(path.parent.parent for path in folder.glob(f"*/*/{DATABASE}"))  # of sweeps
    if as_json:
        for entry in found:
            print_json(entry)
        print_json(
            {"runs": len(found), **({"folders": {str(path): below[path] for path in sorted(below)}} if below else {})}
        )
        return
    if not found and not below:
        print_line(f"no runs in {folder}/; `tinyfed run examples/sine.toml` makes one")
    elif found:
        rows = [
            [
                entry["run"],
                entry["task"],
                entry["strategy"],
                f"{entry['rounds']:,}/{entry['of']:,}" if not entry["error"] else entry["error"],
                "" if entry["loss"] is None else f"{entry['loss']:.4f}",
                entry["weights_sha256"][:12],
                entry["created"][:16].replace("T", " "),
            ]
            for entry in found
        ]
        columns = ("run", "task", "strategy", "rounds", "loss", "weights", "begun (UTC)")
        print_table(columns, rows, spare=("begun (UTC)", "weights"))
    for path in sorted(below):
        print_line(f"{path}/ holds {below[path]:,} runs: `tinyfed compare {path}`")


@app.command(
    "export",
    epilog="Examples: tinyfed runs export sine -o metrics.csv · tinyfed runs export sine --visits -o visits.parquet · "
    "tinyfed runs export sine --to tensorboard:logs · tinyfed runs export sine --to mlflow:http://localhost:5000",
)
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", autocompletion=complete_run, help="The run's name or folder.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="NAME.csv or NAME.parquet.")] = None,
    to: Annotated[str, typer.Option("--to", help="tensorboard:FOLDER, or mlflow:URI of a server or a store.")] = "",
    visits: Annotated[bool, typer.Option("--visits", help="A row a visit in the file, not a row a round.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write a run's metrics for other programs: a table as a file, or a run of TensorBoard's or MLflow's.

    Exit codes: 2 a wrong name or address, 3 pyarrow, TensorBoard or MLflow is not installed, 7 there is no such run.
    """
    from tinyfed_host.cli.output import print_json, print_line, write_file
    from tinyfed_host.cli.working import working
    from tinyfed_host.results import export
    from tinyfed_host.run.names import run_folder

    kind, _, place = to.partition(":")
    if bool(to) == (output is not None):
        raise UsageError(
            "name where the metrics go: -o FILE.csv, -o FILE.parquet, or --to tensorboard:FOLDER, mlflow:URI"
        )
    if to and (kind not in ("tensorboard", "mlflow") or not place or visits):
        problem = "must be tensorboard:FOLDER or mlflow:URI" + (", without --visits" if visits else "")
        raise UsageError(problem, key="--to", value=to)
    folder = run_folder(run)
    with working(f"exporting {folder}"):
        if output is not None:
            rows = export.visit_rows(folder) if visits else export.round_rows(folder)
            write_file(output, export.as_file(rows, output))
            facts: dict[str, Any] = {"file": str(output), "rows": len(rows)}
            text = f"wrote {output}: {len(rows):,} rows"
        elif kind == "tensorboard":
            facts = {"folder": str(export.to_tensorboard(folder, Path(place)))}
            text = f"wrote {facts['folder']} (`tensorboard --logdir {place}` shows it)"
        else:
            facts = {"mlflow_run": export.to_mlflow(folder, place)}
            text = f"recorded with {place} as run {facts['mlflow_run']} of the experiment tinyfed"
    if as_json:
        print_json(facts)
    else:
        print_line(text)


def _describe(folder: Path) -> dict[str, Any]:
    from tinyfed.errors import TinyfedError
    from tinyfed.text import shown
    from tinyfed_host.run.store import RunStore, damage_told

    entry: dict[str, Any] = {
        "run": shown(folder.name), "task": "", "strategy": "", "rounds": 0, "of": 0, "loss": None, "weights_sha256": "",
        "created": "", "error": "",
    }  # fmt: skip
    try:
        with RunStore.read(folder) as store, damage_told(folder):
            header, last = store.header(), store.last_round()
            known = {
                "task": shown(header.experiment["task"]["name"], 40),
                "strategy": shown(header.experiment["strategy"]["name"], 40),
                "of": int(header.experiment["rounds"]),
                "created": shown(header.created, 40),
            }
            if last is not None:
                loss = None if last.get("loss") is None else float(last["loss"])
                finite = loss is not None and math.isfinite(loss)
                known["rounds"], known["loss"] = int(last["round"]), loss if finite else None
                known["weights_sha256"] = shown(last["weights_sha256"], 64)
    except TinyfedError as error:
        return {**entry, "error": str(error)}
    return {**entry, **known}
