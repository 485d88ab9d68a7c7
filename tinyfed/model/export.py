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
from tinyfed.model.layers.base import InKeras
from tinyfed.model.spec import ModelSpec
from tinyfed.text import first_line

RUN_MODEL = "model.tfm"
SUFFIXES = (".keras", ".tflite", ".npz")
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
            keras_model = to_keras(model.spec, model.weights)
            try:
                keras_model.save(folder / "model.keras")
            except ValueError as error:  # of a zip file, which holds no date before 1980
                raise UsageError(f"Keras cannot write it: {first_line(error)}", where=str(output)) from error
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
        pairs = zip(spec.records, split_weights(spec, weights), strict=True)
        for index, (record, arrays) in enumerate(pairs):
            to = InKeras(keras.layers, record, f"layer{index}", tensors, spec.shapes[record.input], arrays)
            tensors.append(record.rules.keras(to))
        result = tensors[-1]
        if spec.loss in ENDS:
            result = keras.layers.Activation(ENDS[spec.loss], name="probabilities")(result)
        return keras.Model(tensors[0], result, name="tinyfed")
