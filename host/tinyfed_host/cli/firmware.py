"""`tinyfed firmware`: build and look at images."""

from pathlib import Path
from typing import Annotated

import typer

from tinyfed.boards import Board, read_boards
from tinyfed.errors import BuildError, UsageError
from tinyfed_host.cli.options import BOARD_FILE, chosen_board, complete_board
from tinyfed_host.cli.output import print_json, print_line, print_table, write_file
from tinyfed_host.cli.working import working
from tinyfed_host.firmware import build, remote

app = typer.Typer(add_completion=False, help="Build firmware for a board.")

BoardOption = Annotated[
    str | None,
    typer.Option("--board", "-b", autocompletion=complete_board, help="Which board; `tinyfed boards` lists them."),
]
BoardFile = Annotated[Path | None, BOARD_FILE]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.callback()
def root() -> None:
    """Build firmware for a board, and see what it takes."""


@app.command(
    "build", epilog="Examples: tinyfed firmware build --board mps2_an386 · ... --board raspberrypi --model net.tfm"
)
def build_image(
    board: BoardOption = None,
    board_file: BoardFile = None,
    model: Annotated[Path | None, typer.Option("--model", help="A model image to put into the firmware.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Copy the image there.")] = None,
    dense_only: Annotated[
        bool,
        typer.Option("--dense-only", help="Leave the layers beside dense ones and the sensor away: a smaller image."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Build even if the image is there already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a board's image with PlatformIO; the same sources give the same bytes.

    Exit codes: 2 for a wrong option, 3 when compiler or PlatformIO is missing, 6 when it does not compile.
    """
    kind = chosen_board(board, board_file)
    with working(f"building firmware for {kind.name}"):
        image = build.build(kind, model=model, dense_only=dense_only, force=force)
    if output is not None:
        write_file(output, image.read_bytes(), model)
        if remote.is_program(kind) and output.is_file():
            mode = output.stat().st_mode
            output.chmod(mode | (mode & 0o444) >> 2)  # whoever may read it may start it
    taken = build.size(kind, image)
    identity = build.info(image).build_id
    if as_json:
        print_json(
            {
                "board": kind.name,
                "image": str(output or image),
                "build_id": identity,
                "flash_bytes": taken.flash,
                "ram_bytes": taken.ram,
                "arena_bytes": taken.arena,
            }
        )
    else:
        print_line(
            f"{output or image}  {kind.name}  build {identity}  flash {taken.flash:,} B, "
            f"RAM {taken.ram:,} B beside the arena"
        )


@app.command(epilog="Examples: tinyfed firmware size --board mps2_an386 · tinyfed firmware size --json")
def size(
    board: Annotated[
        str | None,
        typer.Option(
            "--board", "-b", autocompletion=complete_board, help="Which board; else every board with a budget."
        ),
    ] = None,
    board_file: BoardFile = None,
    as_json: JsonOption = False,
) -> None:
    """What a board's image takes, with every layer and built for dense nets alone, against its manifest's budget.

    Exit codes: 6 when an image is over its budget or does not compile, otherwise as `build`.
    """
    kinds = (
        [chosen_board(board, board_file)] if board or board_file else [kind for kind in read_boards() if kind.budget]
    )
    rows: list[list[object]] = []
    over = []
    for kind in kinds:
        with working(f"building firmware for {kind.name}"):
            taken = build.size(kind)
            lean = None if build.has_framework(kind) else build.size(kind, build.build(kind, dense_only=True))
        flash = kind.budget.flash_bytes if kind.budget else None
        dense = kind.budget.dense_flash_bytes if kind.budget else None
        ram = kind.budget.ram_bytes if kind.budget else None
        if any(
            limit and used > limit
            for used, limit in zip(
                (taken.flash, lean.flash if lean else 0, taken.ram), (flash, dense, ram), strict=True
            )
        ):
            over.append(kind.name)
        if as_json:
            print_json(
                {
                    "board": kind.name,
                    "flash_bytes": taken.flash,
                    "flash_budget_bytes": flash,
                    "dense_flash_bytes": lean.flash if lean else None,
                    "dense_flash_budget_bytes": dense,
                    "ram_bytes": taken.ram,
                    "ram_budget_bytes": ram,
                    "stack_bytes": taken.stack,
                    "arena_bytes": taken.arena,
                }
            )
        rows.append(
            [
                kind.name,
                taken.flash,
                flash or "-",
                lean.flash if lean else "-",
                dense or "-",
                taken.ram,
                ram or "-",
                taken.stack,
                taken.arena,
            ]
        )
    if as_json:
        print_json({"over_budget": over})
    else:
        print_table(
            ["board", "flash", "of", "dense nets only", "of", "RAM", "of", "stack in it", "arena beside it"], rows
        )
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
    found = build.info(image)
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


@app.command(
    epilog="Examples: tinyfed firmware flash --board stm32f405 --port /dev/ttyUSB0 · ... --shard person1.shard · "
    "... --dry-run"
)
def flash(
    board: BoardOption = None,
    board_file: BoardFile = None,
    port: Annotated[
        str | None,
        typer.Option("--port", "-p", help="Serial port of the board (the only one); USER@HOST of a Raspberry Pi."),
    ] = None,
    shard: Annotated[Path | None, typer.Option("--shard", help="Samples to write into its data flash.")] = None,
    model: Annotated[Path | None, typer.Option("--model", help="A model image to put into the firmware.")] = None,
    method: Annotated[str | None, typer.Option("--method", help="Flasher (the first installed).")] = None,
    probe: Annotated[str | None, typer.Option("--probe", help="Serial number of the debug probe.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write even if the image is there already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the commands.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build, write, verify, reset, and wait until the board says who it is.

    A board that exists only under emulation is started instead, until Ctrl-C. A program for a Raspberry Pi is copied
    there over ssh.

    Exit codes: 2 for a wrong option, 3 when a tool is missing, 4 when the board does not answer, 5 when the shard does
    not fit, 6 when flashing fails.
    """
    from tinyfed_host.firmware import flash as flasher

    kind = chosen_board(board, board_file)
    if remote.is_program(kind) and (port or kind.compiler.prefix):
        if shard or method or probe:
            problem = "does not go with a program that is copied"
            key = "--shard" if shard else "--method" if method else "--probe"
            raise UsageError(problem, key=key, remedy="leave it away; samples are copied too, and named at its start")
        _copy(kind, port, model, None, dry_run, as_json)
        return
    if not flasher.methods(kind) and kind.emulator is not None:
        if port:
            raise UsageError(f"{kind.name} is emulated here", key="--port", value=port, remedy="leave it away")
        from tinyfed_host.cli.emulate import emulate

        if dry_run:
            options = [f" --{name} {file}" for name, file in (("shard", shard), ("model", model)) if file]
            which = f"--board-file {board_file}" if board_file else f"--board {kind.name}"
            print_line(f"tinyfed emulate {which}" + "".join(options))
            return
        emulate(
            board=board, board_file=board_file, count=1, shard=[shard] if shard else None, model=model, as_json=as_json
        )
        return
    if dry_run:
        for step in flasher.plan(
            kind, build.image_path(kind, model), method=method, probe=probe, port=port, shard=shard, dry=True
        ):
            print_line(str(step))
        return
    tool = flasher.choose(kind, method)
    with working(f"building firmware for {kind.name}"):
        image, build_id = flasher.make_image(kind, model)
    if tool.builds:
        port = port or flasher.find_port(kind)
    steps = flasher.plan(kind, image, method=method, probe=probe, port=port, shard=shard)

    def say(text: str) -> None:
        if as_json:
            print_json({"progress": text})
        else:
            print_line(text)

    flasher.refuse_several(steps[0].tool, probe)
    port = port or flasher.find_port(kind)
    comparison = flasher.verify_step(kind, image, method=method, probe=probe)
    there = False
    if not force and shard is None:
        info = flasher.answering([port]).get(port) if port else None
        if info is not None:
            there = info.firmware_build == build_id
        elif comparison is not None:
            there = flasher.is_there(comparison)
    if there:
        say(f"build {build_id} is on the board already (--force writes it again)")
    for step in [] if there else steps:
        say(f"{step.what}: {step.tool.name}")
        with working(step.what):
            flasher.run(step, say)
    if port is None:
        say("no serial port to ask the board on; connect its USART and `tinyfed devices` shows it")
        if as_json:
            print_json({"board": kind.name, "build_id": build_id, "written": not there, "port": None})
        return
    with working(f"waiting for the board's answer on {port}"):
        answer = flasher.wait_for_answer(port, build_id)
    if as_json:
        facts = {"board": answer.board, "build_id": answer.firmware_build, "written": not there}
        print_json({**facts, "port": port, "unique_id": answer.unique_id})
    else:
        print_line(f"{port}  {answer.board}  {answer.unique_id}  build {answer.firmware_build}")


@app.command(epilog="Example: tinyfed firmware install --board raspberrypi --port pi@raspberrypi.local --dry-run")
def install(
    board: BoardOption = None,
    board_file: BoardFile = None,
    port: Annotated[str | None, typer.Option("--port", "-p", help="The computer, as for ssh: USER@HOST.")] = None,
    line: Annotated[
        str, typer.Option("--line", help="What it waits on: listen:HOST:PORT, tcp:HOST:PORT or /dev/....")
    ] = remote.LINE,
    model: Annotated[Path | None, typer.Option("--model", help="A model image to put into the firmware.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the program to a Raspberry Pi over ssh, and have systemd start it now and at each boot.

    Exit codes: 2 for a wrong option, 3 when a tool is missing, 4 when the computer or the device does not answer, 6
    when it does not build, does not run there, or may not be installed.
    """
    kind = chosen_board(board, board_file)
    if not remote.is_program(kind):
        raise UsageError(
            f"{kind.name} runs no Linux", key="--board", remedy="`tinyfed firmware flash` writes its flash"
        )
    _copy(kind, port, model, line, dry_run, as_json)


def _copy(kind: Board, port: str | None, model: Path | None, line: str | None, dry_run: bool, as_json: bool) -> None:
    """Copy a program, and with a `line` install it there."""
    what = "flash" if line is None else "install"
    if port is None:
        typed = f"tinyfed firmware {what} --board {kind.name} --port pi@raspberrypi.local"
        remedy = f"{typed} (user and name of yours); `tinyfed emulate --board {kind.name}` starts an emulated one"
        raise UsageError("the program is copied to a computer, which must be named", key="--port", remedy=remedy)
    address = remote.Address.read(port)
    called = remote.command(address, line)
    if dry_run:
        for shown in remote.show(called).splitlines():
            print_line(shown)
        return
    with working(f"building firmware for {kind.name}"):
        program = build.build(kind, model=model)
    identity = build.info(program).build_id
    with working(f"copying it to {address}"):
        runs = remote.copy(kind, program, address, line)
    where = remote.reached(address, line)
    if where is not None:
        from tinyfed_host.firmware.flash import wait_for_answer

        with working(f"waiting for the device's answer on {where}"):
            why = f"ssh {address} systemctl status {remote.PROGRAM}"
            wait_for_answer(where, identity, silent=f"why: {why}; or a firewall is in between")
    if as_json:
        print_json({"board": kind.name, "build_id": identity, "written": True, "port": where, "service": runs})
        return
    print_line(f"{address}  {kind.name}  build {identity}  ./{remote.PROGRAM}" + (", a service" if runs else ""))
    if where is not None:
        print_line(f"tinyfed devices {where}")
    elif not runs:
        print_line(f"start it: ssh {address} ./{remote.PROGRAM} --port {remote.LINE}")
        print_line(f"or at each boot: tinyfed firmware install --board {kind.name} --port {port}")
