"""`tinyfed model codegen`."""

from pathlib import Path
from typing import Annotated

import typer

from tinyfed.codegen.c_text import check_name
from tinyfed.codegen.example import example_text
from tinyfed.codegen.from_model import bundle_of
from tinyfed.codegen.generate import header_text, read_labels, source_text, suggest_name
from tinyfed.errors import UsageError
from tinyfed.reading import read_text
from tinyfed_host.cli.options import model_argument
from tinyfed_host.cli.output import print_json, print_line, write_files
from tinyfed_host.cli.working import working

EXAMPLES = "Example: tinyfed model codegen kws.tflite -o src --name kws --labels words.txt"


def codegen(
    model: Annotated[Path, model_argument("A .tflite file, a model image or a Keras model.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for NAME.h and NAME.c.")],
    name: Annotated[str | None, typer.Option(help="Prefix of everything; made of the file's name if left out.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A text file of class labels, one a line.")] = None,
    array: Annotated[
        str | None,
        typer.Option(
            help="tflite, image or both; left out: all there is (an image where tinyfed's engine runs the model)."
        ),
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Add NAME_example.c, which runs one inference.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Write a model as C arrays: NAME.h and NAME.c, the same bytes on every run (docs/codegen.md)."""
    name = check_name(suggest_name(model.stem) if name is None else name)
    classes: tuple[str, ...] = ()
    if labels is not None:
        classes = read_labels(read_text(labels), str(labels))
    with working(f"reading {model}"):
        bundle = bundle_of(model, name, classes, array, example)
    texts = {f"{name}.h": header_text(bundle), f"{name}.c": source_text(bundle)}
    if example:
        texts[f"{name}_example.c"] = example_text(bundle)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder: {error.strerror}", where=str(output)) from error
    files = {output / file: text.encode("ascii") for file, text in texts.items()}
    write_files(files, model, labels)
    if as_json:
        print_json(
            {
                "files": [str(path) for path in files],
                "arrays": {f"{name}_{made.suffix}": len(made.content) for made in bundle.arrays},
            }
        )
        return
    for path in files:
        print_line(f"wrote {path}")
    for made in bundle.arrays:
        print_line(f"{name}_{made.suffix}: {len(made.content):,} bytes of flash")
