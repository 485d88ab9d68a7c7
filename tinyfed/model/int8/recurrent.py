"""LSTM and SVDF layers as the kernels read them (firmware/core/int8/recurrent.h). Zero points go into the biases."""

import math
import struct

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model.int8.arithmetic import quantize_multiplier, wrap32
from tinyfed.model.int8.pack import PackedLayer
from tinyfed.model.int8.spec import Int8Array, Int8Lstm, Int8Svdf, Int8Tensor, Int32Array

GATE_SCALE = 2.0**-15  # of what sigmoid and tanh give
SUM_SCALE = 2.0**-12  # of what they take
CELL_BITS = 15


def pack_lstm(layer: Int8Lstm, source: Int8Tensor, hidden: Int8Tensor, cell: Int8Tensor) -> PackedLayer:
    """Weights: of every gate (forget, input, cell, output) and unit, those of the input, then of the hidden state."""
    units, inputs = layer.gates[0].of_input.shape
    exponent = math.log2(cell.scale)
    if not exponent.is_integer():
        raise UsageError(f"the cell's scale {cell.scale} is no power of two; convert the model again")
    shift = CELL_BITS - 3 + int(exponent)
    if not -CELL_BITS <= shift <= CELL_BITS - 3:
        raise UsageError(f"the cell's scale {cell.scale} is outside 2^-27 to 1")
    fields: list[int] = []
    for gate in layer.gates:
        fields += quantize_multiplier(source.scale * gate.input_scale / SUM_SCALE)
        fields += quantize_multiplier(hidden.scale * gate.hidden_scale / SUM_SCALE)
    fields += quantize_multiplier(GATE_SCALE * cell.scale / cell.scale)
    fields += quantize_multiplier(GATE_SCALE * GATE_SCALE / cell.scale)
    fields += quantize_multiplier(GATE_SCALE * GATE_SCALE / hidden.scale)
    clip = float(np.float32(layer.cell_clip))
    fields.append(int(min(clip / cell.scale, 32767.0)) if clip > 0 else 0)
    fields += [3 << max(shift, 0), max(-shift, 0), 0, 0, 0]
    biases = [
        part
        for gate in layer.gates
        for part in (
            _shifted(gate.bias, gate.of_input, source.zero_point),
            _shifted(None, gate.of_hidden, hidden.zero_point),
        )
    ]
    weights = [np.concatenate([gate.of_input, gate.of_hidden], axis=1) for gate in layer.gates]
    steps = source.count // inputs
    return PackedLayer(
        np.stack(weights).astype(np.int8).tobytes(),
        struct.pack("<28i", *fields) + np.concatenate(biases).astype("<i4").tobytes() + sigmoids().tobytes(),
        scratch_bytes=8 * units,
        multiply_adds=steps * 4 * units * (inputs + units),
    )


def pack_svdf(layer: Int8Svdf, source: Int8Tensor, state: Int8Tensor, output: Int8Tensor) -> PackedLayer:
    """Weights: [filters][inputs] int8, filled up to a multiple of 4; [filters][memory] as wide as the state."""
    filters, memory = layer.of_time.shape
    feature = _product(source.scale, layer.feature_scale, state.scale)
    result = _product(state.scale, layer.time_scale, output.scale)
    fields = (layer.rank, memory, layer.of_time.itemsize, state.zero_point)
    scales = (*quantize_multiplier(feature), *quantize_multiplier(result))
    bias = np.zeros(filters // layer.rank, np.int32) if layer.bias is None else layer.bias
    first = _shifted(None, layer.of_feature, source.zero_point)
    features = layer.of_feature.tobytes()
    return PackedLayer(
        features + bytes(-len(features) % 4) + layer.of_time.astype(layer.of_time.dtype.newbyteorder("<")).tobytes(),
        struct.pack("<8i", *fields, *scales) + first.tobytes() + bias.astype("<i4").tobytes(),
        multiply_adds=filters * (source.count + memory),
    )


def sigmoids() -> NDArray[np.uint16]:
    """sigmoid(i / 24) * 2^16, i = 0..255, raised by half of what a chord between two entries lies below the curve;
    the last one is what everything behind it gives."""
    x = np.arange(256) / 24
    s = 1 / (1 + np.exp(-x))
    bend = s * (1 - s) * (2 * s - 1)
    return np.append(np.rint(65536 * (s + bend / 24**2 / 16))[:-1], 65535).astype("<u2")


def _product(a: float, b: float, over: float = 1.0) -> float:
    """a * b / over as TFLM has it, in float32."""
    return float(np.float32(a) * np.float32(b) / np.float32(over))


def _shifted(bias: Int32Array | None, weights: Int8Array, zero_point: int) -> Int32Array:
    """The bias with the zero point's share of the sums, modulo 2^32."""
    sums = weights.astype(np.int64).sum(axis=1) * -zero_point + (0 if bias is None else bias.astype(np.int64))
    return np.array([wrap32(int(value)) for value in sums], np.int32)
