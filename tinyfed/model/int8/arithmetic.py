"""The integer arithmetic of TFLite Micro's int8 kernels: what is computed once, when a model is converted.

TFLM rescales an accumulator in two roundings (gemmlowp): a doubling high multiplication, then a division by a
power of two that rounds ties away from zero. Scales are float32 in the file and doubles in between. Every function
here is held to the `tflite-micro` interpreter by tests/parity/test_int8_operators.py.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model.int8.spec import Activation, Int8Tensor

INT8_MIN, INT8_MAX = -128, 127
MOST_SHIFT = 31


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift): real = multiplier * 2^-31 * 2^shift, multiplier in [2^30, 2^31) or 0.

    Raises UsageError for what TFLM cannot shift by either.
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > MOST_SHIFT:
        raise UsageError(f"its scales ask for a rescaling by {real:.3g}; at most 2^{MOST_SHIFT} can be done")
    return multiplier, shift


def rounding_shift_right(x: int, exponent: int) -> int:
    """x / 2^exponent, to nearest, ties away from zero."""
    if exponent == 0:
        return x
    half = 1 << (exponent - 1)
    return (x + half - (1 if x < 0 else 0)) >> exponent


def doubling_high(a: int, b: int) -> int:
    """(2 a b + 2^31) >> 32 for int32 a and b; the one overflow, both -2^31, saturates."""
    if a == b == -(1 << 31):
        return (1 << 31) - 1
    return (a * b + (1 << 30)) >> 31


def rescale(x: int, multiplier: int, shift: int) -> int:
    """x * multiplier * 2^(shift - 31) as TFLM rounds it."""
    left, right = max(shift, 0), max(-shift, 0)
    return rounding_shift_right(doubling_high(wrap32(x << left), multiplier), right)


def wrap32(x: int) -> int:
    """x as a 32-bit integer."""
    return ((x + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def clamp8(x: int) -> int:
    return min(max(x, INT8_MIN), INT8_MAX)


def round_half_away(x: float) -> int:
    """C's round()."""
    return math.floor(abs(x) + 0.5) * (-1 if x < 0 else 1)


def quantize_float32(value: float, tensor: Int8Tensor) -> int:
    """value / scale in float32, rounded, plus the zero point; not clamped."""
    return tensor.zero_point + round_half_away(float(np.float32(value) / np.float32(tensor.scale)))


def activation_range(activation: Activation, output: Int8Tensor) -> tuple[int, int]:
    """What a fused activation clamps the int8 output to."""
    low, high = INT8_MIN, INT8_MAX
    if activation in (Activation.RELU, Activation.RELU6):
        low = max(low, quantize_float32(0.0, output))
    if activation is Activation.RELU6:
        high = min(high, quantize_float32(6.0, output))
    if activation is Activation.RELU_N1_TO_1:
        low = max(low, quantize_float32(-1.0, output))
        high = min(high, quantize_float32(1.0, output))
    return low, high


def channel_multipliers(
    source: Int8Tensor, weight_scales: NDArray[np.float32], output: Int8Tensor, channels: int
) -> list[tuple[int, int]]:
    """(multiplier, shift) of each channel of a convolution or dense layer; `weight_scales` (channels,) or (1,)."""
    scales = np.broadcast_to(weight_scales, (channels,))
    input_scale, output_scale = float(np.float32(source.scale)), float(np.float32(output.scale))
    return [quantize_multiplier(input_scale * float(scale) / output_scale) for scale in scales]


def _rescaling(source: Int8Tensor, output: Int8Tensor) -> tuple[int, int]:
    """(multiplier, shift) from one scale to another."""
    return quantize_multiplier(float(np.float32(source.scale)) / float(np.float32(output.scale)))


def mean_multiplier(source: Int8Tensor, output: Int8Tensor, count: int) -> tuple[int, int]:
    """(multiplier, shift) that turns a sum of `count` values into their mean at the output's scale."""
    multiplier, shift = _rescaling(source, output)
    more = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << more) // count, shift - more


def add_multipliers(a: Int8Tensor, b: Int8Tensor, output: Int8Tensor) -> tuple[tuple[int, int], ...]:
    """(multiplier, shift) of each addend, taken from q * 2^20, and of the sum."""
    scale_a, scale_b = float(np.float32(a.scale)), float(np.float32(b.scale))
    twice = 2.0 * max(scale_a, scale_b)
    real_output = twice / ((1 << 20) * float(np.float32(output.scale)))
    return quantize_multiplier(scale_a / twice), quantize_multiplier(scale_b / twice), quantize_multiplier(real_output)


def softmax_multiplier(source: Int8Tensor, beta: float) -> tuple[int, int, int]:
    """(multiplier, left shift, smallest difference that still counts): differences become Q5.26."""
    real = min(float(np.float32(beta)) * float(np.float32(source.scale)) * (1 << 26), float((1 << 31) - 1))
    multiplier, shift = quantize_multiplier(real)
    return multiplier, shift, -_input_radius(5, shift)


def _input_radius(integer_bits: int, left_shift: int) -> int:
    return math.floor(1.0 * ((1 << integer_bits) - 1) * (1 << (31 - integer_bits)) / 2.0**left_shift)


# Functions of one int8, tabulated.


def logistic_table(source: Int8Tensor) -> NDArray[np.int8]:
    """256 outputs of LOGISTIC for q = -128..127."""
    fraction, shift = math.frexp(float(np.float32(source.scale)) * (1 << 27))
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    radius = _input_radius(4, shift)

    def at(q: int) -> int:
        x = q - source.zero_point
        if x <= -radius:
            return INT8_MIN
        if x >= radius:
            return INT8_MAX
        return clamp8(rounding_shift_right(_logistic_q4(rescale(x, multiplier, shift)), 23) - 128)

    return _table(at)


def relu_table(activation: Activation, source: Int8Tensor, output: Int8Tensor) -> NDArray[np.int8]:
    """RELU as an operator rescales; RELU6 only clamps, with the input's quantization."""
    if activation is Activation.RELU:
        pair = _rescaling(source, output)
        low = max(INT8_MIN, output.zero_point)
        return _table(lambda q: min(max(output.zero_point + rescale(q - source.zero_point, *pair), low), INT8_MAX))
    low, high = activation_range(activation, source)
    return _table(lambda q: min(max(q, low), high))


def leaky_relu_table(alpha: float, source: Int8Tensor, output: Int8Tensor) -> NDArray[np.int8]:
    """Each side of zero has its own multiplier; alpha may be negative."""
    side_alpha = float(np.float32(source.scale)) * float(np.float32(alpha)) / float(np.float32(output.scale))
    identity, slope = _rescaling(source, output), _signed_multiplier(side_alpha)

    def at(q: int) -> int:
        x = q - source.zero_point
        return clamp8(output.zero_point + rescale(x, *(identity if x >= 0 else slope)))

    return _table(at)


def requantize_table(source: Int8Tensor, output: Int8Tensor) -> NDArray[np.int8]:
    """QUANTIZE from one int8 scale to another."""
    pair = _rescaling(source, output)
    return _table(lambda q: clamp8(output.zero_point + rescale(q - source.zero_point, *pair)))


def _signed_multiplier(real: float) -> tuple[int, int]:
    multiplier, shift = quantize_multiplier(abs(real))
    return (-multiplier if real < 0 else multiplier), shift


def _table(function: Callable[[int], int]) -> NDArray[np.int8]:
    return np.array([function(q) for q in range(INT8_MIN, INT8_MAX + 1)], np.int8)


# gemmlowp's fixed-point functions: raw int32, the integer bits in the name.


def _saturating_shift_left(x: int, exponent: int) -> int:
    return min(max(x << exponent, -(1 << 31)), (1 << 31) - 1)


def _exp_between_minus_quarter_and_0(a: int) -> int:
    """Q0 -> Q0: exp(a) for a in [-1/4, 0), a Taylor polynomial around -1/8."""
    x = wrap32(a + (1 << 28))
    x2 = doubling_high(x, x)
    x3 = doubling_high(x2, x)
    x4 = doubling_high(x2, x2)
    x4_by_4 = rounding_shift_right(x4, 2)
    inner = rounding_shift_right(wrap32(doubling_high(wrap32(x4_by_4 + x3), 715827883) + x2), 1)
    return wrap32(1895147668 + doubling_high(1895147668, wrap32(x + inner)))


_EXP_FACTORS = (  # exp(-2^n), Q0
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def exp_on_negative(a: int, integer_bits: int) -> int:
    """Q`integer_bits` -> Q0: exp(a) for a <= 0."""
    fractional_bits = 31 - integer_bits
    quarter = 1 << (fractional_bits - 2)
    modulo = (a & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_0(_saturating_shift_left(modulo, integer_bits))
    remainder = modulo - a
    for exponent, factor in _EXP_FACTORS:
        if integer_bits > exponent and remainder & (1 << (fractional_bits + exponent)):
            result = doubling_high(result, factor)
    if integer_bits > 5 and a < -(1 << (fractional_bits + 5)):
        result = 0
    return (1 << 31) - 1 if a == 0 else result


def _one_over_one_plus(a: int) -> int:
    """Q0 -> Q0: 1 / (1 + a) for a in [0, 1], three Newton-Raphson steps."""
    half_denominator = (a + (1 << 31)) >> 1  # rounding half sum of a and one (2^31 - 1)
    x = wrap32(1515870810 + doubling_high(half_denominator, -1010580540))
    for _ in range(3):
        one_minus = wrap32((1 << 29) - doubling_high(half_denominator, x))
        x = wrap32(x + _saturating_shift_left(doubling_high(x, one_minus), 2))
    return _saturating_shift_left(x, 1)


def _logistic_q4(a: int) -> int:
    """Q4 -> Q0: 1 / (1 + exp(-a))."""
    if a == 0:
        return 1 << 30
    positive = _one_over_one_plus(exp_on_negative(-abs(a), 4))
    return positive if a > 0 else (1 << 31) - 1 - positive
