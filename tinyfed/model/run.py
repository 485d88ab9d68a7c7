"""Run a batch of inputs through a model, in-process, with the engine that boards run."""

import math
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
from tinyfed.model.int8.image import Int8Port, read_ports, read_states

_NOTHING = (Activation("linear"),)


@dataclass(frozen=True)
class Outputs:
    """`real` float32 (count, *shape): probabilities where the loss is a cross-entropy. `raw`: what the engine gave,
    int8 or logits. One of each for every output of the network."""

    real: tuple[NDArray[np.float32], ...]
    raw: tuple[NDArray[Any], ...]


# What an input takes as it is; everything else is a real value.
STORED = ("int8", "uint8")


def input_shapes(model: Model) -> tuple[tuple[int, ...], ...]:
    """Of one sample, for every input."""
    if isinstance(model, FloatModel) and not model.spec.frozen:
        return (model.spec.sample_shape,)
    program = model.spec.frozen if isinstance(model, FloatModel) else model.content
    return tuple(port.shape for port in read_ports(program)[0])


def has_states(model: Model) -> bool:
    """Whether an answer depends on the samples before."""
    program = model.spec.frozen if isinstance(model, FloatModel) else model.content
    return bool(program) and bool(read_states(program))


def steps_of(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The steps of one stream: a long recording (rows, *shape[1:]) is cut into steps of `shape`."""
    rows = shape[0]
    if len(shape) < 2 or array.ndim != len(shape) or array.shape[1:] != shape[1:] or len(array) % rows:
        return array
    return array.reshape(-1, *shape)


def check_batch(
    model: Model, arrays: Sequence[NDArray[Any]], where: str
) -> tuple[NDArray[np.float32] | NDArray[np.int8], ...]:
    """One array an input, (count, *shape): float32, or int8 and uint8 as they are where the input is such.

    Raises UsageError."""
    shapes = input_shapes(model)
    if len(arrays) != len(shapes):
        raise UsageError(f"{len(arrays)} arrays for {len(shapes)} inputs", where=where)
    checked: list[Any] = []
    types = [port.dtype for port in model.ports[0]] if isinstance(model, Int8Model) else ["float32"] * len(shapes)
    for array, shape, dtype in zip(arrays, shapes, types, strict=True):
        values = check_inputs(array, shape, where)
        stored = dtype in STORED and array.dtype == dtype
        checked.append(array.reshape(values.shape) if stored else values)
    if len({len(array) for array in checked}) > 1:
        raise UsageError("the inputs have different numbers of samples", where=where)
    return tuple(checked)


def stored_inputs(engine: Int8Engine, arrays: Sequence[NDArray[Any]]) -> list[list[NDArray[Any]]]:
    """What every sample's inputs are stored as: quantized where the arrays are real, as the board does it."""
    return [
        [values if values.dtype in STORED else engine.quantize(values, index) for index, values in enumerate(sample)]
        for sample in zip(*arrays, strict=True)
    ]


def real_outputs(engine: Int8Engine, raw: Sequence[Sequence[NDArray[Any]]]) -> Outputs:
    """The outputs of all samples, each a list of the network's outputs."""
    stacked = tuple(
        np.stack([sample[index].reshape(port.shape) for sample in raw]) for index, port in enumerate(engine.outputs)
    )
    return Outputs(tuple(engine.dequantize(values, index) for index, values in enumerate(stacked)), stacked)


def run(model: Model, arrays: Sequence[NDArray[Any]], *, stream: bool = False) -> Outputs:
    """Outputs for one checked array an input (`check_batch`). `stream`: the samples are the steps of one stream, and
    states go from each to the next; otherwise each begins with the states' first values."""
    if isinstance(model, FloatModel):
        return float_outputs(model, Engine(model.content, "infer").infer(_side_by_side(arrays), stream=stream))
    int8, raw = Int8Engine(model.content), []
    for sample in stored_inputs(int8, arrays):
        if int8.states and not stream:
            int8.reset()
        raw.append(int8.run(*sample))
    return real_outputs(int8, raw)


def _side_by_side(arrays: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """(count, values): a sample's inputs one after the other, as the engine takes them."""
    return np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1, dtype=np.float32)


def float_outputs(model: FloatModel, raw: NDArray[np.float32]) -> Outputs:
    """Of what the engine gave, (count, values)."""
    shapes: tuple[tuple[int, ...], ...] = (model.spec.output_shape,)
    if model.spec.frozen and model.spec.layers == _NOTHING:
        shapes = tuple(port.shape for port in read_ports(model.spec.frozen)[1])
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    real = np.split(probabilities(raw, model.spec.loss), ends[:-1], axis=1)
    parts = np.split(raw, ends[:-1], axis=1)
    return Outputs(
        tuple(part.reshape(-1, *shape) for part, shape in zip(real, shapes, strict=True)),
        tuple(part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)),
    )


def board_image(model: Model) -> bytes:
    """The model image that a board is given: an int8 network is frozen in one that has nothing behind it."""
    return model.content if isinstance(model, FloatModel) else frozen_alone(model.content)


def frozen_alone(program: bytes) -> bytes:
    """A model image of an int8 program with a layer behind it that does nothing. Its sample is the program's inputs one
    after the other, its output the program's outputs so. Raises UsageError."""
    features = sum(port.count for port in read_ports(program)[1])
    return encode(ModelSpec((features,), _NOTHING, frozen=program), np.zeros(0, np.float32))


def run_remotely(
    model: Model,
    arrays: Sequence[NDArray[Any]],
    infer: Callable[[NDArray[np.float32], int | None], NDArray[np.float32]],
    *,
    stream: bool = False,
) -> Outputs:
    """As `run`, on a device that holds `board_image`: `infer` has it take a sample, with its number where it is a step
    of a stream, and give the outputs."""
    if isinstance(model, FloatModel):
        samples = enumerate(_side_by_side(arrays))
        return float_outputs(model, np.stack([infer(sample, step if stream else None) for step, sample in samples]))
    engine = Int8Engine(model.content)
    ends = np.cumsum([port.count for port in engine.outputs])
    raw = []
    for step, sample in enumerate(stored_inputs(engine, arrays)):
        real = [
            (stored.astype(np.float32) - np.float32(port.zero_point)) * np.float32(port.scale)
            for stored, port in zip(sample, engine.inputs, strict=True)
        ]
        values = infer(np.concatenate([part.reshape(-1) for part in real]), step if stream else None)
        parts = np.split(values, ends[:-1])
        raw.append([_stored(part, port) for part, port in zip(parts, engine.outputs, strict=True)])
    return real_outputs(engine, raw)


def _stored(values: NDArray[np.float32], port: Int8Port) -> NDArray[Any]:
    """What the network gave, of the real values that a device made of it."""
    if port.dtype == "float32":
        return values
    stored: NDArray[Any] = np.rint(values / np.float32(port.scale) + np.float32(port.zero_point)).astype(port.dtype)
    return stored


def probabilities(logits: NDArray[np.float32], loss: str) -> NDArray[np.float32]:
    """What the last activation, which is part of the loss, makes of logits (count, n)."""
    values = logits.astype(np.float64)
    if loss == "softmax_cross_entropy":
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    elif loss == "binary_cross_entropy":
        values = np.exp(-np.logaddexp(0, -values))
    return values.astype(np.float32)
