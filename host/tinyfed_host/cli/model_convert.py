"""`tinyfed model convert`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tinyfed.model.convert import read_model
from tinyfed.model.files import write_whole
from tinyfed_host.cli.output import print_json, print_line

EXAMPLES = (
    "Examples: tinyfed model convert gestures.keras -o gestures.tfm · tinyfed model convert kws.tflite -o kws.tfm"
)


def convert(
    model: Annotated[Path, typer.Argument(help="A .keras, .h5 or .tflite file, or a SavedModel folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model image to write, NAME.tfm.")],
    loss: Annotated[
        str | None,
        typer.Option(help="mse, softmax_cross_entropy or binary_cross_entropy; left out: as the model suggests."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Convert a model to a tinyfed model image, which devices run and train (docs/convert.md)."""
    result = read_model(model, loss)
    write_whole(output, result.content)
    for note in result.notes:
        print(note, file=sys.stderr)
    spec = result.spec
    facts = {
        "file": str(output),
        "bytes": len(result.content),
        "layers": len(spec.layers),
        "parameters": spec.parameter_count,
        "loss": spec.loss,
        "notes": list(result.notes),
    }
    if as_json:
        print_json(facts)
    else:
        print_line(
            f"wrote {output}: {facts['bytes']:,} bytes, {facts['layers']} layers, "
            f"{facts['parameters']:,} float32 parameters, loss {spec.loss}"
        )
