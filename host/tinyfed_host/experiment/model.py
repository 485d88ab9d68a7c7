"""The [model] part of an experiment file: a list of layers, or a model image to start from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tinyfed import tasks
from tinyfed.errors import LayerError, UsageError
from tinyfed.fields import REQUIRED, Field, Table, text, whole, word
from tinyfed.model import ModelSpec, decode
from tinyfed.model.layers import BLANK, SECTIONS, SIZE_MAX, Key, layer_of_section
from tinyfed.model.spec import LAYERS_MAX, LOSSES
from tinyfed.reading import MODEL_BYTES_MAX, read_bytes
from tinyfed.tasks.raw import own_units, scale_and_shift, taken_apart
from tinyfed.tasks.task import Task

KIND = word(*SECTIONS, default="dense")
LOSS = word(*LOSSES)
SIZE = whole(1, SIZE_MAX)


@dataclass(frozen=True)
class ModelSection:
    """A network, or the path of the image it is in."""

    inputs: tuple[int, ...]  # shape of a sample
    loss: str
    layers: tuple[Mapping[str, Any], ...]  # `kind` and the keys of all kinds, blank where it says nothing
    image: str = ""  # a .tfm file; the other fields are then empty

    @cached_property
    def content(self) -> bytes:
        """The bytes of `image`, read at the first use. Raises `UsageError` when it cannot be."""
        return read_bytes(Path(self.image), MODEL_BYTES_MAX)

    @cached_property
    def spec(self) -> ModelSpec:
        """The network. Raises `UsageError` where it cannot be, `LayerError` where layers do not fit together."""
        if self.image:
            return decode(self.content)[0]
        return ModelSpec(self.inputs, tuple(layer_of_section(layer) for layer in self.layers), self.loss)


def image_for(model: ModelSection, task: Task) -> bytes:
    """The image to start from, for samples as the task's shards hold them: without the standardization in front that
    the task does itself. Raises `UsageError` where both would standardize, each by its own constants."""
    content = model.content if task.of_targets is None else own_units(model.content, task.of_targets)
    apart = taken_apart(content)
    if apart is None or task.standardization is None:
        return content
    front, rest = apart
    if np.array_equal(front, scale_and_shift(task.standardization)):
        return rest
    raise UsageError(
        f"standardizes its input, and so does the {task.name} task, by other constants",
        remedy="set task.standardize = 0" if "standardize" in tasks.fields(task.name) else "start with --from RUN",
    )


def read_model(table: Table, image: bytes | None = None) -> ModelSection:
    """The table [model]; `image` stands for what is in the file it names. Raises `UsageError` with its line."""
    if "image" in table.values:
        table.only(("image",))
        path = Path(table.source.name).parent / table.take("image", text())
        section, layers = ModelSection((), "", (), str(path.absolute())), []
        if image is not None:
            vars(section)["content"] = image  # where the cached property keeps it
    else:
        table.only(("inputs", "loss", "layers", "image"))
        layers = table.tables("layers")
        if len(layers) > LAYERS_MAX:
            raise table.error("layers", f"{len(layers)} layers: at most {LAYERS_MAX}")
        loss = table.take("loss", LOSS)
        section = ModelSection(_inputs(table), loss, tuple(_layer(layer, at) for at, layer in enumerate(layers)))
    try:
        _ = section.spec
    except LayerError as error:
        raise layers[error.layer].error(None, str(error)) from error
    except UsageError as error:
        raise table.error("image" if section.image else None, str(error)) from error
    return section


def _inputs(table: Table) -> tuple[int, ...]:
    value = table.values.get("inputs")
    if not isinstance(value, list):
        return (table.take("inputs", SIZE),)
    good = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= SIZE_MAX for n in value)
    if not good or not 1 <= len(value) <= 3 or math.prod(value) > SIZE_MAX:
        raise table.wrong("inputs", f"must be a whole number or a list such as [28, 28, 1], {SIZE_MAX} in all")
    return tuple(value)


def _layer(table: Table, number: int) -> Mapping[str, Any]:
    kind = table.take("kind", KIND)
    keys = SECTIONS[kind].keys
    if number == 0 and any(key.high is None for key in keys):
        raise table.error("kind", "the first layer has none before it", value=f'"{kind}"')
    return {**BLANK, **table.read({"kind": KIND, **{key.name: _field(key, number) for key in keys}})}


def _field(key: Key, number: int) -> Field:
    """What a key of layer `number` may be."""
    if key.words:
        return word(*key.words, default=key.words[0])
    high = number - 1 if key.high is None else key.high
    return whole(key.low, high, default=REQUIRED if key.required else BLANK[key.name])
