"""`tinyfed model attach-head`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tinyfed.errors import UsageError
from tinyfed.model.files import write_whole
from tinyfed_host.cli.output import print_json, print_line

EXAMPLES = "Example: tinyfed model attach-head kws.tflite --classes 4 -o words.tfm"


def attach_head_model(
    base: Annotated[Path, typer.Argument(help="An int8 .tflite file, or a model with a head to add classes to.")],
    classes: Annotated[int, typer.Option(help="How many classes the head tells apart.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model to write, NAME.tfm.")],
    hidden: Annotated[int, typer.Option(help="ReLU units between features and classes; 0: none.")] = 0,
    features: Annotated[str | None, typer.Option(help="The tensor to cut at; left out: before the last layer.")] = None,
    seed: Annotated[int, typer.Option(help="Of the head's first weights.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Freeze an int8 network and put a float32 head on it that learns on the device (docs/head.md)."""
    from tinyfed.model.convert import is_tflite, read_file
    from tinyfed.model.convert_int8 import convert_int8
    from tinyfed.model.head import MAGIC, attach_head, grow, read_head
    from tinyfed.model.plan import plan
    from tinyfed.model.tflite import parse

    content = read_file(base)
    if content[:4] == MAGIC:
        if hidden or features is not None:
            raise UsageError(f"{base}: has a head already: only --classes can be changed")
        result = grow(read_head(content, str(base)), classes)
    elif is_tflite(content):
        network = convert_int8(parse(content, str(base)))
        result = attach_head(network, str(base), classes, hidden, features, seed)
    else:
        raise UsageError(f"{base}: not an int8 .tflite file; `tinyfed model quantize` makes one")
    write_whole(output, result.content)
    ram = plan(result.spec, "online").arena_bytes
    facts = {
        "file": str(output),
        "bytes": len(result.content),
        "base_bytes": len(result.base),
        "features": result.spec.input_shape[0],
        "classes": classes,
        "head_parameters": result.spec.parameter_count,
        "head_arena_bytes": ram,
        "notes": list(result.notes),
    }
    if as_json:
        print_json(facts)
        return
    for note in result.notes:
        print(note, file=sys.stderr)
    print_line(
        f"wrote {output}: {len(result.base):,} bytes frozen for flash, a head of {result.spec.parameter_count:,} "
        f"parameters that learns in {ram:,} bytes of RAM"
    )
