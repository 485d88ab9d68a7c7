"""Small .tflite networks that keep something from one run to the next."""

import numpy as np
from tflite_builder import Builder

SCALE = {"dtype": "INT8", "scale": 0.25, "zero_point": -3}


def accumulator() -> bytes:
    """y = x + s, s = y: the sum is made where s lies. A leaky ReLU reads it too."""
    b = Builder()
    x, read, y, out = (b.tensor([1, 5], **SCALE) for _ in range(4))
    s = b.variables({"sum": b.constant(np.array([[-3, 0, 7, 20, -90]], np.int8), scale=0.25, zero_point=-3)})["sum"]
    b.operator("READ_VARIABLE", [s], [read])
    b.operator("ADD", [x, read], [y], fusedActivationFunction=0)
    b.operator("ASSIGN_VARIABLE", [s, y], [])
    b.operator("LEAKY_RELU", [y], [out], alpha=0.3)
    return b.content([x], [out])


def delay_line() -> bytes:
    """y = x[t-1] + x[t-2]: both are read before they change, and the input must be copied."""
    b = Builder()
    x, one, two, y = (b.tensor([1, 3], **SCALE) for _ in range(4))
    zero = b.constant(np.full((1, 3), -3, np.int8), scale=0.25, zero_point=-3)
    handles = b.variables({"one": zero, "two": zero})
    b.operator("READ_VARIABLE", [handles["one"]], [one])
    b.operator("READ_VARIABLE", [handles["two"]], [two])
    b.operator("ASSIGN_VARIABLE", [handles["two"], one], [])
    b.operator("ASSIGN_VARIABLE", [handles["one"], x], [])
    b.operator("ADD", [one, two], [y], fusedActivationFunction=0)
    return b.content([x], [y])


def two_ports() -> bytes:
    """Two inputs of different sizes and two outputs: a + (a before it), and the leaky ReLU of b."""
    b = Builder()
    one, read, y = (b.tensor([1, 5], **SCALE) for _ in range(3))
    two, out = (b.tensor([1, 2, 3], **SCALE) for _ in range(2))
    s = b.variables({"last": b.constant(np.full((1, 5), 4, np.int8), scale=0.25, zero_point=-3)})["last"]
    b.operator("READ_VARIABLE", [s], [read])
    b.operator("ADD", [one, read], [y], fusedActivationFunction=0)
    b.operator("ASSIGN_VARIABLE", [s, one], [])
    b.operator("LEAKY_RELU", [two], [out], alpha=0.3)
    return b.content([one, two], [y, out])
