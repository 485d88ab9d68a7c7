"""`tinyfed bench`: what the engine costs, on an emulated Cortex-M4 and on this computer."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed_host.cli.bench import infer as bench_infer
from tinyfed_host.cli.bench.profile import print_figures, print_profile
from tinyfed_host.cli.options import complete_board
from tinyfed_host.cli.output import print_json, print_table
from tinyfed_host.cli.working import working

EXAMPLES = (
    'Example: "tinyfed bench step --model cnn-omniglot --json". The board\'s figures are the same on every run; '
    "host_steps_per_s is this computer's, as busy as it is."
)

app = typer.Typer(add_completion=False)


@app.callback()
def bench() -> None:
    """Measure the engine."""


app.command("infer", epilog=bench_infer.EXAMPLES)(bench_infer.infer)


@app.command(epilog=EXAMPLES)
def step(
    board: Annotated[
        str, typer.Option(autocompletion=complete_board, help="A board that QEMU emulates bare.")
    ] = "mps2_an386",
    model: Annotated[str, typer.Option(help="mlp-relu, mlp-tanh, cnn-omniglot or a float32 file.")] = "mlp-relu",
    by_function: Annotated[bool, typer.Option("--by-function", help="Say which functions they go to.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Count one online training step on an emulated board: instructions, cycles (estimated), memory, code."""
    from tinyfed.boards import read_board
    from tinyfed_host.bench.figures import measure

    with working(f"counting a training step of {model} on the emulated {board}"):
        found = measure(read_board(board), net_of(model))
    if as_json:
        print_json(found.facts())
        return
    print_figures(found.facts())
    if by_function:
        print_profile(found.profile, len(found.count.instructions))


@app.command(epilog='Example: "tinyfed bench layers --json". A unit is a multiply-add of the forward pass, or a value.')
def layers(
    board: Annotated[
        str, typer.Option(autocompletion=complete_board, help="A board that QEMU emulates bare.")
    ] = "mps2_an386",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Estimate the cycles of one training step of each kind of float32 layer, forward and backward."""
    from tinyfed.boards import read_board
    from tinyfed_host.bench.layers import LAYERS, measure

    found = []
    for name in LAYERS:
        with working(f"counting a layer, {name}, on the emulated {board}"):
            found.append(measure(read_board(board), name).facts())
    if as_json:
        print_json({"board": board, "layers": found})
        return
    heads = ["layer", "units", "cycles", "a unit", "most of it"]
    rows = [
        [*list(facts.values())[:4], ", ".join(f"{name} {n:,}" for name, n in facts["functions_estimated"].items())]
        for facts in found
    ]
    print_table(heads, rows, "cycles are estimated; a unit is a multiply-add of the forward pass, or a value")


def net_of(model: str) -> Any:
    """A benchmark net by name, or the net of a model's file with random samples."""
    from tinyfed.errors import UsageError
    from tinyfed.model.convert import FloatModel, read_model
    from tinyfed_host.bench.nets import NETS, bench_net, random_samples

    if model in NETS or not Path(model).exists():
        return bench_net(model)
    found = read_model(Path(model))
    if not isinstance(found, FloatModel):
        raise UsageError("an int8 model; it does not train: use `tinyfed bench infer`", where=str(model))
    return random_samples(Path(model).name, found.spec, found.weights)
