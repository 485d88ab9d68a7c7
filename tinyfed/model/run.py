"""Run a batch of inputs through a model, in-process, with the engine that boards run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.data.samples import check_inputs
from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.model import Activation, ModelSpec, encode
from tinyfed.model.convert import FloatModel, Int8Model, Model
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.int8.image import read_ports


@dataclass(frozen=True)
class Outputs:
    """`real` float32 (count, *shape): probabilities where the loss is a cross-entropy. `raw`: what the engine gave,
    int8 or logits. One of each for every output of the network."""

    real: tuple[NDArray[np.float32], ...]
    raw: tuple[NDArray[Any], ...]


def input_shapes(model: Model) -> tuple[tuple[int, ...], ...]:
    """Of one sample, for every input."""
    if isinstance(model, FloatModel):
        return (model.spec.sample_shape,)
    return tuple(port.shape for port in model.ports[0])


def check_batch(
    model: Model, arrays: Sequence[NDArray[Any]], where: str
) -> tuple[NDArray[np.float32] | NDArray[np.int8], ...]:
    """One array an input, (count, *shape): float32, or int8 as it is where the input is int8. Raises UsageError."""
    shapes = input_shapes(model)
    if len(arrays) != len(shapes):
        raise UsageError(f"{len(arrays)} arrays for {len(shapes)} inputs", where=where)
    checked: list[Any] = []
    types = [port.dtype for port in model.ports[0]] if isinstance(model, Int8Model) else ["float32"]
    for array, shape, dtype in zip(arrays, shapes, types, strict=True):
        values = check_inputs(array, shape, where)
        stored = dtype == "int8" and array.dtype == np.int8
        checked.append(array.reshape(values.shape) if stored else values)
    if len({len(array) for array in checked}) > 1:
        raise UsageError("the inputs have different numbers of samples", where=where)
    return tuple(checked)


def stored_inputs(engine: Int8Engine, arrays: Sequence[NDArray[Any]]) -> list[list[NDArray[Any]]]:
    """What every sample's inputs are stored as: quantized where the arrays are real, as the board does it."""
    return [
        [values if values.dtype == np.int8 else engine.quantize(values, index) for index, values in enumerate(sample)]
        for sample in zip(*arrays, strict=True)
    ]


def real_outputs(engine: Int8Engine, raw: Sequence[Sequence[NDArray[Any]]]) -> Outputs:
    """The outputs of all samples, each a list of the network's outputs."""
    stacked = tuple(
        np.stack([sample[index].reshape(port.shape) for sample in raw]) for index, port in enumerate(engine.outputs)
    )
    return Outputs(tuple(engine.dequantize(values, index) for index, values in enumerate(stacked)), stacked)


def run(model: Model, arrays: Sequence[NDArray[Any]]) -> Outputs:
    """Outputs for one checked array an input (`check_batch`)."""
    if isinstance(model, Int8Model):
        int8 = Int8Engine(model.content)
        return real_outputs(int8, [int8.run(*sample) for sample in stored_inputs(int8, arrays)])
    return float_outputs(model, Engine(model.content, "infer").infer(arrays[0]))


def float_outputs(model: FloatModel, raw: NDArray[np.float32]) -> Outputs:
    """Of what the engine gave, (count, values)."""
    shaped = raw.reshape(len(raw), *model.spec.output_shape)
    return Outputs((probabilities(raw, model.spec.loss).reshape(shaped.shape),), (shaped,))


def board_image(model: Model) -> bytes:
    """The model image that a board is given: an int8 network is frozen in one that has nothing behind it. Raises
    UsageError for several inputs or outputs."""
    if isinstance(model, FloatModel):
        return model.content
    inputs, outputs = model.ports
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(
            f"has {len(inputs)} inputs and {len(outputs)} outputs: a board takes one of each; leave "
            "--board and --port out: the in-process engine has the same bits",
            where=model.source,
        )
    return frozen_alone(model.content)


def frozen_alone(program: bytes) -> bytes:
    """A model image of an int8 program with a layer behind it that does nothing. Raises UsageError."""
    features = read_ports(program)[1][0].count
    return encode(ModelSpec((features,), (Activation("linear"),), frozen=program), np.zeros(0, np.float32))


def run_remotely(
    model: Model, arrays: Sequence[NDArray[Any]], infer: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> Outputs:
    """As `run`, on a device that holds `board_image`: `infer` has it take a sample and give the outputs."""
    if isinstance(model, FloatModel):
        return float_outputs(model, np.stack([infer(sample) for sample in arrays[0]]))
    engine = Int8Engine(model.content)
    port, output = engine.inputs[0], engine.outputs[0]
    raw = []
    for (stored,) in stored_inputs(engine, arrays):
        real = (stored.astype(np.float32) - np.float32(port.zero_point)) * np.float32(port.scale)
        values = infer(real)
        if output.dtype == "int8":
            values = np.rint(values / np.float32(output.scale) + np.float32(output.zero_point)).astype(np.int8)
        raw.append([values.reshape(output.shape)])
    return real_outputs(engine, raw)


def probabilities(logits: NDArray[np.float32], loss: str) -> NDArray[np.float32]:
    """What the last activation, which is part of the loss, makes of logits (count, n)."""
    values = logits.astype(np.float64)
    if loss == "softmax_cross_entropy":
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    elif loss == "binary_cross_entropy":
        values = np.exp(-np.logaddexp(0, -values))
    return values.astype(np.float32)
