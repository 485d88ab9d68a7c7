"""`tinyfed firmware`: build and look at images."""

from pathlib import Path
from typing import Annotated

import typer

from tinyfed.boards import read_board
from tinyfed_host import firmware
from tinyfed_host.cli.output import print_json, print_line

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
