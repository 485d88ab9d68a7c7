"""The [model] part of an experiment file: a list of layers, or a model image to start from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tinyfed.errors import LayerError, UsageError
from tinyfed.model import ModelSpec, decode
from tinyfed.model.layers import BLANK, SECTIONS, SIZE_MAX, layer_of_section
from tinyfed.model.spec import LAYERS_MAX, LOSSES
from tinyfed_host.experiment import toml


@dataclass(frozen=True)
class ModelSection:
    """A network, or the path of the image it is in."""

    inputs: tuple[int, ...]  # shape of a sample
    loss: str
    layers: tuple[Mapping[str, Any], ...]  # `kind` and the keys of all kinds, blank where it says nothing
    image: str = ""  # a .tfm file; the other fields are then empty

    def read_image(self) -> bytes:
        """The bytes of `image`. Raises `UsageError` when it cannot be read."""
        try:
            return Path(self.image).read_bytes()
        except OSError as error:
            raise UsageError(f"{self.image}: cannot be read: {error.strerror}") from error

    @cached_property
    def spec(self) -> ModelSpec:
        """The network. Raises `UsageError` where it cannot be, `LayerError` where layers do not fit together."""
        if self.image:
            return decode(self.read_image())[0]
        return ModelSpec(self.inputs, tuple(layer_of_section(layer) for layer in self.layers), self.loss)


def from_json(values: dict[str, Any]) -> ModelSection:
    """What `dataclasses.asdict` gave."""
    inputs = values["inputs"]
    return ModelSection(
        inputs=(inputs,) if isinstance(inputs, int) else tuple(inputs),
        loss=values["loss"],
        layers=tuple(values["layers"]),
        image=values.get("image", ""),
    )


def read_model(table: toml.Table) -> ModelSection:
    """The table [model]. Raises `UsageError` with its line."""
    if "image" in table.values:
        table.only("image")
        path = Path(table.source.name).parent / table.text("image")
        section, layers = ModelSection((), "", (), str(path.absolute())), []
    else:
        table.only("inputs", "loss", "layers", "image")
        layers = table.tables("layers")
        if len(layers) > LAYERS_MAX:
            raise table.error("layers", f" has {len(layers)} layers: at most {LAYERS_MAX}")
        loss = table.word("loss", LOSSES)
        section = ModelSection(_inputs(table), loss, tuple(_layer(layer, at) for at, layer in enumerate(layers)))
    try:
        _ = section.spec
    except LayerError as error:
        raise layers[error.layer].error(None, f": {error}") from error
    except UsageError as error:
        raise table.error("image" if section.image else None, f": {error}") from error
    return section


def _inputs(table: toml.Table) -> tuple[int, ...]:
    value = table.values.get("inputs")
    if not isinstance(value, list):
        return (table.integer("inputs", 1, SIZE_MAX),)
    good = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= SIZE_MAX for n in value)
    if not good or not 1 <= len(value) <= 3 or math.prod(value) > SIZE_MAX:
        text = f" = {toml.quote(value)}: must be a whole number or a list such as [28, 28, 1], {SIZE_MAX} in all"
        raise table.error("inputs", text)
    return tuple(value)


def _layer(table: toml.Table, number: int) -> Mapping[str, Any]:
    kind = table.word("kind", tuple(SECTIONS), "dense")
    keys = SECTIONS[kind].keys
    table.only("kind", *(key.name for key in keys))
    read: dict[str, Any] = {**BLANK, "kind": kind}
    for key in keys:
        if key.words:
            read[key.name] = table.word(key.name, key.words, key.words[0])
        elif key.high is None and number == 0:
            raise table.error("kind", f' = "{kind}": the first layer has none before it')
        elif key.required or key.name in table.values:
            read[key.name] = table.integer(key.name, key.low, number - 1 if key.high is None else key.high)
    return read
