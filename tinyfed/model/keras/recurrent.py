"""Keras' recurrent layers, forwards, backwards, and both."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.keras.file import KerasLayer
from tinyfed.model.keras.shapes import sliced
from tinyfed.model.keras.step import Step

_GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}


def recurrent(step: Step) -> None:
    layer = step.layer
    result = _over_time(step, layer, bool(layer.config.get("go_backwards")))
    if layer.config.get("go_backwards") and layer.config.get("return_sequences"):
        # Keras hands the steps over in the order in which it took them.
        shape = step.nodes[result - 1].shape
        sliced(step, (shape[0] - 1, 0), shape, result, (-1, 1))


def _over_time(step: Step, layer: KerasLayer, backwards: bool) -> int:
    """A layer's output, in the order of time."""
    if len(step.sources) != 1 or len(step.shapes[0]) != 2:
        step.refuse(f"inputs of shapes {[list(shape) for shape in step.shapes]}; it takes one of (time, features)")
    if layer.config.get("return_state") or layer.config.get("time_major"):
        step.refuse("return_state or time_major; take the last step's output, and the batch first")
    if layer.config.get("stateful"):
        step.notes.append(f"{step.where}: stateful: every sample begins with a state of 0 here")
    units, features, kind = int(layer.units), step.shapes[0][1], layer.kind
    width = _GATES[kind] * units
    kernel = step.array(layer.kernel, features, width)
    own = step.array(layer.recurrent_kernel, units, width)
    mode = {"SimpleRNN": "simple", "LSTM": "lstm", "GRU": "gru"}[kind]
    after = bool(layer.config.get("reset_after", True))
    parts: list[NDArray[np.float32]] = [kernel, own]
    if kind == "GRU" and not after:
        mode, parts = "gru_reset_before", [kernel, own[:, : 2 * units], own[:, 2 * units :]]
    wanted = (2, width) if mode == "gru" else (width,)
    bias = step.array(layer.bias, *wanted) if layer.use_bias else np.zeros(wanted, np.float32)
    functions = tuple(
        step.function(layer.config.get(name) or "linear") for name in ("activation", "recurrent_activation")
    )
    functions = tuple(("clip", -np.inf, np.inf) if each[0] == "linear" else each for each in functions)
    return step.add(
        "recurrent",
        (step.shapes[0][0], units) if layer.config.get("return_sequences") else (units,),
        weights=np.concatenate([part.reshape(-1) for part in parts]),
        bias=bias.reshape(-1),
        mode=mode,
        functions=functions,
        steps=(-1,) if backwards else (),
    )


def bidirectional(step: Step) -> None:
    forwards, backwards = step.layer.wrapped
    if any(layer.kind not in _GATES for layer in (forwards, backwards)):
        step.refuse(f"of {forwards.kind}; the engine has {', '.join(_GATES)}")
    if forwards.config.get("go_backwards") or not backwards.config.get("go_backwards"):
        step.refuse("its layers do not walk forwards and backwards")
    results = (_over_time(step, forwards, False), _over_time(step, backwards, True))
    shape, mode = step.nodes[results[0] - 1].shape, step.layer.config.get("merge_mode", "concat")
    if mode == "concat":
        step.node("concatenate", results, (*shape[:-1], 2 * shape[-1]), axes=(len(shape) - 1,))
    elif mode in ("sum", "ave", "mul"):
        total = step.node("mul" if mode == "mul" else "add", results, shape)
        if mode == "ave":
            step.node("mul", (total, step.constant([0.5])), shape)
    else:
        step.refuse(f"merge_mode {mode}; the engine has concat, sum, ave and mul")


CONVERT: dict[str, Callable[[Step], None]] = {**dict.fromkeys(_GATES, recurrent), "Bidirectional": bidirectional}
