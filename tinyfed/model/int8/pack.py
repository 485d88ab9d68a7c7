"""Weights of int8 layers as the kernels read them, and the rescaling of their sums.

**Fast form.** Sums are of the raw input: zero point times the sum of the weights goes into the bias. Four output
channels o0..o3 are a block, inputs come in quads k0..k3; a quad of a block is four 32-bit words
(k0,k2; o0,o1) (k0,k2; o2,o3) (k1,k3; o0,o1) (k1,k3; o2,o3). Each half-word of a word is 256 * odd + even, the even
channel in its low byte: one dual multiply with the word as it is gives 256 * odd sum + even sum, one with the
sign-extended low bytes gives the even sum. The odd sum is exact while it is below 2^23, so long sums are cut in
chunks.

A channel whose rounding does not fit 32 bits (a very small multiplier) has one or two outputs, whatever its input: its
row of the table is made to step from the one to the other at the same sum.

**General form.** Where that does not hold (a weight of -128 beside a negative one, a rescaling by 1/2 or more, a
bias near 2^31), weights stay as they were and the engine takes TFLM's own steps.
"""

import bisect
import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tinyfed.errors import UsageError
from tinyfed.model.int8 import arithmetic
from tinyfed.model.int8.spec import (
    Int8Conv2D,
    Int8Dense,
    Int8DepthwiseConv2D,
    Int8Tensor,
    Padding,
)

BLOCK = 4  # output channels
QUAD = 4  # inputs
NARROW = 8  # outputs of a dense layer that reads its input as it lies, without scratch
CHUNK_LIMIT = (1 << 23) - 1  # of the sum of an odd channel
LARGEST_INPUT = 128


@dataclass(frozen=True)
class PackedLayer:
    """Window and bytes of one operator; `chunk` is inputs a chunk (a multiple of 4)."""

    weights: bytes = b""
    table: bytes = b""
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    chunk: int = 0
    scratch_bytes: int = 0
    slow: str = ""  # why it takes the general form
    multiply_adds: int = 0

    @property
    def general(self) -> bool:
        return bool(self.slow)

    @staticmethod
    def window(
        kernel: tuple[int, int],
        stride: tuple[int, int],
        dilation: tuple[int, int],
        padding: Padding,
        source: Int8Tensor,
        output: Int8Tensor,
        around: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
    ) -> "PackedLayer":
        """Kernel, stride, dilation and the rows and columns padded before; UsageError where shapes disagree."""
        pads = []
        for axis in (0, 1):
            size_in, size_out = source.image_shape[axis] + sum(around[axis]), output.image_shape[axis]
            span = (kernel[axis] - 1) * dilation[axis] + 1
            if padding is Padding.SAME:
                expected = -(-size_in // stride[axis])
                pads.append(max((expected - 1) * stride[axis] + span - size_in, 0) // 2 + around[axis][0])
            else:
                expected = (size_in - span) // stride[axis] + 1
                pads.append(around[axis][0])
            if min(stride[axis], dilation[axis], kernel[axis]) < 1 or expected != size_out:
                raise UsageError(
                    f"input {source.shape}, window {kernel}, stride {stride}, dilation {dilation}, "
                    f"{padding.value} padding do not give output {output.shape}"
                )
        return PackedLayer(kernel=kernel, stride=stride, dilation=dilation, pad=(pads[0], pads[1]))


@dataclass(frozen=True)
class _Rescaling:
    """The rows of a layer's table: 16 bytes a channel."""

    rows: list[tuple[int, int, int, int]]
    slow: str = ""  # why it is the general form

    def table(self, channels: int) -> bytes:
        rows = self.rows if self.slow else self.rows + [(0, 0, 1, 1)] * (-len(self.rows) % BLOCK)
        return b"".join(struct.pack("<4i", *row) for row in rows[: max(channels, len(rows))])


def pack_convolution(layer: Int8Conv2D, source: Int8Tensor, output: Int8Tensor) -> PackedLayer:
    channels, kernel_h, kernel_w, channels_in = layer.weights.shape
    if channels_in != source.image_shape[2] or channels != output.image_shape[2]:
        raise UsageError(f"weights {layer.weights.shape} do not fit input {source.shape} and output {output.shape}")
    window = _window((kernel_h, kernel_w), layer, source, output)
    pairs = arithmetic.channel_multipliers(source, layer.weight_scales, output, channels)
    flat = _live(layer.weights.reshape(channels, -1), pairs)
    packed = _pack_matrix(flat, _bias(layer.bias, channels), pairs, source, output)
    height, width, _ = output.image_shape
    inputs = flat.shape[1]
    scratch = 0
    if not packed.general:
        rounded = _round_up(inputs, QUAD)
        # Two columns of int16; a column of bytes first where a row of the window is not whole quads.
        gathers = channels_in % QUAD != 0 or layer.dilation != (1, 1)
        scratch = rounded * 4 + (_round_up(rounded, 16) if gathers else 0)
    return _with_window(packed, window, scratch, height * width * flat.size)


def pack_dense(layer: Int8Dense, source: Int8Tensor, output: Int8Tensor) -> PackedLayer:
    channels, inputs = layer.weights.shape
    if inputs != source.count or channels != output.count:
        raise UsageError(f"weights {layer.weights.shape} do not fit input {source.shape} and output {output.shape}")
    pairs = arithmetic.channel_multipliers(source, layer.weight_scales, output, channels)
    packed = _pack_matrix(_live(layer.weights, pairs), _bias(layer.bias, channels), pairs, source, output)
    scratch = 0 if packed.general or channels <= NARROW else _round_up(inputs, QUAD) * 2
    return _with_window(packed, PackedLayer(), scratch, channels * inputs)


def pack_depthwise(layer: Int8DepthwiseConv2D, source: Int8Tensor, output: Int8Tensor) -> PackedLayer:
    """Groups of four channels: for each tap a word of their four weights. The scratch is one group's padded image."""
    kernel_h, kernel_w, channels = layer.weights.shape
    if channels != source.image_shape[2] or channels != output.image_shape[2]:
        raise UsageError(f"weights {layer.weights.shape} do not fit input {source.shape} and output {output.shape}")
    window = _window((kernel_h, kernel_w), layer, source, output)
    pairs = arithmetic.channel_multipliers(source, layer.weight_scales, output, channels)
    flat = _live(layer.weights.reshape(kernel_h * kernel_w, channels).T, pairs)
    rescaling = _rescaling(flat, _bias(layer.bias, channels), pairs, source, output)
    height, width, _ = output.image_shape
    macs = height * width * flat.size
    if rescaling.slow:
        packed = PackedLayer(layer.weights.tobytes(), rescaling.table(channels), slow=rescaling.slow)
        return _with_window(packed, window, 0, macs)
    groups = np.zeros((_round_up(channels, BLOCK), kernel_h * kernel_w), np.int8)
    groups[:channels] = flat
    weights = groups.reshape(-1, BLOCK, kernel_h * kernel_w).transpose(0, 2, 1).tobytes()
    rows = (height - 1) * layer.stride[0] + (kernel_h - 1) * layer.dilation[0] + 1
    columns = (width - 1) * layer.stride[1] + (kernel_w - 1) * layer.dilation[1] + 1
    return _with_window(PackedLayer(weights, rescaling.table(channels)), window, rows * columns * 4, macs)


def _window(
    kernel: tuple[int, int], layer: Int8Conv2D | Int8DepthwiseConv2D, source: Int8Tensor, output: Int8Tensor
) -> PackedLayer:
    return PackedLayer.window(kernel, layer.stride, layer.dilation, layer.padding, source, output, layer.around)


def pack_quads(weights: NDArray[np.int8]) -> bytes:
    """(channels, inputs) -> the fast form. Channels and inputs are filled up with zeros."""
    channels, inputs = weights.shape
    full = np.zeros((_round_up(channels, BLOCK), _round_up(inputs, QUAD)), np.int16)
    full[:channels, :inputs] = weights
    # block, pair of channels, channel of the pair, quad, k1|k3 follows k0|k2: (k // 2, k % 2)
    parts = full.reshape(-1, 2, 2, full.shape[1] // QUAD, 2, 2)
    halves = 256 * parts[:, :, 1] + parts[:, :, 0]  # block, pair, quad, k // 2, k % 2
    return halves.transpose(0, 2, 4, 1, 3).astype("<i2").tobytes()


def _pack_matrix(
    weights: NDArray[np.int8],
    bias: NDArray[np.int64],
    pairs: list[tuple[int, int]],
    source: Int8Tensor,
    output: Int8Tensor,
) -> PackedLayer:
    channels, inputs = weights.shape
    rescaling = _rescaling(weights, bias, pairs, source, output)
    paired = np.zeros((_round_up(channels, 2), inputs), np.int8)
    paired[:channels] = weights
    beside = np.flatnonzero(((paired[1::2] == -128) & (paired[::2] < 0)).any(axis=1))
    if beside.size and not rescaling.slow:
        reason = f"a weight of channel {2 * int(beside[0]) + 1} is -128 and the one before it negative"
        rescaling = _general_rows(bias, pairs, reason)
    if rescaling.slow:
        return PackedLayer(weights.tobytes(), rescaling.table(channels), slow=rescaling.slow)
    return PackedLayer(pack_quads(weights), rescaling.table(channels), chunk=_chunk(weights))


def _chunk(weights: NDArray[np.int8]) -> int:
    """Inputs a chunk, the whole where it fits: no odd channel's sum of a chunk may reach 2^23."""
    inputs = weights.shape[1]
    sizes = np.abs(weights.astype(np.int64)) * LARGEST_INPUT
    chunk = _round_up(inputs, QUAD)
    while chunk > QUAD:
        starts = np.arange(0, inputs, chunk)
        if int(np.add.reduceat(sizes, starts, axis=1).max(initial=0)) <= CHUNK_LIMIT:
            return chunk
        chunk = _round_up(chunk // 2, QUAD)
    return QUAD


def _rescaling(
    weights: NDArray[np.int8],
    bias: NDArray[np.int64],
    pairs: list[tuple[int, int]],
    source: Int8Tensor,
    output: Int8Tensor,
) -> _Rescaling:
    """(bias, twice the multiplier, rounding, shift) a channel, or the general form where one does not fit.

    With a = sum + bias and M = 2 * multiplier - 2^32: the doubling high product is a + ((a * M + 2^31) >> 32), and
    the output (that + its sign + rounding) >> shift, where rounding holds the half and the zero point."""
    rows = []
    limit = 1 << 31
    for channel, (multiplier, shift) in enumerate(pairs):
        row = weights[channel].astype(np.int64)
        if multiplier == 0 or not row.any():
            rows.append(_constant_row(int(bias[channel]), multiplier, shift, output))
            continue
        folded = int(bias[channel]) - source.zero_point * int(row.sum())
        largest = abs(folded) + LARGEST_INPUT * int(np.abs(row).sum())
        if shift >= 0:
            real = multiplier * 2.0 ** (shift - 31)
            return _general_rows(bias, pairs, f"channel {channel} is rescaled by {real:.3g}; below 1/2 is fast")
        rounding = (1 << (-shift - 1)) + (output.zero_point << -shift)
        if largest + abs(rounding) + 1 < limit:
            rows.append((folded, arithmetic.wrap32(2 * multiplier), rounding, -shift))
            continue
        step = _step_row(LARGEST_INPUT * int(np.abs(row).sum()), folded, multiplier, shift, output)
        if step is None:
            return _general_rows(bias, pairs, f"the sum and rounding of channel {channel} pass 2^31")
        rows.append(step)
    return _Rescaling(rows)


def _step_row(
    spread: int, folded: int, multiplier: int, shift: int, output: Int8Tensor
) -> tuple[int, int, int, int] | None:
    """The row of a channel that gives at most two values, v and v + 1, for sums of -spread to spread; None of another.

    With M = -2^31 the engine makes ceil(a / 2) of a = sum + bias, which is never negative here, and the output is
    (that + rounding) >> 24: v + 1 from the half on that rounding leaves at a multiple of 2^24."""
    if abs(folded) + spread >= 1 << 31 or spread + 1 >= 1 << 24:
        return None

    def result(value: int) -> int:
        return arithmetic.clamp8(output.zero_point + arithmetic.rescale(folded + value, multiplier, shift))

    low = result(-spread)
    if result(spread) > low + 1:
        return None
    first = bisect.bisect_left(range(-spread, spread + 1), low + 1, key=result)
    even = 1 - first % 2  # two sums share a half: v + 1 has to begin with the first of them, an odd one
    return spread + even, -(1 << 31), ((low + 1) << 24) - (first + even + 1) // 2, 24


def _constant_row(bias: int, multiplier: int, shift: int, output: Int8Tensor) -> tuple[int, int, int, int]:
    """A channel whose sum is 0 or does not count (pruned models have many, with biases near 2^30)."""
    value = arithmetic.clamp8(output.zero_point + arithmetic.rescale(bias, multiplier, shift))
    return 0, 0, 2 * value, 1


def _general_rows(bias: NDArray[np.int64], pairs: list[tuple[int, int]], reason: str) -> _Rescaling:
    rows = [(int(b), multiplier, shift, 0) for b, (multiplier, shift) in zip(bias, pairs, strict=True)]
    return _Rescaling(rows, reason)


def _live(weights: NDArray[np.int8], pairs: list[tuple[int, int]]) -> NDArray[np.int8]:
    """Weights (channels, inputs) with zeros where the multiplier is 0: such a channel's sum does not count."""
    live = np.array([multiplier != 0 for multiplier, _ in pairs])
    return np.where(live[:, None], weights, 0).astype(np.int8)


def _bias(bias: NDArray[np.int32] | None, channels: int) -> NDArray[np.int64]:
    if bias is None:
        return np.zeros(channels, np.int64)
    if bias.shape != (channels,):
        raise UsageError(f"bias {bias.shape} of {channels} output channels")
    return bias.astype(np.int64)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _with_window(packed: PackedLayer, window: PackedLayer, scratch_bytes: int, macs: int) -> PackedLayer:
    return replace(
        packed, kernel=window.kernel, stride=window.stride, dilation=window.dilation, pad=window.pad,
        scratch_bytes=scratch_bytes, multiply_adds=macs,
    )  # fmt: skip
