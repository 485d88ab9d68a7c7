"""`tinyfed model export`."""

from pathlib import Path
from typing import Annotated

import typer

from tinyfed.model.export import export, load_trained
from tinyfed_host.cli.options import model_argument
from tinyfed_host.cli.output import print_json, print_line
from tinyfed_host.cli.working import working

EXAMPLES = "Examples: tinyfed model export runs/demo -o learned.keras · tinyfed model export model.tfm -o weights.npz"


def export_model(
    model: Annotated[Path, model_argument("A model image.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="NAME.keras, NAME.tflite or NAME.npz.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Bring what devices learned back: to Keras, .tflite (which quantize takes) or plain arrays."""
    found = load_trained(model)
    with working(f"exporting {model}"):
        size = export(found, output)
    if as_json:
        print_json({"file": str(output), "bytes": size, "parameters": found.spec.parameter_count})
    else:
        print_line(f"wrote {output}: {size:,} bytes, {found.spec.parameter_count:,} parameters of {found.source}")
