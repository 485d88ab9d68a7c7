"""What `generate` writes, gathered from a model."""

from pathlib import Path

from tinyfed.codegen.generate import Array, Bundle, Port, check_labels
from tinyfed.model.tflite import Tensor, TfliteModel


def tflite_port(tensor: Tensor) -> Port:
    """A tensor of a .tflite file as macros describe it."""
    quantization = tensor.quantization
    if quantization is None or quantization.per_channel or tensor.dtype.startswith("float"):
        return Port(tensor.name, tensor.dtype, tensor.shape)
    return Port(tensor.name, tensor.dtype, tensor.shape, float(quantization.scale[0]), int(quantization.zero_point[0]))


def tflite_bundle(model: TfliteModel, name: str, labels: tuple[str, ...] = ()) -> Bundle:
    """NAME_tflite: the file as TFLM's users expect it. Raises UsageError where the labels do not fit."""
    inputs = tuple(tflite_port(tensor) for tensor in model.input_tensors())
    outputs = tuple(tflite_port(tensor) for tensor in model.output_tensors())
    check_labels(labels, outputs)
    array = Array("tflite", "The .tflite file, for TensorFlow Lite for Microcontrollers.", model.content)
    return Bundle(name, Path(model.source).name, (array,), inputs, outputs, labels)
