"""A trainable float32 head on a frozen int8 network, in one file: docs/head.md."""

import struct
import zlib
from dataclasses import dataclass, replace

import numpy as np

from tinyfed.errors import UsageError
from tinyfed.model import spec_int8 as i8
from tinyfed.model.image import Weights, decode, encode
from tinyfed.model.image_int8 import encode_int8
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import Dense, ModelSpec, ScaleShift

MAGIC = b"TFH1"
VERSION = 1
HEADER = struct.Struct("<4sHHIIIIII32x")
HEADER_BYTES = HEADER.size
assert HEADER_BYTES == 64
ALIGNMENT = 16
CRC_AT, BASE_AT = 12, 16
MOST_CLASSES = 256


@dataclass(frozen=True)
class HeadModel:
    """`base`: the int8 program up to the features; `spec` and `weights`: the head, which begins with a frozen scale and
    shift that normalize the features; `content`: the whole file."""

    source: str
    base: bytes
    spec: ModelSpec
    weights: Weights
    content: bytes
    notes: tuple[str, ...] = ()

    @property
    def image(self) -> bytes:
        """The head's model image: what devices receive, train and send back."""
        return encode(self.spec, self.weights)


def pack(base: bytes, image: bytes) -> bytes:
    """The file of a base and a head's image."""
    base_at = HEADER_BYTES
    image_at = (base_at + len(base) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    total = image_at + len(image)
    header = HEADER.pack(MAGIC, VERSION, HEADER_BYTES, total, 0, base_at, len(base), image_at, len(image))
    content = bytearray(header + base + bytes(image_at - base_at - len(base)) + image)
    crc = zlib.crc32(content[BASE_AT:], zlib.crc32(content[:CRC_AT]))
    struct.pack_into("<I", content, CRC_AT, crc)
    return bytes(content)


def read_head(content: bytes, source: str) -> HeadModel:
    """The parts of a file, validated by the engine's own code. Raises UsageError."""
    from tinyfed.engine import _head

    try:
        _head.check(content)
    except ValueError as error:
        raise UsageError(f"{source}: not a whole model with a head: {error}") from error
    _, _, _, _, _, base_at, base_bytes, image_at, image_bytes = HEADER.unpack_from(content)
    spec, weights = decode(content[image_at : image_at + image_bytes])
    return HeadModel(source, content[base_at : base_at + base_bytes], spec, weights, content)


def with_weights(model: HeadModel, weights: Weights) -> HeadModel:
    """The same base with other weights in the head, as a device learned them."""
    content = pack(model.base, encode(model.spec, weights))
    return replace(model, weights=weights, content=content)


def features_before_last_layer(network: i8.Int8Network) -> int:
    """The tensor that the last dense or convolutional layer reads. Raises UsageError where there is none."""
    for layer in reversed(network.layers):
        if isinstance(layer, i8.Int8Dense | i8.Int8Conv2D):
            return layer.inputs[0]
    raise UsageError("no dense or convolutional layer to replace: name the tensor of features with --features")


def cut(network: i8.Int8Network, features: int) -> i8.Int8Network:
    """The network up to tensor `features`, without what that does not need."""
    needed = {features}
    layers: list[i8.Int8Layer] = []
    for layer in reversed(network.layers):
        if layer.output in needed:
            layers.append(layer)
            needed.update(layer.inputs)
    if not layers:
        raise UsageError(f"{network.tensors[features].name!r} is an input: there is nothing to freeze before it")
    kept = sorted(needed)
    number = {old: new for new, old in enumerate(kept)}
    inputs = [number[index] for index in network.inputs if index in needed]
    return i8.Int8Network(
        tuple(network.tensors[index] for index in kept),
        tuple(
            replace(layer, inputs=tuple(number[index] for index in layer.inputs), output=number[layer.output])
            for layer in reversed(layers)
        ),
        tuple(inputs),
        (number[features],),
        network.name,
    )


def head_spec(features: int, classes: int, hidden: int = 0) -> ModelSpec:
    """Normalization, `hidden` ReLU units (0: none), one logit a class."""
    if not 2 <= classes <= MOST_CLASSES:
        raise UsageError(f"--classes {classes}: use 2 to {MOST_CLASSES}")
    if not 0 <= hidden <= 4096:
        raise UsageError(f"--hidden {hidden}: use 0 (none) to 4096")
    middle = (Dense(hidden, "relu"),) if hidden else ()
    return ModelSpec((features,), (ScaleShift(trainable=False), *middle, Dense(classes)), "softmax_cross_entropy")


def attach_head(
    network: i8.Int8Network, source: str, classes: int, hidden: int = 0, features: str | None = None, seed: int = 0
) -> HeadModel:
    """`network` up to its features, frozen, and a new head. `features` names their tensor; None: what the last dense or
    convolutional layer reads. Raises UsageError."""
    if features is None:
        at = features_before_last_layer(network)
    else:
        found = [index for index, tensor in enumerate(network.tensors) if tensor.name == features]
        if len(found) != 1:
            names = ", ".join(tensor.name for tensor in network.tensors)
            raise UsageError(f"{source}: no one tensor is called {features!r}; there are {names}")
        at = found[0]
    frozen = cut(network, at)
    if len(frozen.inputs) != 1:
        raise UsageError(f"{source}: {len(frozen.inputs)} inputs; a head is put on a network with one")
    try:
        base, _ = encode_int8(frozen)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error
    spec = head_spec(network.tensors[at].count, classes, hidden)
    weights = initialize(spec, seed)
    name = network.tensors[at].name
    note = f"features: {network.tensors[at].count} values of {name!r}; {len(frozen.layers)} layers are frozen"
    return HeadModel(source, base, spec, weights, pack(base, encode(spec, weights)), (note,))


def grow(model: HeadModel, classes: int) -> HeadModel:
    """The same model with more classes: what it learned stays, the new ones start from zero."""
    last = model.spec.layers[-1]
    assert isinstance(last, Dense)
    if not last.units < classes <= MOST_CLASSES:
        raise UsageError(
            f"{model.source}: has {last.units} classes already; --classes must be more, at most {MOST_CLASSES}"
        )
    spec = replace(model.spec, layers=(*model.spec.layers[:-1], replace(last, units=classes)))
    rows = spec.parameter_shapes[-2][0]
    before = len(model.weights) - (rows + 1) * last.units
    old = model.weights[before:].reshape(rows + 1, last.units)
    new = np.zeros((rows + 1, classes), np.float32)
    new[:, : last.units] = old
    weights = np.concatenate([model.weights[:before], new.reshape(-1)]).astype(np.float32)
    note = f"{classes - last.units} new classes; the {last.units} learned ones are kept"
    return HeadModel(model.source, model.base, spec, weights, pack(model.base, encode(spec, weights)), (note,))
