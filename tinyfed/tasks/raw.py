"""A model that takes samples as they are measured: what was done to those it learned from becomes its first layer.

Devices learn from standardized samples, `(x - mean) / deviation`. In front of the model that is a scale and a shift of
each value, `x * (1 / deviation) - mean / deviation`, which never learn; a value whose deviation is 0 becomes 0.
"""

from dataclasses import replace

import numpy as np

from tinyfed.data.tables import FLOAT32_MAX
from tinyfed.errors import UsageError
from tinyfed.model.image import Array, decode, encode
from tinyfed.model.layers.add import Add
from tinyfed.model.layers.base import Layer
from tinyfed.model.layers.reshape import Flatten, Reshape
from tinyfed.model.layers.scale import ScaleShift
from tinyfed.model.spec import LAYERS_MAX, ModelSpec
from tinyfed.tasks.standardization import Standardization


def scale_and_shift(made: Standardization) -> Array:
    """The parameters of the first layer, float32 (2 * values,): scales, then shifts."""
    scale = np.divide(1.0, made.deviation, out=np.zeros_like(made.deviation), where=made.deviation > 0)
    with np.errstate(over="ignore"):
        found = np.clip(np.concatenate([scale, -made.mean * scale]), -FLOAT32_MAX, FLOAT32_MAX)
    return np.asarray(found, np.float32)


def standardizing(image: bytes, made: Standardization | None, of_targets: Standardization | None = None) -> bytes:
    """The model `image`, which takes standardized samples, for samples as they are measured; and what it gives in the
    targets' own units, where it learned standardized ones.

    Raises UsageError where `why_none_in_front` gives a reason.
    """
    spec, weights = decode(image)
    if reason := why_none_in_front(spec, behind=of_targets is not None):
        raise UsageError(reason, remedy="standardize the samples it is given")
    front, behind = _front(spec) if made is not None else (), _behind(spec) if of_targets is not None else ()
    layers = (*front, *(_moved(layer, len(front)) for layer in spec.layers), *behind)
    parts = [] if made is None else [scale_and_shift(made)]
    parts.append(weights)
    if of_targets is not None:
        parts.append(np.concatenate([of_targets.deviation, of_targets.mean]).astype(np.float32))
    return encode(replace(spec, layers=layers), np.concatenate(parts))


def taken_apart(image: bytes) -> tuple[Array, bytes] | None:
    """What `standardizing` put in front, and the model behind it; None for a model that has no such layers."""
    spec, weights = decode(image)
    front = _front(spec)
    if spec.frozen or spec.layers[: len(front)] != front or len(spec.layers) == len(front):
        return None
    values = sum(record.parameter_count for record in spec.records[: len(front)])
    try:
        rest = replace(spec, layers=tuple(_moved(layer, -len(front)) for layer in spec.layers[len(front) :]))
    except UsageError:  # something else reads the input as it is
        return None
    return weights[:values], encode(rest, weights[values:])


def own_units(image: bytes, of_targets: Standardization) -> bytes:
    """What `standardizing` put behind a model, taken away; the image as it is where that is not there. Raises
    UsageError where it gives other units."""
    spec, weights = decode(image)
    behind, size = _behind(spec), 2 * len(of_targets.mean)
    if spec.layers[-len(behind) :] != behind:
        return image
    if not np.array_equal(weights[-size:], np.concatenate([of_targets.deviation, of_targets.mean]).astype(np.float32)):
        raise UsageError("gives targets by other constants than the task", remedy="start with --from RUN")
    return encode(replace(spec, layers=spec.layers[: -len(behind)]), weights[:-size])


def _behind(spec: ModelSpec) -> tuple[Layer, ...]:
    frozen = ScaleShift(trainable=False)
    return (frozen,) if len(spec.output_shape) == 1 else (Flatten(), frozen)


def why_none_in_front(spec: ModelSpec, *, behind: bool = False) -> str:
    """Why a model takes no layer in front; "" where it does."""
    if spec.frozen:
        return "no layer can stand before a frozen int8 network"
    if len(spec.layers) + len(_front(spec)) + (len(_behind(spec)) if behind else 0) > LAYERS_MAX:
        return f"it has {len(spec.layers)} layers of at most {LAYERS_MAX} already"
    return ""


def _front(spec: ModelSpec) -> tuple[Layer, ...]:
    """A scale and shift of each value, whatever the shape of a sample."""
    frozen = ScaleShift(trainable=False)
    return (frozen,) if len(spec.input_shape) == 1 else (Flatten(), frozen, Reshape(spec.input_shape))


def _moved(layer: Layer, by: int) -> Layer:
    """The layer with `by` more layers before it."""
    moved = layer if layer.input is None else replace(layer, input=layer.input + by)
    return replace(moved, other=moved.other + by) if isinstance(moved, Add) else moved
