"""A frozen int8 network with a float32 head that learns (TinyOL: Ren, Anicic, Runkler 2021), as a model image.

The last layers of a network are cut off; what is left lies in the image as an int8 program and makes features, which
are normalized, and dense layers learn from them on the device. See docs/head.md.
"""

from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from tinyfed.engine import Engine
from tinyfed.errors import UsageError
from tinyfed.fields import checked, whole
from tinyfed.model.convert import FloatModel, program_of
from tinyfed.model.image import Array, encode
from tinyfed.model.initialize import initialize
from tinyfed.model.int8 import spec as i8
from tinyfed.model.int8.image import read_ports
from tinyfed.model.layers.base import Layer
from tinyfed.model.layers.dense import Dense
from tinyfed.model.layers.standardize import SAMPLES_MAX, Standardize
from tinyfed.model.spec import ModelSpec

MOST_CLASSES = 256
MOST_HIDDEN = 4096
# What features are taken to deviate by before the first sample, in steps of their quantization.
FIRST_DEVIATION = 4


@checked("")
def attach(
    network: i8.Int8Network,
    source: str,
    classes: Annotated[int, whole(2, MOST_CLASSES)],
    hidden: Annotated[int, whole(0, MOST_HIDDEN)] = 0,
    features: str | None = None,
    seed: Annotated[int, whole(0, 2**53)] = 0,
    window: Annotated[int, whole(2, SAMPLES_MAX)] = 1024,
) -> FloatModel:
    """`network` frozen up to its features, their running mean and variance over `window` samples, and a new head with
    `hidden` ReLU units (0: none).

    `features` names the tensor to cut at; None: what the last dense or convolutional layer reads. Raises UsageError.
    """
    at = _last_input(network, source) if features is None else _called(network, source, features)
    try:
        features_network = cut(network, at)
    except UsageError as error:
        raise error.located(source) from error
    program = program_of(features_network, source).content
    middle: tuple[Layer, ...] = (Dense(hidden, "relu"),) if hidden else ()
    layers = (Standardize(window), *middle, Dense(classes))
    spec = ModelSpec((network.tensors[at].count,), layers, "softmax_cross_entropy", program)
    weights = initialize(spec, seed)
    features_at = spec.input_shape[0]
    weights[features_at : 2 * features_at] = (FIRST_DEVIATION * read_ports(program)[1][0].scale) ** 2
    note = f"{len(spec.frozen):,} bytes are frozen and give the head {spec.input_shape[0]} features"
    return FloatModel(source, spec, weights, encode(spec, weights), (note,))


def _last_input(network: i8.Int8Network, source: str) -> int:
    """The tensor that the last dense or convolutional layer reads."""
    for layer in reversed(network.layers):
        if isinstance(layer, i8.Int8Dense | i8.Int8Conv2D):
            return layer.inputs[0]
    raise UsageError("no dense or convolutional layer to replace: name the features with --features", where=source)


def _called(network: i8.Int8Network, source: str, features: str) -> int:
    """The tensor called `features`, which a layer writes."""
    written = {network.tensors[layer.output].name: layer.output for layer in network.layers}
    if features not in written:
        raise UsageError(f"no layer writes a tensor called {features!r}; they write {', '.join(written)}", where=source)
    return written[features]


def cut(network: i8.Int8Network, features: int) -> i8.Int8Network:
    """The network up to tensor `features`, without what that does not need. Raises UsageError."""
    needed, before = {features}, -1
    while len(needed) != before:  # what a state is given next may be written behind its readers
        before = len(needed)
        layers = [layer for layer in network.layers if layer.output in needed]
        needed.update(index for layer in layers for index in layer.inputs)
    states = tuple(state for state in network.states if state.tensor in needed)
    inputs = tuple(index for index in network.inputs if index in needed)
    if not layers or len(inputs) != 1:
        raise UsageError(
            f"{network.tensors[features].name!r} comes of {len(layers)} layers and {len(inputs)} inputs; "
            "a head is put on one input's features"
        )
    return i8.Int8Network(network.tensors, tuple(layers), inputs, (features,), network.name, states)


def normalized(model: FloatModel, x: NDArray[np.float32]) -> FloatModel:
    """The statistics a device has after samples `x` (count, *shape): online learning at a rate of 0, to its bits."""
    engine = Engine(model.content, "online")
    engine.train_online(x.reshape(len(x), -1), np.zeros(len(x), np.int32), 0.0)
    return _with(model, model.spec, engine.parameters, f"the features' statistics begin with {len(x)} samples")


def grow(model: FloatModel, classes: int) -> FloatModel:
    """The same model with more classes: what it learned stays, the new ones start from zero. Raises UsageError."""
    last = model.spec.layers[-1]
    if not isinstance(last, Dense) or model.spec.loss != "softmax_cross_entropy" or not last.use_bias:
        raise UsageError("does not end in a dense layer of classes: there is none to add to", where=model.source)
    if not last.units < classes <= MOST_CLASSES:
        raise UsageError(
            f"has {last.units} classes already; --classes must be more, at most {MOST_CLASSES}", where=model.source
        )
    spec = replace(model.spec, layers=(*model.spec.layers[:-1], replace(last, units=classes)))
    rows = spec.parameter_shapes[-2][0] + 1  # weights and bias
    before = len(model.weights) - rows * last.units
    grown = np.zeros((rows, classes), np.float32)
    grown[:, : last.units] = model.weights[before:].reshape(rows, last.units)
    weights = np.concatenate([model.weights[:before], grown.reshape(-1)])
    return _with(model, spec, weights, f"{classes - last.units} new classes; the {last.units} learned ones are kept")


def _with(model: FloatModel, spec: ModelSpec, weights: Array, note: str) -> FloatModel:
    return FloatModel(model.source, spec, weights, encode(spec, weights), (*model.notes, note))
