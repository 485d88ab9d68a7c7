"""`tinyfed model plan`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyfed.boards import Board, read_board
from tinyfed.errors import DoesNotFitError, UsageError
from tinyfed.fields import check_values, whole, word
from tinyfed.model.plan import LayerSummary, Plan, summarize
from tinyfed.model.plan import plan as plan_of
from tinyfed.model.spec import ModelSpec, with_trainable
from tinyfed_host.cli.options import complete_board, model_path, number_option
from tinyfed_host.cli.output import print_json, print_line, print_table
from tinyfed_host.cli.working import working

if TYPE_CHECKING:
    from tinyfed.model.convert import Int8Model

EXAMPLES = (
    "Examples: tinyfed model plan gestures.tfm --board mps2_an386 · tinyfed model plan cnn-omniglot --trainable last-1 "
    "--batch 8 --optimizer adam"
)
OPTIMIZERS = ("sgd", "momentum", "adam", "adam_second")


@dataclass(frozen=True)
class Ways:
    """What one could do instead, and what it takes."""

    what: str
    arena_bytes: int


def mode_of(infer: bool, batch: int, optimizer: str) -> str:
    """The plan's mode for the options."""
    check_values({"--optimizer": word(*OPTIMIZERS)}, {"--optimizer": optimizer}, "")
    if infer:
        return "infer"
    return "online" if batch == 1 and optimizer == "sgd" else f"batch_{optimizer}"


def alternatives(spec: ModelSpec, mode: str) -> Iterator[Ways]:
    """Cheaper ways to use the same network, the least change first."""
    if mode.startswith("batch"):
        yield Ways("train online, one sample a step (no --batch, no --optimizer)", plan_of(spec).arena_bytes)
    if mode != "infer":
        for which in ("last-2", "last-1", "biases"):
            smaller = plan_of(with_trainable(spec, which), mode)
            yield Ways(f"let less learn: --trainable {which}", smaller.arena_bytes)
        smaller = plan_of(with_trainable(spec, "last-1"), "online")
        yield Ways("train only the last layer online: --trainable last-1", smaller.arena_bytes)
        yield Ways("only infer: --infer", plan_of(spec, "infer").arena_bytes)


def _found(model: str, trainable: str) -> "ModelSpec | Int8Model":
    from tinyfed_host.bench.nets import SPECS

    if model in SPECS:
        spec = SPECS[model]
    else:
        from tinyfed.model.convert import Int8Model, read_model

        found = read_model(model_path(model))
        if isinstance(found, Int8Model):
            return found
        spec = found.spec
    if not trainable:
        return spec
    numbers = trainable.split(",")
    if all(part.strip().isdecimal() for part in numbers):
        return with_trainable(spec, [int(part) for part in numbers])
    return with_trainable(spec, trainable)


def plan(
    model: Annotated[str, typer.Argument(help="A .tfm, .tflite or Keras file, a run, or the name of a benchmark net.")],
    board: Annotated[str, typer.Option(autocompletion=complete_board, help="Does it fit this board?")] = "",
    batch: Annotated[
        int, number_option(whole(1, 65_535), "--batch", help="Samples a step; memory does not depend on how many.")
    ] = 1,
    optimizer: Annotated[str, typer.Option(help="sgd, momentum, adam or adam_second (no first moment).")] = "sgd",
    trainable: Annotated[
        str,
        typer.Option(help="What learns: all, none, biases, scales, last-K or layer numbers as 0,3; as the model says."),
    ] = "",
    infer: Annotated[bool, typer.Option("--infer", help="Inference alone, no training.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a layer, the plan last.")] = False,
) -> None:
    """Print the memory a model needs, layer by layer, and whether it fits a board."""
    with working(f"reading {model}"):
        spec = _found(model, trainable)
    mode = mode_of(infer, batch, optimizer)
    place = read_board(board) if board else None
    if not isinstance(spec, ModelSpec):
        if not infer or trainable:
            raise UsageError("a program, which does not learn", where=str(model), remedy="--infer plans an inference")
        _plan_program(spec, place, as_json)
        return
    found, rows = plan_of(spec, mode), summarize(spec, mode)
    if as_json:
        for row in rows:
            print_json({"layer": row.index, **{k: v for k, v in vars(row).items() if k != "index"}})
        print_json(_facts(found, rows, place))
    else:
        _print(found, rows, place)
    if place is not None and found.arena_bytes > place.arena_bytes:
        raise DoesNotFitError(_advice(spec, mode, found, place))


def _plan_program(model: "Int8Model", board: Board | None, as_json: bool) -> None:
    """The plan of a program: it stays in flash where there is flash, and its work area is the arena."""
    from tinyfed.model.inspect import fit_of
    from tinyfed.model.int8.image import read_operators

    size, work = len(model.content), model.plan.work_bytes
    facts: dict[str, Any] = {"mode": "infer", "flash_bytes": size, "work_bytes": work}
    facts |= {"arena_bytes": work, "arena_includes_parameters": False, "multiply_adds": model.plan.multiply_adds}
    fit = None if board is None else fit_of(model, board)
    if fit is not None and fit.inference_bytes is not None:
        facts |= {"arena_bytes": fit.inference_bytes, "arena_includes_parameters": fit.inference_bytes != work}
        facts |= {"board": fit.board, "board_arena_bytes": fit.arena_bytes, "fits": fit.inference == "yes"}
        facts["left_bytes"] = fit.arena_bytes - fit.inference_bytes
    rows = read_operators(model.content)
    if as_json:
        for number, row in enumerate(rows):
            print_json({"layer": number, **vars(row)})
        print_json(facts)
    else:
        cells = [
            (number, row.kind, "x".join(map(str, row.shape)), f"{row.byte_count:,} at {row.offset}")
            for number, row in enumerate(rows)
        ]
        print_table(("operator", "kind", "output", "bytes"), cells)
        print_line("mode infer: bytes")
        print_line(f"  program, in flash                {size:>12,}")
        print_line(f"  work area                        {work:>12,}")
        if fit is not None and fit.inference_bytes is not None:
            print_line(f"  arena on {fit.board}, which has {fit.arena_bytes:,}: {fit.inference_bytes:,}")
    if fit is not None and fit.inference != "yes":
        reason = fit.inference.removeprefix("no: ")
        raise DoesNotFitError(f"{fit.board}: {reason}; nothing short of a smaller model fits")


def _advice(spec: ModelSpec, mode: str, found: Plan, board: Board) -> str:
    short = found.arena_bytes - board.arena_bytes
    fitting = [way for way in alternatives(spec, mode) if way.arena_bytes <= board.arena_bytes]
    advice = (
        f"{fitting[0].what} takes {fitting[0].arena_bytes:,} bytes" if fitting else "nothing short of a smaller model"
    )
    return f"{board.name}: the arena of {board.arena_bytes:,} bytes is {short:,} too small; what would fit: {advice}"


def _facts(found: Plan, rows: list[LayerSummary], board: Board | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "mode": found.mode,
        "flash_bytes": found.image_bytes,
        "parameter_bytes": found.parameter_bytes,
        "work_bytes": found.work_bytes,
        "optimizer_bytes": found.batch_bytes,
        "arena_bytes": found.arena_bytes,
        "arena_includes_parameters": True,
        "multiply_adds": sum(row.multiply_adds for row in rows),
    }
    if board is not None:
        facts |= {
            "board": board.name,
            "board_arena_bytes": board.arena_bytes,
            "board_stack_bytes": board.stack_bytes,
            "left_bytes": board.arena_bytes - found.arena_bytes,
            "fits": found.arena_bytes <= board.arena_bytes,
        }
        if (left := _flash_left(found, board)) is not None:
            facts["flash_left_bytes"] = left
    return facts


def _flash_left(found: Plan, board: Board) -> int | None:
    """Beside an image put into the firmware, the firmware taken as large as its budget; None: a board without flash."""
    if "flash" not in board.memory or board.budget is None:
        return None
    return board.memory["flash"].size_bytes - board.budget.flash_bytes - found.image_bytes


def _print(found: Plan, rows: list[LayerSummary], board: Board | None) -> None:
    columns = ("layer", "kind", "activation", "output", "learns", "parameters", "multiply-adds", "values", "gradient")
    cells = [
        (
            str(row.index),
            row.kind,
            row.activation,
            "x".join(map(str, row.shape)),
            row.learns or "-",
            row.parameters,
            row.multiply_adds,
            f"{row.activation_bytes:,} at {row.activation_at}" if row.activation_bytes else "in place",
            "-" if row.gradient_at is None else f"{row.gradient_bytes:,} at {row.gradient_at}",
        )
        for row in rows
    ]
    print_table(columns, cells)
    print_line(f"mode {found.mode}: bytes")
    print_line(
        f"  image, in flash or in the arena  {found.image_bytes:>12,}  ({found.parameter_bytes:,} of parameters)"
    )
    print_line(f"  work area                        {found.work_bytes:>12,}  ({found.batch_bytes:,} for batches)")
    print_line(f"  arena, image and work            {found.arena_bytes:>12,}")
    if board is not None:
        left = board.arena_bytes - found.arena_bytes
        stack = f"{board.stack_bytes:,}" if board.stack_bytes else "the system's"
        print_line(f"  left of {board.name}'s arena of {board.arena_bytes:,}: {left:,} bytes; its stack: {stack}")
        flash = _flash_left(found, board)
        if flash is not None and board.budget is not None:
            size, firmware = board.memory["flash"].size_bytes, board.budget.flash_bytes
            print_line(f"  left of its flash of {size:,}: {flash:,} bytes beside firmware of at most {firmware:,}")
