"""Functions between layers: `keras.ops` of Keras 3, TensorFlow's where Keras before 3 kept them; and x[:, -1]."""

from collections.abc import Callable
from typing import Any

from tinyfed.model.keras.file import finite
from tinyfed.model.keras.step import LARGEST, Step

# Functions of one value, by the names that nodes have for them.
_UNARY = {
    "Absolute": "abs", "Exp": "exp", "Gelu": "gelu_tanh", "Log": "log", "Negative": "neg", "Relu": "relu",
    "Relu6": "relu6", "Rsqrt": "rsqrt", "Sigmoid": "sigmoid", "Silu": "swish", "Sin": "sin", "Softplus": "softplus",
    "Sqrt": "sqrt", "Square": "square", "Tanh": "tanh",
}  # fmt: skip
_REDUCTIONS = {"Max": "reduce_max", "Mean": "reduce_mean", "Min": "reduce_min", "Sum": "reduce_sum"}


def _unary(step: Step) -> None:
    name = _UNARY[step.layer.kind]
    if step.layer.kind == "Gelu" and not step.option("approximate", True):
        name = "gelu"
    step.add("activation", step.shapes[0], activation=name)


def _clip(step: Step) -> None:
    low, high = (step.option(name) for name in ("x_min", "x_max"))
    bounds = finite([-LARGEST if low is None else low, LARGEST if high is None else high])
    step.add("activation", step.shapes[0], activation="clip", alpha=float(bounds[0]), beta=float(bounds[1]))


def _reduce(step: Step) -> None:
    shape, found = step.shapes[0], step.option("axis")
    if found is None:
        step.refuse("over the batch too; say the axes, from 1")
    if step.option("initial") is not None:
        function = f"keras.ops.{step.layer.kind.lower()}imum"
        step.refuse(f"an initial value; leave it away, and give the result and that value to {function}")
    chosen = found if isinstance(found, list | tuple) else [found]
    axes = tuple(sorted(step.axis(int(axis), len(shape)) for axis in chosen))
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    left = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    keep = bool(step.option("keepdims", False))
    step.add(_REDUCTIONS[step.layer.kind], kept if keep else left or (1,), axes=axes)


def _get_item(step: Step) -> None:
    """x[key]: the batch whole, of other axes a part or one place."""
    shape, key = step.shapes[0], step.call.index
    if not isinstance(key, list):
        step.refuse("an index that is not read; take parts as x[:, first:last]")
    entries = list(key)
    dots = [place for place, entry in enumerate(entries) if _is_dots(entry)]
    if len(dots) == 1:
        entries[dots[0] : dots[0] + 1] = [_WHOLE] * (len(shape) + 2 - len(entries))
    entries += [_WHOLE] * (len(shape) + 1 - len(entries))
    if len(entries) != len(shape) + 1 or _parts(entries[0]) != (None, None, None):
        step.refuse("an index of another form; take the batch whole and parts of other axes: x[:, first:last]")
    begin, steps, sizes, left = [], [], [], []
    for entry, size in zip(entries[1:], shape, strict=True):
        if isinstance(entry, int) and not isinstance(entry, bool):
            first = entry + size if entry < 0 else entry
            if not 0 <= first < size:
                step.refuse(f"place {entry} of {size}")
            parts = range(first, first + 1)
        else:
            parts = range(size)[slice(*_parts(entry))]
            left.append(len(parts))
        if len(parts) == 0:
            step.refuse("nothing is left")
        begin.append(parts.start)
        steps.append(parts.step)
        sizes.append(len(parts))
    result = step.add("slice", tuple(sizes), begin=tuple(begin), steps=tuple(steps))
    if left != sizes:
        step.reshaped(result, tuple(left) or (1,))


_WHOLE: dict[str, Any] = {"start": None, "stop": None, "step": None}


def _is_dots(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("class_name") == "__ellipsis__"


def _parts(entry: Any) -> tuple[Any, Any, Any]:
    """start, stop and step. Raises TypeError or ValueError where it is none."""
    entry = entry.get("config", entry)
    found = tuple(entry[name] for name in ("start", "stop", "step"))
    if any(value is not None and not isinstance(value, int) for value in found):
        raise ValueError("no numbers in a slice")
    return found[0], found[1], found[2]


def _expand_or_squeeze(step: Step) -> None:
    shape, found = list(step.shapes[0]), step.option("axis")
    if not isinstance(found, int):
        step.refuse("axes; say one")
    if step.layer.kind == "ExpandDims":
        shape.insert(step.axis(found, len(shape) + 1), 1)
    else:
        axis = step.axis(found, len(shape))
        if shape.pop(axis) != 1 or not shape:
            step.refuse(f"axis {found} of {list(step.shapes[0])} cannot be taken away")
    step.reshaped(step.sources[0], tuple(shape))


CONVERT: dict[str, Callable[[Step], None]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "Clip": _clip,
    "ExpandDims": _expand_or_squeeze,
    "GetItem": _get_item,
    "Squeeze": _expand_or_squeeze,
}
