"""`tinyfed firmware`: build and look at images."""

from pathlib import Path
from typing import Annotated

import typer

from tinyfed.boards import read_board, read_boards
from tinyfed.errors import BuildError
from tinyfed_host import firmware
from tinyfed_host.cli.output import print_json, print_line, print_table

app = typer.Typer(no_args_is_help=True, help="Build firmware for a board.")

BoardOption = Annotated[str, typer.Option("--board", "-b", help="Which board; `tinyfed boards` lists them.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.callback()
def root() -> None:
    """Build firmware for a board, and see what it takes."""


@app.command(epilog="Examples: tinyfed firmware build --board mps2_an386 · ... --board raspberrypi --model net.tfm")
def build(
    board: BoardOption,
    model: Annotated[Path | None, typer.Option("--model", help="A model image to put into the firmware.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the image there.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Build even if the image is there already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a board's image with PlatformIO; the same sources give the same bytes.

    Exit codes: 2 for a wrong option, 3 when compiler or PlatformIO is missing, 6 when it does not compile.
    """
    kind = read_board(board)
    image = firmware.build(kind, model=model, force=force)
    if output is not None:
        output.write_bytes(image.read_bytes())
        image = output
    taken = firmware.size(kind, image)
    identity = firmware.build_id(kind, model.read_bytes() if model else None)
    if as_json:
        print_json(
            {
                "board": kind.name,
                "image": str(image),
                "build_id": identity,
                "flash_bytes": taken.flash,
                "ram_bytes": taken.ram,
                "arena_bytes": taken.arena,
            }
        )
    else:
        print_line(
            f"{image}  {kind.name}  build {identity}  flash {taken.flash:,} B, RAM {taken.ram:,} B beside the arena"
        )


@app.command(epilog="Examples: tinyfed firmware size --board mps2_an386 · tinyfed firmware size --json")
def size(
    board: Annotated[
        str | None, typer.Option("--board", "-b", help="Which board; else every board with a budget.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a board's image takes, against the budget in its manifest.

    Exit codes: 6 when an image is over its budget or does not compile, otherwise as `build`.
    """
    kinds = [read_board(board)] if board else [kind for kind in read_boards() if kind.budget]
    rows: list[list[object]] = []
    over = []
    for kind in kinds:
        taken = firmware.size(kind)
        flash = kind.budget.flash_bytes if kind.budget else None
        ram = kind.budget.ram_bytes if kind.budget else None
        if (flash and taken.flash > flash) or (ram and taken.ram > ram):
            over.append(kind.name)
        if as_json:
            print_json(
                {
                    "board": kind.name,
                    "flash_bytes": taken.flash,
                    "flash_budget_bytes": flash,
                    "ram_bytes": taken.ram,
                    "ram_budget_bytes": ram,
                    "stack_bytes": taken.stack,
                    "arena_bytes": taken.arena,
                }
            )
        rows.append([kind.name, taken.flash, flash or "-", taken.ram, ram or "-", taken.stack, taken.arena])
    if as_json:
        print_json({"over_budget": over})
    else:
        print_table(["board", "flash", "of", "RAM", "of", "stack in it", "arena beside it"], rows)
    if over:
        raise BuildError(
            f"over the budget of its manifest: {', '.join(over)}; make the code smaller, not the figure larger"
        )


@app.command(epilog="Example: tinyfed firmware info firmware.elf")
def info(
    image: Annotated[Path, typer.Argument(help="An ELF file or a raw image.")],
    as_json: JsonOption = False,
) -> None:
    """What is in an image: board, build, protocol version, embedded model. Exit code 2 when it is none."""
    found = firmware.info(image)
    facts = {
        "image": str(image),
        "board": found.board,
        "build_id": found.build_id,
        "protocol_version": found.protocol_version,
        "model_bytes": found.model_bytes,
        "model_hash": f"{found.model_hash:016x}" if found.model_bytes else None,
    }
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        print_line(f"{key:<18}{value if value is not None else 'none'}")
