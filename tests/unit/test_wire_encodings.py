"""Weights in fewer bytes: Python and C make the same floats of them, bit for bit."""

import ctypes
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_line import ORDER, RESULT, CLine
from tinyfed_host.device.line import RemoteDevice
from wire_pair import CDevice, Channel, Pair, bit_errors, library

from tinyfed.errors import UsageError
from tinyfed.model.image import encode as encode_image
from tinyfed.model.spec import mlp
from tinyfed.wire.encodings import FORMATS, WeightsEncoding, decode, encode, shorten
from tinyfed.wire.messages import CAPABILITIES, Kind, hash64
from tinyfed.wire.transfer import TransferOperation, UploadOperation

ALL = [WeightsEncoding(name, delta) for name in FORMATS for delta in (False, True)]
CODED = [how for how in ALL if how != WeightsEncoding()]
finite = st.floats(-60_000, 60_000, width=32)


def expand_in_c(how: WeightsEncoding, data: bytes, count: int, base: bytes | None, piece: int = 7) -> bytes:
    values = np.frombuffer(base, np.float32).copy() if base else np.full(count, np.nan, np.float32)
    status = library().device_expand(how.number, values.ctypes.data_as(ctypes.c_void_p), count, data, len(data), piece)
    assert status == 0
    return values.tobytes()


@pytest.mark.parametrize("how", CODED)
@settings(deadline=None)
@given(values=st.lists(finite, min_size=1, max_size=40), piece=st.integers(1, 20), data=st.data())
def test_c_and_python_decode_to_the_same_bits(
    how: WeightsEncoding, values: list[float], piece: int, data: st.DataObject
) -> None:
    weights = np.array(values, np.float32)
    base = np.array(data.draw(st.lists(st.floats(-5000, 5000, width=32), min_size=len(values), max_size=len(values))))
    held = base.astype(np.float32).tobytes()
    cut = data.draw(st.integers(0, len(values)))
    if how.delta:
        weights = np.clip(weights, -60_000, 60_000) / np.float32(2)
    wire = encode(how, weights.tobytes(), (cut, len(values) - cut), held)
    decoded = decode(how, wire, held)
    assert decoded == expand_in_c(how, wire, len(values), held if how.delta else None, piece)


@pytest.mark.parametrize("how", CODED)
@pytest.mark.parametrize("more", [1, 5])
def test_no_value_is_written_behind_the_last(how: WeightsEncoding, more: int) -> None:
    """Four values have room, `more` come after them: refused, and what lies behind the fourth stays as it is."""
    there = np.full(16, 7.0, np.float32)
    weights = np.arange(1, 5 + more, dtype=np.float32)
    data = encode(how, weights.tobytes(), (4 + more,), np.zeros(4 + more, np.float32).tobytes())
    status = library().device_expand(how.number, there.ctypes.data_as(ctypes.c_void_p), 4, data, len(data), 3)
    assert status != 0
    assert there[4:].tolist() == [7.0] * 12


def test_every_float16_becomes_the_right_float32() -> None:
    halves = np.arange(65536, dtype=np.uint16)
    halves = halves[np.isfinite(halves.view(np.float16))]
    got = expand_in_c(WeightsEncoding("float16"), halves.tobytes(), halves.size, None, piece=1024)
    assert got == halves.view(np.float16).astype(np.float32).tobytes()


def test_what_is_lost_is_as_small_as_the_format_says() -> None:
    weights = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    half = np.frombuffer(
        decode(WeightsEncoding("float16"), encode(WeightsEncoding("float16"), weights.tobytes())), "<f4"
    )
    assert np.abs(half - weights).max() <= np.abs(weights).max() * 2**-11
    how = WeightsEncoding("int8")
    wire = encode(how, weights.tobytes(), (200, 800))
    assert len(wire) == 1000 + 2 * 8
    eight = np.frombuffer(decode(how, wire), "<f4")
    for part in (slice(0, 200), slice(200, 1000)):
        # half a step of a tensor's largest value / 127, and a little for float32
        assert np.abs(eight[part] - weights[part]).max() <= np.abs(weights[part]).max() / 254 * 1.0001
    # a difference is smaller than the weights, and so is what is lost
    near = weights + np.float32(0.01) * np.sin(np.arange(1000, dtype=np.float32))
    delta = WeightsEncoding("int8", delta=True)
    held = weights.tobytes()
    back = np.frombuffer(decode(delta, encode(delta, near.tobytes(), (), held), held), "<f4")
    assert np.abs(back - near).max() <= 0.01 / 254 * 1.01


def test_zeros_and_tiny_values_are_no_division_by_zero() -> None:
    how = WeightsEncoding("int8")
    for values in ([0.0, 0.0], [1e-44, -1e-44], [1e-38, 0.0]):
        weights = np.array(values, np.float32).tobytes()
        decoded = np.frombuffer(decode(how, encode(how, weights)), "<f4")
        assert np.abs(decoded - np.array(values, np.float32)).max() <= 1e-37


@pytest.mark.parametrize("how", CODED)
def test_what_cannot_be_sent_is_told(how: WeightsEncoding) -> None:
    base = np.zeros(2, np.float32).tobytes()
    with pytest.raises(UsageError, match="not finite"):
        encode(how, np.array([1, np.nan], np.float32).tobytes(), (), base)
    if how.format == "float16":
        with pytest.raises(UsageError, match="beyond 65,504"):
            encode(how, np.array([1, 1e6], np.float32).tobytes(), (), base)
    if how.delta:
        with pytest.raises(UsageError, match="2 weights to 1"):
            encode(how, base, (), base[:4])


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(UsageError, match="'float8': allowed are float32, float16, int8"):
        WeightsEncoding("float8")


def test_what_the_device_does_not_take_is_not_sent() -> None:
    delta = WeightsEncoding("int8", delta=True)
    assert delta.negotiated(frozenset({"int8", "delta"}), holds_weights=True) == delta
    assert delta.negotiated(frozenset({"int8", "delta"}), holds_weights=False) == WeightsEncoding("int8")
    assert delta.negotiated(frozenset({"int8"}), holds_weights=True) == WeightsEncoding("int8")
    assert delta.negotiated(frozenset({"delta", "float16"}), holds_weights=True) == WeightsEncoding()


@pytest.mark.parametrize("how", CODED)
@pytest.mark.parametrize("rate", [0.0, 1e-4])
def test_encoded_weights_go_over_the_line(how: WeightsEncoding, rate: float) -> None:
    rng = random.Random(5)
    fault = bit_errors(rng, rate) if rate else lambda data, offset: data
    pair = Pair(CDevice(), down=Channel(fault), up=Channel(fault))
    pair.greet()
    held = np.random.default_rng(2).normal(size=3000).astype(np.float32).tobytes()
    pair.run(TransferOperation(Kind.IMAGE, held))
    weights = np.random.default_rng(3).normal(size=3000).astype(np.float32).tobytes()
    wire = encode(how, weights, (1000, 2000), held)
    operation = TransferOperation(
        Kind.WEIGHTS, wire, structure_hash=77, encoding=how.number, base_hash=hash64(held) if how.delta else 0
    )
    pair.run(operation)
    assert operation.failure is None
    upload = UploadOperation(len(held))
    pair.run(upload)
    assert upload.content == decode(how, wire, held)


@pytest.mark.parametrize("cut", [-1, 1])
@pytest.mark.parametrize("how", [how for how in CODED if not how.delta])
def test_weights_of_another_length_are_refused_and_leave_no_valid_model(how: WeightsEncoding, cut: int) -> None:
    pair = Pair()
    pair.greet()
    weights = np.ones(100, np.float32).tobytes()
    pair.run(TransferOperation(Kind.IMAGE, weights))
    wire = encode(how, np.ones(100 + cut, np.float32).tobytes())
    operation = TransferOperation(Kind.WEIGHTS, wire, structure_hash=77, encoding=how.number)
    pair.run(operation)
    assert operation.failure is not None
    assert not pair.device.valid
    assert pair.device.violations == 0


@pytest.mark.parametrize("how", ALL)
def test_a_device_is_told_what_it_takes_and_what_it_holds_is_known(how: WeightsEncoding) -> None:
    spec = mlp(2, (8,), 1)
    rng = np.random.default_rng(4)
    start, weights = (rng.normal(size=33).astype(np.float32) for _ in range(2))
    device_end = CDevice(steps=1)
    device_end.set_capabilities((1 << len(CAPABILITIES)) - 1)
    device_end.set_result(RESULT.encode())
    line = CLine(device_end)
    device = RemoteDevice(line, clock=line.clock)
    device.load(encode_image(spec, start))
    device_end.set_image(start.tobytes())
    device._greet()  # it holds something else now
    held = device.visit(None, ORDER, want_weights=True).weights
    assert held is not None
    shortened = shorten(how, weights.tobytes(), (16, 8, 8, 1), held)
    before = len(line.written)
    outcome = device.visit(shortened.weights, ORDER, want_weights=True, shortened=shortened)
    sent = len(line.written) - before
    assert sent < 33 * {"float32": 4, "float16": 2, "int8": 1}[how.format] + 4 * 8 + 250
    assert outcome.weights is not None
    added = ORDER.encode()[0]
    assert bytes((byte - added) & 255 for byte in outcome.weights) == shortened.weights


def test_a_device_that_does_not_hold_the_base_is_given_the_same_weights_in_full() -> None:
    spec = mlp(2, (8,), 1)
    rng = np.random.default_rng(4)
    start, weights = (rng.normal(size=33).astype(np.float32) for _ in range(2))
    device_end = CDevice(steps=1)
    device_end.set_capabilities((1 << len(CAPABILITIES)) - 1)
    device_end.set_result(RESULT.encode())
    line = CLine(device_end)
    device = RemoteDevice(line, clock=line.clock)
    device.load(encode_image(spec, start))
    device_end.set_image(start.tobytes())
    shortened = shorten(WeightsEncoding("int8", delta=True), weights.tobytes(), (), start.tobytes())
    for known in (None, start.tobytes()):  # the host does not know what it holds, or is wrong about it
        device._held = known
        outcome = device.visit(shortened.weights, ORDER, want_weights=True, shortened=shortened)
        assert outcome.weights is not None
        added = ORDER.encode()[0]
        assert bytes((byte - added) & 255 for byte in outcome.weights) == shortened.weights
