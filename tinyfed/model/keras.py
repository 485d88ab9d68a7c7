"""Keras models (.keras, .h5, SavedModel) as networks for the engine, and back. The only importer of Keras here."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyfed.errors import MissingToolError, UsageError
from tinyfed.model.graph import Converted, Graph, Node, convert_graph
from tinyfed.model.keras_layers import Step, convert_layer
from tinyfed.model.tflite_view import ConvertError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST_MODEL_BYTES = 2**31
# A damaged HDF5 file can end the process that reads it: it is read whole in another one first.
_READ_HDF5 = """
import sys, h5py
def visit(name, item):
    if isinstance(item, h5py.Dataset):
        item[()]
    for key in item.attrs:
        item.attrs[key]
with h5py.File(sys.argv[1], "r") as file:
    visit("/", file)
    file.visititems(visit)
"""
_LOSSES = {
    "mse": "mse",
    "mean_squared_error": "mse",
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
}


def is_keras(path: Path) -> bool:
    """Whether a file or folder looks like a Keras model or a SavedModel."""
    if path.is_dir():
        return (path / "saved_model.pb").is_file()
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return False
    return start == HDF5_SIGNATURE or start[:4] == b"PK\x03\x04"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keras prints, and TensorFlow writes to standard error from C++; what goes wrong is told by exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink, contextlib.redirect_stdout(io.StringIO()):
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def import_tensorflow() -> Any:
    """The tensorflow module. Raises MissingToolError with what to install."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        with quiet():
            import tensorflow
    except ImportError as error:
        raise MissingToolError(
            "TensorFlow is not installed, which reads and writes Keras models: pip install 'tinyfed[keras]'"
        ) from error
    return tensorflow


def load_keras(path: Path) -> Any:
    """The Keras model of a .keras or .h5 file, not compiled. Raises UsageError of one line for what is not one."""
    if not path.exists():
        raise UsageError(f"{path}: there is no such file")
    _check_container(path)
    tensorflow = import_tensorflow()
    try:
        with quiet():
            return tensorflow.keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever Keras raises, which is of many kinds, is about the file
        raise ConvertError(f"{path}: Keras cannot load the model: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """What an exception of others says, short enough for a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _check_container(path: Path) -> None:
    """The archive is whole: every member's CRC, its size, its configuration as JSON; an HDF5 file can be read."""
    if path.suffix == ".keras" or zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > LARGEST_MODEL_BYTES:
                    raise ConvertError(f"{path}: the archive unpacks to more than {LARGEST_MODEL_BYTES:,} bytes")
                bad = archive.testzip()
                if bad is not None:
                    raise ConvertError(f"{path}: damaged: {bad!r} in the archive does not match its checksum")
                json.loads(archive.read("config.json"))
        except ConvertError:
            raise
        except Exception as error:  # zipfile lets struct, zlib and Unicode errors through on damaged archives
            raise ConvertError(f"{path}: not a whole .keras file: {first_line(error)}") from error
        return
    try:
        done = subprocess.run([sys.executable, "-c", _READ_HDF5, str(path)], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired as error:
        raise ConvertError(f"{path}: damaged: reading it does not end") from error
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        if lines and "No module named" in lines[-1]:
            raise MissingToolError("h5py is not installed, which reads .h5 models: pip install 'tinyfed[keras]'")
        reason = lines[-1].split(": ", 1)[-1] if lines and done.returncode > 0 else f"signal {-done.returncode}"
        raise ConvertError(f"{path}: not a whole .h5 file: {reason}")


def convert_keras(path: Path, loss: str | None = None) -> Converted:
    """The spec and weights of a Keras model or a SavedModel, frozen layers not trainable.

    The loss is what the model was compiled with where the file says it, else what its last activation suggests.
    Raises UsageError, which names the layer, the reason and what would work instead.
    """
    if path.is_dir():
        from tinyfed.model.convert_float import convert_float
        from tinyfed.model.tflite import parse

        return convert_float(parse(saved_model_tflite(path), str(path)), loss)
    model = load_keras(path)
    return convert_keras_model(model, str(path), loss or _compiled_loss(path))


def _compiled_loss(path: Path) -> str | None:
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        compiled = (json.loads(archive.read("config.json")) or {}).get("compile_config") or {}
    name = compiled.get("loss")
    if isinstance(name, dict):
        name = name.get("config", {}).get("name", name.get("class_name"))
    return _LOSSES.get(name) if isinstance(name, str) else None


def convert_keras_model(model: Any, source: str, loss: str | None = None) -> Converted:
    """`convert_keras` of a model in memory; `source` names it in messages."""
    walk = _Walk(source)
    graph = walk.graph(model)
    return convert_graph(graph, loss, tuple(walk.notes))


class _Walk:
    """Visits the layers of a model, and of models inside it, in order."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.nodes: list[Node] = []
        self.notes: list[str] = []

    def graph(self, model: Any) -> Graph:
        inner = self._functional(model, "the model")
        if len(inner.inputs) != 1 or len(inner.outputs) != 1:
            raise ConvertError(
                f"{self.source}: {len(inner.inputs)} inputs and {len(inner.outputs)} outputs; the engine takes one each"
            )
        shape = self._shape(inner.inputs[0], f'input "{inner.inputs[0].name}"')
        if not 1 <= len(shape) <= 3:
            raise ConvertError(f"{self.source}: an input of shape {list(shape)}; the engine takes 1 to 3 dimensions")
        results = self._visit(inner, [0])
        if results[0] != len(self.nodes):
            raise ConvertError(f"{self.source}: the output is not what the last layer gives")
        return Graph(self.source, shape, tuple(self.nodes))

    def _functional(self, model: Any, what: str) -> Any:
        inner = getattr(model, "_functional", None) or model
        if not hasattr(inner, "_nodes_by_depth"):
            raise ConvertError(
                f"{self.source}: {what} is a {type(model).__name__}, whose layers cannot be seen; build it with "
                "Sequential or the functional API, and with an input shape"
            )
        return inner

    def _shape(self, tensor: Any, what: str) -> tuple[int, ...]:
        shape = tuple(tensor.shape)[1:]
        if any(size is None for size in shape):
            raise ConvertError(
                f"{self.source}: {what} has the dynamic shape {list(shape)}; build the model with a fixed input shape"
            )
        return tuple(int(size) for size in shape)

    def _visit(self, inner: Any, sources: list[int]) -> list[int]:
        numbers = {id(tensor): number for tensor, number in zip(inner.inputs, sources, strict=True)}
        for depth in sorted(inner._nodes_by_depth, reverse=True):
            for node in inner._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                layer = node.operation
                tensors = node.input_tensors
                where = f'{self.source}: layer "{layer.name}" ({type(layer).__name__})'
                inputs = [numbers[id(tensor)] for tensor in tensors]
                if hasattr(layer, "layers"):
                    results = self._visit(self._functional(layer, where), inputs)
                else:
                    results = [self._step(layer, where, inputs, tensors, node.outputs)]
                for tensor, number in zip(node.outputs, results, strict=True):
                    numbers[id(tensor)] = number
        return [numbers[id(tensor)] for tensor in inner.outputs]

    def _step(self, layer: Any, where: str, inputs: list[int], tensors: list[Any], outputs: list[Any]) -> int:
        if len(outputs) != 1:
            raise ConvertError(f"{where}: {len(outputs)} outputs; the engine's layers have one")
        shapes = tuple(self._shape(tensor, where) for tensor in tensors)
        step = Step(layer, where, tuple(inputs), shapes, self._shape(outputs[0], where), self.nodes, self.notes)
        convert_layer(step)
        return len(self.nodes)


class TfliteSource:
    """A Keras model or SavedModel that TensorFlow can convert to .tflite, for a batch of 1: with an open batch,
    Flatten would compute shapes at run time. `converter()` gives a new one each time."""

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        self.tensorflow = import_tensorflow()
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.model: Any = None
        if path.is_dir():
            self.folder = self._resaved()
        else:
            self.model = self._for_one_sample(load_keras(path))

    @classmethod
    def of_model(cls, model: Any, source: str) -> "TfliteSource":
        """Of a Keras model in memory; `source` names it in messages."""
        self = cls.__new__(cls)
        self.source, self.folder, self.tensorflow = source, None, import_tensorflow()
        self.model = self._for_one_sample(model)
        return self

    def converter(self) -> Any:
        lite = self.tensorflow.lite.TFLiteConverter
        return lite.from_saved_model(self.folder.name) if self.folder else lite.from_keras_model(self.model)

    def convert(self, converter: Any) -> bytes:
        """The file that a converter gives. Raises ConvertError of one line."""
        try:
            with quiet():
                return bytes(converter.convert())
        except Exception as error:  # whatever TensorFlow raises, which is of many kinds, is about the model
            raise ConvertError(f"{self.source}: TensorFlow cannot convert the model: {first_line(error)}") from error

    def _shape(self, shape: tuple[int | None, ...], inputs: int, outputs: int) -> tuple[int, ...]:
        if inputs != 1 or outputs != 1:
            raise ConvertError(f"{self.source}: {inputs} inputs and {outputs} outputs; a model with one each is needed")
        if any(size is None for size in shape[1:]):
            raise ConvertError(
                f"{self.source}: the input has the dynamic shape {list(shape[1:])}; build the model with a fixed one"
            )
        return tuple(size for size in shape[1:] if size is not None)

    def _for_one_sample(self, model: Any) -> Any:
        keras = self.tensorflow.keras
        if not getattr(model, "inputs", None):
            raise ConvertError(f"{self.source}: the model has no input shape; build it with a fixed one")
        shape = self._shape(tuple(model.inputs[0].shape), len(model.inputs), len(model.outputs))
        with quiet():
            source = keras.Input(batch_shape=(1, *shape), name="input")
            return keras.Model(source, model(source, training=False), name="one_sample")

    def _resaved(self) -> "tempfile.TemporaryDirectory[str]":
        folder = tempfile.TemporaryDirectory(prefix="tinyfed-")
        try:
            with quiet():
                saved = self.tensorflow.saved_model
                module = saved.load(self.source)
                signature = module.signatures["serving_default"]
                inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
                (name, specification), result = next(iter(inputs.items())), next(iter(outputs))
                shape = self._shape(tuple(specification.shape), len(inputs), len(outputs))
                one = self.tensorflow.TensorSpec([1, *shape], self.tensorflow.float32, name="input")
                function = self.tensorflow.function(lambda x: {"output": signature(**{name: x})[result]})
                holder = self.tensorflow.Module()
                holder.inner = module
                saved.save(holder, folder.name, signatures=function.get_concrete_function(one))
        except ConvertError:
            raise
        except Exception as error:  # whatever TensorFlow raises, which is of many kinds, is about the folder
            raise ConvertError(f"{self.source}: TensorFlow cannot load the SavedModel: {first_line(error)}") from error
        return folder


def saved_model_tflite(path: Path) -> bytes:
    """A SavedModel as a float .tflite file. Raises UsageError of one line."""
    source = TfliteSource(path)
    return source.convert(source.converter())
