"""Every int8 operator against TFLite Micro, bit for bit: random shapes, scales and values, and the edges of each."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from int8_oracle import Oracle, write_tflite
from numpy.typing import NDArray
from tinyfed_host.cli.main import run_command

from tinyfed.model.int8 import spec
from tinyfed.model.int8.engine import Int8Engine, Kernels
from tinyfed.model.int8.image import encode_int8, read_operators

try:
    import tflite_micro
except ImportError:
    tflite_micro = None

CASES = 25
ACTIVATIONS = list(spec.Activation)
PADDINGS = list(spec.Padding)


@pytest.fixture(autouse=True)
def oracle_is_there() -> None:
    require(tflite_micro is not None, "the oracle, PyPI's tflite-micro, is not installed: run `make setup`")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    seed = zlib.crc32(request.node.name.encode())
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def tensor(
    rng: np.random.Generator, shape: tuple[int, ...], like: spec.Int8Tensor | None = None, name: str = "t"
) -> spec.Int8Tensor:
    if like is not None:
        return spec.Int8Tensor(name, shape, like.scale, like.zero_point)
    zero = int(rng.choice([-128, 127, 0, rng.integers(-128, 128)]))
    return spec.Int8Tensor(name, shape, float(np.float32(np.exp(rng.uniform(-6, 1)))), zero)


def values(rng: np.random.Generator, shape: tuple[int, ...], kind: int) -> NDArray[np.int8]:
    """Random values; for the first kinds an edge: all low, all high, ends mixed."""
    if kind < 2:
        return np.full(shape, (-128, 127)[kind], np.int8)
    if kind == 2:
        return rng.choice(np.array([-128, 127], np.int8), shape)
    return rng.integers(-128, 128, shape, np.int8)


def check(rng: np.random.Generator, network: spec.Int8Network, general: bool | None = None) -> None:
    """All bodies of the kernels give what TFLM gives, on six inputs."""
    program, _ = encode_int8(network)
    if general is not None:
        assert bool(program[64 + 1] & 1) == general, "the case does not test the form it means to"
    oracle = Oracle(write_tflite(network))
    for kind in range(6):
        given = [values(rng, network.tensors[index].shape, kind) for index in network.inputs]
        expected = oracle.run(*[value[None] for value in given])[0]
        for kernels in Kernels:
            (found,) = Int8Engine(program, kernels).run(*given)
            wrong = np.flatnonzero(found.reshape(-1) != expected.reshape(-1))
            assert wrong.size == 0, (
                f"{kernels!r}, input kind {kind}: {wrong.size} of {found.size} values differ, the first at {wrong[0]}: "
                f"{found.reshape(-1)[wrong[0]]} instead of {expected.reshape(-1)[wrong[0]]}\n{network.layers}"
            )


def one(layer: spec.Int8Layer, *tensors: spec.Int8Tensor) -> spec.Int8Network:
    """A network of one layer: inputs first, the output last."""
    return spec.Int8Network(tensors, (layer,), tuple(range(len(tensors) - 1)), (len(tensors) - 1,))


def extent(rng: np.random.Generator, kernel: int, stride: int, dilation: int, padding: spec.Padding) -> tuple[int, int]:
    """A random input side and the output's."""
    span = (kernel - 1) * dilation + 1
    size = int(rng.integers(span, span + 9))
    return size, -(-size // stride) if padding is spec.Padding.SAME else (size - span) // stride + 1


def weighted(
    rng: np.random.Generator, source: spec.Int8Tensor, weights: NDArray[np.int8], channels: int, fan_in: int
) -> tuple[NDArray[np.float32], NDArray[np.int32] | None, float]:
    """Weight scales (a channel or one), bias and an output scale at which most outputs are not clamped."""
    per_channel = rng.random() < 0.7
    scales = np.exp(rng.uniform(-7, -3, channels if per_channel else 1)).astype(np.float32)
    bias = rng.integers(-20000, 20000, channels).astype(np.int32) if rng.random() < 0.8 else None
    typical = float(scales.mean()) * source.scale * 70.0 * 70.0 * np.sqrt(fan_in)
    return scales, bias, float(np.float32(typical / rng.uniform(30, 90)))


def output_of(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> spec.Int8Tensor:
    return spec.Int8Tensor("y", shape, scale, tensor(rng, shape).zero_point)


def random_conv(rng: np.random.Generator, low: int = -127) -> spec.Int8Network:
    kernel = tuple(int(n) for n in rng.choice([1, 1, 2, 3, 3, 5], 2))
    dilation = (1, 1) if rng.random() < 0.7 else tuple(int(n) for n in rng.integers(1, 3, 2))
    # TFLM refuses both at once.
    stride = tuple(int(n) for n in rng.integers(1, 3, 2)) if dilation == (1, 1) else (1, 1)
    padding = PADDINGS[rng.integers(2)]
    (height, out_h), (width, out_w) = (extent(rng, kernel[i], stride[i], dilation[i], padding) for i in (0, 1))
    channels_in, channels = (int(n) for n in rng.choice([1, 2, 3, 4, 5, 7, 8, 12, 16], 2))
    source = tensor(rng, (height, width, channels_in))
    weights = rng.integers(low, 128, (channels, *kernel, channels_in), np.int8)
    scales, bias, scale = weighted(rng, source, weights, channels, weights[0].size)
    layer = spec.Int8Conv2D(
        (0,), 1, weights, scales, bias, stride, dilation, padding, ACTIVATIONS[rng.integers(len(ACTIVATIONS))]
    )
    return one(layer, source, output_of(rng, (out_h, out_w, channels), scale))


@pytest.mark.parametrize("case", range(CASES))
def test_convolution(rng: np.random.Generator, case: int) -> None:
    check(rng, random_conv(rng), general=False)


@pytest.mark.parametrize("case", range(8))
def test_convolution_with_weights_of_minus_128(rng: np.random.Generator, case: int) -> None:
    network = random_conv(rng)
    layer = network.layers[0]
    assert isinstance(layer, spec.Int8Conv2D)
    flat = layer.weights.reshape(len(layer.weights), -1)
    flat[0, 0] = -1
    flat[-1 if len(flat) > 1 else 0] = -128
    check(rng, network)


@pytest.mark.parametrize(("size", "channels_in", "channels"), [((5, 3), 64, 64), ((4, 4), 200, 20), ((1, 1), 300, 7)])
def test_convolution_with_long_sums(
    rng: np.random.Generator, size: tuple[int, int], channels_in: int, channels: int
) -> None:
    """Weights at the ends: an odd channel's sum leaves 24 bits and must be cut in chunks."""
    source = tensor(rng, (*size, channels_in))
    weights = rng.choice(np.array([-127, 127], np.int8), (channels, 3, 3, channels_in))
    weights[1::2] = 127
    scales = np.full(channels, 1e-3, np.float32)
    scale = source.scale * 1e-3 * 127 * 128 * weights[0].size / 150
    layer = spec.Int8Conv2D((0,), 1, weights, scales, None)
    network = one(layer, source, output_of(rng, (*size, channels), float(np.float32(scale))))
    program, _ = encode_int8(network)
    assert int.from_bytes(program[64 + 56 : 64 + 60], "little") < weights[0].size
    check(rng, network, general=False)


def test_convolution_with_dead_channels(rng: np.random.Generator) -> None:
    """Pruned models: weights all zero, tiny scales, biases near 2^30. Their outputs are constants."""
    source = tensor(rng, (3, 4, 8))
    weights = rng.integers(-127, 128, (12, 1, 1, 8), np.int8)
    weights[[1, 4, 5]] = 0
    scales = np.full(12, 0.01, np.float32)
    scales[[1, 4, 5]] = [1e-11, 3e-12, 1e-9]
    bias = rng.integers(-3000, 3000, 12).astype(np.int32)
    bias[[1, 4, 5]] = [1 << 30, -(1 << 30), (1 << 30) - 12345]
    layer = spec.Int8Conv2D((0,), 1, weights, scales, bias)
    check(rng, one(layer, source, output_of(rng, (3, 4, 12), source.scale)), general=False)


def padded_convolution(
    rng: np.random.Generator, pads: tuple[tuple[int, int], tuple[int, int]], value: int | None = None
) -> spec.Int8Network:
    """A pad, and a convolution (of either kind) of 3x3 of what it gives."""
    kernel, channels = (3, 3), int(rng.choice([3, 4, 8]))
    padding = PADDINGS[rng.integers(2)]
    stride = (int(rng.integers(1, 3)),) * 2
    source = tensor(rng, (int(rng.integers(4, 9)), int(rng.integers(4, 9)), channels))
    padded = (*(n + sum(p) for n, p in zip(source.shape, pads, strict=False)), channels)
    sides = [-(-n // stride[0]) if padding is spec.Padding.SAME else (n - 3) // stride[0] + 1 for n in padded[:2]]
    depthwise = rng.random() < 0.5
    weights = rng.integers(-127, 128, (*kernel, channels) if depthwise else (6, *kernel, channels), np.int8)
    out_channels = channels if depthwise else 6
    scales, bias, scale = weighted(rng, source, weights, out_channels, weights.size // out_channels)
    kind = spec.Int8DepthwiseConv2D if depthwise else spec.Int8Conv2D
    layers = (
        spec.Int8Pad((0,), 1, (*pads, (0, 0)), value),
        kind((1,), 2, weights, scales, bias, stride, (1, 1), padding, ACTIVATIONS[rng.integers(4)]),
    )
    output = output_of(rng, (*sides, out_channels), scale)
    return spec.Int8Network((source, tensor(rng, padded, like=source), output), layers, (0,), (2,))


def operators_of(network: spec.Int8Network) -> int:
    return int.from_bytes(encode_int8(network)[0][16:18], "little")


@pytest.mark.parametrize("case", range(CASES))
def test_a_pad_before_a_convolution_is_not_written(rng: np.random.Generator, case: int) -> None:
    """The window finds zero points around the input: one operator less, and no more memory."""
    (top, left), (bottom, right) = rng.integers(0, 2, 2), rng.integers(0, 3, 2)
    network = padded_convolution(rng, ((int(top), int(bottom)), (int(left), int(right))))
    layer = network.layers[1]
    assert isinstance(layer, spec.Int8Conv2D | spec.Int8DepthwiseConv2D)
    # of SAME a window may begin another place earlier, and end beyond two rows of zero points
    assert operators_of(network) == 1 or layer.padding is spec.Padding.SAME or max(bottom, right) == 2
    written = replace(network, outputs=(2, 1))  # as an output the padded input has to be there
    assert operators_of(written) == 2
    assert encode_int8(network)[1].work_bytes <= encode_int8(written)[1].work_bytes
    check(rng, network)


@pytest.mark.parametrize("pads", [((3, 0), (0, 0)), ((0, 0), (3, 0)), ((0, 4), (1, 1)), ((1, 1), (0, 4))])
def test_a_pad_whose_windows_miss_the_input_is_written(
    rng: np.random.Generator, pads: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    network = padded_convolution(rng, pads)
    while not (network.layers[1].padding is spec.Padding.VALID and network.layers[1].stride == (1, 1)):  # type: ignore[union-attr]
        network = padded_convolution(rng, pads)
    assert operators_of(network) == 2
    check(rng, network)


def test_a_pad_of_another_value_is_written(rng: np.random.Generator) -> None:
    network = padded_convolution(rng, ((1, 1), (1, 1)), value=5)
    source = replace(network.tensors[0], zero_point=6)
    network = replace(network, tensors=(source, replace(network.tensors[1], zero_point=6), network.tensors[2]))
    assert operators_of(network) == 2


def test_a_causal_convolution_over_time_pads_nothing(rng: np.random.Generator) -> None:
    """As Keras writes Conv1D: pad, a dimension more, convolution, a dimension less; twice the padded input is read."""
    source = tensor(rng, (1, 10, 4))
    padded, image = (tensor(rng, (1, 14, 4), like=source) for _ in range(2))
    weights = rng.integers(-127, 128, (4, 1, 3, 4), np.int8)
    scales, bias, scale = weighted(rng, source, weights, 4, 12)
    outputs = [output_of(rng, (1, 10, 4), scale) for _ in range(2)]
    layers = (
        spec.Int8Pad((0,), 1, ((0, 0), (4, 0), (0, 0))),
        spec.Int8Reshape((1,), 2),
        *(spec.Int8Conv2D((2,), 3 + i, weights, scales, bias, (1, 1), (1, 2), spec.Padding.VALID) for i in range(2)),
        spec.Int8Add((3, 4), 5),
    )
    tensors = (source, padded, image, *outputs, output_of(rng, (1, 10, 4), scale * 2))
    network = spec.Int8Network(tensors, layers, (0,), (5,))
    assert operators_of(network) == 3
    check(rng, network)


@pytest.mark.parametrize("case", range(8))
@pytest.mark.parametrize("kind", ["conv", "dense", "depthwise"])
def test_channels_with_a_tiny_multiplier_leave_the_layer_fast(rng: np.random.Generator, kind: str, case: int) -> None:
    """Their sum and rounding pass 2^31; the one or two outputs that they have come from a step."""
    source = tensor(rng, (3, 4, 40) if kind != "dense" else (600,))
    shape = {"conv": (6, 3, 3, 40), "dense": (6, 600), "depthwise": (3, 3, 40)}[kind]
    weights = rng.integers(-127, 128, shape, np.int8)
    channels = 40 if kind == "depthwise" else 6
    scales = np.full(channels, 0.01, np.float32)
    output = spec.Int8Tensor("y", (3, 4, channels) if kind != "dense" else (6,), source.scale * 40, -128)
    if case % 2:
        output = replace(output, zero_point=127)
    tiny = [1, 4] if case < 6 else [0, 3, 5]
    # a sum of 2^22 or so is half a step, or some of it
    scales[tiny] = np.float32(40 * 2.0 ** -rng.integers(24, 30, len(tiny)))
    bias = rng.integers(-3000, 3000, channels).astype(np.int32)
    bias[tiny] = rng.integers(-(1 << 24), 1 << 24, len(tiny)) + (1 << 23)
    if case % 4 == 3:
        bias[tiny[0]] = 1 << 30
    make = {"conv": spec.Int8Conv2D, "dense": spec.Int8Dense, "depthwise": spec.Int8DepthwiseConv2D}[kind]
    check(rng, one(make((0,), 1, weights, scales, bias), source, output), general=False)


@pytest.mark.parametrize("case", range(8))
def test_convolution_that_scales_up(rng: np.random.Generator, case: int) -> None:
    """A multiplier of one and more has a left shift or none."""
    source = tensor(rng, (4, 4, 3))
    weights = rng.integers(-127, 128, (5, 3, 3, 3), np.int8)
    scales = np.exp(rng.uniform(-1, 3, 5)).astype(np.float32)
    layer = spec.Int8Conv2D((0,), 1, weights, scales, None)
    check(rng, one(layer, source, output_of(rng, (4, 4, 5), source.scale)), general=True)


@pytest.mark.parametrize("case", range(CASES))
def test_depthwise_convolution(rng: np.random.Generator, case: int) -> None:
    kernel = tuple(int(n) for n in rng.choice([1, 2, 3, 3, 3, 5], 2)) if case % 3 else (3, 3)
    dilation = (1, 1) if rng.random() < 0.7 else tuple(int(n) for n in rng.integers(1, 3, 2))
    stride = (int(rng.integers(1, 3)),) * 2 if dilation == (1, 1) else (1, 1)
    padding = PADDINGS[rng.integers(2)]
    (height, out_h), (width, out_w) = (extent(rng, kernel[i], stride[i], dilation[i], padding) for i in (0, 1))
    channels_in = int(rng.choice([1, 2, 3, 4, 6, 8, 9, 16]))
    channels = channels_in * (int(rng.integers(1, 4)) if rng.random() < 0.3 else 1)
    source = tensor(rng, (height, width, channels_in))
    weights = rng.integers(-128 if rng.random() < 0.2 else -127, 128, (*kernel, channels), np.int8)
    scales, bias, scale = weighted(rng, source, weights, channels, kernel[0] * kernel[1])
    activation = ACTIVATIONS[rng.integers(len(ACTIVATIONS))]
    if case % 8 == 7:
        scales *= np.float32(300)
    layer = spec.Int8DepthwiseConv2D((0,), 1, weights, scales, bias, stride, dilation, padding, activation)
    check(rng, one(layer, source, output_of(rng, (out_h, out_w, channels), scale)))


@pytest.mark.parametrize("channels, repeats", [(6, 2), (9, 2)])
def test_depth_multiplier_costs_no_products_with_zeros(rng: np.random.Generator, channels: int, repeats: int) -> None:
    """Where the work area allows: a layer that has its largest part alone stays a convolution."""
    source, between = tensor(rng, (18, 18, 16)), channels * repeats
    kernel = rng.integers(-127, 128, (channels, 3, 3, 16), np.int8)
    scales, bias, scale = weighted(rng, source, kernel, channels, kernel[0].size)
    first = spec.Int8Conv2D((0,), 1, kernel, scales, bias, (2, 2))
    middle = output_of(rng, (9, 9, channels), scale)
    weights = rng.integers(-127, 128, (3, 3, between), np.int8)
    scales, bias, scale = weighted(rng, middle, weights, between, 9)
    layer = spec.Int8DepthwiseConv2D((1,), 2, weights, scales, bias)
    output = output_of(rng, (9, 9, between), scale)
    network = spec.Int8Network((source, middle, output), (first, layer), (0,), (2,))
    program, plan = encode_int8(network)
    assert [operator.kind for operator in read_operators(program)] == ["conv", "move", "depthwise"]
    assert plan.multiply_adds == 81 * (kernel.size + weights.size)
    check(rng, network)
    alone, _ = encode_int8(one(replace(layer, inputs=(0,), output=1), middle, output))
    assert [operator.kind for operator in read_operators(alone)] == ["conv"]


@pytest.mark.parametrize("case", range(CASES))
def test_dense(rng: np.random.Generator, case: int) -> None:
    inputs = int(rng.choice([1, 3, 4, 7, 16, 31, 64, 200, 640, 1500]))
    channels = int(rng.choice([1, 2, 3, 4, 5, 10, 12, 33]))
    source = tensor(rng, (inputs,))
    weights = rng.integers(-128 if case % 5 == 0 else -127, 128, (channels, inputs), np.int8)
    scales, bias, scale = weighted(rng, source, weights, channels, inputs)
    if case % 8 == 7:
        scales *= np.float32(300)
    # TFLM wants the bias' scale near input times weights; with one scale a channel it does not look.
    activation = ACTIVATIONS[rng.integers(len(ACTIVATIONS))]
    layer = spec.Int8Dense((0,), 1, weights, scales, bias, activation)
    check(rng, one(layer, source, output_of(rng, (channels,), scale)))


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("case", range(6))
def test_sums_beside_a_half(rng: np.random.Generator, case: int, per_channel: bool) -> None:
    """Biases that put the sum one to three steps beside where the output changes: large enough that an error of a
    few units in a multiplier shows (a random sum shows it once in 100,000 outputs)."""
    source = tensor(rng, (1,))
    given = np.array([source.zero_point], np.int8)
    halves = np.arange(-120, 120) + 0.5
    scale, weight_scale = float(np.float32(np.exp(rng.uniform(-2, 1)))), np.float32(np.exp(rng.uniform(-14, -10)))
    bias = np.concatenate([np.round(halves * scale / source.scale / float(weight_scale)) + d for d in range(-3, 4)])
    bias = np.clip(bias, -(1 << 30), 1 << 30).astype(np.int32)
    scales = np.full(len(bias) if per_channel else 1, weight_scale, np.float32)
    layer = spec.Int8Dense((0,), 1, np.ones((len(bias), 1), np.int8), scales, bias)
    network = one(layer, source, spec.Int8Tensor("y", (len(bias),), scale, 0))
    expected = Oracle(write_tflite(network)).run(given[None])[0]
    assert len(set(expected)) > 30
    np.testing.assert_array_equal(Int8Engine(encode_int8(network)[0]).run(given)[0], expected)


@pytest.mark.parametrize("kind", [spec.Int8MaxPool2D, spec.Int8AveragePool2D])
@pytest.mark.parametrize("case", range(12))
def test_pool(
    rng: np.random.Generator, case: int, kind: type[spec.Int8MaxPool2D] | type[spec.Int8AveragePool2D]
) -> None:
    pool, stride = (tuple(int(n) for n in rng.integers(1, top, 2)) for top in (5, 4))
    padding = PADDINGS[rng.integers(2)]
    (height, out_h), (width, out_w) = (extent(rng, pool[i], stride[i], 1, padding) for i in (0, 1))
    channels = int(rng.integers(1, 10))
    source = tensor(rng, (height, width, channels))
    layer = kind((0,), 1, pool, stride, padding, ACTIVATIONS[rng.integers(len(ACTIVATIONS))])
    check(rng, one(layer, source, tensor(rng, (out_h, out_w, channels), like=source)))


@pytest.mark.parametrize("case", range(12))
def test_mean(rng: np.random.Generator, case: int) -> None:
    height, width, channels = (int(n) for n in rng.integers(1, 12, 3))
    source = tensor(rng, (height, width, channels))
    shape = (channels,) if rng.random() < 0.5 else (1, 1, channels)
    same = rng.random() < 0.4
    output = tensor(rng, shape, like=source if same else None)
    if not same:
        output = spec.Int8Tensor("y", shape, source.scale * float(np.float32(rng.uniform(0.2, 3))), output.zero_point)
    check(rng, one(spec.Int8Mean((0,), 1), source, output))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("first", [1, 2, 3])
@pytest.mark.parametrize("rank", [2, 3])
def test_mean_over_the_first_dimensions(rng: np.random.Generator, rank: int, first: int, keep: bool) -> None:
    """Over time, over height alone, over everything."""
    if first > rank or (first == rank and not keep):  # TFLM's writer here has no tensor without dimensions
        first, keep = rank, True
    sides = tuple(int(n) for n in rng.integers(2, 12, rank))
    source = tensor(rng, sides)
    shape = ((1,) * first if keep else ()) + sides[first:]
    scale = source.scale * float(np.float32(rng.uniform(0.2, 3)))
    output = spec.Int8Tensor("y", shape, scale, int(rng.integers(-60, 60)))
    check(rng, one(spec.Int8Mean((0,), 1), source, output))


@pytest.mark.parametrize("case", range(12))
def test_add(rng: np.random.Generator, case: int) -> None:
    shape = tuple(int(n) for n in rng.integers(1, 9, 3))
    a, b = tensor(rng, shape, name="a"), tensor(rng, shape, name="b")
    if case % 3 == 0:
        b = spec.Int8Tensor("b", shape, a.scale, b.zero_point)
    output = output_of(rng, shape, float(np.float32((a.scale + b.scale) * rng.uniform(0.5, 2))))
    layer = spec.Int8Add((0, 1), 2, ACTIVATIONS[rng.integers(len(ACTIVATIONS))])
    check(rng, one(layer, a, b, output))


@pytest.mark.parametrize("case", range(4))
def test_add_of_every_pair(rng: np.random.Generator, case: int) -> None:
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    shape = (256, 256)
    tensors = (tensor(rng, shape, name="a"), tensor(rng, shape, name="b"))
    scale = float(np.float32((tensors[0].scale + tensors[1].scale) * rng.uniform(0.5, 2)))
    network = one(spec.Int8Add((0, 1), 2), *tensors, output_of(rng, shape, scale))
    given = (a.astype(np.int8), b.astype(np.int8))
    expected = Oracle(write_tflite(network)).run(*[value[None] for value in given])[0]
    np.testing.assert_array_equal(Int8Engine(encode_int8(network)[0]).run(*given)[0], expected)


@pytest.mark.parametrize("case", range(8))
def test_pad(rng: np.random.Generator, case: int) -> None:
    shape = tuple(int(n) for n in rng.integers(1, 6, 3))
    pads = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (3, 2)))
    source = tensor(rng, shape)
    value = None if case % 2 else int(rng.integers(-128, 128))
    after = tuple(n + a + b for n, (a, b) in zip(shape, pads, strict=True))
    check(rng, one(spec.Int8Pad((0,), 1, pads, value), source, tensor(rng, after, like=source)))


def test_reshape_is_another_name_of_the_same_bytes(rng: np.random.Generator) -> None:
    source = tensor(rng, (4, 3, 2))
    flat, end = tensor(rng, (24,), like=source), tensor(rng, (24,))
    layers = (spec.Int8Reshape((0,), 1), spec.Int8Requantize((1,), 2))
    check(rng, spec.Int8Network((source, flat, end), layers, (0,), (2,)))


@pytest.mark.parametrize("case", range(16))
def test_softmax(rng: np.random.Generator, case: int) -> None:
    count = int(rng.choice([1, 2, 3, 10, 12, 100, 500]))  # TFLM aborts where the sum of exps reaches 512
    source = spec.Int8Tensor("x", (count,), float(np.float32(np.exp(rng.uniform(-8, 2)))), int(rng.integers(-128, 128)))
    beta = 1.0 if case % 4 else float(np.float32(rng.uniform(0.2, 2)))
    output = spec.Int8Tensor("y", (count,), 1 / 256, -128)
    check(rng, one(spec.Int8Softmax((0,), 1, beta), source, output))


def every_int8(layer: spec.Int8Layer, source_scale: float, zero: int, output: tuple[float, int]) -> spec.Int8Network:
    scale = float(np.float32(source_scale))
    return one(layer, spec.Int8Tensor("x", (256,), scale, zero), spec.Int8Tensor("y", (256,), *output))


def check_every_int8(network: spec.Int8Network) -> None:
    program, _ = encode_int8(network)
    given = np.arange(-128, 128).astype(np.int8)
    expected = Oracle(write_tflite(network)).run(given[None])[0]
    np.testing.assert_array_equal(Int8Engine(program).run(given)[0], expected)


@pytest.mark.parametrize("case", range(12))
def test_logistic_of_every_value(rng: np.random.Generator, case: int) -> None:
    scale = np.exp(rng.uniform(-7, 0))
    check_every_int8(every_int8(spec.Int8Logistic((0,), 1), scale, int(rng.integers(-128, 128)), (1 / 256, -128)))


@pytest.mark.parametrize("case", range(12))
def test_relu_of_every_value(rng: np.random.Generator, case: int) -> None:
    scale, zero = float(np.float32(np.exp(rng.uniform(-6, 0)))), int(rng.integers(-128, 128))
    if case % 2:
        layer = spec.Int8Relu((0,), 1, spec.Activation.RELU6)
        check_every_int8(every_int8(layer, scale, zero, (scale, zero)))
    else:
        output = (scale * float(np.float32(rng.uniform(0.3, 2))), int(rng.integers(-128, 128)))
        check_every_int8(every_int8(spec.Int8Relu((0,), 1), scale, zero, output))


@pytest.mark.parametrize("case", range(12))
def test_leaky_relu_of_every_value(rng: np.random.Generator, case: int) -> None:
    scale, zero = float(np.exp(rng.uniform(-6, 0))), int(rng.integers(-128, 128))
    layer = spec.Int8LeakyRelu((0,), 1, float(np.float32(rng.uniform(0.01, 0.6))))
    output = (scale * float(np.float32(rng.uniform(0.3, 2))), int(rng.integers(-128, 128)))
    check_every_int8(every_int8(layer, scale, zero, output))


@pytest.mark.parametrize("case", range(12))
def test_requantize_of_every_value(rng: np.random.Generator, case: int) -> None:
    scale, zero = float(np.exp(rng.uniform(-6, 0))), int(rng.integers(-128, 128))
    output = (scale * float(np.float32(rng.uniform(0.1, 4))), int(rng.integers(-128, 128)))
    check_every_int8(every_int8(spec.Int8Requantize((0,), 1), scale, zero, output))


@pytest.mark.parametrize(("align", "half"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("case", range(4))
def test_resize_nearest(rng: np.random.Generator, case: int, align: bool, half: bool) -> None:
    height, width, out_h, out_w, channels = (int(n) for n in rng.integers(1, 12, 5))
    source = tensor(rng, (height, width, channels))
    layer = spec.Int8ResizeNearest((0,), 1, align, half)
    check(rng, one(layer, source, tensor(rng, (out_h, out_w, channels), like=source)))


def test_layers_that_take_the_general_form_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rescaling by 1 is none that the fast form has; a weight of -128 behind a negative one neither."""
    scales = np.array([0.01, 0.01, 1.0, 0.01], np.float32)
    tensors = tuple(spec.Int8Tensor(name, (n,), scale) for name, n, scale in (("x", 3, 1), ("up", 4, 1), ("y", 2, 0.5)))
    second = np.array([[-1, 2, 3, 4], [-128, 2, 3, 4]], np.int8)
    layers = (
        spec.Int8Dense((0,), 1, np.ones((4, 3), np.int8), scales, None),
        spec.Int8Dense((1,), 2, second, scales[:2], None),
    )
    path = tmp_path / "slow.tflite"
    path.write_bytes(write_tflite(spec.Int8Network(tensors, layers, (0,), (2,))))
    assert run_command(["model", "inspect", str(path)]) == 0
    slow = [line for line in capsys.readouterr().out.splitlines() if line.startswith("slow")]
    assert slow == [
        "slow    up: channel 2 is rescaled by 1; below 1/2 is fast",
        "slow    y: a weight of channel 1 is -128 and the one before it negative",
    ]
