"""`tinyfed runs`."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False)


@app.command(epilog="Examples: tinyfed runs · tinyfed runs --json")
def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the runs in a folder: rounds done, loss, weights, whether they can go on.

    Exit codes: 0 also when there is none. A run that cannot be read is listed with its error.
    """
    from tinyfed_host.cli.output import print_json, print_line, print_table
    from tinyfed_host.run.names import DATABASE

    found = [_describe(path.parent) for path in sorted(folder.glob(f"*/{DATABASE}"))]
    if as_json:
        for entry in found:
            print_json(entry)
        print_json({"runs": len(found)})
    elif not found:
        print_line(f"no runs in {folder}/; `tinyfed run examples/sine.toml` makes one")
    else:
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
