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
from tinyfed.model.int8.spec import Activation, Binary, Function, Int8Tensor

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


def binary_multipliers(
    function: Binary, a: Int8Tensor, b: Int8Tensor, output: Int8Tensor
) -> tuple[tuple[int, int], ...]:
    """(multiplier, shift) of the first input, the second and what comes of both; (0, 0) where there is none."""
    scale_a, scale_b, scale = (float(np.float32(tensor.scale)) for tensor in (a, b, output))
    match function:
        case Binary.ADD | Binary.SUB:
            return add_multipliers(a, b, output)
        case Binary.MUL:
            return (0, 0), (0, 0), quantize_multiplier(scale_a * scale_b / scale)
        case Binary.PRELU:
            return quantize_multiplier(scale_a / scale), (0, 0), quantize_multiplier(scale_a * scale_b / scale)
        case Binary.SQUARED_DIFFERENCE:
            twice = 2.0 * max(scale_a, scale_b)
            both = quantize_multiplier(scale_a / twice), quantize_multiplier(scale_b / twice)
            return *both, quantize_multiplier(twice * twice / ((1 << 14) * scale))
        case _:
            if len({(scale_a, a.zero_point), (scale_b, b.zero_point), (scale, output.zero_point)}) > 1:
                raise UsageError("inputs and output have different scales; quantize the model again")
            return (0, 0), (0, 0), (0, 0)


def between(size_in: int, size_out: int, align_corners: bool, half_pixel: bool) -> list[tuple[int, int, int]]:
    """(lower neighbour, upper one, way between them in 1024ths) of each row or column of RESIZE_BILINEAR."""
    scale = (1024 * size_in + size_out // 2) // size_out
    if align_corners and size_out > 1:
        scale = (1024 * (size_in - 1) + (size_out - 1) // 2) // (size_out - 1)
    found = []
    for index in range(size_out):
        at = index * scale + (scale // 2 - 512 if half_pixel else 0)
        lower = max(int(at / 1024), 0)
        found.append((lower, min(int((at + 1023) / 1024), size_in - 1), at - 1024 * lower))
    return found


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


def tanh_table(source: Int8Tensor, output: Int8Tensor) -> NDArray[np.int8]:
    """The output has scale 1/128 and zero point 0."""
    fraction, shift = math.frexp(float(np.float32(source.scale)) * (1 << 27))
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    radius = _input_radius(4, shift)

    def at(q: int) -> int:
        x = q - source.zero_point
        if abs(x) >= radius:
            return INT8_MIN if x < 0 else INT8_MAX
        return clamp8(rounding_shift_right(_tanh_q4(rescale(x, multiplier, shift)), 24))

    return _table(at)


def abs_table(source: Int8Tensor, output: Int8Tensor) -> NDArray[np.int8]:
    # TFLM divides the scales as floats here.
    ratio = np.float32(source.scale) / np.float32(output.scale)
    pair = quantize_multiplier(float(ratio))
    same = np.float32(source.scale) == np.float32(output.scale)
    size = [value if same else rescale(value, *pair) for value in range(256)]
    return _table(lambda q: clamp8(output.zero_point + size[abs(q - source.zero_point)]))


def rsqrt_table(source: Int8Tensor, output: Int8Tensor) -> NDArray[np.int8]:
    """1 / sqrt(x); at 0 the largest value, which stands for infinity. Below 0, where TFLM ends the run, too."""
    scale = 1.0 / float(np.sqrt(np.float32(source.scale)) * np.float32(output.scale))
    multiplier, shift = quantize_multiplier(scale)

    def at(q: int) -> int:
        x = q - source.zero_point
        if x <= 0:
            return INT8_MAX
        root, right = _inverse_root(x)
        return clamp8(output.zero_point + rescale(rescale(1, root, 20 - right), multiplier, shift - 20))

    return _table(at)


def _inverse_root(x: int) -> tuple[int, int]:
    """(multiplier, right shift) of 1 / sqrt(x) for 1 <= x < 2^29, five Newton-Raphson steps in Q3."""
    if x == 1:
        return (1 << 31) - 1, 0
    right = 11
    while x >= 1 << 29:
        x //= 4
        right += 1
    pairs = (31 - x.bit_length()) // 2 - 1
    right -= pairs
    half_x = rounding_shift_right(x << 2 * pairs >> 1, 1)
    y, three_halves = 1 << 28, 3 << 27
    for _ in range(5):
        cubed = _saturating_shift_left(doubling_high(doubling_high(y, y), y), 6)
        y = _saturating_shift_left(wrap32(doubling_high(three_halves, y) - doubling_high(half_x, cubed)), 3)
    y = doubling_high(y, 1518500250)  # sqrt(1/2)
    if right < 0:
        y, right = _saturating_shift_left(y, -right), 0
    return y, right


def elu_table(source: Int8Tensor, output: Int8Tensor) -> NDArray[np.int8]:
    scale, inverse = np.float32(source.scale), np.float32(1) / np.float32(output.scale)

    def at(q: int) -> int:
        x = np.float32(scale * np.float32(q - source.zero_point))
        y = np.float32(math.expm1(float(x))) if x < 0 else x
        return clamp8(int(round_half_away(float(np.float32(y * inverse)))) + output.zero_point)

    return _table(at)


def hard_swish_table(source: Int8Tensor, output: Int8Tensor) -> NDArray[np.int8]:
    """x * relu6(x + 3) / 6 in TFLM's 16-bit steps."""
    hires = np.float32(1 / 128) * np.float32(source.scale)
    to_output, exponent = quantize_multiplier(float(hires / np.float32(output.scale)))
    to_relu, relu_exponent = quantize_multiplier(float(hires / np.float32(3 / 32768)))
    if exponent > 0:
        raise UsageError(f"its scales ask for a factor of {2**exponent}; TFLM has no kernel for it")
    to_output, to_relu = _multiplier16(to_output), _multiplier16(to_relu)

    def at(q: int) -> int:
        x = (q - source.zero_point) << 7
        relu = _saturate16(x << max(relu_exponent - 1, 0))
        relu = _doubling_high16(relu, to_relu)
        if relu_exponent > 0:
            relu = _saturate16(relu << 1)
        relu = (rounding_shift_right(relu, max(-relu_exponent, 0)) + (1 << 15)) >> 1
        value = int(relu * _doubling_high16(x, to_output) / (1 << 15))
        return clamp8(rounding_shift_right(value, -exponent) + output.zero_point)

    return _table(at)


def _multiplier16(multiplier: int) -> int:
    return min((multiplier + (1 << 15)) >> 16, (1 << 15) - 1)


def _saturate16(x: int) -> int:
    return min(max(x, -(1 << 15)), (1 << 15) - 1)


def _doubling_high16(a: int, b: int) -> int:
    """(2 a b + 2^15) >> 16 for int16 a and b, rounded half away from zero."""
    return _saturate16(int((a * b + (1 << 14 if a * b >= 0 else 1 - (1 << 14))) / (1 << 15)))


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


def _reciprocal(a: int) -> int:
    """Q0 -> Q2: 2 / (1 + a) for a in [0, 1], three Newton-Raphson steps."""
    half_denominator = (a + (1 << 31)) >> 1  # rounding half sum of a and one (2^31 - 1)
    x = wrap32(1515870810 + doubling_high(half_denominator, -1010580540))
    for _ in range(3):
        one_minus = wrap32((1 << 29) - doubling_high(half_denominator, x))
        x = wrap32(x + _saturating_shift_left(doubling_high(x, one_minus), 2))
    return x


def _one_over_one_plus(a: int) -> int:
    """Q0 -> Q0: 1 / (1 + a) for a in [0, 1]."""
    return _saturating_shift_left(_reciprocal(a), 1)


def _tanh_q4(a: int) -> int:
    """Q4 -> Q0: tanh(a), which is (1 - exp(-2a)) / (1 + exp(-2a)); Q4 of a is Q5 of 2a."""
    if a == 0:
        return 0
    positive = _saturating_shift_left(wrap32(_reciprocal(exp_on_negative(-abs(a), 5)) - (1 << 29)), 2)
    return positive if a > 0 else -positive


def _logistic_q4(a: int) -> int:
    """Q4 -> Q0: 1 / (1 + exp(-a))."""
    if a == 0:
        return 1 << 30
    positive = _one_over_one_plus(exp_on_negative(-abs(a), 4))
    return positive if a > 0 else (1 << 31) - 1 - positive


TABLES: dict[Function, Callable[[Int8Tensor, Int8Tensor], NDArray[np.int8]]] = {
    Function.TANH: tanh_table,
    Function.ABS: abs_table,
    Function.ELU: elu_table,
    Function.HARD_SWISH: hard_swish_table,
    Function.RSQRT: rsqrt_table,
}
