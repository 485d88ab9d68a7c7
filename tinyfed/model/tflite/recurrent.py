"""LSTM and SVDF of a full-integer .tflite model, as TFLM has them: operands checked, values copied."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.model.int8 import spec as i8
from tinyfed.model.tflite.file import Tensor
from tinyfed.model.tflite.view import View

# Of UNIDIRECTIONAL_SEQUENCE_LSTM: forget, input, cell, output; weights of the input, of the hidden state, biases.
GATES = ((2, 6, 13), (1, 5, 12), (3, 7, 14), (4, 8, 15))
HIDDEN, CELL = 18, 19
_EXTRAS = {"peepholes": (9, 10, 11), "a projection": (16, 17), "layer normalization": (20, 21, 22, 23)}
SVDF_STATE = 4


def check_lstm(view: View) -> tuple[int, int, int]:
    """(steps, inputs, units) of one sequence. Refuses what neither TFLM nor the engine has."""
    view.inputs_are(20, 24)
    for what, positions in _EXTRAS.items():
        found = any(view.has_input(position) for position in positions)
        view.require(not found, f"an LSTM with {what}; Keras' LSTM layer has none")
    view.require(view.has_input(1), "an LSTM whose input gate is tied to its forget gate; Keras' LSTM layer has both")
    activation = view.activation()
    view.require(activation == "tanh", f"an LSTM with activation {activation}; the engine has tanh")
    shape, units = view.input(0).shape, view.input(GATES[0][0]).shape[0]
    view.require(len(shape) == 3, f"{view.input(0)} has shape {list(shape)}, expected [1, steps, values]")
    major = bool(view.operator.options["time_major"])
    steps, batch = (shape[0], shape[1]) if major else (shape[1], shape[0])
    view.require(batch == 1 and (not major or steps == 1), f"{batch} sequences at once, or time before the batch")
    view.require(view.output.element_count == steps * units, f"{view.output} has shape {list(view.output.shape)}")
    for of_input, of_hidden, bias in GATES:
        for position, wanted in ((of_input, (units, shape[2])), (of_hidden, (units, units)), (bias, (units,))):
            if view.has_input(position) or position != bias:
                operand = view.input(position)
                view.require(operand.shape == wanted, f"{operand} has shape {list(operand.shape)}, not {list(wanted)}")
    for position in (HIDDEN, CELL):
        state = view.input(position)
        view.require(state.element_count == units, f"{state} is no state of {units} values")
    return steps, shape[2], units


def lstm_gates(view: View) -> tuple[i8.LstmGate, i8.LstmGate, i8.LstmGate, i8.LstmGate]:
    """Forget, input, cell and output gate."""
    check_lstm(view)
    view.require(view.input(CELL).dtype == "int16", f"{view.input(CELL)} is {view.input(CELL).dtype}, expected int16")
    hidden, output = view.input(HIDDEN).scaled, view.output.scaled
    view.require(hidden == output, f"{view.output} and {view.input(HIDDEN)} have different scales")
    forget, taken, cell, output_gate = (_gate(view, *positions) for positions in GATES)
    return forget, taken, cell, output_gate


def _gate(view: View, of_input: int, of_hidden: int, bias: int) -> i8.LstmGate:
    weights, scale = symmetric(view, of_input)
    hidden, hidden_scale = symmetric(view, of_hidden)
    values = view.constant(bias, "int32") if view.has_input(bias) else None
    return i8.LstmGate(weights, hidden, values, scale, hidden_scale)


def symmetric(view: View, position: int, *dtypes: str) -> tuple[NDArray[Any], float]:
    """A constant with one scale and no zero point, and the scale."""
    values, scaled = view.constant(position, *(dtypes or ("int8",))), view.input(position).scaled
    if scaled is None or scaled[1] != 0:
        view.refuse(f"{view.input(position)} needs one scale and no zero point")
    return np.ascontiguousarray(values), scaled[0]


def svdf(view: View) -> dict[str, Any]:
    """What an `Int8Svdf` has besides inputs and output."""
    view.inputs_are(5, 5)
    features, feature_scale = symmetric(view, 1)
    times, time_scale = symmetric(view, 2, "int8", "int16")
    rank, state = view.operator.options["rank"], view.input(SVDF_STATE)
    view.require(features.ndim == times.ndim == 2 and rank >= 1, f"weights of shape {list(features.shape)}")
    filters = len(features)
    fits = filters % rank == 0 and view.output.element_count == filters // rank and len(times) == filters
    fits = fits and view.input(0).element_count == features.shape[1] and state.element_count == times.size
    view.require(fits, f"{filters} filters of rank {rank} do not fit its operands")
    view.require(state.dtype == times.dtype.name, f"{state} is {state.dtype} beside {times.dtype.name} weights of time")
    bias = view.constant(3, "int32") if view.has_input(3) else None
    view.require(bias is None or bias.size == filters // rank, "a bias of another size than the output")
    return {
        "of_feature": features,
        "of_time": times,
        "bias": bias,
        "feature_scale": feature_scale,
        "time_scale": time_scale,
        "rank": rank,
    }


def state_tensor(view: View, position: int, name: str) -> tuple[i8.Int8Tensor, bytes]:
    """A variable operand, and what it begins with: 0."""
    tensor: Tensor = view.input(position)
    scaled = tensor.scaled
    if scaled is None or tensor.dtype not in ("int8", "int16") or (tensor.dtype == "int16" and scaled[1] != 0):
        view.refuse(f"{tensor} is no int8 or int16 state with one scale")
    shape = (tensor.element_count,)
    return i8.Int8Tensor(name, shape, *scaled, dtype=tensor.dtype), np.full(shape, scaled[1], tensor.dtype).tobytes()
