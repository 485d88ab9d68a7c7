"""Placing the buffers of int8 networks, and what a description of one must hold to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyfed.errors import UsageError
from tinyfed.model.int8 import arithmetic, spec
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
        (lambda: spec.Int8Network(dense().tensors, (), (0,), (1,)), "needs an input"),
        (lambda: spec.Int8Network(dense().tensors, dense().layers, (0,), (7,)), "does not exist"),
    ],
)
def test_what_does_not_fit_is_named(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(UsageError, match=message):
        make()
