"""`tinyfed emulate`."""

import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from tinyfed.errors import UsageError
from tinyfed.fields import number, whole
from tinyfed_host.cli.options import BOARD_FILE, chosen_board, complete_board, number_option
from tinyfed_host.cli.output import print_json, print_line
from tinyfed_host.cli.working import standing, working
from tinyfed_host.device.unique_id import UNIQUE_ID_BYTES
from tinyfed_host.emulation.qemu import Emulators
from tinyfed_host.firmware import build

app = typer.Typer(add_completion=False)

COUNT_MAX = 64
CHECK_EVERY_S = 0.5


@app.command(
    epilog="Examples: tinyfed emulate --board mps2_an386 --count 4 · tinyfed emulate --board raspberrypi "
    "--shard person1.shard, then in another terminal `tinyfed devices PORT`."
)
def emulate(
    board: Annotated[
        str | None,
        typer.Option(
            "--board",
            "-b",
            autocompletion=complete_board,
            help="Which board; mps2_an386 if none is named; `tinyfed boards` lists them.",
        ),
    ] = None,
    board_file: Annotated[Path | None, BOARD_FILE] = None,
    count: Annotated[int, number_option(whole(1, COUNT_MAX), "--count", "-n", help="How many.")] = 1,
    shard: Annotated[
        list[Path] | None, typer.Option("--shard", help="A device's samples; give it once for each device.")
    ] = None,
    store: Annotated[
        list[Path] | None,
        typer.Option("--store", help="A device's flash for saved models: the same file is the same board again."),
    ] = None,
    sensor: Annotated[
        Path | None, typer.Option("--sensor", help="A recording that each device's sensor plays (docs/recording.md).")
    ] = None,
    model: Annotated[Path | None, typer.Option("--model", help="A model image to put into the firmware.")] = None,
    counting: Annotated[
        bool, typer.Option("--counting", help="Count instructions (exact and repeatable, but slower).")
    ] = False,
    for_s: Annotated[
        float | None, number_option(number(0), "--for", help="End by itself after so many seconds.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Start emulated boards with the real firmware image and print their ports; Ctrl-C ends them all.

    Exit codes: 130 after Ctrl-C, 0 with --for, 2 for a wrong option, 3 when the emulator or compiler is missing, 4 when
    an emulator ends by itself, 5 when a shard does not fit, 6 when the firmware does not compile.
    """
    shards, stores = _one_each("--shard", shard or [], count), _one_each("--store", store or [], count)
    places = [Path(os.path.realpath(path)) for path in store or []]  # `resolve` fails on a ring of links
    for place in places:
        if places.count(place) > 1:
            raise UsageError(
                "--store was given twice", where=str(place), remedy="a flash is one board's: name two files"
            )
    kind = chosen_board(board or (None if board_file else "mps2_an386"), board_file)
    with working(f"building firmware for {kind.name}"):
        image = build.build(kind, model=model)
    again = "what they saved is in the files of --store" if store else "what they held is gone (--store keeps it)"
    with standing(lambda: f"the boards are off; {again}; the same command starts them anew"), Emulators() as emulators:
        for data, kept in zip(shards, stores, strict=True):
            device = emulators.start(
                kind, _unique_id(kept), data, image=image, counting=counting, store=kept, sensor=sensor
            )
            if as_json:
                print_json({"port": device.port, "board": kind.name, "unique_id": device.unique_id, "pid": device.pid})
            else:
                print_line(f"{device.port}  {kind.name}  {device.unique_id}")
        if as_json:
            print_json({"ports": [device.port for device in emulators.devices]})
        elif for_s is None:
            print_line("Ctrl-C ends them.")
        end = None if for_s is None else time.monotonic() + for_s
        while end is None or time.monotonic() < end:
            time.sleep(CHECK_EVERY_S if end is None else max(0.0, min(CHECK_EVERY_S, end - time.monotonic())))
            for device in emulators.devices:
                device.check()


def _one_each(option: str, given: list[Path], count: int) -> list[Path | None]:
    """What each device is given of an option; None where it was given fewer times."""
    if len(given) > count:
        raise UsageError(f"{option} was given {len(given)} times for {count} devices; raise --count")
    return [*given, *[None] * (count - len(given))]


def _unique_id(store: Path | None) -> str:
    """A new board's, or that of the board whose flash is in this file."""
    if store is None:
        return secrets.token_hex(UNIQUE_ID_BYTES)
    return hashlib.blake2s(str(store.resolve()).encode(), digest_size=UNIQUE_ID_BYTES).hexdigest()
