"""`tinyfed runs`."""

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
    from tinyfed_host.run.store import DATABASE

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
        print_table(("run", "task", "strategy", "rounds", "loss", "weights", "begun (UTC)"), rows)


def _describe(folder: Path) -> dict[str, Any]:
    from tinyfed.errors import TinyfedError
    from tinyfed_host.run.store import RunStore

    entry: dict[str, Any] = {
        "run": folder.name, "task": "", "strategy": "", "rounds": 0, "of": 0, "loss": None, "weights_sha256": "",
        "created": "", "error": "",
    }  # fmt: skip
    try:
        with RunStore.read(folder) as store:
            header, last = store.header(), store.last_round()
    except TinyfedError as error:
        return {**entry, "error": str(error)}
    entry.update(
        task=header.experiment["task"]["name"],
        strategy=header.experiment["strategy"]["name"],
        of=header.experiment["rounds"],
        created=header.created,
    )
    if last is not None:
        entry.update(rounds=last["round"], loss=last.get("loss"), weights_sha256=last["weights_sha256"])
    return entry
