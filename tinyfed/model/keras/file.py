"""Keras models in .keras and .h5 files: layers, how they are connected, and weights, read without Keras.

A .keras file is an archive of the configuration as JSON and the weights as HDF5; an .h5 file is HDF5 with the
configuration as an attribute. Damage ends in one message: HDF5 is read in a process of its own (`keras.hdf5`).
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
# Groups at the root of the two forms that hold the state of training.
OPTIMIZERS = ("optimizer", "optimizer_weights")
_MODELS = ("Sequential", "Functional", "Model")
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
class Call:
    """One use of a layer; `inputs` and `output` are names of tensors."""

    layer: KerasLayer
    inputs: tuple[str, ...]
    output: str


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


def read_keras(path: Path) -> KerasModel:
    """The model of a .keras or .h5 file. Raises UsageError: what is wrong, and in which layer."""
    return parse_keras(read_model_file(path, LARGEST_BYTES), str(path))


def parse_keras(content: bytes, source: str) -> KerasModel:
    """`read_keras` of a file in memory."""
    if content[:8] == SIGNATURE:
        root = hdf5.read(content, source, without=OPTIMIZERS)
        attributes = root.attributes
        if not isinstance(attributes.get("model_config"), bytes):
            raise ConvertError("no model_config: weights alone; save the whole model", where=source)
        config = _json(attributes["model_config"], source, "model_config")
        training = attributes.get("training_config")
        compiled = _json(training, source, "training_config") if isinstance(training, bytes) else {}
        weights = root.find("model_weights")
        if not isinstance(weights, Group):
            raise ConvertError("no group model_weights", where=source)
        reader = _Reader(source, weights, legacy=True)
    else:
        members = read_archive(content, source)
        config = _json(members["config.json"], source, "config.json")
        compiled = config.get("compile_config") or {}
        root = hdf5.read(members[_WEIGHTS], f"{source}: {_WEIGHTS}", without=OPTIMIZERS)
        reader = _Reader(source, root, legacy=False)
    loss = compiled.get("loss") if isinstance(compiled, dict) else None
    return reader.whole(config, loss)


def read_archive(content: bytes, source: str) -> dict[str, bytes]:
    """The members of a .keras archive that make the model, checksums verified, no more than their size unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if sum(sizes.values()) > LARGEST_BYTES or sizes.get("config.json", 0) > LARGEST_CONFIG_BYTES:
                raise ConvertError(f"the archive unpacks to more than {LARGEST_BYTES:,} bytes", where=source)
            for name in ("config.json", _WEIGHTS):
                if name not in sizes:
                    raise ConvertError(f"not a whole .keras file: no {name} in the archive", where=source)
            bad = archive.testzip()
            if bad is not None:
                raise ConvertError(f"damaged: {bad!r} in the archive does not match its checksum", where=source)
            return {name: archive.read(name) for name in ("config.json", _WEIGHTS)}
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

    def __init__(self, source: str, weights: Group, legacy: bool) -> None:
        self.source = source
        self.weights = weights
        self.legacy = legacy
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
        for description in descriptions:
            self.count += 1
            if self.count > MOST_LAYERS:
                raise self.refuse("the model", f"more than {MOST_LAYERS} layers")
            kind, config = description["class_name"], description["config"]
            if not isinstance(kind, str) or not isinstance(config, dict):
                raise TypeError("a layer without class_name and config")
            kind, name = shown(kind), shown(config.get("name", description.get("name")))
            where = f'layer "{name}" ({kind})'
            snake = _snake(kind)
            number = used.get(snake, -1) + 1
            used[snake] = number
            unique = f"{snake}_{number}" if number else snake
            learns = bool(trainable and config.get("trainable", True))
            below: KerasModel | None = None
            weights: dict[str, NDArray[Any]] = {}
            if kind in _MODELS and "layers" in config:
                path = prefix or name if self.legacy else f"{prefix}layers/{unique}/"
                below = self.model(description, where, group, path, learns, depth + 1, None)
            elif kind in _VARIABLES:
                path = prefix or name if self.legacy else f"{prefix}layers/{unique}"
                weights = self._weights(kind, name, config, where, path)
            found.append(KerasLayer(kind, name, config, learns, weights, below))
        return found

    def _weights(self, kind: str, name: str, config: dict[str, Any], where: str, path: str) -> dict[str, NDArray[Any]]:
        wanted = [key for key in _VARIABLES[kind] if config.get(_FLAGS.get(key, ""), True)]
        if kind == "Normalization" and config.get("mean") is not None:
            return {}
        arrays: dict[str, NDArray[Any]] = {}
        for number, key in enumerate(wanted):
            if self.legacy:
                dataset = self._legacy(path, name, key, where)
            else:
                dataset = self.weights.find(f"{path}/vars/{number}") or self.weights.find(
                    f"{path.replace('layers/', '_layer_checkpoint_dependencies/')}/vars/{number}"
                )
            if not isinstance(dataset, Dataset):
                raise self.refuse(where, f"its weights have no {key} in the file; save the model again")
            arrays[key] = dataset.values
        return arrays

    def _legacy(self, path: str, name: str, key: str, where: str) -> Group | Dataset | None:
        """The weight of layer `name` among those of the outer layer `path`."""
        group = self.weights.find(path)
        if not isinstance(group, Group):
            return None
        names = group.attributes.get("weight_names")
        if not isinstance(names, list):
            return None
        keys = (key, "depthwise_kernel") if key == "kernel" else (key,)
        found = []
        for raw in names:
            weight = raw.decode("utf-8", "replace")
            parts = weight.split(":")[0].split("/")
            if parts[-1] in keys and parts[-2:-1] == [name]:
                found.append(weight)
        if len(found) > 1:
            raise self.refuse(where, f"{len(found)} weights are called {name}/{key}; give layers names of their own")
        return group.find(found[0]) if found else None

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
        calls = [Call(layer, (names[index],), names[index + 1]) for index, layer in enumerate(layers)]
        return KerasModel(self.source, (("input", _open(shape)),), tuple(calls), (names[-1],), loss)

    def _functional(
        self, inner: dict[str, Any], descriptions: list[Any], layers: list[KerasLayer], loss: Any
    ) -> KerasModel:
        calls: list[Call] = []
        inputs: dict[str, tuple[int | None, ...]] = {}
        for description, layer in zip(descriptions, layers, strict=True):
            name = description.get("name", layer.name)
            if layer.kind == "InputLayer":
                inputs[_tensor(name, 0, 0)] = _open(_batch_shape(layer.config))
                continue
            for number, node in enumerate(description["inbound_nodes"]):
                calls.append(Call(layer, tuple(_references(node)), _tensor(name, number, 0)))
                if len(calls) > MOST_LAYERS:
                    raise self.refuse("the model", f"more than {MOST_LAYERS} layers")
        ready = set(inputs)
        ordered: list[Call] = []
        while calls:
            able = [call for call in calls if ready.issuperset(call.inputs)]
            if not able:
                raise self.refuse(f'layer "{shown(calls[0].layer.name)}"', "its inputs lead nowhere")
            ready |= {call.output for call in able}
            ordered += able
            calls = [call for call in calls if call.output not in ready]
        firsts = [_tensor(*end[:3]) for end in _ends(inner["input_layers"])]
        lasts = tuple(_tensor(*end[:3]) for end in _ends(inner["output_layers"]))
        if missing := [end for end in (*firsts, *lasts) if end not in ready]:
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


def _ends(found: list[Any]) -> list[list[Any]]:
    """Of one input or output Keras writes [name, node, index] instead of a list of those."""
    return [found] if found and isinstance(found[0], str) else found


def _references(node: Any) -> Iterator[str]:
    """The tensors that a call is given; the older form is a list of [name, node, index, options]."""
    if isinstance(node, dict):
        stack = [node["args"]]
        while stack:
            value = stack.pop()
            if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
                yield _tensor(*value["config"]["keras_history"])
            elif isinstance(value, list):
                stack += reversed(value)
    else:
        for entry in node:
            yield _tensor(*entry[:3])


def finite(values: Any) -> NDArray[np.float64]:
    """Numbers of a configuration. Raises ValueError."""
    found = np.asarray(values, np.float64)
    if not np.isfinite(found).all():
        raise ValueError("NaN or infinity in the configuration")
    return found
