"""The kinds of layers, a module each: description, record, parameters, plan, how an experiment file writes it, and what
it is in Keras.

A new kind is a module, a line in `KINDS` and, where experiment files may use it, in `SECTIONS`; and the C that runs it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tinyfed.model.layers import activation, add, conv, dense, pool, reshape, scale, standardize
from tinyfed.model.layers.base import SIZE_MAX, Key, Kind, Layer, Record

__all__ = ["BLANK", "KINDS", "SECTIONS", "SIZE_MAX", "Key", "Layer", "layer_of_record", "layer_of_section"]

# By number in the image, and by name.
NUMBERS: Mapping[int, Kind] = {
    kind.number: kind
    for kind in (
        dense.KIND,
        conv.CONV2D,
        conv.DEPTHWISE,
        pool.MAX,
        pool.AVERAGE,
        pool.GLOBAL,
        reshape.KIND,
        add.KIND,
        scale.KIND,
        activation.KIND,
        standardize.KIND,
    )
}
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in NUMBERS.values()}
# By `kind` in an experiment file.
SECTIONS = {
    section.word: section
    for section in (dense.SECTION, *conv.SECTIONS, *pool.SECTIONS, reshape.SECTION, scale.SECTION, add.SECTION)
}
# A layer of an experiment file with nothing said.
BLANK = {key.name: key.words[0] if key.words else 0 for section in SECTIONS.values() for key in section.keys}


def layer_of_record(record: Record, index: int) -> Layer:
    """The description of layer `index`."""
    return replace(record.rules.layer(record), input=None if record.input == index else record.input)


def layer_of_section(values: Mapping[str, Any]) -> Layer:
    """The layer of an experiment file: `kind` and its keys. A number that may be left out is 0 then."""
    section = SECTIONS[values["kind"]]
    return section.layer(
        **{key.field: values[key.name] + key.offset for key in section.keys if key.required and not key.words},
        **{key.field: values[key.name] for key in section.keys if key.words or (not key.required and values[key.name])},
    )
