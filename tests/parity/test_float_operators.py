"""Every float32 operator against LiteRT's reference kernels, within 1e-5 of the largest, on random shapes."""

import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "unit"))
from tflite_builder import Builder
from tflite_models import litert

from tinyfed.model.convert import Int8Model, Model, read_tflite
from tinyfed.model.run import run
from tinyfed.model.tflite.file import parse

TOLERANCE = 1e-5
CASES = 6


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    seed = zlib.crc32(request.node.name.encode())
    print(f"seed {seed}")
    return np.random.default_rng(seed)


def litert_outputs(content: bytes, arrays: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    module = litert("interpreter")
    kinds = module.OpResolverType
    try:
        runner = module.Interpreter(model_content=content, experimental_op_resolver_type=kinds.BUILTIN_REF)
    except ValueError:  # ELU alone is not among the reference kernels
        others = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        runner = module.Interpreter(model_content=content, experimental_op_resolver_type=others)
    runner.allocate_tensors()
    for detail, array in zip(runner.get_input_details(), arrays, strict=True):
        runner.set_tensor(detail["index"], array.reshape(detail["shape"]))
    runner.invoke()
    return [runner.get_tensor(detail["index"]) for detail in runner.get_output_details()]


def check(rng: np.random.Generator, b: Builder, inputs: list[int], outputs: list[int], positive: bool = False) -> Model:
    """The engine's outputs are LiteRT's, on three samples."""
    content = b.content(inputs, outputs)
    model = read_tflite(parse(content, "test.tflite"))
    for _ in range(3):
        arrays = [rng.normal(size=b.graph.tensors[index].shape).astype(np.float32) * 2 for index in inputs]
        if positive:
            arrays = [np.abs(array) + np.float32(0.1) for array in arrays]
        theirs = litert_outputs(content, arrays)
        # Samples of rank 1 have no batch in these files.
        ours = run(model, [a if a.ndim > 1 and a.shape[0] == 1 else a[None] for a in arrays]).real
        assert len(ours) == len(theirs)
        for mine, wanted in zip(ours, theirs, strict=True):
            assert mine.size == wanted.size
            error = np.abs(mine.reshape(-1) - wanted.reshape(-1)).max()
            assert error <= TOLERANCE * max(np.abs(wanted).max(), 1e-3), f"{error} of {np.abs(wanted).max()}"
    return model


def sides(rng: np.random.Generator, count: int, low: int = 1, high: int = 8) -> list[int]:
    return [int(n) for n in rng.integers(low, high, count)]


def one(
    rng: np.random.Generator,
    name: str,
    shapes: list[list[int]],
    output: list[int],
    constants: list[Any] = (),
    **options: Any,
) -> Model:
    """A file of one operator: activations of `shapes`, then constants. Behind an ABS it is the program's operator that
    runs, not a layer that learns, unless the end learns behind a program."""
    b = Builder()
    inputs = [b.tensor(shape) for shape in shapes]
    first = b.tensor(shapes[0])
    b.operator("ABS", inputs[:1], [first])
    y = b.tensor(output)
    b.operator(name, [first, *inputs[1:], *(b.constant(value) for value in constants)], [y], **options)
    model = check(rng, b, inputs, [y])
    assert isinstance(model, Int8Model) or model.spec.frozen
    return model


def spread(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.normal(size=shape).astype(np.float32)


def windowed(rng: np.random.Generator, same: bool) -> tuple[dict[str, int], list[int], list[int], list[int]]:
    """Options of a window, its kernel, and the sides of input and output."""
    kernel, stride, dilation = sides(rng, 2, 1, 5), sides(rng, 2, 1, 4), sides(rng, 2, 1, 3)
    if rng.random() < 0.5:
        stride = [1, 1]
    else:
        dilation = [1, 1]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [span + int(rng.integers(0, 8)) for span in spans]
    result = [-(-n // s) if same else (n - span) // s + 1 for n, s, span in zip(size, stride, spans, strict=True)]
    options = {"padding": 0 if same else 1, "strideH": stride[0], "strideW": stride[1]}
    options |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
    return options, kernel, size, result


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("case", range(CASES))
def test_convolution(rng: np.random.Generator, case: int, same: bool) -> None:
    options, kernel, size, result = windowed(rng, same)
    channels, outputs = sides(rng, 2, 1, 12)
    weights = [spread(rng, outputs, *kernel, channels), spread(rng, outputs)]
    one(rng, "CONV_2D", [[1, *size, channels]], [1, *result, outputs], weights, **options)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("case", range(CASES))
def test_depthwise_convolution(rng: np.random.Generator, case: int, same: bool) -> None:
    options, kernel, size, result = windowed(rng, same)
    channels, multiplier = sides(rng, 2, 1, 5)
    weights = [spread(rng, 1, *kernel, channels * multiplier), spread(rng, channels * multiplier)]
    shapes = ([1, *size, channels], [1, *result, channels * multiplier])
    one(rng, "DEPTHWISE_CONV_2D", [shapes[0]], shapes[1], weights, **options, depthMultiplier=multiplier)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("case", range(CASES))
def test_transposed_convolution(rng: np.random.Generator, case: int, same: bool) -> None:
    kernel, stride, size = sides(rng, 2, 1, 5), sides(rng, 2, 1, 4), sides(rng, 2, 1, 6)
    channels, outputs = sides(rng, 2, 1, 7)
    result = [n * s if same else (n - 1) * s + max(k, s) for n, s, k in zip(size, stride, kernel, strict=True)]
    b = Builder()
    x, moved, y = b.tensor([1, *size, channels]), b.tensor([1, *size, channels]), b.tensor([1, *result, outputs])
    b.operator("ABS", [x], [moved])
    operands = [
        b.constant(np.array([1, *result, outputs], np.int32)),
        b.constant(spread(rng, outputs, *kernel, channels)),
    ]
    operands += [moved] + ([b.constant(spread(rng, outputs))] if case % 2 else [])
    b.operator("TRANSPOSE_CONV", operands, [y], padding=0 if same else 1, strideH=stride[0], strideW=stride[1])
    check(rng, b, [x], [y])


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("name", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("case", range(3))
def test_pool(rng: np.random.Generator, case: int, name: str, same: bool) -> None:
    options, kernel, size, result = windowed(rng, same)
    while options["dilationHFactor"] > 1 or options["dilationWFactor"] > 1:
        options, kernel, size, result = windowed(rng, same)
    del options["dilationHFactor"], options["dilationWFactor"]
    channels = int(rng.integers(1, 6))
    shapes = ([1, *size, channels], [1, *result, channels])
    one(rng, name, [shapes[0]], shapes[1], filterHeight=kernel[0], filterWidth=kernel[1], **options)


@pytest.mark.parametrize("case", range(CASES))
def test_dense_over_rows(rng: np.random.Generator, case: int) -> None:
    rows, inputs, units = sides(rng, 3, 1, 12)
    weights = [spread(rng, units, inputs), spread(rng, units)]
    shapes = ([1, rows, inputs], [1, rows, units]) if case % 2 else ([1, rows * inputs], [rows, units])
    b = Builder()
    x, moved, y, end = b.tensor(shapes[0]), b.tensor(shapes[0]), b.tensor(shapes[1]), b.tensor([1, rows, units])
    b.operator("ABS", [x], [moved])
    constants = [b.constant(value) for value in weights]
    b.operator("FULLY_CONNECTED", [moved, *constants], [y], keepNumDims=len(shapes[1]) == 3)
    b.operator("RESHAPE", [y, b.constant(np.array([1, rows, units], np.int32))], [end])
    check(rng, b, [x], [end])


@pytest.mark.parametrize("name", ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("case", range(CASES))
def test_reduction(rng: np.random.Generator, case: int, name: str) -> None:
    rank = int(rng.integers(2, 5))
    shape = [1, *sides(rng, rank - 1)]
    axes = sorted(int(axis) for axis in rng.choice(np.arange(1, rank), int(rng.integers(1, rank)), False))
    keep = bool(case % 2) or len(axes) == rank - 1
    result = [1 if axis in axes else n for axis, n in enumerate(shape) if keep or axis not in axes]
    one(rng, name, [shape], result, [np.array(axes, np.int32)], keepDims=keep)


BINARY = ["ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE"]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("case", range(4))
def test_arithmetic_with_broadcast(rng: np.random.Generator, case: int, name: str, constant: bool) -> None:
    result = [1, *sides(rng, 3, 2)]
    shapes = [[n if axis == 0 or rng.random() < 0.6 else 1 for axis, n in enumerate(result)] for _ in range(2)]
    if case == 0:
        shapes = [result, result]
    if case == 1 and constant:
        shapes[1] = shapes[1][2:]
    result = list(np.broadcast_shapes(*map(tuple, shapes)))
    b = Builder()
    inputs = [b.tensor(shape) for shape in shapes[: 1 if constant else 2]]
    one = b.tensor(shapes[0])
    b.operator("EXP", inputs[:1], [one])
    second = b.constant(np.abs(spread(rng, *shapes[1])) + np.float32(0.5)) if constant else b.tensor(shapes[1])
    if not constant:
        b.operator("EXP", inputs[1:], [second])
    operands, y = [one, second] if case % 2 else [second, one], b.tensor(result)
    fused = {"fusedActivationFunction": (0, 1, 2, 3)[case]} if name in ("ADD", "SUB", "MUL", "DIV") else {}
    b.operator(name, operands, [y], **fused)
    check(rng, b, inputs, [y])


@pytest.mark.parametrize("case", range(2))
def test_prelu(rng: np.random.Generator, case: int) -> None:
    shape = [1, *sides(rng, 3, 2)]
    b = Builder()
    x, moved, y = b.tensor(shape), b.tensor(shape), b.tensor(shape)
    b.operator("NEG", [x], [moved])
    b.operator("PRELU", [moved, b.constant(spread(rng, 1, 1, 1, shape[3]) if case else spread(rng, *shape))], [y])
    check(rng, b, [x], [y])


PLAIN = ("ABS", "ELU", "EXP", "HARD_SWISH", "LOGISTIC", "NEG", "RELU", "RELU6", "RELU_N1_TO_1", "SIN", "SQUARE", "TANH")
FUNCTIONS: dict[str, dict[str, Any]] = {
    **{name: {} for name in (*PLAIN, "LOG", "SQRT", "RSQRT")},
    "LEAKY_RELU": {"alpha": 1.5},
    "GELU": {"approximate": False},
    "LOG_SOFTMAX": {},
    "SOFTMAX": {"beta": 0.7},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(rng: np.random.Generator, name: str) -> None:
    shape = [1, *sides(rng, 3, 3)]
    b = Builder()
    x, between, y = b.tensor(shape), b.tensor(shape), b.tensor(shape)
    positive = name in ("LOG", "SQRT", "RSQRT")
    b.operator("ABS" if positive else "NEG", [x], [between])
    b.operator(name, [between], [y], **FUNCTIONS[name])
    check(rng, b, [x], [y], positive)


def test_gelu_by_tanh(rng: np.random.Generator) -> None:
    one(rng, "GELU", [[1, 50]], [1, 50], approximate=True)


@pytest.mark.parametrize("mode", ["", "alignCorners", "halfPixelCenters"])
@pytest.mark.parametrize("name", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
@pytest.mark.parametrize("case", range(3))
def test_resize(rng: np.random.Generator, case: int, name: str, mode: str) -> None:
    height, width, out_h, out_w, channels = sides(rng, 5, 1, 9)
    options = {mode: True} if mode else {}
    size = np.array([out_h, out_w], np.int32)
    one(rng, name, [[1, height, width, channels]], [1, out_h, out_w, channels], [size], **options)


@pytest.mark.parametrize("case", range(3))
def test_matrix_product(rng: np.random.Generator, case: int) -> None:
    batch, rows, inner, columns = sides(rng, 4, 2)
    one(rng, "BATCH_MATMUL", [[1, batch, rows, inner], [1, batch, inner, columns]], [1, batch, rows, columns])


def moved(
    rng: np.random.Generator, name: str, shape: list[int], outputs: list[list[int]], *operands: Any, **options: Any
) -> None:
    """A movement of what ABS gives; None among the operands is that."""
    b = Builder()
    x, between = b.tensor(shape), b.tensor(shape)
    b.operator("ABS", [x], [between])
    results = [b.tensor(output) for output in outputs]
    b.operator(name, [between if value is None else b.constant(value) for value in operands], results, **options)
    check(rng, b, [x], results)


def test_moves(rng: np.random.Generator) -> None:
    """What moves is held to TFLM, int8, in test_int8_movement.py; here that float32 values go the same ways."""
    i32 = np.int32
    moved(rng, "TRANSPOSE", [1, 3, 4, 5], [[1, 5, 3, 4]], None, i32([0, 3, 1, 2]))
    moved(rng, "SLICE", [1, 6, 5, 3], [[1, 2, 3, 2]], None, i32([0, 1, 2, 1]), i32([1, 2, 3, 2]))
    moved(rng, "STRIDED_SLICE", [1, 7, 4], [[1, 3, 4]], None, i32([0, 6, 0]), i32([1, 0, 4]), i32([1, -2, 1]))
    moved(rng, "SPLIT", [1, 4, 6], [[1, 4, 2]] * 3, i32(2), None, numSplits=3)
    moved(rng, "PAD", [1, 3, 4, 2], [[1, 6, 5, 3]], None, i32([[0, 0], [1, 2], [0, 1], [1, 0]]))
    moved(rng, "PADV2", [1, 3, 4], [[1, 6, 5]], None, i32([[0, 0], [1, 2], [0, 1]]), np.float32([-1.5]))
    moved(rng, "TILE", [1, 3, 2], [[1, 6, 6]], None, i32([1, 2, 3]))
    moved(rng, "REVERSE_V2", [1, 3, 5], [[1, 3, 5]], None, i32([2]))
    moved(rng, "GATHER", [1, 5, 3], [[1, 4, 3]], None, i32([4, 0, 1, 1]), axis=1)
    moved(rng, "CONCATENATION", [1, 3, 2], [[1, 7, 2]], None, spread(rng, 1, 1, 2), None, axis=1)
    moved(rng, "DEPTH_TO_SPACE", [1, 3, 2, 8], [[1, 6, 4, 2]], None, blockSize=2)


@pytest.mark.parametrize("case", range(4))
def test_padding_of_a_convolution(rng: np.random.Generator, case: int) -> None:
    """Folded into the window where that can be, materialized where a window would lie in zeros alone."""
    pads = [(0, 1), (1, 1), (3, 0), (0, 4)][case]
    size, stride = 8, 2
    result = (size + sum(pads) - 3) // stride + 1
    b = Builder()
    x, padded, y = (
        b.tensor([1, size, size, 3]),
        b.tensor([1, size + sum(pads), size + sum(pads), 3]),
        b.tensor([1, result, result, 4]),
    )
    b.operator("PAD", [x, b.constant(np.array([[0, 0], pads, pads, [0, 0]], np.int32))], [padded])
    operands = [b.constant(spread(rng, 4, 3, 3, 3)), b.constant(spread(rng, 4))]
    b.operator("CONV_2D", [padded, *operands], [y], padding=1, strideH=stride, strideW=stride)
    model = check(rng, b, [x], [y])
    # (0, 1) is what "same" pads here: the layer learns.
    assert isinstance(model, Int8Model) == (case != 0)
    if isinstance(model, Int8Model):
        assert len(model.content) and int.from_bytes(model.content[16:18], "little") == (1 if case == 1 else 2)


@pytest.mark.parametrize("case", range(CASES))
def test_lstm(rng: np.random.Generator, case: int) -> None:
    """Whole sequences from a state of 0, with and without a limit of the cell; alone and before a dense layer."""
    steps, inputs, units = (int(n) for n in rng.integers(1, 14, 3))
    b = Builder()
    x, y = b.tensor([1, steps, inputs]), b.tensor([1, steps, units])
    shapes = 4 * [(units, inputs)] + 4 * [(units, units)] + 4 * [(units,)]
    w = [b.constant(rng.normal(size=shape).astype(np.float32)) for shape in shapes]
    states = [b.tensor([1, units], variable=True) for _ in range(2)]
    operands = [x, *w[:8], -1, -1, -1, *w[8:], -1, -1, *states, -1, -1, -1, -1]
    clip = (0.0, 0.4, 10.0)[case % 3]
    b.operator("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [y], fusedActivationFunction=4, cellClip=clip)
    if case < 3:
        check(rng, b, [x], [y])
        return
    z = b.tensor([1, 3])
    flat = b.tensor([1, steps * units])
    b.operator("RESHAPE", [y, b.constant(np.array([1, steps * units], np.int32))], [flat])
    b.operator("FULLY_CONNECTED", [flat, b.constant(rng.normal(size=(3, steps * units)).astype(np.float32)), -1], [z])
    check(rng, b, [x], [z])


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("one_dimensional", [False, True])
def test_dilation_as_blocks_of_a_batch(rng: np.random.Generator, one_dimensional: bool, depthwise: bool) -> None:
    """SPACE_TO_BATCH_ND, a convolution, BATCH_TO_SPACE_ND, as TensorFlow writes dilated convolutions."""
    b = Builder()
    block, kernel = ([2], 3) if one_dimensional else ([2, 3], 3)
    size = [12] * len(block)
    pads = [[d, d] for d in block]  # as "same"
    grown = [n + 2 * d for n, d in zip(size, block, strict=True)]
    inner = [n // d for n, d in zip(grown, block, strict=True)]
    crops = [[0, 0]] * len(block)
    count = int(np.prod(block))
    x, packed = b.tensor([1, *size, 3]), b.tensor([count, *inner, 3])
    b.operator("SPACE_TO_BATCH_ND", [x, b.constant(np.int32(block)), b.constant(np.int32(pads))], [packed])
    if one_dimensional:
        tall = b.tensor([count, 1, *inner, 3])
        b.operator("RESHAPE", [packed, b.constant(np.int32([count, 1, *inner, 3]))], [tall])
        packed = tall
    window = [1, kernel] if one_dimensional else [kernel, kernel]
    channels = 6 if depthwise else 4
    weights = spread(rng, 1, *window, channels) if depthwise else spread(rng, channels, *window, 3)
    after = [n - 2 for n in inner]
    sides_after = [1, *after] if one_dimensional else after
    result = b.tensor([count, *sides_after, channels])
    name, more = ("DEPTHWISE_CONV_2D", {"depthMultiplier": 2}) if depthwise else ("CONV_2D", {})
    operands = [packed, b.constant(weights), b.constant(spread(rng, channels))]
    b.operator(name, operands, [result], padding=1, strideH=1, strideW=1, **more)
    if one_dimensional:
        flat = b.tensor([count, *after, channels])
        b.operator("RESHAPE", [result, b.constant(np.int32([count, *after, channels]))], [flat])
        result = flat
    y = b.tensor([1, *[n * d for n, d in zip(after, block, strict=True)], channels])
    b.operator("BATCH_TO_SPACE_ND", [result, b.constant(np.int32(block)), b.constant(np.int32(crops))], [y])
    model = check(rng, b, [x], [y])
    assert isinstance(model, Int8Model)
    assert int.from_bytes(model.content[16:18], "little") == 1


def test_sizes_that_follow_from_an_open_batch(rng: np.random.Generator) -> None:
    """Dense over rows as Keras 3 writes it: the rows are folded into a batch that the file leaves open."""
    b = Builder()
    x = b.tensor([1, 6, 5], signature=[-1, 6, 5])
    rows = b.tensor([1, 1], signature=[-1, -1])
    result = b.tensor([1, 4], signature=[-1, 4])
    y = b.tensor([1, 6, 4], signature=[-1, 6, 4])
    b.operator("RESHAPE", [x, b.constant(np.int32([-1, 5]))], [rows])
    b.operator("FULLY_CONNECTED", [rows, b.constant(spread(rng, 4, 5)), b.constant(spread(rng, 4))], [result])
    b.operator("RESHAPE", [result, b.constant(np.int32([-1, 6, 4]))], [y])
    check(rng, b, [x], [y])


def delayed(b: Builder, rng: np.random.Generator) -> tuple[int, int]:
    """y = x[t-1] + x[t-2]: both are read before they change."""
    x, one, two, y = (b.tensor([1, 3]) for _ in range(4))
    handles = b.variables({name: b.constant(rng.normal(size=(1, 3)).astype(np.float32)) for name in ("one", "two")})
    b.operator("READ_VARIABLE", [handles["one"]], [one])
    b.operator("READ_VARIABLE", [handles["two"]], [two])
    b.operator("ASSIGN_VARIABLE", [handles["two"], one], [])
    b.operator("ASSIGN_VARIABLE", [handles["one"], x], [])
    b.operator("ADD", [one, two], [y], fusedActivationFunction=0)
    return x, y


def summed(b: Builder, rng: np.random.Generator) -> tuple[int, int]:
    """s = relu(x + s), and what a dense layer that learns makes of it."""
    x, read, s, y = (b.tensor([1, 4]) for _ in range(4))
    handle = b.variables({"s": b.constant(rng.normal(size=(1, 4)).astype(np.float32))})["s"]
    b.operator("READ_VARIABLE", [handle], [read])
    b.operator("ADD", [x, read], [s], fusedActivationFunction=1)
    b.operator("ASSIGN_VARIABLE", [handle, s], [])
    b.operator("FULLY_CONNECTED", [s, b.constant(rng.normal(size=(4, 4)).astype(np.float32)), -1], [y])
    return x, y


def svdf(b: Builder, rng: np.random.Generator) -> tuple[int, int]:
    rank, memory, inputs, units = (int(n) for n in rng.integers([1, 1, 1, 1], [4, 7, 12, 6]))
    x, y = b.tensor([1, inputs]), b.tensor([1, units])
    shapes = ((units * rank, inputs), (units * rank, memory), (units,))
    weights = [b.constant(rng.normal(size=shape).astype(np.float32)) for shape in shapes]
    state = b.tensor([1, units * rank * memory], variable=True)
    b.operator("SVDF", [x, *weights, state], [y], rank=rank, fusedActivationFunction=int(rng.integers(2)))
    return x, y


@pytest.mark.parametrize("make", [delayed, summed, svdf, svdf, svdf])
def test_streams(rng: np.random.Generator, make: Callable[[Builder, np.random.Generator], tuple[int, int]]) -> None:
    """Nine steps, with the states of the one before."""
    b = Builder()
    x, y = make(b, rng)
    content = b.content([x], [y])
    steps = rng.normal(size=(9, b.graph.tensors[x].shape[1])).astype(np.float32)
    runner = litert("interpreter").Interpreter(model_content=content)
    runner.allocate_tensors()
    wanted = []
    for step in steps:
        runner.set_tensor(x, step[None])
        runner.invoke()
        wanted.append(runner.get_tensor(y)[0].copy())
    found = run(read_tflite(parse(content)), [steps], stream=True).real[0]
    np.testing.assert_allclose(found, np.stack(wanted), rtol=TOLERANCE, atol=TOLERANCE)


def test_a_layer_of_a_constant(rng: np.random.Generator) -> None:
    """The state that an unrolled recurrent layer begins with is a constant that a dense layer reads."""
    b = Builder()
    x, state, y = b.tensor([1, 4]), b.tensor([1, 4]), b.tensor([1, 4])
    kernel = b.constant(spread(rng, 4, 3))
    b.operator("FULLY_CONNECTED", [b.constant(spread(rng, 1, 3)), kernel], [state])
    b.operator("ADD", [state, x], [y])
    check(rng, b, [x], [y])
