"""What devices learned, for other tools: Keras, .tflite, or plain arrays."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from tinyfed.errors import UsageError
from tinyfed.files import TemporaryFolder, write_whole
from tinyfed.model.convert import FloatModel, read_model
from tinyfed.model.image import Array
from tinyfed.model.keras.convert import TfliteSource, import_tensorflow, quiet
from tinyfed.model.layers.base import Record
from tinyfed.model.spec import ModelSpec

RUN_MODEL = "model.tfm"
SUFFIXES = (".keras", ".tflite", ".npz")
SMALLEST_VARIANCE = 1e-12  # as firmware/core/kernels/plain/standardize.c guards against what is not above 0
# What the loss takes logits for: the activation that gives probabilities.
ENDS = {"softmax_cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}


def load_trained(path: Path) -> FloatModel:
    """The model of a run's folder, or of a model file. Raises UsageError."""
    if path.is_dir() and not (path / "saved_model.pb").is_file():
        if not (path / RUN_MODEL).is_file():
            raise UsageError(f"no {RUN_MODEL} in this folder: name a run's folder or a model file", where=str(path))
        path = path / RUN_MODEL
    model = read_model(path)
    if not isinstance(model, FloatModel):
        raise UsageError(
            "an int8 program is packed for the engine: export the .tflite file it was made from", where=str(path)
        )
    return model


def export(model: FloatModel, output: Path) -> int:
    """Write the model as `output`'s suffix says. Returns the file's size in bytes.

    Raises UsageError for another suffix, MissingToolError without Keras.
    """
    if output.suffix not in SUFFIXES:
        raise UsageError(f"use a name that ends in one of {', '.join(SUFFIXES)}", where=str(output))
    if output.suffix == ".npz":
        content = arrays_file(model.spec, model.weights)
    elif output.suffix == ".tflite":
        source = TfliteSource.of_model(to_keras(model.spec, model.weights), str(output))
        content = source.convert(source.converter())
    else:
        with TemporaryFolder() as folder:
            to_keras(model.spec, model.weights).save(folder / "model.keras")
            content = (folder / "model.keras").read_bytes()
    write_whole(output, content)
    return len(content)


def split_weights(spec: ModelSpec, weights: Array) -> list[list[Array]]:
    """The arrays of each layer, in their shapes: weights and, where there is one, bias."""
    layers: list[list[Array]] = []
    at = 0
    for record in spec.records:
        arrays = []
        for shape in record.parameter_shapes:
            count = int(np.prod(shape))
            arrays.append(weights[at : at + count].reshape(shape))
            at += count
        layers.append(arrays)
    return layers


def arrays_file(spec: ModelSpec, weights: Array) -> bytes:
    """An .npz: "layerN_KIND_weights" and "..._bias" of each layer, and "model", JSON that says what they belong to."""
    arrays: dict[str, Any] = {}
    records = spec.records
    for index, (record, parts) in enumerate(zip(records, split_weights(spec, weights), strict=True)):
        for name, values in zip(record.rules.arrays, parts, strict=False):
            arrays[f"layer{index}_{record.kind}_{name}"] = values
    layers = [
        {"kind": r.kind, "shape": list(r.shape), "activation": r.activation, "inputs": list(r.inputs)} for r in records
    ]
    arrays["model"] = np.array(json.dumps({"input": list(spec.input_shape), "loss": spec.loss, "layers": layers}))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def to_keras(spec: ModelSpec, weights: Array) -> Any:
    """A functional Keras model that computes the same, with probabilities at the end where the loss takes logits.

    Of a head on a frozen network it is the head, which takes that network's features. Frozen layers are not
    trainable. Raises MissingToolError without TensorFlow.
    """
    keras = import_tensorflow().keras
    with quiet():
        tensors = [keras.Input(spec.input_shape, name="input")]
        shapes = list(spec.shapes)
        pairs = zip(spec.records, split_weights(spec, weights), strict=True)
        for index, (record, arrays) in enumerate(pairs):
            tensors.append(_Layer(keras, record, shapes, f"layer{index}").apply(tensors, arrays))
        result = tensors[-1]
        if spec.loss in ENDS:
            result = keras.layers.Activation(ENDS[spec.loss], name="probabilities")(result)
        return keras.Model(tensors[0], result, name="tinyfed")


class _Layer:
    """One record as Keras layers."""

    def __init__(self, keras: Any, record: Record, shapes: list[tuple[int, ...]], name: str) -> None:
        self.layers = keras.layers
        self.record = record
        self.source = shapes[record.input]
        self.name = name

    def apply(self, tensors: list[Any], arrays: list[Array]) -> Any:
        record, layers = self.record, self.layers
        x = tensors[record.input]
        fused = {"activation": self._keras_activation()}
        if record.kind == "dense":
            if len(self.source) > 1:
                x = layers.Flatten(name=f"{self.name}_flat")(x)
            return self._weighted(
                layers.Dense(record.shape[-1], use_bias=len(arrays) == 2, **fused, **self._own()), x, arrays
            )
        if record.kind in ("conv2d", "depthwise"):
            return self._convolution(x, arrays, fused)
        if record.kind in ("max_pool", "average_pool"):
            kind = "MaxPooling" if record.kind == "max_pool" else "AveragePooling"
            return self._sized(kind)(self._size(record.kernel), **self._window(), **self._own())(x)
        if record.kind == "global_average":
            return self._sized("GlobalAveragePooling")(**self._own())(x)
        if record.kind == "reshape":
            return layers.Reshape(record.shape, **self._own())(x)
        if record.kind == "add":
            return self._activated(layers.Add(**self._own())([tensors[t] for t in record.inputs]))
        if record.kind == "scale":
            return self._activated(self._scale(x, arrays))
        if record.kind == "standardize":
            return self._standardize(x, arrays)
        assert record.kind == "activation", record.kind
        return self._activated(x)

    def _own(self) -> dict[str, Any]:
        return {"name": self.name, "trainable": self.record.trains_weights or not self.record.parameter_count}

    def _keras_activation(self) -> Any:
        record = self.record
        if record.activation == "leaky_relu":
            # As a string Keras means a slope of 0.2.
            return "leaky_relu" if np.float32(record.alpha) == np.float32(0.2) else "linear"
        return record.activation

    def _activated(self, x: Any) -> Any:
        """The record's activation as a layer of its own."""
        record, name = self.record, f"{self.name}_activation"
        if record.activation == "linear":
            return x
        if record.activation == "leaky_relu":
            return self.layers.LeakyReLU(negative_slope=record.alpha, name=name)(x)
        return self.layers.Activation(record.activation, name=name)(x)

    def _weighted(self, layer: Any, x: Any, arrays: list[Array]) -> Any:
        result = layer(x)
        layer.set_weights(arrays)
        if self.record.activation == "leaky_relu" and self._keras_activation() == "linear":
            return self._activated(result)
        return result

    def _one_dimensional(self) -> bool:
        return len(self.source) == 2

    def _sized(self, kind: str) -> Any:
        return getattr(self.layers, f"{kind}{'1D' if self._one_dimensional() else '2D'}")

    def _size(self, pair: tuple[int, int]) -> Any:
        return pair[1] if self._one_dimensional() else pair

    def _window(self) -> dict[str, Any]:
        return {"strides": self._size(self.record.stride), "padding": "same" if self.record.mode else "valid"}

    def _convolution(self, x: Any, arrays: list[Array], fused: dict[str, Any]) -> Any:
        record = self.record
        options = {**self._window(), **fused, **self._own(), "use_bias": len(arrays) == 2}
        if self._one_dimensional():
            arrays = [arrays[0][0], *arrays[1:]]
        if record.kind == "depthwise":
            return self._weighted(self._sized("DepthwiseConv")(self._size(record.kernel), **options), x, arrays)
        filters, kernel = record.shape[-1], self._size(record.kernel)
        return self._weighted(self._sized("Conv")(filters, kernel, **options), x, arrays)

    def _scale(self, x: Any, arrays: list[Array]) -> Any:
        """Batch normalization with mean 0, variance 1 and epsilon 0 is gamma x + beta, exactly."""
        layer = self.layers.BatchNormalization(epsilon=0.0, center=len(arrays) == 2, **self._own())
        result = layer(x)
        count = len(arrays[0])
        layer.set_weights([*arrays, np.zeros(count, np.float32), np.ones(count, np.float32)])
        return result

    def _standardize(self, x: Any, arrays: list[Array]) -> Any:
        """Batch normalization of each value by the statistics as they are now."""
        mean, variance, _ = arrays
        flat = self.layers.Flatten(name=f"{self.name}_flat")(x) if len(self.source) > 1 else x
        options = {**self._own(), "epsilon": 0.0, "center": False, "scale": False, "trainable": False}
        layer = self.layers.BatchNormalization(**options)
        result = layer(flat)
        layer.set_weights([mean, np.maximum(variance, np.float32(SMALLEST_VARIANCE))])
        return result if flat is x else self.layers.Reshape(self.source, name=f"{self.name}_shape")(result)
