"""Weights that come back shorter than float32: the device writes them as `tinyfed.wire.encodings` does, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
from reference_draw import encode_shard
from test_visit_line import connect
from tinyfed_host.run.exchange import WeightsExchange

from tinyfed.device.simulated import SimulatedDevice
from tinyfed.errors import DeviceError, DoesNotFitError, UsageError
from tinyfed.model import Dense, Flatten, ModelSpec, ScaleShift, encode, initialize, mlp, plan
from tinyfed.wire import encodings
from tinyfed.wire.encodings import NAMES, WeightsEncoding
from tinyfed.wire.messages import hash64
from tinyfed.wire.order import Order
from tinyfed.wire.update import expand, layer_sizes, shared_part

SPEC = mlp(2, (40, 8), 3, loss="softmax_cross_entropy")
TENSORS = (80, 40, 320, 8, 24, 3)
WEIGHTS = initialize(SPEC, 5).tobytes()
IMAGE = encode(SPEC, initialize(SPEC, 5))
SHARD = encode_shard([9, 12, 8, 10])
ORDER = Order("shard", ways=3, shots=4, queries=2, seed=77, learning_rate=0.05)
SINE = Order("sine", ways=1, shots=5, queries=0, seed=3, learning_rate=2.0**-126)  # changes no weight
SHORTER = [name for name in NAMES if name != "float32"]


def simulated(image: bytes = IMAGE, arena_bytes: int = 65536) -> SimulatedDevice:
    device = SimulatedDevice("dut", shard=SHARD, arena_bytes=arena_bytes)
    device.load(image)
    return device


def answered(name: str, trained: bytes, base: bytes, tensors: tuple[int, ...]) -> bytes:
    """What both ends make of an answer, by Python's own encoder."""
    how = WeightsEncoding.named(name)
    return encodings.decode(how, encodings.encode(how, trained, tensors, base), base)


def trained_by(device: SimulatedDevice, weights: bytes | None, order: Order) -> bytes:
    found = device.visit(weights, order, want_weights=True).weights
    assert found is not None
    return found


@pytest.mark.parametrize("name", SHORTER)
@pytest.mark.parametrize("update", ["online", "sgd"])
def test_an_answer_is_what_python_makes_of_the_trained_weights(name: str, update: str) -> None:
    order = replace(ORDER, update=update, passes=2)
    trained = trained_by(simulated(), WEIGHTS, order)
    device = simulated()
    got = trained_by(device, WEIGHTS, replace(order, answer=name))
    assert got == answered(name, trained, WEIGHTS, TENSORS)
    assert got != trained
    assert device.info.weights_hash == hash64(got)  # it goes on with what it told
    again = replace(ORDER, seed=78)
    assert trained_by(device, None, again) == trained_by(simulated(), got, again)
    off = np.abs(np.frombuffer(got, "<f4") - np.frombuffer(trained, "<f4")).max()
    assert off < (2.0**-11 if "16" in name else 1 / 127) * 1.1


@pytest.mark.parametrize("name", SHORTER)
def test_over_a_line_it_is_the_same_and_shorter(name: str) -> None:
    device, _ = connect()
    device.load(IMAGE)
    plain = device.visit(WEIGHTS, ORDER, want_weights=True)
    outcome = device.visit(WEIGHTS, replace(ORDER, answer=name), want_weights=True)
    assert outcome.weights == trained_by(simulated(), WEIGHTS, replace(ORDER, answer=name))
    assert "answers" in device.info.capabilities
    saved = 475 * 2 if "16" in name else 475 * 3 - 48  # bytes of the weights; six heads of eight bytes
    assert saved <= plain.bytes_up - outcome.bytes_up <= saved + 40  # and of the frame around the second chunk
    # the difference to its answer is what the next weights can go down as
    short = encodings.shorten(WeightsEncoding("int8", delta=True), WEIGHTS, TENSORS, outcome.weights)
    down = device.visit(short.weights, ORDER, want_weights=True, shortened=short)
    assert down.bytes_down < plain.bytes_down - 1000
    assert down.weights == trained_by(simulated(), short.weights, ORDER)


@pytest.mark.parametrize("name", SHORTER)
@pytest.mark.parametrize("local", [{"local_last": 1}, {"local_first": 1, "reconstruct": 2, "keep_local": True}])
def test_a_shared_part_comes_back_shorter_too(name: str, local: dict[str, int]) -> None:
    order = replace(ORDER, **local)  # type: ignore[arg-type]
    trained = np.frombuffer(trained_by(simulated(), WEIGHTS, order), "<f4")
    first, count = shared_part(order, layer_sizes(IMAGE))
    tensors = TENSORS[:4] if "local_last" in local else TENSORS[2:]
    base = np.frombuffer(WEIGHTS, "<f4")
    expected = base.copy()
    part = slice(first, first + count)
    expected[part] = np.frombuffer(answered(name, trained[part].tobytes(), base[part].tobytes(), tensors), "<f4")
    assert trained_by(simulated(), WEIGHTS, replace(order, answer=name)) == expected.tobytes()


@pytest.mark.parametrize("name", SHORTER)
def test_tiny_tensors_are_not_written_over_before_they_are_read(name: str) -> None:
    """Layers of one weight and one bias: a segment's head is longer than the copy of its values."""
    narrow = [Dense(1, "tanh", use_bias=bias) for bias in (True, True, False, True)]
    layers = (Flatten(), *narrow, ScaleShift(), Dense(1))
    spec = ModelSpec((1,), layers)
    weights = initialize(spec, 3)
    image = encode(spec, weights)
    order = replace(SINE, learning_rate=0.1)
    trained = trained_by(simulated(image), None, order)
    assert trained != weights.tobytes()
    tensors = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    assert len(trained) == 4 * len(tensors)
    got = trained_by(simulated(image), None, replace(order, answer=name))
    assert got == answered(name, trained, weights.tobytes(), tensors)


def test_every_kind_of_float16_is_rounded_as_ieee_does() -> None:
    """Zeros, subnormals, ties to both sides, the largest: weights that a rate of 2^-126 does not change."""
    small, half = 2.0**-24, 2.0**-11
    values = [0.0, small, 0.5 * small, 1.5 * small, 2.5 * small, -0.4 * small, -0.51 * small, 1023.5 * small, 2.0**-14]
    values += [1 + half, 1 + 3 * half, 1 + 2.9 * half, -1 - half, 2.0**-126, 1e-40, 6.1e-5, 65504.0, -65519.0]
    spec = mlp(1, (len(values),), 1)
    weights = np.zeros(spec.parameter_count, np.float32)
    weights[: len(values)] = values
    got = trained_by(simulated(encode(spec, weights)), None, replace(SINE, answer="float16"))
    rounded = weights.astype(np.float16).astype(np.float32)
    assert got[: 4 * len(values)] == rounded[: len(values)].tobytes()
    weights[0] = 65520.0  # would be infinite
    with pytest.raises(DeviceError, match="finite"):
        trained_by(simulated(encode(spec, weights)), None, replace(SINE, answer="float16"))


def test_what_it_needs_is_known_to_the_byte() -> None:
    """48 bytes of indices, and for the answer 2 a value, or 1 and six heads of 8; a difference a copy and heads."""
    count = SPEC.parameter_count
    needs = {"float16": 2 * count, "int8": count + 48, "float16-delta": 4 * count + 48, "int8-delta": 4 * count + 48}
    for name, extra in needs.items():
        needed = plan(SPEC).arena_bytes + 48 + -(-extra // 16) * 16
        told = simulated(arena_bytes=needed).visit(None, replace(ORDER, answer=name), want_weights=False).result
        assert told.arena_bytes == needed
        device, _ = connect()
        device.load(IMAGE)
        assert device.visit(None, replace(ORDER, answer=name), want_weights=False).result.arena_bytes == needed
        with pytest.raises(DoesNotFitError, match="16 bytes short"):
            simulated(arena_bytes=needed - 16).visit(None, replace(ORDER, answer=name), want_weights=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"answer": "int4"}, "int4"),
        ({"answer": "int8", "top": 100}, "top gives back some"),
        ({"answer": "int8-delta", "update": "sgd", "meta_gradient": True}, "no difference"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(ORDER, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"\x00", bytes(949), bytes(951), b"\xff" * 523])
def test_an_answer_of_the_wrong_length_is_refused(content: bytes) -> None:
    for name in SHORTER:
        with pytest.raises(UsageError):
            expand(replace(ORDER, answer=name), content, WEIGHTS, (0, 475))


def test_what_a_device_cannot_answer_in_is_told_once_and_float32() -> None:
    told: list[str] = []
    exchange = WeightsExchange("float32", IMAGE, lambda event: told.append(event.text), "int8-delta")
    able = simulated().info
    able = replace(able, capabilities=able.capabilities | {"answers"})
    assert exchange.answered(able, ORDER, 1).answer == "int8-delta"
    # these go with no such answer, whatever the device
    assert exchange.answered(able, replace(ORDER, top=100), 1).answer == "float32"
    assert exchange.answered(able, replace(ORDER, update="sgd", meta_gradient=True), 1).answer == "float32"
    assert told == []
    lacking = replace(able, capabilities=frozenset())
    assert [exchange.answered(lacking, ORDER, number).answer for number in (1, 2)] == ["float32", "float32"]
    assert told == ["its firmware answers in float32 only, not in int8-delta; flash a newer one"]
