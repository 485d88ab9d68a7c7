"""The [model] part of an experiment file: a list of layers, or a model image to start from."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfed.errors import UsageError
from tinyfed.model import (
    Add,
    AveragePool,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePool,
    MaxPool,
    ModelSpec,
    ScaleShift,
)
from tinyfed.model.spec import Layer
from tinyfed_host.experiment import source

ACTIVATIONS = ("linear", "relu", "leaky_relu", "tanh", "relu6", "sigmoid")
LOSSES = ("mse", "softmax_cross_entropy", "binary_cross_entropy")
PADDINGS = ("valid", "same")
KEYS = {  # of each kind of layer, beside `kind`
    "dense": ("outputs", "activation"),
    "conv2d": ("filters", "kernel", "strides", "padding", "activation"),
    "depthwise": ("kernel", "strides", "padding", "activation"),
    "max_pool": ("size", "strides", "padding"),
    "average_pool": ("size", "strides", "padding"),
    "global_average_pool": (),
    "flatten": (),
    "scale": ("activation",),
    "add": ("layer", "activation"),
}
LAYERS_MAX = 64
WINDOW_MAX = 255
VALUES_MAX = 65_535


@dataclass(frozen=True)
class LayerSection:
    """A layer as written; what its kind does not have is left at its default."""

    kind: str = "dense"
    outputs: int = 0  # of a dense layer
    filters: int = 0
    kernel: int = 0
    size: int = 0  # of a pool's window
    strides: int = 0  # 0: 1 for a convolution, the window's size for a pool
    padding: str = "valid"
    layer: int = 0  # of an add: the layer whose output is added, counted from 0
    activation: str = "linear"

    def make(self) -> Layer:
        """The layer of the network."""
        match self.kind:
            case "conv2d":
                return Conv2D(self.filters, self.kernel, self.strides or 1, self.padding, self.activation)
            case "depthwise":
                return DepthwiseConv2D(self.kernel, self.strides or 1, self.padding, self.activation)
            case "max_pool":
                return MaxPool(self.size, self.strides or None, self.padding)
            case "average_pool":
                return AveragePool(self.size, self.strides or None, self.padding)
            case "global_average_pool":
                return GlobalAveragePool()
            case "flatten":
                return Flatten()
            case "scale":
                return ScaleShift(self.activation)
            case "add":
                return Add(self.layer + 1, self.activation)  # tensor t is the output of layer t - 1
            case _:
                return Dense(self.outputs, self.activation)


@dataclass(frozen=True)
class ModelSection:
    """A network, or the path of the image it is in."""

    inputs: tuple[int, ...]  # shape of a sample
    loss: str
    layers: tuple[LayerSection, ...]
    image: str = ""  # a .tfm file; the other fields are then empty

    def read_image(self) -> bytes:
        """The bytes of `image`. Raises `UsageError` when it cannot be read."""
        try:
            return Path(self.image).read_bytes()
        except OSError as error:
            raise UsageError(f"{self.image}: cannot be read: {error.strerror}") from error

    def make_spec(self) -> ModelSpec:
        """The network of `layers`. Raises `UsageError` where layers do not fit together."""
        return ModelSpec(self.inputs, tuple(layer.make() for layer in self.layers), self.loss)


def from_json(values: dict[str, Any]) -> ModelSection:
    """What `dataclasses.asdict` gave."""
    inputs = values["inputs"]
    return ModelSection(
        inputs=(inputs,) if isinstance(inputs, int) else tuple(inputs),
        loss=values["loss"],
        layers=tuple(LayerSection(**layer) for layer in values["layers"]),
        image=values.get("image", ""),
    )


def read_model(table: source.Table) -> ModelSection:
    """The table [model]. Raises `UsageError` with its line."""
    if "image" in table.values:
        table.only("image")
        path = Path(table.source.name).parent / table.text("image")
        section = ModelSection((), "", (), str(path.absolute()))
        open_image(table, section)
        return section
    table.only("inputs", "loss", "layers", "image")
    layers = table.tables("layers")
    if len(layers) > LAYERS_MAX:
        raise table.error("layers", f" has {len(layers)} layers: at most {LAYERS_MAX}")
    loss = table.word("loss", LOSSES)
    section = ModelSection(_inputs(table), loss, tuple(_layer(layer, number) for number, layer in enumerate(layers)))
    for count in range(1, len(layers) + 1):  # so that the layer that does not fit is the one that is named
        try:
            ModelSection(section.inputs, loss if count == len(layers) else "mse", section.layers[:count]).make_spec()
        except UsageError as error:
            raise layers[count - 1].error(None, f": {error}") from error
    return section


def open_image(table: source.Table, section: ModelSection) -> ModelSpec:
    """The network of an image. Raises `UsageError` with the line."""
    from tinyfed.model import decode

    try:
        return decode(section.read_image())[0]
    except UsageError as error:
        raise table.error("image", f": {error}") from error


def _inputs(table: source.Table) -> tuple[int, ...]:
    value = table.values.get("inputs")
    if not isinstance(value, list):
        return (table.integer("inputs", 1, VALUES_MAX),)
    good = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= VALUES_MAX for n in value)
    if not good or not 1 <= len(value) <= 3 or math.prod(value) > VALUES_MAX:
        text = f" = {source.quote(value)}: must be a whole number or a list such as [28, 28, 1], {VALUES_MAX} in all"
        raise table.error("inputs", text)
    return tuple(value)


def _layer(table: source.Table, number: int) -> LayerSection:
    kind = table.word("kind", tuple(KEYS), "dense")
    keys = KEYS[kind]
    table.only("kind", *keys)
    read: dict[str, Any] = {"kind": kind}
    for key in keys:
        match key:
            case "activation":
                read[key] = table.word(key, ACTIVATIONS, "linear")
            case "padding":
                read[key] = table.word(key, PADDINGS, "valid")
            case "strides":
                if key in table.values:
                    read[key] = table.integer(key, 1, WINDOW_MAX)
            case "layer" if number == 0:
                raise table.error("kind", ' = "add": the first layer has none before it to add')
            case "layer":
                read[key] = table.integer(key, 0, number - 1)
            case "outputs" | "filters":
                read[key] = table.integer(key, 1, VALUES_MAX)
            case _:
                read[key] = table.integer(key, 1, WINDOW_MAX)
    return LayerSection(**read)
