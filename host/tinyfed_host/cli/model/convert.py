"""`tinyfed model convert`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tinyfed.model.convert import Int8Model, read_model
from tinyfed_host.cli.output import print_json, print_line, print_note, write_file
from tinyfed_host.cli.working import working

EXAMPLES = (
    "Examples: tinyfed model convert gestures.keras -o gestures.tfm · tinyfed model convert kws.tflite -o kws.tfm"
)


def convert(
    model: Annotated[Path, typer.Argument(help="A .keras, .h5 or .tflite file, Keras' .json, or a SavedModel folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model image to write, NAME.tfm.")],
    loss: Annotated[
        str | None,
        typer.Option(help="mse, softmax_cross_entropy or binary_cross_entropy; left out: as the model suggests."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="The .h5 file of weights of a .json; left out: the one beside it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Convert a model to a tinyfed model image, which devices run and train (docs/convert.md)."""
    with working(f"reading {model}"):
        result = read_model(model, loss, weights)
    write_file(output, result.content, model)
    for note in result.notes:
        print_note(note)
    facts: dict[str, Any] = {"file": str(output), "bytes": len(result.content), "notes": list(result.notes)}
    if isinstance(result, Int8Model):
        plan = result.plan
        facts |= {"engine": result.engine, "work_bytes": plan.work_bytes, "multiply_adds": plan.multiply_adds}
        text = f"{result.engine}, {plan.multiply_adds:,} multiply-adds, runs in {plan.work_bytes:,} bytes"
    else:
        spec = result.spec
        facts |= {
            "engine": "float32",
            "layers": len(spec.layers),
            "parameters": spec.parameter_count,
            "loss": spec.loss,
        }
        text = f"{len(spec.layers)} layers, {spec.parameter_count:,} float32 parameters, loss {spec.loss}"
    if as_json:
        print_json(facts)
    else:
        print_line(f"wrote {output}: {len(result.content):,} bytes, {text}")
