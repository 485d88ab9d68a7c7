"""`tinyfed model inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from tinyfed.model.inspect import ModelFacts, PortFacts, as_json, inspect
from tinyfed_host.cli.options import model_argument
from tinyfed_host.cli.output import print_json, print_line, print_table
from tinyfed_host.cli.working import working

EXAMPLES = "Example: tinyfed model inspect kws.tflite"


def inspect_model(
    model: Annotated[Path, model_argument("A .tflite, .keras or .h5 file or a model image.")],
    json_wanted: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a model's layers, shapes, quantization, multiply-adds and bytes, and which boards hold it."""
    with working(f"reading {model}"):
        facts = inspect(model)
    if json_wanted:
        print_json(as_json(facts))
        return
    print_line(f"{facts.source}: {facts.format}, {facts.file_bytes:,} bytes")
    for role, ports in (("input", facts.inputs), ("output", facts.outputs)):
        for port in ports:
            print_line(f"{role:<7} {_port(port)}")
    for state in facts.states:
        print_line(f'state   "{state.name}": {state.byte_count:,} bytes')
    print_line(
        f"total   {facts.parameters:,} parameters, {facts.weight_bytes:,} bytes of weights, "
        f"{facts.macs:,} multiply-adds" + (" (some operators are not counted)" if _uncounted(facts) else "")
    )
    if facts.engine:
        size = f": an image of {facts.image_bytes:,} bytes" if facts.image_bytes else ""
        print_line(f"engine  {facts.engine}{size}")
        for layer in facts.slow:
            print_line(f"slow    {layer}")
    else:
        print_line(f"engine  none of tinyfed's: {facts.why_not}")
    print_line("")
    print_table(
        ["layer", "shape", "type", "parameters", "MACs", "quantization", "name"],
        [
            [
                layer.kind,
                "x".join(str(size) for size in layer.shape),
                layer.dtype,
                layer.parameters,
                "?" if layer.macs is None else f"{layer.macs:,}",
                layer.quantization,
                layer.name[:40],
            ]
            for layer in facts.layers
        ],
    )
    if facts.fits:
        print_line("")
        print_table(
            ["board", "arena, bytes", "inference", "needs, bytes", "training", "needs, bytes"],
            [
                [
                    fit.board,
                    fit.arena_bytes,
                    fit.inference,
                    "" if fit.inference_bytes is None else f"{fit.inference_bytes:,}",
                    fit.training,
                    "" if fit.training_bytes is None else f"{fit.training_bytes:,}",
                ]
                for fit in facts.fits
            ],
        )


def _uncounted(facts: ModelFacts) -> bool:
    return any(layer.macs is None for layer in facts.layers)


def _port(port: PortFacts) -> str:
    text = f'"{port.name}": {port.dtype} {list(port.shape)}'
    if port.scale is not None:
        text += f", scale {port.scale:.6g}, zero point {port.zero_point}"
    return text
