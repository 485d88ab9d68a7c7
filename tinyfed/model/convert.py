"""Any model file as what tinyfed's engine runs."""

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from tinyfed.errors import UsageError
from tinyfed.model import image, spec
from tinyfed.model.graph import Converted, Program
from tinyfed.model.int8 import image as image_int8
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.int8.spec import Int8Network
from tinyfed.model.keras.convert import convert_keras, is_keras
from tinyfed.model.tflite.file import TfliteModel, parse
from tinyfed.model.tflite.to_float import convert_float
from tinyfed.model.tflite.to_int8 import convert_int8, is_int8
from tinyfed.reading import read_model_file

TFLITE_IDENTIFIER = b"TFL3"
INT8_MAGIC = struct.pack("<I", image_int8.MAGIC)


@dataclass(frozen=True)
class FloatModel:
    """A float32 model as an image: `spec` and flat `weights` again in `content`."""

    source: str
    spec: spec.ModelSpec
    weights: image.Array
    content: bytes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Int8Model:
    """A network as the program of docs/int8.md, ready to run, not to train. Its ports say whether they are int8."""

    source: str
    content: bytes
    notes: tuple[str, ...] = ()
    slow: tuple[image_int8.SlowLayer, ...] = ()

    @property
    def plan(self) -> image_int8.Int8Plan:
        return image_int8.read_plan(self.content)

    @property
    def engine(self) -> str:
        """The type that the network computes on, of its inputs."""
        return self.ports[0][0].dtype

    @property
    def ports(self) -> tuple[tuple[image_int8.Int8Port, ...], tuple[image_int8.Int8Port, ...]]:
        """(inputs, outputs)."""
        return image_int8.read_ports(self.content)


Model: TypeAlias = FloatModel | Int8Model


def is_tflite(content: bytes) -> bool:
    return content[4:8] == TFLITE_IDENTIFIER


def read_model(path: Path, loss: str | None = None, weights: Path | None = None) -> Model:
    """The model of a .tfm, .tflite, .keras or .h5 file, of a SavedModel folder, or of a .json file or folder with
    Keras' weights beside it.

    `loss`: None takes what the file says or suggests. `weights`: those of a .json file. Raises UsageError: what is
    wrong, where, what would work.
    """
    if loss is not None and loss not in spec.LOSSES:
        raise UsageError(f"loss {loss!r} is unknown: use one of {', '.join(spec.LOSSES)}")
    if not path.exists():
        raise UsageError("there is no such file", where=str(path))
    if weights is not None and path.suffix != ".json":
        raise UsageError("not a .json file, which alone has its weights in another file", where=str(path))
    if is_keras(path):
        return float_model(str(path), convert_keras(path, loss, weights))
    if path.is_dir():
        problem = "a folder that is neither a SavedModel (saved_model.pb) nor one .json file with one .h5 of weights"
        raise UsageError(problem, where=str(path))
    content = read_model_file(path)
    if content[:4] == image.MAGIC:
        return FloatModel(str(path), *image.decode(content), content)
    if content[:4] == INT8_MAGIC:
        return read_program(content, str(path))
    if is_tflite(content):
        return read_tflite(parse(content, str(path)), loss)
    raise unknown_format(content, str(path))


def unknown_format(content: bytes, source: str) -> UsageError:
    """What a file is refused with that is none of the known kinds."""
    start = content[:8].hex(" ")
    return UsageError(f"neither a model image, nor .tflite, nor Keras: its first bytes are {start}", where=source)


def program_of(network: Int8Network, source: str) -> Int8Model:
    """The program of a network, which the engine's own loader has taken. Raises UsageError."""
    try:
        content, made = image_int8.encode_int8(network)
    except UsageError as error:
        raise error.located(source) from error
    return replace(read_program(content, source), slow=made.slow)


def read_program(content: bytes, source: str) -> Int8Model:
    """The int8 program in `content`, checked by the engine's own loader. Raises UsageError."""
    try:
        Int8Engine(content)
    except UsageError as error:
        raise error.located(source) from error
    return Int8Model(source, content)


def read_tflite(model: TfliteModel, loss: str | None = None) -> Model:
    """`read_model` of a .tflite file in memory."""
    if is_int8(model):
        if loss is not None:
            raise UsageError("an int8 model has no loss: it does not learn; see attach-head", where=model.source)
        return program_of(convert_int8(model), model.source)
    return float_model(model.source, convert_float(model, loss))


def float_model(source: str, converted: Converted | Program) -> Model:
    """The image or the program of a network on its way. `source` names it."""
    if isinstance(converted, Program):
        return replace(program_of(converted.network, source), notes=converted.notes)
    content = image.encode(converted.spec, converted.weights)
    return FloatModel(source, converted.spec, converted.weights, content, converted.notes)
