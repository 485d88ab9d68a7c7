"""`tinyfed boards [NAME]`."""

from typing import Annotated, Any

import typer

from tinyfed.boards import Board, read_board, read_boards
from tinyfed.errors import UsageError
from tinyfed_host.cli.options import complete_board
from tinyfed_host.cli.output import print_json, print_line, print_table

app = typer.Typer(add_completion=False)


@app.command(epilog="Examples: tinyfed boards · tinyfed boards mps2_an386 · tinyfed boards --json")
def boards(
    name: Annotated[
        str | None, typer.Argument(autocompletion=complete_board, help="Show this board alone, in full.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the boards tinyfed knows, or show one: what it has, and where its firmware was seen running.

    "emulated": the image that is built for it runs in the tests; "compiled": it builds without warnings, nothing
    more was seen; "hardware": somebody ran the hardware tests on it.

    Exit code: 2 when a board of your own is wrong; the others are listed.
    """
    if name is not None:
        board = read_board(name)
        if as_json:
            print_json(_facts(board))
        else:
            for key, value in _facts(board).items():
                print_line(f"{key:<12} {value}")
        return
    wrong: list[UsageError] = []
    found = read_boards(wrong=wrong)
    if as_json:
        for board in found:
            print_json(_facts(board))
        print_json({"boards": [board.name for board in found]})
    else:
        rows = [[b.name, b.title, b.mcu, f"{b.arena_bytes // 1024} KB", b.verified, b.verified_where] for b in found]
        print_table(["board", "what it is", "processor", "arena", "verified", "where"], rows)
    if wrong:
        raise wrong[0]


def _facts(board: Board) -> dict[str, Any]:
    return {
        "board": board.name,
        "title": board.title,
        "vendor": board.vendor,
        "mcu": board.mcu,
        "clock_hz": board.clock_hz,
        "port": board.port,
        "arena_bytes": board.arena_bytes,
        "flash_bytes": board.memory["flash"].size_bytes if "flash" in board.memory else None,
        "ram_bytes": board.memory["ram"].size_bytes if "ram" in board.memory else None,
        "data_flash_bytes": board.memory["data_flash"].size_bytes if "data_flash" in board.memory else None,
        "baud": board.baud,
        "emulator": (board.emulator.program or "none needed") if board.emulator else None,
        "verified": board.verified,
        "where": board.verified_where,
        "manifest": str(board.path),
    }
