"""What `generate` writes, gathered from a model."""

from dataclasses import replace
from pathlib import Path

from tinyfed.codegen.generate import Array, Bundle, Port, check_labels
from tinyfed.errors import UsageError
from tinyfed.model import image
from tinyfed.model.convert import FloatModel, Int8Model, Model, is_tflite, read_model, read_tflite
from tinyfed.model.int8.image import read_states
from tinyfed.model.plan import plan
from tinyfed.model.tflite.file import Tensor, TfliteModel, parse, parse_ends
from tinyfed.reading import read_model_file

# Which arrays a user can ask for.
CHOICES = ("tflite", "image", "both")


def bundle_of(
    path: Path, name: str, labels: tuple[str, ...] = (), choice: str | None = None, example: bool = False
) -> Bundle:
    """The bundle of a model file. `choice`: None takes all there is: the .tflite as it is, and the image where
    tinyfed's engine runs the model, which an `example` needs.

    Raises UsageError where the file, the choice or the labels are wrong.
    """
    if choice not in (None, *CHOICES):
        raise UsageError(f"use one of {', '.join(CHOICES)}", key=f"array {choice!r}")
    content = read_model_file(path) if path.is_file() else b""
    if not is_tflite(content):
        if choice in ("tflite", "both"):
            raise UsageError("not a .tflite file, so there is no such array; leave --array out", where=str(path))
        return image_bundle(read_model(path), name, labels)
    if choice == "tflite":
        return tflite_bundle(parse_ends(content, str(path)), name, labels)
    model = parse(content, str(path))
    try:
        converted = image_bundle(read_tflite(model), name, labels)
    except UsageError:
        if choice is None and not example:
            return tflite_bundle(model, name, labels)
        raise
    if choice == "image":
        return converted
    return replace(converted, arrays=(*tflite_bundle(model, name, labels).arrays, *converted.arrays))


def tflite_port(tensor: Tensor) -> Port:
    """A tensor of a .tflite file as macros describe it."""
    return Port(tensor.name, tensor.dtype, tensor.shape, *(tensor.scaled or ()))


def tflite_bundle(model: TfliteModel, name: str, labels: tuple[str, ...] = ()) -> Bundle:
    """NAME_tflite: the file as TFLM's users expect it. Raises UsageError where the labels do not fit."""
    inputs = tuple(tflite_port(tensor) for tensor in model.input_tensors())
    outputs = tuple(tflite_port(tensor) for tensor in model.output_tensors())
    check_labels(labels, outputs)
    array = Array("tflite", "The .tflite file, for TensorFlow Lite for Microcontrollers.", model.content)
    return Bundle(name, Path(model.source).name, (array,), inputs, outputs, labels)


def image_bundle(model: Model, name: str, labels: tuple[str, ...] = ()) -> Bundle:
    """NAME_image: what tinyfed's engine runs, with the bytes of memory it takes."""
    return _int8_bundle(model, name, labels) if isinstance(model, Int8Model) else _float_bundle(model, name, labels)


def _int8_bundle(model: Int8Model, name: str, labels: tuple[str, ...]) -> Bundle:
    inputs, outputs = (
        tuple(
            Port(
                role, port.dtype, (1, *port.shape), *(() if port.dtype == "float32" else (port.scale, port.zero_point))
            )
            for port in ports
        )
        for role, ports in zip(("input", "output"), model.ports, strict=True)
    )
    check_labels(labels, outputs)
    figures: tuple[tuple[str, str, str], ...] = (
        ("WORK_BYTES", f"{model.plan.work_bytes}u", "RAM it runs in, aligned; the image stays in flash"),
        ("MULTIPLY_ADDS", f"{model.plan.multiply_adds}u", "of one inference"),
    )
    if states := read_states(model.content):
        kept = sum(state.byte_count for state in states)
        figures += (("STATE_BYTES", f"{kept}u", "of that RAM, kept from one run to the next"),)
    array = Array("image", f"The {model.engine} program, for tinyfed's engine.", model.content)
    return Bundle(name, Path(model.source).name, (array,), inputs, outputs, labels, figures)


def _float_bundle(model: FloatModel, name: str, labels: tuple[str, ...]) -> Bundle:
    spec = model.spec
    outputs = (Port("output", "float32", (1, *spec.output_shape)),)
    check_labels(labels, outputs)
    what = "logits" if spec.loss != "mse" else "values"
    figures: tuple[tuple[str, str, str], ...] = (
        ("ARENA_INFER_BYTES", f"{plan(spec, 'infer').arena_bytes}u", "the image and the work area behind it"),
        ("ARENA_ONLINE_BYTES", f"{plan(spec, 'online').arena_bytes}u", "the same for learning a sample at a time"),
        ("PARAMETERS", f"{spec.parameter_count}u", "float32 values"),
        ("STRUCTURE_HASH", f"0x{image.structure_hash(model.content):016x}ull", "equal where weights can be exchanged"),
    )
    array = Array(
        "image", f"The model image, for tinyfed's engine; loss {spec.loss}, outputs are {what}.", model.content
    )
    if spec.frozen:
        figures += (("FEATURES", f"{spec.input_shape[0]}u", "values the frozen int8 network gives the head"),)
    inputs = (Port("input", "float32", (1, *spec.sample_shape)),)
    return Bundle(name, Path(model.source).name, (array,), inputs, outputs, labels, figures, spec.loss)
