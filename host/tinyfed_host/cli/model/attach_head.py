"""`tinyfed model attach-head`."""

from pathlib import Path
from typing import Annotated

import typer

from tinyfed.errors import UsageError
from tinyfed.fields import fields_of
from tinyfed.model.head import attach
from tinyfed_host.cli.options import model_argument, number_option
from tinyfed_host.cli.output import print_json, print_line, print_note, write_file
from tinyfed_host.cli.working import working

EXAMPLES = "Example: tinyfed model attach-head kws.tflite --classes 4 --samples some.npz -o words.tfm"
HEAD = fields_of(attach)


def attach_head_model(
    base: Annotated[Path, model_argument("An int8 .tflite file, or a model with a head to add classes to.")],
    classes: Annotated[int, number_option(HEAD["classes"], "--classes", help="How many classes the head tells apart.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model to write, NAME.tfm.")],
    hidden: Annotated[
        int, number_option(HEAD["hidden"], "--hidden", help="ReLU units between features and classes; 0: none.")
    ] = 0,
    features: Annotated[str | None, typer.Option(help="The tensor to cut at; left out: before the last layer.")] = None,
    samples: Annotated[Path | None, typer.Option(help="For the features' first statistics, .npz or .npy.")] = None,
    window: Annotated[
        int, number_option(HEAD["window"], "--window", help="Samples that the features' mean and variance go back.")
    ] = 1024,
    seed: Annotated[int, number_option(HEAD["seed"], "--seed", help="Of the head's first weights.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Freeze an int8 network and put a float32 head on it that learns on the device (docs/head.md)."""
    from tinyfed.data.samples import read_samples
    from tinyfed.model.convert import FloatModel, is_tflite, read_model
    from tinyfed.model.head import grow, normalized
    from tinyfed.model.int8.image import read_plan
    from tinyfed.model.plan import plan
    from tinyfed.model.tflite.file import parse
    from tinyfed.model.tflite.to_int8 import convert_int8, is_int8
    from tinyfed.reading import read_model_file

    with working(f"reading {base}"):
        content = read_model_file(base)
        if is_tflite(content):
            model = parse(content, str(base))
            if not is_int8(model):
                raise UsageError("a float model, not int8; make it one with `tinyfed model quantize`", where=str(base))
            result = attach(convert_int8(model), str(base), classes, hidden, features, seed, window)
        else:
            found = read_model(base)
            if not isinstance(found, FloatModel) or not found.spec.frozen:
                raise UsageError("neither an int8 .tflite file nor a model with a head on one", where=str(base))
            if hidden or features is not None:
                raise UsageError("has a head already: only --classes and --samples can be given", where=str(base))
            result = grow(found, classes)
    if samples is not None:
        with working(f"statistics of {samples}"):
            result = normalized(result, read_samples(samples, result.spec.sample_shape).x)
    write_file(output, result.content, base, samples)
    spec = result.spec
    facts = {
        "file": str(output),
        "bytes": len(result.content),
        "frozen_bytes": len(spec.frozen),
        "features": spec.input_shape[0],
        "classes": classes,
        "parameters": spec.parameter_count,
        "frozen_work_bytes": read_plan(spec.frozen).work_bytes,
        "work_bytes": plan(spec, "online").work_bytes,
        "notes": list(result.notes),
    }
    if as_json:
        print_json(facts)
        return
    for note in result.notes:
        print_note(note)
    ram = 4 * spec.parameter_count + plan(spec, "online").work_bytes
    print_line(
        f"wrote {output}: {len(result.content):,} bytes; {spec.parameter_count:,} parameters learn in {ram:,} bytes "
        "of RAM, the frozen network's work included, where that lies in flash"
    )
