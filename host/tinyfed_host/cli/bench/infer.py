"""`tinyfed bench infer`: what an int8 model costs on a Cortex-M4."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed.fields import whole
from tinyfed_host.cli.bench.profile import print_figures, print_profile
from tinyfed_host.cli.options import complete_board, number_option
from tinyfed_host.cli.output import print_json, print_line
from tinyfed_host.cli.working import working

EXAMPLES = (
    'Example: "tinyfed bench infer kws.tflite --board mps2_an386 --json". The figures are the same on every run: '
    "executed instructions on QEMU, and an estimate of a Cortex-M4F's cycles."
)


def infer(
    model: Annotated[Path, typer.Argument(help="An int8 .tflite file, or the .tfm made from one.")],
    board: Annotated[
        str, typer.Option(autocompletion=complete_board, help="A board that is emulated with QEMU's mps2-an386.")
    ] = "mps2_an386",
    inputs: Annotated[
        int, number_option(whole(1, 64), "--inputs", help="Inputs to run: the ends, then random ones.")
    ] = 3,
    by_function: Annotated[bool, typer.Option("--by-function", help="Say which functions they go to.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count an inference on an emulated Cortex-M4: instructions, cycles (estimated), memory, code; check outputs."""
    import numpy as np

    from tinyfed.boards import read_board
    from tinyfed.errors import DeviceError, UsageError
    from tinyfed.model.convert import Int8Model, read_model
    from tinyfed.model.int8.engine import Int8Engine
    from tinyfed_host.bench.infer import edge_inputs, float_inputs, measure

    with working(f"reading {model}"):
        found = read_model(model)
    if not isinstance(found, Int8Model):
        remedy = "`tinyfed model quantize` makes it int8; `tinyfed bench step` measures layers that learn"
        raise UsageError("a model image of layers that learn", where=str(model), remedy=remedy)
    engine = Int8Engine(found.content)
    if len(engine.inputs) != 1:
        raise UsageError(f"{len(engine.inputs)} inputs; the measurement takes models with one", where=str(model))
    make = edge_inputs if engine.inputs[0].dtype == "int8" else float_inputs
    values: Any = make(inputs, engine.inputs[0].count)
    with working(f"counting an inference of {model} on the emulated {board}"):
        cost = measure(read_board(board), found.content, values, estimate=True)
    for value, output in zip(values, cost.outputs, strict=True):
        if not np.array_equal(engine.run(value)[0].reshape(-1), output):
            raise DeviceError("the emulated board's output differs from this computer's: report it", where=str(model))
    figures = {"model": model.name, "board": board, **cost.figures()}
    if json:
        print_json({**figures, "slow": [vars(layer) for layer in found.slow]})
        return
    print_figures(figures)
    for layer in found.slow:
        print_line(f"slow {layer}")
    if by_function and cost.profile is not None:
        print_profile(cost.profile, len(cost.outputs))
