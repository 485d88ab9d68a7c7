"""`tinyfed model quantize`."""

from pathlib import Path
from typing import Annotated

import typer

from tinyfed.errors import UsageError
from tinyfed_host.cli.output import print_json, print_line, print_table, write_file
from tinyfed_host.cli.working import working

EXAMPLES = "Example: tinyfed model quantize kws.keras --representative train.npz --test test.npz -o kws.tflite"


def quantize_model(
    model: Annotated[Path, typer.Argument(help="A float .keras, .h5 or .tflite file, or a SavedModel folder.")],
    representative: Annotated[Path, typer.Option(help='Samples "x" (and labels "y") in an .npz file, as in use.')],
    output: Annotated[Path, typer.Option("--output", "-o", help="The int8 .tflite file to write.")],
    test: Annotated[Path | None, typer.Option(help="Samples and labels to take the accuracy on.")] = None,
    percentile: Annotated[
        float, typer.Option(help="Of the samples' largest and smallest values in a layer, which its range holds.")
    ] = 100.0,
    allow: Annotated[
        bool, typer.Option("--allow", help="Keep the file where tinyfed's engine does not run it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Quantize a model to int8, activations and weights, and say what it costs (docs/quantize.md)."""
    from tinyfed.model.quantize import quantize_file

    with working(f"quantizing {model}"):
        result = quantize_file(model, representative, test, percentile)
    if result.why_not and not allow:
        raise UsageError(
            f"tinyfed's engine does not run what becomes of it: {result.why_not}",
            where=str(model),
            remedy="--allow writes the file all the same, for TensorFlow Lite Micro",
        )
    write_file(output, result.content, model, representative, test)
    if as_json:
        print_json(
            {
                "file": str(output),
                "bytes": len(result.content),
                "float_bytes": result.float_bytes,
                "error": result.error,
                "measured_on": result.measured_on,
                "measured_by": "interpreter" if result.why_not else "engine",
                "accuracy_before": result.before,
                "accuracy_after": result.after,
                "layers": [vars(error) for error in result.errors],
                "engine": None if result.why_not else "int8",
                "why_not": result.why_not or None,
                "notes": list(result.notes),
            }
        )
        return
    print_table(
        ["layer", "name", "its own error", "error up to here"],
        [[error.kind, error.name[:60], _percent(error.own), _percent(error.relative)] for error in result.errors],
    )
    for note in result.notes:
        print_line(f"warning: {note}")
    print_line(f"wrote {output}: {len(result.content):,} bytes, {result.float_bytes:,} as float")
    by = "the interpreter" if result.why_not else "tinyfed's engine"
    print_line(f"error of the outputs {_percent(result.error)}, over {result.measured_on:,} samples, by {by}")
    if result.before is not None and result.after is not None:
        print_line(f"accuracy {result.before:.2%} as float, by the interpreter; {result.after:.2%} as int8, by {by}")
    if result.why_not:
        print_line(f"tinyfed's engine does not run it: {result.why_not}")


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.2%}"
