"""Placing the buffers of int8 networks, and what a description of one must hold to."""

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfed.errors import UsageError
from tinyfed.model.int8 import arithmetic, spec
from tinyfed.model.int8 import plan as planning
from tinyfed.model.int8.engine import Int8Engine
from tinyfed.model.int8.image import encode_int8, read_plan, read_ports
from tinyfed.model.int8.pack import pack_quads
from tinyfed.model.int8.plan import Buffer, aligned, most_live, place

BUFFERS = st.lists(
    st.builds(
        lambda size, first, length: Buffer(size, first, first + length), *(st.integers(0, n) for n in (90, 9, 5))
    ),
    max_size=14,
)


@settings(max_examples=150, deadline=None)
@given(BUFFERS)
def test_buffers_in_use_at_the_same_time_do_not_overlap(buffers: list[Buffer]) -> None:
    offsets, total = place(buffers)
    assert total >= most_live(buffers)
    for i, (a, at) in enumerate(zip(buffers, offsets, strict=True)):
        assert at % 16 == 0 and at + aligned(a.byte_count) <= total
        for b, other in zip(buffers[:i], offsets[:i], strict=True):
            if a.first <= b.last and b.first <= a.last:
                assert at + aligned(a.byte_count) <= other or other + aligned(b.byte_count) <= at


def test_places_and_sizes_are_multiples_of_16() -> None:
    assert [aligned(n) for n in (0, 1, 16, 17)] == [0, 16, 16, 32]
    assert place([Buffer(17, 0, 0), Buffer(1, 0, 0)]) == ([0, 32], 48)
    assert place([]) == ([], 0) and most_live([]) == 0


def test_no_order_of_placement_is_there_in_vain() -> None:
    """Sets of hand-made buffers, found so that one of the orders alone, or the search behind them, gets the bytes."""
    cases = (
        (18, [(6, 0, 0), (5, 1, 4), (1, 0, 0), (2, 1, 1), (5, 0, 1), (5, 5, 8), (6, 0, 3), (3, 2, 3)]),
        (14, [(4, 3, 6), (4, 4, 5), (5, 3, 4), (6, 0, 0), (3, 2, 3), (3, 5, 8), (3, 5, 6), (3, 1, 2)]),
        (21, [(5, 2, 5), (6, 1, 1), (3, 4, 7), (3, 3, 6), (5, 1, 4), (4, 0, 3), (6, 0, 1), (2, 3, 5)]),
        (14, [(5, 3, 4), (3, 1, 4), (6, 4, 7), (6, 0, 2), (2, 0, 3), (2, 1, 3)]),
    )
    for wanted, rows in cases:
        buffers = [Buffer(16 * size, first, last) for size, first, last in rows]
        assert place(buffers)[1] == 16 * wanted, rows


def test_a_search_ends_where_no_placement_is_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of buffers that fit exactly nothing is exchanged; of many buffers as few as there is time for."""
    tried = []
    monkeypatch.setattr(planning._Forbidden, "first_fit", counted(planning._Forbidden.first_fit, tried))
    place([Buffer(16, step, step + 1) for step in range(9)])
    assert len(tried) == 1
    assert len(list(planning._exchanges(20))) == 190
    assert len(list(planning._exchanges(50))) == planning.MOST_EXCHANGES
    assert len(list(planning._exchanges(1000))) == planning.MOST_PLACED // 1000


def counted(function: Callable[..., object], calls: list[int]) -> Callable[..., object]:
    def wrapper(*arguments: object) -> object:
        calls.append(1)
        return function(*arguments)

    return wrapper


def test_an_output_begins_behind_what_is_still_read() -> None:
    """An input of 160 bytes and an output of 96 that may begin 32 below it: 192 instead of 256, whichever is placed
    first; with something else below the input at that step the output goes there no more."""
    buffers = [Buffer(160, 0, 1), Buffer(96, 1, 2)]
    assert place(buffers) == ([0, 160], 256)
    assert place(buffers, {(1, 0): 32}) == ([32, 0], 192) and most_live(buffers, {(1, 0): 32}) == 192
    assert place([buffers[1], buffers[0]], {(0, 1): 32}) == ([0, 32], 192)
    offsets, total = place([*buffers, Buffer(48, 1, 1)], {(1, 0): 32})
    assert total == 240 and offsets[1] + 32 <= offsets[0]


def window(kind: str, stride: int) -> bytes:
    """A 3x3 convolution, SAME, of 12x6x4 to 8 channels; or a pool of 2x2 over 12x6x8."""
    if kind == "pool":
        tensors = spec.Int8Tensor("x", (12, 6, 8)), spec.Int8Tensor("y", (6, 3, 8))
        return encode_int8(spec.Int8Network(tensors, (spec.Int8MaxPool2D((0,), 1),), (0,), (1,)))[0]
    tensors = spec.Int8Tensor("x", (12, 6, 4), 0.5), spec.Int8Tensor("y", (12 // stride, 6 // stride, 8), 0.5)
    weights = np.ones((8, 3, 3, 4), np.int8)
    layer = spec.Int8Conv2D((0,), 1, weights, np.full(8, 0.01, np.float32), None, (stride, stride))
    return encode_int8(spec.Int8Network(tensors, (layer,), (0,), (1,)))[0]


@pytest.mark.parametrize(("kind", "stride", "below"), [("conv", 1, 336), ("conv", 2, 24), ("pool", 2, 24)])
def test_the_engine_knows_how_near_an_output_may_come(kind: str, stride: int, below: int) -> None:
    """By hand: the last of 12 rows of 48 bytes ends at 576 while row 10 of the input, at 240, is read; with stride 2
    the first row of 24 bytes ends while row 0 is read, and so does the pool's."""
    program = bytearray(window(kind, stride))
    struct.pack_into("<I", program, 12, 1 << 15)  # a work area with room
    for distance in (below, below - 1):
        struct.pack_into("<4I", program, 64 + 32, 8192, 0, 8192 - distance, 16384)  # input, second, output, scratch
        if distance == below:
            Int8Engine(bytes(program))
        else:
            with pytest.raises(UsageError):
                Int8Engine(bytes(program))


def test_a_dense_layer_has_room_for_its_input_once() -> None:
    """Up to 8 outputs: no scratch. More: twice the input, which lies in the upper half of that and nowhere lower."""

    def dense(outputs: int) -> bytes:
        tensors = spec.Int8Tensor("x", (1022,)), spec.Int8Tensor("y", (outputs,), 0.5)
        layer = spec.Int8Dense((0,), 1, np.ones((outputs, 1022), np.int8), np.full(1, 0.01, np.float32), None)
        return encode_int8(spec.Int8Network(tensors, (layer,), (0,), (1,)))[0]

    assert read_plan(dense(8)).work_bytes == 1024 + 16
    program = bytearray(dense(9))
    assert read_plan(bytes(program)).work_bytes == 2048 + 16
    struct.pack_into("<I", program, 12, 1 << 15)
    for place_of_input in (8192 + 1020, 8192 + 1019):
        struct.pack_into("<4I", program, 64 + 32, place_of_input, 0, 0, 8192)  # input, second, output, scratch
        if place_of_input == 8192 + 1020:
            Int8Engine(bytes(program))
        else:
            with pytest.raises(UsageError):
                Int8Engine(bytes(program))


@settings(max_examples=200, deadline=None)
@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-9, 0.999))
def test_rescaling_is_within_two_roundings_of_the_product(x: int, real: float) -> None:
    multiplier, shift = arithmetic.quantize_multiplier(real)
    assert multiplier == 0 or 2**30 <= multiplier < 2**31
    assert abs(arithmetic.rescale(x, multiplier, shift) - x * real) <= 1.0 + abs(x) * real * 2**-30


def test_a_half_word_holds_an_even_and_an_odd_channel() -> None:
    """Channels 1, -2, 3, -4 of inputs k0..k3 = 10, 20, 30, 40 times that, as docs/int8.md lays them out."""
    weights = np.array([[1], [-2], [3], [-4]]) * np.array([[10, 11, 12, 13]])
    half_words = np.frombuffer(pack_quads(weights.astype(np.int8)), "<i2")
    pair = [[256 * int(weights[o + 1, k]) + int(weights[o, k]) for o in (0, 2)] for k in range(4)]
    expected = [pair[0][0], pair[2][0], pair[0][1], pair[2][1], pair[1][0], pair[3][0], pair[1][1], pair[3][1]]
    assert half_words.tolist() == expected


def dense(**changes: object) -> spec.Int8Network:
    fields = {"weights": np.ones((2, 3), np.int8), "weight_scales": np.ones(1, np.float32), "bias": None} | changes
    tensors = (spec.Int8Tensor("x", (3,), 0.1, 0), spec.Int8Tensor("y", (2,), 1.0, 0))
    return spec.Int8Network(tensors, (spec.Int8Dense((0,), 1, **fields, name="last"),), (0,), (1,))  # type: ignore[arg-type]


def test_a_program_says_what_it_takes() -> None:
    program, plan = encode_int8(dense())
    assert read_plan(program) == plan
    assert (plan.program_bytes, plan.multiply_adds) == (len(program), 6)
    (source,), (output,) = read_ports(program)
    assert (source.shape, source.count, output.shape, output.scale) == ((3,), 3, (2,), 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encode_int8(dense(weights=np.ones((2, 4), np.int8))), "Int8Dense 'last': weights"),
        (lambda: encode_int8(dense(bias=np.zeros(3, np.int32))), "Int8Dense 'last': bias"),
        (lambda: encode_int8(dense(weight_scales=np.float32([1e36]))), "Int8Dense 'last': its scales ask for"),
        (lambda: spec.Int8Tensor("t", (3,), 0.0, 0), "scale 0.0"),
        (lambda: spec.Int8Tensor("t", (3,), 1.0, 200), "zero point 200"),
        (lambda: spec.Int8Tensor("t", (0,), 1.0, 0), "positive dimensions"),
        (lambda: spec.Int8Network(dense().tensors, dense().layers, (1,), (1,)), "before a layer writes it"),
        (lambda: spec.Int8Network(dense().tensors, (), (0,), ()), "needs an input"),
        (lambda: spec.Int8Network(dense().tensors, dense().layers, (0,), (7,)), "does not exist"),
    ],
)
def test_what_does_not_fit_is_named(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UsageError, match=message):
        make()
