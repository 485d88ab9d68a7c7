"""`tinyfed deploy`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed.text import names_in
from tinyfed_host.cli.options import complete_board, complete_run
from tinyfed_host.cli.working import working

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples: tinyfed deploy kitchen --board mps2_an386 · tinyfed deploy kitchen --board stm32f405 --dry-run · "
    "tinyfed deploy kitchen --board nano33ble --port /dev/ttyACM0 --int8 -o firmware/src"
)
def deploy(
    run: Annotated[str, typer.Argument(metavar="RUN", autocompletion=complete_run, help="The run, by name or path.")],
    board: Annotated[
        str,
        typer.Option("--board", "-b", autocompletion=complete_board, help="Which board; `tinyfed boards` lists them."),
    ],
    port: Annotated[str, typer.Option("--port", "-p", help="Where the board is, or its unique id.")] = "",
    int8: Annotated[bool, typer.Option("--int8", help="Quantize, also where float32 fits.")] = False,
    clients: Annotated[str, typer.Option("--clients", help="Held-out clients to check it with, a,b (all).")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A folder for the image, and for it as C arrays.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Put what a run has learned onto a board, and say how well it does there beside the host.

    A device that answers on the port is sent the model; a board that is flashed is built for, flashed and asked; one
    that is emulated is started with it. Where labels are fixed the board answers held-out samples; else held-out
    clients learn on it. Its answers must be the host's, to the bit.

    Exit codes: 2 for a wrong option, 3 when tools are missing (all in one message), 4 when no device answers, 5 when
    the model does not fit, 6 when building or flashing fails, 7 when there is no such run.
    """
    from tinyfed.boards import read_board
    from tinyfed_host.cli.output import print_json, print_line, print_note, print_table, write_files
    from tinyfed_host.deployment import deploy as deploying
    from tinyfed_host.device.port_choice import choose
    from tinyfed_host.evaluation.evaluate import chosen_clients
    from tinyfed_host.evaluation.subjects import of_run
    from tinyfed_host.run.names import run_folder

    def say(text: str) -> None:
        if not as_json:
            print_note(text)

    kind, folder = read_board(board), run_folder(run)
    with working(f"reading {folder}"):
        subject = of_run(folder)
        people = chosen_clients(subject.task, names_in(clients))
        (place,) = choose((port,), needed=False) if port else ("",)
        plan = deploying.prepare(
            folder.resolve().name, subject, people, kind, place, folder, int8=int8, dry_run=dry_run
        )
    todo = deploying.steps(plan, output)
    facts: dict[str, Any] = {
        "run": str(folder), "board": kind.name, "model": "int8" if plan.int8 else "float32",
        "steps": [{"step": name, "what": what} for name, what in todo],
    }  # fmt: skip
    if not as_json:
        print_table(("step", "what"), todo)
    if dry_run:
        if as_json:
            print_json({**facts, "dry_run": True})
        return
    with working("quantizing" if plan.int8 else "preparing the model"):
        model = deploying.model_of(plan)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_files(deploying.files(plan, model, output))
    if plan.learns:
        found = deploying.learn_there(plan, model, working, say)
    else:
        with deploying.on_board(plan, model, working, say) as device, working("held-out samples on the board"):
            found = deploying.answer(plan, model, device)
    if as_json:
        print_json({**facts, **found})
        return
    for line in _told(found, kind.name):
        print_line(line)


def _told(found: dict[str, Any], board: str) -> list[str]:
    measure = found["measure"]
    if "visits" not in found:
        where = f"of {found['samples']:,} samples of {found['clients']} held-out clients, the same bits"
        quantized = ""
        if "float_on_host" in found:
            quantized = f" (float32: {found['float_on_host']:.1%})"
        return [f"accuracy {found['on_board']:.1%} on {board}, {found['on_host']:.1%} on the host{quantized}, {where}"]
    if not found["visits"]:
        return [f"not checked: {found['why_none']}; `tinyfed devices adapt PORT RUN` when it has some"]
    lines = []
    for visit in found["visits"]:
        there, who = visit["on_board"], visit.get("client") or f"device {visit['device']}"
        shown = ", ".join(f"{value:.3f} after {shots}" for shots, value in there.items())
        same = "; on the host the same bits" if "on_host" in visit else "; its samples are its own"
        lines.append(f"{who}: {measure} on {board}: {shown}{same}")
    return lines
