"""Orders that share a part of the weights: what the device rebuilds, chooses and sends, beside plain NumPy."""

import contextlib
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from faulty_line import FaultyLine
from reference_draw import arrays, draw, encode_shard
from test_visit_line import InProcess
from tinyfed_host.device.line import RemoteDevice

from tinyfed import meta
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine import Engine, Optimizer
from tinyfed.engine._device import LineDevice
from tinyfed.errors import DeviceError, DoesNotFitError, UsageError
from tinyfed.meta.strategy import Array, Reply
from tinyfed.model import Dense, encode, initialize, mlp, plan
from tinyfed.model.image import read_weights
from tinyfed.random import SplitMix64
from tinyfed.weights import content_hash
from tinyfed.wire.messages import Encoding, Kind
from tinyfed.wire.order import Order, Result
from tinyfed.wire.transfer import TransferOperation, UploadOperation
from tinyfed.wire.update import BITMAP, GAPS, expand, layer_sizes, read_update, shared_part
from tinyfed.wire.visit import VisitOperation

SPEC = mlp(2, (40, 8), 3, loss="softmax_cross_entropy")  # 120 + 328 + 27 parameters
WEIGHTS = initialize(SPEC, 5)
IMAGE = encode(SPEC, WEIGHTS)
COUNTS = [9, 12, 8, 10]
SHARD = encode_shard(COUNTS)
ORDER = Order("shard", ways=3, shots=4, queries=2, seed=77, learning_rate=0.05, checkpoints=(0, 1, 4))
PARTIAL = replace(ORDER, local_last=1, reconstruct=2, top=2000)
HEAD: dict[str, Any] = {"local_last": 1, "zero_local": True, "keep_local": True, "reconstruct": 8}
ORDERS = {
    "top": replace(ORDER, top=500),
    "all that changed": replace(ORDER, top=10_000),
    "last layer local": replace(ORDER, local_last=1, reconstruct=1),
    "first layer local": replace(ORDER, local_first=1, reconstruct=2, keep_local=True),
    "both": PARTIAL,
    "zeros": replace(PARTIAL, zero_local=True, keep_local=True, local_first=1),
    "batches": replace(ORDER, top=1000, update="sgd", batch=4, passes=2),
    "last layer by itself": replace(ORDER, update="sgd", passes=2, **HEAD, meta_gradient=True),
    "far": replace(ORDER, top=1000, update="sgd", batch=4, proximal=0.5),
}


def simulated(shard: bytes = SHARD, arena_bytes: int = 65536) -> SimulatedDevice:
    device = SimulatedDevice("dut", shard=shard, arena_bytes=arena_bytes)
    device.load(IMAGE)
    return device


def visit(order: Order) -> Array:
    weights = simulated().visit(WEIGHTS.tobytes(), order, want_weights=True).weights
    assert weights is not None
    return np.frombuffer(weights, "<f4")


def largest(before: Array, after: Array, top: int) -> Array:
    """Indices of the ceil(top / 10,000) largest changes; of equal ones the first; of values that changed only."""
    size = np.abs(after - before).view(np.uint32).astype(np.int64)
    wanted = -(-len(before) * top // 10_000)
    chosen = np.sort(np.argsort(-size, kind="stable")[:wanted])
    return chosen[size[chosen] > 0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("top", [1, 100, 777, 2500, 9000, 10_000])
def test_the_largest_changes_come_back_and_no_others(top: int) -> None:
    """The same visit without `top` gives all weights; sorting them gives the same choice as the device's passes."""
    every = visit(ORDER)
    expected = WEIGHTS.copy()
    chosen = largest(WEIGHTS, every, top)
    expected[chosen] = every[chosen]
    assert visit(replace(ORDER, top=top)).tolist() == expected.tolist()
    assert 0 < len(chosen) <= -(-475 * top // 10_000)


def test_of_equal_changes_the_first_are_chosen() -> None:
    """With MSE on the sine, zero weights and one layer of two equal hidden units both halves change alike."""
    spec = mlp(1, (6,), 1, "tanh")
    same = np.full(spec.parameter_count, 0.25, np.float32)
    device = SimulatedDevice("ties")
    device.load(encode(spec, same))
    order = Order("sine", 1, 8, 0, 3, 0.05)
    every = np.frombuffer(device.visit(same.tobytes(), order, want_weights=True).weights or b"", "<f4")
    assert len(set(every[:6])) == 1 != every[0] == every[5]
    for top in range(500, 10_000, 500):
        back = device.visit(same.tobytes(), replace(order, top=top), want_weights=True).weights
        chosen = largest(same, every, top)
        expected = same.copy()
        expected[chosen] = every[chosen]
        assert back == expected.tobytes(), top


def root(x: np.float32) -> np.float32:
    """firmware/core/math/sqrt.h: three of Newton's steps from half the exponent."""
    y = ((x.view(np.uint32) >> np.uint32(1)) + np.uint32(0x1FBD1DF5)).view(np.float32)
    for _ in range(3):
        y = np.float32(0.5) * (y + x / y)
    return y


def test_local_layers_are_rebuilt_from_the_seed_and_stay() -> None:
    """The last layer (8-3) begins with (2u - 1) * sqrt(6 / (8 + 3)), u from SplitMix64 at seed ^ "local", and biases 0;
    the engine with the other layers frozen rebuilds it, whatever was in its place before."""
    random_ = SplitMix64(77 ^ 0x6C6F63616C)
    f = np.float32
    limit = root(f(6) / f(11))
    local = [(f(2) * f((random_.next() >> 40) * 2.0**-24) - f(1)) * limit for _ in range(24)] + [f(0)] * 3
    start = WEIGHTS.copy()
    start[448:] = local
    order = replace(ORDER, local_last=1, checkpoints=())
    device = simulated()
    plain = simulated()
    free = np.frombuffer(
        plain.visit(start.tobytes(), replace(ORDER, checkpoints=()), want_weights=True).weights or b"", "<f4"
    )
    got = visit(order)
    assert got[:448].tolist() == free[:448].tolist()  # nothing rebuilt first: all layers learn
    assert got[448:].tolist() == WEIGHTS[448:].tolist()  # what the server had: nothing came back
    other = WEIGHTS.copy()
    other[448:] = 9
    again = device.visit(other.tobytes(), order, want_weights=True).weights or b""
    assert again[: 4 * 448] == got.tobytes()[: 4 * 448]
    only = visit(replace(order, reconstruct=4))
    assert only.tolist() == WEIGHTS.tolist()  # the shared part was frozen for the whole stream
    kept = visit(replace(order, reconstruct=1, keep_local=True))
    assert kept[:448].tolist() != visit(replace(order, reconstruct=1))[:448].tolist()


def test_rebuilding_is_the_engine_with_frozen_layers() -> None:
    held = [replace(layer, trainable=False) for layer in SPEC.layers[:-1] if isinstance(layer, Dense)]
    frozen = replace(SPEC, layers=(*held, SPEC.layers[-1]))
    start = WEIGHTS.copy()
    start[448:] = 0
    engine = Engine(encode(frozen, start))
    train, evaluate = draw(COUNTS, ORDER.seed, 3, 4, 2)
    for c, i, label in train:
        engine.train_online(np.array([[c, i]], np.float32), np.array([label]), 0.05)
    judged = np.array([(c, i) for c, i, _ in evaluate], np.float32), np.array([label for _, _, label in evaluate])
    losses, correct = engine.evaluate(*judged)
    order = replace(ORDER, local_last=1, zero_local=True, reconstruct=4, checkpoints=(4,))
    point = simulated().visit(WEIGHTS.tobytes(), order, want_weights=False).result.checkpoints[0]
    assert point.correct == correct
    total = np.float32(0)
    for loss in losses:
        total += np.float32(loss)
    assert np.float32(point.loss) == total / np.float32(len(losses))


def test_the_meta_gradient_behind_a_rebuilt_layer() -> None:
    """Two steps of the last layer alone, from zeros, by the engine with the others frozen; then the shared layers' part
    of the queries' gradient: what a step of rate 0.5 changes, over 0.5."""
    held = [replace(layer, trainable=False) for layer in SPEC.layers[:-1] if isinstance(layer, Dense)]
    start = WEIGHTS.copy()
    start[448:] = 0
    head = Engine(encode(replace(SPEC, layers=(*held, SPEC.layers[-1])), start), "batch_sgd")
    train, queries = draw(COUNTS, ORDER.seed, 3, 4, 2, passes=2)
    for drawn in (train[:12], train[12:]):
        head.train_batch(*arrays(drawn), Optimizer(0.05))
    engine = Engine(encode(SPEC, head.parameters), "batch_sgd")
    engine.train_batch(*arrays(queries), Optimizer(0.5))
    expected = (engine.parameters[:448] - WEIGHTS[:448]) / np.float32(0.5)
    got = visit(ORDERS["last layer by itself"])
    np.testing.assert_allclose(got[:448], expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-3
    assert got[448:].tolist() == WEIGHTS[448:].tolist()


@pytest.mark.parametrize("errors", [0.0, 1e-4])
@pytest.mark.parametrize("name", ORDERS)
def test_the_line_gives_the_simulated_bits(name: str, errors: float) -> None:
    """The whole device over its line, a good one and one that flips a bit in 10,000."""
    transport = InProcess(LineDevice(65536, bytes(range(12)), "some-board", SHARD))
    line = FaultyLine(transport, random.Random(7), bit_error_rate=errors)
    device = RemoteDevice(line, clock=transport.clock)
    assert {"sparse", "partial"} <= device.info.capabilities
    device.load(IMAGE)
    for seed in (77, 78):
        order = replace(ORDERS[name], seed=seed)
        one = device.visit(WEIGHTS.tobytes(), order, want_weights=True)
        two = simulated().visit(WEIGHTS.tobytes(), order, want_weights=True)
        assert one.weights == two.weights
        assert one.result.checkpoints == two.result.checkpoints
    device.load(IMAGE)
    assert device.visit(None, order, want_weights=True).weights == two.weights
    assert (line.flipped > 0) == (errors > 0)


def test_fewer_bytes_pass_and_local_weights_never_do() -> None:
    """Shared are 448 of 475 values; 5 % of them are 23, in 16 + 92 + 23 bytes (gaps below 128) at most."""
    transport = InProcess(LineDevice(65536, bytes(range(12)), "some-board", SHARD))
    device = RemoteDevice(transport, clock=transport.clock)
    device.load(IMAGE)
    whole = device.visit(WEIGHTS.tobytes(), ORDER, want_weights=True)
    order = replace(PARTIAL, top=500, checkpoints=())
    part = device.visit(WEIGHTS.tobytes(), order, want_weights=True)
    assert whole.bytes_down - part.bytes_down in range(27 * 4 - 12, 27 * 4 + 4)
    assert part.bytes_up < 16 + 92 + 23 + 250 < whole.bytes_up
    with pytest.raises(DeviceError, match="state"):
        device._finish(UploadOperation(), "asking for all")  # the whole weights hold the local ones
    with pytest.raises(DeviceError, match="state"):
        device._finish(UploadOperation(visit=12345), "asking for another visit's")
    with pytest.raises(DeviceError, match="send the weights"):
        device.visit(None, order, want_weights=True)


def power_on(store: memoryview | None = None) -> RemoteDevice:
    """The whole firmware."""
    line = InProcess(LineDevice(65536, bytes(12), "some-board", SHARD, store=store))
    return RemoteDevice(line, clock=line.clock)


def over_a_line() -> RemoteDevice:
    device = power_on()
    device.load(IMAGE)
    return device


@pytest.mark.parametrize("make", [simulated, over_a_line])
def test_no_later_order_gives_away_what_was_local(make: Any) -> None:
    """Whatever is local in one visit is in all that go on from it: kept, or made anew from the seed. Refused is what
    would share it, before a weight is touched: the next order finds the model as it was."""
    device = make()
    first_local, last_local = replace(ORDER, local_first=1), replace(ORDER, local_last=1)
    both = replace(ORDER, local_first=1, local_last=1)
    refused = {
        last_local: [ORDER, replace(ORDER, top=500), replace(ORDER, answer="int8"), first_local],
        both: [ORDER, first_local, last_local],
    }
    for kept, shares in refused.items():
        device.visit(WEIGHTS.tobytes(), kept, want_weights=True)
        for order in [*shares, both]:
            device._fresh = True  # the host's own check is another one
            with contextlib.nullcontext() if order is both else pytest.raises(DeviceError, match="state"):
                device.visit(None, order, want_weights=False)  # both: it shares less
    whole = device.visit(WEIGHTS.tobytes(), ORDER, want_weights=True)
    assert whole.weights == simulated().visit(WEIGHTS.tobytes(), ORDER, want_weights=True).weights


def give_nothing_away(device: RemoteDevice) -> None:
    """Weights that are the held ones plus nothing would be the host's, and outputs tell of all layers."""
    facts = {"structure_hash": device.info.structure_hash, "base_hash": device.info.weights_hash}
    added = TransferOperation(
        Kind.WEIGHTS, bytes(2 * WEIGHTS.size), encoding=Encoding.DELTA | Encoding.FLOAT16, **facts
    )
    orders = (ORDER, replace(ORDER, local_first=1), replace(ORDER, top=500))
    visits = [VisitOperation(order.encode(), device.info.weights_hash) for order in orders]
    for asked in (added, TransferOperation(Kind.INPUT, bytes(8), **facts), UploadOperation(), *visits):
        with pytest.raises(DeviceError, match="state"):
            device._finish(asked, "asking for more than is shared")


def test_local_layers_outlive_a_restart_and_stay() -> None:
    """The owner keeps them through a power cut; before and after it nothing that a host asks for has them, and the hash
    that hello tells is that of the shared values."""
    store = np.full(16384 + 16, 0xFF, np.uint8)
    start = -store.ctypes.data % 16
    flash = memoryview(store[start : start + 16384])
    device = power_on(flash)
    device.load(IMAGE)
    order = replace(ORDER, local_last=1)
    answer = device.visit(WEIGHTS.tobytes(), order, want_weights=True).weights
    device.save()
    assert answer is not None
    shared = answer[: 4 * 448]  # behind them the host has 0
    assert device.info.weights_hash == content_hash(shared)
    saved = read_weights(bytes(flash[64 : 64 + len(IMAGE)]))
    assert saved[:448].tobytes() == shared and saved[448:].any()
    again = power_on(flash)
    assert again.info.boot != device.info.boot
    assert replace(again.info, boot=0) == replace(device.info, boot=0)
    written = bytes(flash)
    again.save()
    assert bytes(flash) == written, "the same again is not written"
    give_nothing_away(device)
    give_nothing_away(again)
    again._finish(VisitOperation(order.encode(), again.info.weights_hash), "learning on")  # it shares no more
    again.load(IMAGE)
    again.save()
    whole = power_on(flash)
    assert (
        whole.visit(None, ORDER, want_weights=True).weights
        == simulated().visit(WEIGHTS.tobytes(), ORDER, want_weights=True).weights
    ), "a model from the host is shared again"


def test_an_order_that_is_refused_changes_no_weight() -> None:
    """The samples are too few, which is seen late: the local layers are not begun anew by then."""
    device = simulated()
    device.visit(WEIGHTS.tobytes(), PARTIAL, want_weights=False)
    held = device.info.weights_hash
    with pytest.raises(DeviceError, match="too small"):
        device.visit(None, replace(PARTIAL, shots=400, seed=3), want_weights=False)
    assert device.info.weights_hash == held


def test_memory_is_known_to_the_byte() -> None:
    """Indices 48 bytes; a head of 16, a copy of 475 values and a histogram of 1,024 bytes: 2,940, aligned 2,944."""
    needed = plan(SPEC).arena_bytes + 48 + 2944
    simulated(arena_bytes=needed).visit(None, ORDERS["top"], want_weights=False)
    with pytest.raises(DoesNotFitError, match="16 bytes short"):
        simulated(arena_bytes=needed - 16).visit(None, ORDERS["top"], want_weights=False)


def test_an_order_that_leaves_nothing_to_share_is_refused() -> None:
    order = replace(ORDER, local_last=3)
    with pytest.raises((UsageError, DeviceError)):
        simulated().visit(WEIGHTS.tobytes(), order, want_weights=True)
    with pytest.raises(UsageError, match="leave one that is shared"):
        shared_part(order, layer_sizes(IMAGE))


def test_an_update_is_read_strictly() -> None:
    """Of 20 values: 3 and 19 by a bitmap, 3 and 7 by gaps."""
    order = replace(ORDER, top=1000)
    values = np.array([1.5, -2.5], np.float32).tobytes()
    head = bytes([1, BITMAP, 0, 0]) + b"".join(n.to_bytes(4, "little") for n in (4, 20, 2))
    good = head + values + bytes([8, 0, 8])
    indices, read = read_update(good, (4, 20))
    assert indices.tolist() == [3, 19] and read.tolist() == [1.5, -2.5]
    gaps = bytes([1, GAPS]) + head[2:] + values + bytes([3, 3])
    assert read_update(gaps, (4, 20))[0].tolist() == [3, 7]
    base = np.zeros(30, np.float32)
    assert np.flatnonzero(np.frombuffer(expand(order, good, base.tobytes(), (4, 20)), "<f4")).tolist() == [7, 23]
    for bad in (
        good[:15], good[:-1], good + b"\0", b"\2" + good[1:], good[:-1] + b"\x18", good[:1] + b"\3" + good[2:],
        gaps[:-1], gaps[:-1] + b"\x80", gaps[:-1] + b"\x10", gaps[:-1] + b"\x80" * 6,
    ):  # fmt: skip
        with pytest.raises(UsageError, match="update"):
            read_update(bad, (4, 20))
    with pytest.raises(UsageError, match="it ends in a gap"):
        read_update(gaps[:-1] + b"\x83", (4, 20))
    with pytest.raises(UsageError, match="update"):
        read_update(good, (0, 20))


def test_a_gap_has_at_most_five_groups() -> None:
    """32 bits are 5 groups of 7 bits. 2^32 - 1 is the largest gap; the value 3 in six groups is refused as too long,
    in five it is not."""
    values = np.float32([1.5]).tobytes()
    most = 2**32 - 1

    def update(count: int, gap: bytes) -> bytes:
        head = bytes([1, GAPS, 0, 0]) + b"".join(n.to_bytes(4, "little") for n in (4, count, 1))
        return head + values + gap

    assert read_update(update(most, b"\xfe\xff\xff\xff\x0f"), (4, most))[0].tolist() == [most - 1]
    assert read_update(update(20, b"\x83\x80\x80\x80\x00"), (4, 20))[0].tolist() == [3]
    with pytest.raises(UsageError, match="a gap is longer than 32 bits"):
        read_update(update(20, b"\x83\x80\x80\x80\x80\x00"), (4, 20))
    with pytest.raises(UsageError, match="its indices do not fit"):
        read_update(update(most, b"\xff\xff\xff\xff\x0f"), (4, most))


def test_tinymetafed_asks_for_its_parts() -> None:
    result = Result(12, 1.0, 0.5, 0, 0, 0, ())
    strategy = meta.make("tinymetafed", ORDER, 4, alpha=0.5, top_percent=12.5, reconstruct=3, schedule="constant")
    state = strategy.begin(np.array([1, 2], np.float32), 9)
    order = strategy.configure(state, "a").order
    assert (order.local_last, order.reconstruct, order.top, order.zero_local) == (1, 3, 1250, True)
    for round_index in (0, 3):
        after = strategy.aggregate(
            replace(state, round=round_index), [Reply("a", result, np.array([3, 2], np.float32))]
        )
        assert after.weights.array.tolist() == [2.0, 2.0]
    cosine = meta.make("tinymetafed", ORDER, 4, alpha=0.5, schedule="cosine")
    half = cosine.aggregate(replace(state, round=2), [Reply("a", result, np.array([3, 2], np.float32))])
    assert half.weights.array.tolist() == [1.5, 2.0]  # 0.5 * 0.5 * (1 + cos(pi / 2)) = 0.25


def test_tinymetafed_with_all_parts_off_is_tinyreptile() -> None:
    off = meta.make("tinymetafed", ORDER, 9, alpha=0.3, local_layers=0, top_percent=100.0)
    tiny = meta.make("tinyreptile", ORDER, 9, alpha=0.3)
    state = tiny.begin(WEIGHTS, 4)
    a, b = off.configure(state, "x").order, tiny.configure(state, "x").order
    assert replace(a, seed=0) == replace(b, seed=0) and a.encode()[0] == 1
    reply = [Reply("x", Result(12, 1.0, 0.5, 0, 0, 0, ()), WEIGHTS * np.float32(0.5))]
    assert np.allclose(off.aggregate(state, reply).weights.array, tiny.aggregate(state, reply).weights.array, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"top_percent": 0.0}, "top_percent = 0.0"),
        ({"top_percent": 101.0}, "top_percent = 101.0"),
        ({"schedule": "step"}, 'schedule = "step"'),
        ({"local_layers": -1}, "local_layers = -1"),
        ({"reconstruct": 5}, "reconstruct = 5"),
        ({"devices": 0}, "devices = 0"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        meta.make("tinymetafed", ORDER, 4, **options)
