"""`tinyfed model run`."""

import contextlib
import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model.convert import Model, read_model
from tinyfed_host.cli.options import complete_board, model_argument
from tinyfed_host.cli.output import print_json, print_line, print_note, write_files
from tinyfed_host.cli.working import working

EXAMPLES = "Examples: tinyfed model run kws.tflite --input x.npy -o y.npy --board mps2_an386 · ... --port /dev/ttyACM0"


def run_model(
    model: Annotated[Path, model_argument("A model image, .tflite or Keras file.")],
    inputs: Annotated[
        list[Path],
        typer.Option("--input", help='A batch: .npy, or .npz with "x" (or "x0", "x1" ...); once for each input.'),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The outputs to write, .npy.")],
    board: Annotated[
        str | None,
        typer.Option(autocompletion=complete_board, help="Run on this emulated board instead of in-process."),
    ] = None,
    port: Annotated[
        str | None, typer.Option(help="Run on the device on this port, which then holds the model.")
    ] = None,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="The samples are steps of one stream: states go from each to the next."),
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Write NAME.raw.npy too: int8 values, or logits.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Run a batch of inputs through a model: real values in and out, int8 in between where the model is int8."""
    from tinyfed.data.arrays import read_arrays
    from tinyfed.model.run import check_batch, has_states, input_shapes, run, steps_of

    with working(f"reading {model}"):
        found = read_model(model)
    arrays = [array for path in inputs for array in _inputs(read_arrays(path), path)]
    if stream and len(arrays) == len(shapes := input_shapes(found)):
        arrays = [steps_of(array, shape) for array, shape in zip(arrays, shapes, strict=True)]
    batch = check_batch(found, arrays, ", ".join(map(str, inputs)))
    if board is not None and port is not None:
        raise UsageError("--board is emulated, --port is a connected device: give one of them")
    where = "in-process" if board is None and port is None else f"on {board or port}"
    with working(f"running {len(batch[0])} samples {where}"):
        result = (
            run(found, batch, stream=stream)
            if where == "in-process"
            else _on_device(found, batch, board, port, stream=stream)
        )
    files: dict[Path, bytes] = {}
    for index, (real, stored) in enumerate(zip(result.real, result.raw, strict=True)):
        path = output if len(result.real) == 1 else output.with_suffix(f".{index}.npy")
        files[path] = _npy(real)
        if raw:
            files[path.with_suffix(".raw.npy")] = _npy(stored)
    write_files(files, model, *inputs)
    facts = {
        "samples": len(batch[0]),
        "files": [str(path) for path in files],
        "shape": list(result.real[0].shape),
        "board": board,
        "port": port,
    }
    if has_states(found) and not stream and len(batch[0]) > 1:
        print_note("each sample began with the model's first states; --stream has each go on from the one before")
    if as_json:
        print_json(facts)
    else:
        print_line(f"ran {facts['samples']} samples {where}: {', '.join(str(path) for path in files)}")


def _inputs(arrays: dict[str, NDArray[Any]], path: Path) -> list[NDArray[Any]]:
    if "x" in arrays:
        return [arrays["x"]]
    numbered = [arrays[f"x{index}"] for index in range(len(arrays)) if f"x{index}" in arrays]
    if not numbered:
        raise UsageError(f'no array "x"; it has {", ".join(arrays)}', where=str(path))
    return numbered


def _npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _on_device(
    model: Model, batch: tuple[NDArray[Any], ...], board: str | None, port: str | None, *, stream: bool
) -> Any:
    from tinyfed.boards import read_board
    from tinyfed_host.device.discovery import connect
    from tinyfed_host.device.inference import run_on
    from tinyfed_host.emulation.inference import emulated

    with emulated(model, read_board(board)) if board is not None else contextlib.closing(connect(port or "")) as device:
        return run_on(model, batch, device, stream=stream)
