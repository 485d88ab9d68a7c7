"""Keras models (.keras, .h5, SavedModel) as networks for the engine, and as .tflite. The only importer of Keras here;
.keras and .h5 files become networks without it."""

import contextlib
import io
import json
import math
import os
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyfed.errors import ConvertError, MissingToolError, UsageError
from tinyfed.files import TemporaryFolder
from tinyfed.model.graph import MOST_NODES, Converted, Graph, Node, Program, convert_graph
from tinyfed.model.keras import hdf5
from tinyfed.model.keras.file import KerasModel, beside, read_keras, read_parts
from tinyfed.model.keras.hdf5 import SIGNATURE, Group
from tinyfed.model.keras.layers import convert_layer
from tinyfed.model.keras.step import Step
from tinyfed.model.tflite.file import parse
from tinyfed.model.tflite.to_float import convert_float
from tinyfed.text import first_line, shown

Tensor = tuple[int, tuple[int, ...]]  # its number and shape
LONGEST_MESSAGE = 1000
SHORT_MESSAGE = 200  # of TensorFlow's own words
_LOSSES = {
    "mse": "mse",
    "mean_squared_error": "mse",
    "sparse_categorical_crossentropy": "softmax_cross_entropy",
    "categorical_crossentropy": "softmax_cross_entropy",
    "binary_crossentropy": "binary_cross_entropy",
}


def is_keras(path: Path) -> bool:
    """Whether a file or folder looks like a Keras model, its JSON, or a SavedModel."""
    if path.is_dir():
        return (path / "saved_model.pb").is_file() or beside(path) is not None
    if not path.is_file():  # a FIFO would wait
        return False
    if path.suffix == ".json":
        return True
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError:
        return False
    return start == SIGNATURE or start[:4] == b"PK\x03\x04"


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
    """The Keras model of a .keras or .h5 file, not compiled. Raises UsageError of one line for what is not one.

    Keras is given a copy with what `keras.hdf5` found in the file, and so no damaged HDF5.
    """
    if not path.exists():
        raise UsageError("there is no such file", where=str(path))
    copy = rewritten(path)
    tensorflow = import_tensorflow()
    try:
        with quiet(), TemporaryFolder() as folder:
            file = folder / f"model.{'h5' if copy[:8] == SIGNATURE else 'keras'}"
            file.write_bytes(copy)
            return tensorflow.keras.models.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # whatever Keras raises, which is of many kinds, is about the file
        raise ConvertError(
            f"Keras {tensorflow.keras.__version__} cannot load the model{_culprits(error)}",
            where=str(path),
            remedy="save it again with that version, from layers of Keras' own",
        ) from error


def _culprits(error: BaseException) -> str:
    """What TensorFlow's text says of classes and operators that are missing, which is of use; the rest is not."""
    text = str(error)
    classes = re.findall(r"locate class '([^']+)'|[Uu]nknown layer:? *'?([\w>]+)", text)
    operators = re.findall(r"(?:tf\.|Flex)([A-Z]\w+)", text)
    names = sorted({name for found in classes for name in found if name} | set(operators))
    return f": it has {shown(', '.join(names), SHORT_MESSAGE)}, which is not there" if names else ""


def rewritten(path: Path) -> bytes:
    """A .keras or .h5 file of what `keras.hdf5` finds in the file at `path`, without the optimizer's state.

    Raises UsageError.
    """
    parts = read_parts(path)
    config = json.dumps(parts.config).encode()
    try:
        if parts.legacy:
            return hdf5.write(Group({"model_weights": parts.weights}, {"model_config": config}))
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as written:
            for name, member in (("config.json", config), ("model.weights.h5", hdf5.write(parts.weights))):
                written.writestr(zipfile.ZipInfo(name), member)  # with no date: a zip file has none before 1980
        return buffer.getvalue()
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError) as error:  # of h5py, about names and sizes
        raise ConvertError(f"cannot be written again for Keras: {first_line(error)}", where=str(path)) from error


def convert_keras(path: Path, loss: str | None = None, weights: Path | None = None) -> Converted | Program:
    """The spec and weights of a Keras model or a SavedModel, frozen layers not trainable. Only a SavedModel takes
    TensorFlow. `weights`: those of a model whose layers lie alone in a .json file.

    The loss is what the model was compiled with where the file says it, else what its last activation suggests.
    Raises UsageError, which names the layer, the reason and what would work instead.
    """
    if (path / "saved_model.pb").is_file():
        return convert_float(parse(saved_model_tflite(path), str(path)), loss)
    return convert_keras_model(read_keras(path, weights), loss)


def convert_keras_model(
    model: KerasModel, loss: str | None = None, shapes: dict[int, tuple[tuple[int, ...], int]] | None = None
) -> Converted | Program:
    """`convert_keras` of a model that was read. `shapes` takes the output's shape and the multiply-adds of each layer,
    by its `id` (two models inside may each have a layer of one name), as far as it got."""
    walk = _Walk(model.source, {} if shapes is None else shapes)
    try:
        graph = walk.graph(model)
        return convert_graph(graph, loss or _compiled_loss(model.loss), tuple(walk.notes))
    except UsageError as error:  # values of the configuration stand in messages as they are
        raise ConvertError(
            shown(error.problem, LONGEST_MESSAGE), where=model.source, key=shown(error.key), remedy=error.remedy
        ) from error


def _compiled_loss(loss: Any) -> str | None:
    if isinstance(loss, dict):
        config = loss.get("config")
        loss = config.get("name", loss.get("class_name")) if isinstance(config, dict) else None
    return _LOSSES.get(loss) if isinstance(loss, str) else None


class _Walk:
    """Visits the layers of a model, and of models inside it, in order."""

    def __init__(self, source: str, shapes: dict[int, tuple[tuple[int, ...], int]]) -> None:
        self.source = source
        self.nodes: list[Node] = []
        self.notes: list[str] = []
        self.shapes = shapes
        self.input_shape: tuple[int, ...] = ()

    def graph(self, model: KerasModel) -> Graph:
        shapes = [self._input_shape(name, found) for name, found in model.inputs]
        for (name, _), shape in zip(model.inputs[1:], shapes[1:], strict=True):
            self.nodes.append(Node("input", name.split("/")[0], (), shape))
        self.input_shape = shapes[0]
        results = self._visit(model, [(number, shape) for number, shape in enumerate(shapes)])
        for place, (number, shape) in enumerate(results):
            if number < len(shapes):  # an input that is an output too
                self.nodes.append(Node("identity", f"output {place}", (number,), shape))
                results[place] = (len(self.nodes), shape)
        return Graph(self.source, shapes[0], tuple(self.nodes), tuple(number for number, _ in results))

    def _multiply_adds(self, node: Node) -> int:
        if node.kind not in ("conv2d_transpose", "recurrent") or node.weights is None:
            return node.multiply_adds
        source = node.inputs[0]
        shape = self.nodes[source - 1].shape if source else self.input_shape
        return int(node.weights.size) * math.prod(shape[:-1])  # at every place of the input, or step of time

    def _input_shape(self, name: str, found: tuple[int | None, ...]) -> tuple[int, ...]:
        shape = tuple(size for size in found if size is not None)
        if len(shape) != len(found):
            raise ConvertError(
                f'input "{name.split("/")[0]}" has the dynamic shape {list(found)}; build the model '
                "with a fixed input shape",
                where=self.source,
            )
        if not 1 <= len(shape) <= 3:
            raise ConvertError(
                f"an input of shape {list(shape)}; the engine takes 1 to 3 dimensions", where=self.source
            )
        return shape

    def _visit(self, model: KerasModel, sources: list[Tensor]) -> list[Tensor]:
        """The tensors of the model's outputs, whose inputs are `sources`."""
        tensors = {name: source for (name, _), source in zip(model.inputs, sources, strict=True)}
        for call in model.calls:
            layer = call.layer
            where = f'layer "{layer.name}" ({layer.kind})'
            if not call.inputs:
                raise ConvertError("it has no input", key=where)
            inputs = [_found(tensors, name, where) for name in call.inputs]
            if layer.inner is not None:
                if len(layer.inner.inputs) != len(inputs):
                    reason = f"{len(inputs)} inputs where the model has {len(layer.inner.inputs)}"
                    raise ConvertError(reason, key=where)
                results = self._visit(layer.inner, inputs)
            else:
                if id(layer) in self.shapes and layer.weights:
                    self.notes.append(f"{where}: used more than once: each use learns weights of its own from here on")
                first = len(self.nodes)
                numbers, sizes = zip(*inputs, strict=True)
                convert_layer(Step(layer, where, numbers, sizes, self.nodes, self.notes, call=call.given))
                results = [(len(self.nodes), self.nodes[-1].shape)]
                macs = sum(self._multiply_adds(node) for node in self.nodes[first:])
                self.shapes.setdefault(id(layer), (self.nodes[-1].shape, macs))
            tensors |= {f"{call.name}/{index}": result for index, result in enumerate(results)}
            if len(self.nodes) > MOST_NODES:
                raise ConvertError(f"more than {MOST_NODES} layers; the engine takes fewer", key=where)
        return [_found(tensors, name, "the model's output") for name in model.outputs]


def _found(tensors: dict[str, Tensor], name: str, where: str) -> Tensor:
    if name not in tensors:
        reason = f"it reads {shown(name)}: of a layer the first output alone is there"
        raise ConvertError(reason, key=where, remedy="leave return_state away")
    return tensors[name]


class TfliteSource:
    """A Keras model or SavedModel that TensorFlow can convert to .tflite, for a batch of 1: with an open batch,
    Flatten would compute shapes at run time. `converter()` gives a new one each time."""

    def __init__(self, path: Path) -> None:
        self.source = str(path)
        # Read before TensorFlow takes seconds: it may be no model.
        loaded = None if (path / "saved_model.pb").is_file() else load_keras(path)
        self.tensorflow = import_tensorflow()
        self.folder: TemporaryFolder | None = None
        self.model: Any = None
        if loaded is None:
            self.folder = self._resaved()
        else:
            self.model = self._for_one_sample(loaded)

    @classmethod
    def of_model(cls, model: Any, source: str) -> "TfliteSource":
        """Of a Keras model in memory; `source` names it in messages."""
        self = cls.__new__(cls)
        self.source, self.folder, self.tensorflow = source, None, import_tensorflow()
        self.model = self._for_one_sample(model)
        return self

    def converter(self) -> Any:
        lite = self.tensorflow.lite.TFLiteConverter
        return (
            lite.from_saved_model(str(self.folder.path / "model")) if self.folder else lite.from_keras_model(self.model)
        )

    def convert(self, converter: Any) -> bytes:
        """The file that a converter gives. Raises ConvertError of one line."""
        try:
            with quiet():
                return bytes(converter.convert())
        except Exception as error:  # whatever TensorFlow raises, which is of many kinds, is about the model
            raise ConvertError(
                f"TensorFlow cannot convert the model to .tflite{_culprits(error)}",
                where=self.source,
                remedy="`tinyfed model convert` reads it without TensorFlow, and names a layer that it does not have",
            ) from error

    def _shape(self, shape: tuple[int | None, ...], inputs: int, outputs: int) -> tuple[int, ...]:
        if inputs != 1 or outputs != 1:
            raise ConvertError(
                f"{inputs} inputs and {outputs} outputs; a model with one each is needed", where=self.source
            )
        if any(size is None for size in shape[1:]):
            raise ConvertError(
                f"the input has the dynamic shape {list(shape[1:])}; build the model with a fixed one",
                where=self.source,
            )
        return tuple(size for size in shape[1:] if size is not None)

    def _for_one_sample(self, model: Any) -> Any:
        keras = self.tensorflow.keras
        if not getattr(model, "inputs", None):
            raise ConvertError("the model has no input shape; build it with a fixed one", where=self.source)
        shape = self._shape(tuple(model.inputs[0].shape), len(model.inputs), len(model.outputs))
        try:
            with quiet():
                source = keras.Input(batch_shape=(1, *shape), name="input")
                return keras.Model(source, model(source, training=False), name="one_sample")
        except Exception as error:  # whatever Keras raises, which is of many kinds, is about the model
            raise ConvertError(
                f"its layers cannot be called with one sample of shape {list(shape)}{_culprits(error)}",
                where=self.source,
                remedy="build the model anew with a batch size that is left open",
            ) from error

    def _resaved(self) -> TemporaryFolder:
        folder = TemporaryFolder()
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
                saved.save(holder, str(folder.path / "model"), signatures=function.get_concrete_function(one))
        except ConvertError:
            raise
        except Exception as error:  # whatever TensorFlow raises, which is of many kinds, is about the folder
            raise ConvertError(
                f"TensorFlow {self.tensorflow.__version__} cannot load the SavedModel{_culprits(error)}",
                where=self.source,
                remedy="save it again with that version",
            ) from error
        return folder


def saved_model_tflite(path: Path) -> bytes:
    """A SavedModel as a float .tflite file. Raises UsageError of one line."""
    try:
        source = TfliteSource(path)
        return source.convert(source.converter())
    except ConvertError as error:
        remedy = "save the model as .keras or .h5, which hold more and are read without TensorFlow"
        raise ConvertError(shown(error.problem, SHORT_MESSAGE), where=error.where, remedy=remedy) from error
