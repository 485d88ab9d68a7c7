"""Keras models in .keras and .h5 files: layers, how they are connected, and weights, read without Keras.

A .keras file is an archive of the configuration as JSON and the weights as HDF5; an .h5 file is HDF5 with the
configuration as an attribute; both parts may also lie side by side, as a .json and an .h5 file. Damage ends in one
message: HDF5 is read in a process of its own (`keras.hdf5`).
"""

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import ConvertError
from tinyfed.model.keras import hdf5
from tinyfed.model.keras.hdf5 import LARGEST_BYTES, SIGNATURE, Dataset, Group
from tinyfed.reading import read_model_file
from tinyfed.text import first_line, shown

Shape = tuple[int, ...]
LARGEST_CONFIG_BYTES = 1 << 24
MOST_LAYERS = 4096
DEEPEST_MODEL = 8
_WEIGHTS = "model.weights.h5"
_METADATA = "metadata.json"
# Groups at the root of the two forms that hold the state of training.
OPTIMIZERS = ("optimizer", "optimizer_weights")
_MODELS = ("Sequential", "Functional", "Model")
# Functions between layers, by the names that Keras before 3 has for them and by those of Keras 3.
_FUNCTIONS = {
    "__operators__.add": "Add", "math.add": "Add", "math.subtract": "Subtract", "math.multiply": "Multiply",
    "math.truediv": "Divide", "math.divide": "Divide", "math.maximum": "Maximum", "math.minimum": "Minimum",
    "__operators__.getitem": "GetItem", "concat": "Concatenate", "expand_dims": "ExpandDims",
    "compat.v1.squeeze": "Squeeze", "math.abs": "Absolute", "math.exp": "Exp", "math.log": "Log",
    "math.negative": "Negative", "math.reduce_max": "Max", "math.reduce_mean": "Mean", "math.reduce_min": "Min",
    "math.reduce_sum": "Sum", "math.rsqrt": "Rsqrt", "math.sigmoid": "Sigmoid", "math.sin": "Sin",
    "math.sqrt": "Sqrt", "math.square": "Square", "math.tanh": "Tanh", "nn.relu": "Relu", "nn.relu6": "Relu6",
    "nn.sigmoid": "Sigmoid", "nn.silu": "Silu", "nn.softmax": "Softmax", "nn.tanh": "Tanh",
}  # fmt: skip
_RECURRENT = ("LSTM", "GRU", "SimpleRNN")
_WRAPPERS = ("TimeDistributed", "Bidirectional")
# Weights in the order in which a layer makes them; a name is dropped where the layer's flag of it is off.
_VARIABLES: dict[str, tuple[str, ...]] = {
    "Dense": ("kernel", "bias"),
    "Conv1D": ("kernel", "bias"),
    "Conv2D": ("kernel", "bias"),
    "DepthwiseConv1D": ("kernel", "bias"),
    "DepthwiseConv2D": ("kernel", "bias"),
    "SeparableConv1D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "Normalization": ("mean", "variance"),
    "LayerNormalization": ("gamma", "beta"),
    "GroupNormalization": ("gamma", "beta"),
    "PReLU": ("alpha",),
    "Conv1DTranspose": ("kernel", "bias"),
    "Conv2DTranspose": ("kernel", "bias"),
    **dict.fromkeys(_RECURRENT, ("kernel", "recurrent_kernel", "bias")),
}
_FLAGS = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
# What Keras takes where a configuration leaves it out.
_DEFAULTS: dict[str, Any] = {
    "activation": None, "alpha": 0.3, "axis": -1, "center": True, "data_format": "channels_last", "depth_multiplier": 1,
    "dilation_rate": 1, "epsilon": 1e-3, "groups": 1, "invert": False, "keepdims": False, "max_value": None,
    "mean": None, "negative_slope": 0.0, "offset": 0.0, "padding": "valid", "scale": True, "strides": 1,
    "threshold": 0.0, "use_bias": True, "variance": None,
}  # fmt: skip


@dataclass(frozen=True)
class KerasLayer:
    """A layer. Its configuration's values and its weights are attributes, as they are of Keras' own."""

    kind: str
    name: str
    config: dict[str, Any]
    trainable: bool
    weights: dict[str, NDArray[Any]] = field(repr=False)
    inner: "KerasModel | None" = None
    wrapped: tuple["KerasLayer", ...] = ()  # of TimeDistributed, and forward and backward of Bidirectional
    keras_2: bool = False  # written by Keras before 3

    def __getattr__(self, key: str) -> Any:
        for values in (self.weights, self.config, _DEFAULTS):
            if key in values:
                return values[key]
        raise AttributeError(f"no {key}")

    @property
    def parameter_count(self) -> int:
        return sum(values.size for values in self.weights.values())

    @property
    def weight_bytes(self) -> int:
        return sum(values.nbytes for values in self.weights.values())


@dataclass(frozen=True)
class Given:
    """What a function between layers is given beside tensors: numbers by position, options by name, and an index."""

    numbers: dict[int, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    index: Any = None


@dataclass(frozen=True)
class Call:
    """One use of a layer. `inputs` are names of tensors; output number i is the tensor `name`/i."""

    layer: KerasLayer
    inputs: tuple[str, ...]
    name: str
    given: Given = field(default_factory=Given)


@dataclass(frozen=True)
class KerasModel:
    """A network: names of its inputs with their shapes (without the batch, None where open), and calls in an order
    that can be run."""

    source: str
    inputs: tuple[tuple[str, tuple[int | None, ...]], ...]
    calls: tuple[Call, ...]
    outputs: tuple[str, ...]
    loss: Any = None

    def layers(self) -> Iterator[KerasLayer]:
        """Every layer once, those of models inside too."""
        seen: set[int] = set()
        for call in self.calls:
            if id(call.layer) not in seen:
                seen.add(id(call.layer))
                yield from call.layer.inner.layers() if call.layer.inner is not None else (call.layer,)


@dataclass(frozen=True)
class Parts:
    """What a Keras file holds: the configuration, what was compiled, and the weights, `legacy` by layers' names."""

    source: str
    config: dict[str, Any]
    compiled: Any
    weights: Group
    legacy: bool
    keras_2: bool = False


def read_keras(path: Path, weights: Path | None = None) -> KerasModel:
    """The model of a .keras or .h5 file, or of a .json file and its weights. Raises UsageError: what is wrong, and in
    which layer."""
    return keras_model(read_parts(path, weights))


def parse_keras(content: bytes, source: str) -> KerasModel:
    """`read_keras` of a .keras or .h5 file in memory."""
    return keras_model(parse_parts(content, source))


def keras_model(parts: Parts) -> KerasModel:
    """The layers of what was read. Raises ConvertError."""
    reader = _Reader(parts)
    return reader.whole(parts.config, parts.compiled.get("loss") if isinstance(parts.compiled, dict) else None)


def beside(path: Path) -> tuple[Path, Path] | None:
    """The one .json file and the one file of weights that lie in a folder, or beside a .json file, where
    NAME.weights.h5 belongs to NAME.json; None where there are not both."""
    folder = path if path.is_dir() else path.parent
    own = path.with_suffix(".weights.h5")
    if path.is_file() and own.is_file():
        return path, own
    texts = [path] if path.is_file() else sorted(folder.glob("*.json"))
    weights = sorted(file for pattern in ("*.h5", "*.hdf5") for file in folder.glob(pattern))
    return (texts[0], weights[0]) if len(texts) == len(weights) == 1 else None


def read_parts(path: Path, weights: Path | None = None) -> Parts:
    """What `path` holds; a .json file or a folder has its weights in `weights`, or in the one file beside it."""
    if weights is None and not path.is_dir() and path.suffix != ".json":
        return parse_parts(read_model_file(path, LARGEST_BYTES), str(path))
    found = (path, weights) if weights is not None else beside(path)
    if found is None:
        remedy = (
            "name its weights NAME.weights.h5 as its NAME.json, or give them to `tinyfed model convert` by --weights"
        )
        raise ConvertError("a model without one file of weights beside it", where=str(path), remedy=remedy)
    text, weights = found
    config = _json(read_model_file(text, LARGEST_CONFIG_BYTES), str(text), "it")
    root = hdf5.read(read_model_file(weights, LARGEST_BYTES), str(weights), without=OPTIMIZERS)
    inside = root.find("model_weights")  # where the whole model was saved
    root = inside if isinstance(inside, Group) else root
    return Parts(
        str(text), config, {}, root, "layer_names" in root.attributes, _is_keras_2(config.get("keras_version"))
    )


def _is_keras_2(version: Any) -> bool:
    version = version.decode("utf-8", "replace") if isinstance(version, bytes) else version
    return isinstance(version, str) and version.split(".")[0] in ("1", "2")


def parse_parts(content: bytes, source: str) -> Parts:
    """What a .keras or .h5 file in memory holds."""
    if content[:8] == SIGNATURE:
        root = hdf5.read(content, source, without=OPTIMIZERS)
        attributes = root.attributes
        if not isinstance(attributes.get("model_config"), bytes):
            remedy = "save the whole model, or give the model's JSON with it: MODEL.json --weights THIS"
            raise ConvertError("no model_config: weights alone", where=source, remedy=remedy)
        config = _json(attributes["model_config"], source, "model_config")
        training = attributes.get("training_config")
        compiled = _json(training, source, "training_config") if isinstance(training, bytes) else {}
        weights = root.find("model_weights")
        if not isinstance(weights, Group):
            raise ConvertError("no group model_weights", where=source)
        return Parts(source, config, compiled, weights, True, _is_keras_2(attributes.get("keras_version")))
    members = read_archive(content, source)
    config = _json(members["config.json"], source, "config.json")
    root = hdf5.read(members[_WEIGHTS], f"{source}: {_WEIGHTS}", without=OPTIMIZERS)
    version = _json(members.get(_METADATA, b"{}"), source, _METADATA).get("keras_version")
    return Parts(source, config, config.get("compile_config") or {}, root, False, _is_keras_2(version))


def read_archive(content: bytes, source: str) -> dict[str, bytes]:
    """The members of a .keras archive that make the model, checksums verified, no more than their size unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if (
                sum(sizes.values()) > LARGEST_BYTES
                or max(sizes.get("config.json", 0), sizes.get(_METADATA, 0)) > LARGEST_CONFIG_BYTES
            ):
                raise ConvertError(f"the archive unpacks to more than {LARGEST_BYTES:,} bytes", where=source)
            for name in ("config.json", _WEIGHTS):
                if name not in sizes:
                    raise ConvertError(f"not a whole .keras file: no {name} in the archive", where=source)
            bad = archive.testzip()
            if bad is not None:
                raise ConvertError(f"damaged: {bad!r} in the archive does not match its checksum", where=source)
            return {name: archive.read(name) for name in ("config.json", _WEIGHTS, _METADATA) if name in sizes}
    except ConvertError:
        raise
    except Exception as error:  # zipfile lets struct, zlib, memory and Unicode errors through on damaged archives
        raise ConvertError(f"not a whole .keras file: {first_line(error)}", where=source) from error


def _json(text: bytes, source: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConvertError(f"{what} is not JSON: {first_line(error)}", where=source) from error
    if not isinstance(found, dict):
        raise ConvertError(f"{what} is not a JSON object", where=source)
    return found


def _snake(name: str) -> str:
    """A class's name as Keras names the group of its weights."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


class _Reader:
    """Builds the model; `legacy` is the .h5 form, where weights lie by layer names."""

    def __init__(self, parts: Parts) -> None:
        self.source = parts.source
        self.weights = parts.weights
        self.legacy = parts.legacy
        self.keras_2 = parts.keras_2
        self.count = 0

    def refuse(self, where: str, reason: str) -> ConvertError:
        return ConvertError(reason, where=self.source, key=where)

    def whole(self, config: dict[str, Any], loss: Any) -> KerasModel:
        kind = config.get("class_name")
        if kind not in _MODELS or not isinstance(config.get("config"), dict):
            raise self.refuse(
                f"the model is a {shown(kind)}",
                "its layers cannot be seen; build it with Sequential or the functional API, and with an input shape",
            )
        return self.model(config, "the model", self.weights, "", True, 0, loss)

    def model(
        self, config: dict[str, Any], where: str, group: Group, prefix: str, trainable: bool, depth: int, loss: Any
    ) -> KerasModel:
        if depth >= DEEPEST_MODEL:
            raise self.refuse(where, f"models inside models more than {DEEPEST_MODEL} deep")
        try:
            inner = config["config"]
            descriptions = inner["layers"]
            layers = self._layers(descriptions, group, prefix, trainable and inner.get("trainable", True), depth)
            if config["class_name"] == "Sequential":
                return self._sequential(config, descriptions, layers, loss)
            return self._functional(inner, descriptions, layers, loss)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise self.refuse(where, f"its configuration is not valid: {shown(repr(error))}") from error

    def _layers(
        self, descriptions: list[Any], group: Group, prefix: str, trainable: bool, depth: int
    ) -> list[KerasLayer]:
        used: dict[str, int] = {}
        found = []
        names = [shown(description["config"].get("name")) for description in descriptions] if self.legacy else []
        for description in descriptions:
            self.count += 1
            if self.count > MOST_LAYERS:
                raise self.refuse("the model", f"more than {MOST_LAYERS} layers")
            kind, config = description["class_name"], description["config"]
            if not isinstance(kind, str) or not isinstance(config, dict):
                raise TypeError("a layer without class_name and config")
            kind = _FUNCTIONS.get(str(config.get("function")), kind) if kind.endswith("OpLambda") else kind
            kind, name = shown(kind), shown(config.get("name", description.get("name")))
            where = f'layer "{name}" ({kind})'
            snake = _snake(kind)
            number = used.get(snake, -1) + 1
            used[snake] = number
            unique = f"{snake}_{number}" if number else snake
            learns = bool(trainable and config.get("trainable", True))
            if kind in _MODELS and "layers" in config:
                path = prefix or name if self.legacy else f"{prefix}layers/{unique}/"
                below = self.model(description, where, group, path, learns, depth + 1, None)
                found.append(KerasLayer(kind, name, config, learns, {}, below))
            elif self.legacy:
                longer = [other for other in names if other.endswith(f"/{name}")]
                arrays = self._legacy(prefix, kind, name, where, longer)
                found.append(self._with_weights(kind, name, config, learns, where, arrays))
            else:
                found.append(self._with_weights(kind, name, config, learns, where, f"{prefix}layers/{unique}"))
        return found

    def _with_weights(
        self, kind: str, name: str, config: dict[str, Any], learns: bool, where: str, place: str | list[NDArray[Any]]
    ) -> KerasLayer:
        """A layer whose weights lie at a path of the newer form, or are the next of a list."""
        if kind in _WRAPPERS:
            wrapped = []
            for part, description in _parts(kind, config):
                inside = description["config"]
                at = f"{place}/{part}" if isinstance(place, str) else place
                layer = self._with_weights(description["class_name"], name, inside, learns, where, at)
                wrapped.append(layer)
            weights = {f"{number}/{key}": values for number, layer in enumerate(wrapped)
                       for key, values in layer.weights.items()}  # fmt: skip
            return KerasLayer(kind, name, config, learns, weights, None, tuple(wrapped), self.keras_2)
        wanted = [key for key in _VARIABLES.get(kind, ()) if config.get(_FLAGS.get(key, ""), True)]
        if kind == "Normalization" and config.get("mean") is not None:
            wanted = []
        found: dict[str, NDArray[Any]] = {}
        for number, key in enumerate(wanted):
            if isinstance(place, list):
                values = place.pop(0) if place else None
            else:
                path = f"{place}/cell" if kind in _RECURRENT else place
                dataset = self.weights.find(f"{path}/vars/{number}") or self.weights.find(
                    f"{path.replace('layers/', '_layer_checkpoint_dependencies/')}/vars/{number}"
                )
                values = dataset.values if isinstance(dataset, Dataset) else None
            if values is None:
                raise self.refuse(where, f"its weights have no {key} in the file; save the model again")
            found[key] = values
        return KerasLayer(kind, name, config, learns, found, keras_2=self.keras_2)

    def _legacy(self, outer: str, kind: str, name: str, where: str, longer: list[str]) -> list[NDArray[Any]]:
        """The weights of layer `name`, in the order in which it makes them. They lie with those of the outermost layer
        that it is part of, where one is called [models/]layer/[parts of it/]weight. `longer`: names that end so too."""
        group = self.weights.find(outer or name)
        listed = group.attributes.get("weight_names") if isinstance(group, Group) else None
        if not isinstance(group, Group) or not isinstance(listed, list):
            return []
        names = [raw.decode("utf-8", "replace") for raw in listed]
        if outer:
            deepest = 3 if kind == "Bidirectional" else 2 if kind in (*_RECURRENT, *_WRAPPERS) else 1
            levels = []
            for depth in range(1, deepest + 1):
                owners = {text: f"/{text}".rsplit("/", depth)[0] for text in names}
                mine = [text for text, owner in owners.items() if owner.endswith(f"/{name}")]
                levels.append([text for text in mine if not owners[text].endswith(tuple(f"/{end}" for end in longer))])
            names = next((level for level in levels if level), [])
            lasts = [text.split("/")[-1] for text in names]
            if kind != "Bidirectional" and len(set(lasts)) < len(lasts):
                raise self.refuse(where, f"several layers are called {name}; give layers names of their own")
        found = [group.find(text) for text in names]
        return [dataset.values for dataset in found if isinstance(dataset, Dataset)]

    def _sequential(
        self, config: dict[str, Any], descriptions: list[Any], layers: list[KerasLayer], loss: Any
    ) -> KerasModel:
        inner = config["config"]
        shape = None
        if layers and layers[0].kind == "InputLayer":
            shape = _batch_shape(layers[0].config)
            layers = layers[1:]
        else:
            first = descriptions[0]["config"] if descriptions else {}
            built = (config.get("build_config") or {}).get("input_shape")
            shape = first.get("batch_input_shape") or inner.get("build_input_shape") or built
        if shape is None:
            raise self.refuse("the model", "it has no input shape; build it with a fixed one")
        names = ["input", *(f"output {index}" for index in range(len(layers)))]
        calls = [Call(layer, (f"{names[index]}/0",), names[index + 1]) for index, layer in enumerate(layers)]
        return KerasModel(self.source, (("input/0", _open(shape)),), tuple(calls), (f"{names[-1]}/0",), loss)

    def _functional(
        self, inner: dict[str, Any], descriptions: list[Any], layers: list[KerasLayer], loss: Any
    ) -> KerasModel:
        calls: list[Call] = []
        inputs: dict[str, tuple[int | None, ...]] = {}
        ends = _ends(inner["output_layers"])
        last: dict[str, int] = {}  # the highest number of a use of a layer that anything reads
        nodes = [(description, list(description.get("inbound_nodes", ()))) for description in descriptions]
        for name, node, _ in (*(end[:3] for end in ends), *_references([each[1] for each in nodes])):
            last[name] = max(last.get(name, 0), int(node))
        for (description, uses), layer in zip(nodes, layers, strict=True):
            name = description.get("name", layer.name)
            if layer.kind == "InputLayer":
                inputs[_tensor(name, 0, 0)] = _open(_batch_shape(layer.config))
                continue
            # A model that is used as a layer has a first use of its own, which is not listed.
            first = int(layer.inner is not None and last.get(name, 0) >= len(uses))
            for number, node in enumerate(uses):
                sources = tuple(_tensor(*reference) for reference in _references(node))
                calls.append(Call(layer, sources, f"{name}/{first + number}", _given(node)))
                if len(calls) > MOST_LAYERS:
                    raise self.refuse("the model", f"more than {MOST_LAYERS} layers")
        ready = {tensor.rsplit("/", 1)[0] for tensor in inputs}
        ordered: list[Call] = []
        while calls:
            able = [call for call in calls if ready.issuperset(tensor.rsplit("/", 1)[0] for tensor in call.inputs)]
            if not able:
                raise self.refuse(f'layer "{shown(calls[0].layer.name)}"', "its inputs lead nowhere")
            ready |= {call.name for call in able}
            ordered += able
            calls = [call for call in calls if call.name not in ready]
        firsts = [_tensor(*end[:3]) for end in _ends(inner["input_layers"])]
        lasts = tuple(_tensor(*end[:3]) for end in ends)
        if missing := [end for end in (*firsts, *lasts) if end.rsplit("/", 1)[0] not in ready]:
            raise self.refuse("the model", f"{shown(missing[0])} is not given by any layer")
        return KerasModel(self.source, tuple((end, inputs[end]) for end in firsts), tuple(ordered), lasts, loss)


def _batch_shape(config: dict[str, Any]) -> Any:
    return config.get("batch_shape") or config["batch_input_shape"]


def _open(shape: Any) -> tuple[int | None, ...]:
    """Without the batch. Raises TypeError or ValueError."""
    sizes = tuple(None if size is None else _size(size) for size in shape[1:])
    if math.prod(size or 1 for size in sizes) >= 1 << 31:
        raise ValueError(f"shape {sizes} is too large")
    return sizes


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise ValueError(f"{value} is not a size")
    return value


def _tensor(name: Any, node: Any, index: Any) -> str:
    return f"{name}/{int(node)}/{int(index)}"


def _ends(found: Any) -> list[list[Any]]:
    """Of one input or output Keras writes [name, node, index] instead of a list of those; named ones are a mapping,
    which Keras' own `inputs` and `outputs` take in the order of the names."""
    found = [found[name] for name in sorted(found)] if isinstance(found, dict) else found
    return [found] if found and isinstance(found[0], str) else found


def _references(node: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(layer, use, output) of the tensors that a call is given, or those of a list of calls. In the older form they
    are lists of [name, node, index, options]."""
    stack = [node]
    while stack:
        value = stack.pop()
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            name, use, index = value["config"]["keras_history"]
            yield name, use, index
        elif isinstance(value, dict):
            parts = [value[key] for key in ("args", "kwargs") if key in value]
            stack += reversed(parts or [value[name] for name in sorted(value)])
        elif isinstance(value, list | tuple) and len(value) in (3, 4) and _is_tensor(value):
            yield value[0], value[1], value[2]
            stack += reversed(value[3:])
        elif isinstance(value, list | tuple):
            stack += reversed(value)


def _given(node: Any) -> Given:
    if isinstance(node, dict):
        arguments, options = node.get("args", []), node.get("kwargs", {})
        index = arguments[1] if len(arguments) == 2 else None
    else:
        first = node if _is_call(node) else next((entry for entry in node if _is_call(entry)), [])
        options = first[3] if len(first) == 4 else {}
        arguments, index = [options.get("x"), options.get("y")], options.get("slice_spec")
    numbers = {place: value for place, value in enumerate(arguments) if isinstance(value, int | float)}
    numbers = {place: float(value) for place, value in numbers.items() if not isinstance(value, bool)}
    return Given(numbers, options, index if isinstance(index, list) else None if index is None else [index])


def _is_call(value: Any) -> bool:
    """A tensor of the older form, with options."""
    return isinstance(value, list) and len(value) == 4 and _is_tensor(value) and isinstance(value[3], dict)


def _is_tensor(value: Any) -> bool:
    return isinstance(value[0], str) and all(isinstance(number, int) for number in value[1:3])


def _parts(kind: str, config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The layers inside a wrapper, by the names of their weights' groups."""
    inner = config["layer"]
    if kind != "Bidirectional":
        yield "layer", inner
        return
    yield "forward_layer", inner
    turned = {**inner, "config": {**inner["config"], "go_backwards": not inner["config"].get("go_backwards", False)}}
    yield "backward_layer", config.get("backward_layer") or turned


def finite(values: Any) -> NDArray[np.float64]:
    """Numbers of a configuration. Raises ValueError."""
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise ValueError("NaN or infinity in the configuration")
    return found
