"""Orders and results as bytes, against the vectors the C tests read too; the generator of the draw."""

import copy
import pickle
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tinyfed.errors import UsageError
from tinyfed.random import SplitMix64, derive_seed
from tinyfed.wire.encodings import WeightsEncoding
from tinyfed.wire.order import UPDATES, Checkpoint, Order, Result

GOLDEN = [
    line.split()
    for line in (Path(__file__).parent.parent / "golden" / "order.txt").read_text().splitlines()
    if not line.startswith("#")
]


def lines(kind: str) -> list[list[str]]:
    found = [words[1:] for words in GOLDEN if words[0] == kind]
    assert found, kind
    return found


def f32(bits: str) -> float:
    value: float = struct.unpack("<f", struct.pack("<I", int(bits, 16)))[0]
    return value


def bits(value: float) -> str:
    return format(struct.unpack("<I", struct.pack("<f", value))[0], "08x")


@pytest.mark.parametrize("words", lines("order"))
def test_orders_of_the_golden_file(words: list[str]) -> None:
    status, encoded, *fields = words
    data = b"" if encoded == "-" else bytes.fromhex(encoded)
    if status != "0":
        with pytest.raises(UsageError, match="order"):
            Order.decode(data)
        return
    order = Order.decode(data)
    assert order.encode() == data
    source, ways, passes, shots, queries, seed, rate, count, *points = fields
    assert (order.source, order.ways) == ({"1": "shard", "2": "sine"}[source], int(ways))
    assert (order.passes, order.shots, order.queries) == (int(passes), int(shots), int(queries))
    assert (order.seed, bits(order.learning_rate)) == (int(seed, 16), rate)
    assert order.checkpoints == tuple(map(int, points[: int(count)]))
    more = points[int(count) :] or ["0", "0", "0", "00000000"]
    flags = order.true_labels + 2 * order.in_time + 4 * order.meta_gradient
    flags += 8 * order.keep_local + 16 * order.zero_local
    parts = list(map(int, more[4:8])) or [0, 0, 0, 0]
    assert [order.local_first, order.local_last, order.reconstruct, order.top] == parts
    assert [UPDATES[order.update], flags, order.batch] == list(map(int, more[:3]))
    assert bits(order.proximal) == more[3]
    assert WeightsEncoding.named(order.answer).number == int((more[8:] or ["0"])[0])
    assert order.start == int((more[9:] or ["0"])[0])


@pytest.mark.parametrize("words", lines("result"))
def test_results_of_the_golden_file(words: list[str]) -> None:
    data, samples, first, last, us, instructions, stack, arena, count, *points = words
    checkpoints = tuple(
        Checkpoint(int(points[k]), int(points[k + 1]), int(points[k + 2]), f32(points[k + 3]))
        for k in range(0, 4 * int(count), 4)
    )
    times = int(us), int(instructions), int(stack)
    expected = Result(int(samples), f32(first), f32(last), *times, checkpoints, arena_bytes=int(arena))
    assert Result.decode(bytes.fromhex(data)) == expected
    assert Result.decode(bytes.fromhex(data)).arena_bytes == int(arena)
    assert expected.encode().hex() == data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "sensor"}, "source"),
        ({"ways": 0}, r"ways = 0.*1\.\.32"),
        ({"ways": 4.0}, "ways"),
        ({"shots": 1025}, r"shots = 1025.*1\.\.1024"),
        ({"queries": -1}, "queries"),
        ({"passes": 256}, "passes"),
        ({"seed": 2**64}, "seed"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"checkpoints": (3, 1)}, r"checkpoints = 1: must be a whole number, 4\.\.10"),
        ({"checkpoints": (11,)}, r"checkpoints = 11.*0\.\.10"),
        ({"checkpoints": tuple(range(9))}, "checkpoints = .*at most 8 fit"),
        ({"update": "lamb"}, 'update = "lamb"'),
        ({"batch": 5}, "update = .online.: has no batches: set batch to 0, not 5"),
        ({"update": "sgd", "batch": 65536}, "batch = 65536"),
        ({"proximal": -1.0}, "proximal = -1.0"),
        ({"meta_gradient": True}, "meta_gradient = true: needs update 'sgd'"),
        ({"source": "sine", "in_time": True}, "for source 'shard'"),
        ({"start": 1}, "start = 1: is for in_time"),
        ({"in_time": True, "start": 2**32}, "start = 4294967296"),
        ({"local_last": 256}, "local_last = 256"),
        ({"top": 10_001}, "top = 10001"),
        ({"proximal": -0.0}, "must be 0, not -0"),
        ({"true_labels": 1}, "true or false"),
        ({"reconstruct": 1}, "set local_last"),
        ({"local_last": 1, "reconstruct": 11}, r"reconstruct = 11.*0\.\.10"),
        ({"local_last": 1, "update": "adam"}, "for update 'online' or 'sgd'"),
        ({"update": "sgd", "meta_gradient": True, "top": 5}, "top = 5: is not for meta_gradient"),
    ],
)
def test_an_order_out_of_range_names_the_field(change: dict[str, object], said: str) -> None:
    good: dict[str, object] = {
        "source": "shard", "ways": 4, "shots": 10, "queries": 0, "seed": 1, "learning_rate": 0.02
    }  # fmt: skip
    Order(**good)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=said) as caught:
        Order(**{**good, **change})  # type: ignore[arg-type]
    assert caught.value.where == "order" and caught.value.key in {*change, "update", "proximal"}


def test_another_seed_is_all_that_changes() -> None:
    """A run makes the order of each visit so: its bytes are those of an order made with that seed from the start."""
    order = Order("shard", 3, 5, 0, 1, 0.01, (1, 5), update="sgd", batch=2, answer="float16")
    for seed in (0, 2, 2**64 - 1):
        other = order.with_seed(seed)
        assert other == replace(order, seed=seed)
        assert other.encode() == replace(order, seed=seed).encode()
    assert order.seed == 1
    for seed in (-1, 2**64):
        with pytest.raises(UsageError, match="seed"):
            order.with_seed(seed)


@pytest.mark.parametrize("cut", [0, 31, 47, 49])
def test_a_result_of_a_wrong_length_is_refused(cut: int) -> None:
    data = Result(1, 0.5, 0.5, 0, 0, 0, (Checkpoint(1, 2, 1, 0.5),)).encode() + b"\0"
    with pytest.raises(UsageError, match="result"):
        Result.decode(data[:cut])


def test_a_result_with_more_correct_than_counted_is_refused() -> None:
    with pytest.raises(UsageError, match="range"):
        Result.decode(Result(1, 0.5, 0.5, 0, 0, 0, (Checkpoint(1, 2, 3, 0.5),)).encode())


def test_the_generator_gives_the_golden_numbers() -> None:
    for seed, *numbers in lines("next"):
        random = SplitMix64(int(seed, 16))
        assert [format(random.next(), "x") for _ in numbers] == numbers
    for seed, bound, *numbers in lines("below"):
        random = SplitMix64(int(seed, 16))
        assert [format(random.below(int(bound)), "x") for _ in numbers] == numbers
    for seed, *numbers in lines("unit"):
        random = SplitMix64(int(seed, 16))
        assert [bits(random.unit()) for _ in numbers] == numbers
    for seed, length, bound, *numbers in lines("sequence"):
        assert SplitMix64(int(seed, 16)).sequence(int(length), int(bound)) == list(map(int, numbers))


def test_every_sequence_is_equally_likely() -> None:
    """3 of 4 in order: 24 sequences. 24,000 draws give each 1,000 +- sqrt(1000 * 23/24) = 31; 5 of these are 155."""
    random = SplitMix64(7)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(24_000):
        drawn = tuple(random.sequence(3, 4))
        seen[drawn] = seen.get(drawn, 0) + 1
    assert len(seen) == 24
    assert all(len(set(drawn)) == 3 for drawn in seen)
    assert max(abs(count - 1000) for count in seen.values()) < 155


def test_derived_seeds_differ_and_stay() -> None:
    seeds = {derive_seed(1, part, other) for part in range(50) for other in range(50)}
    assert len(seeds) == 2500
    assert derive_seed(1, 2) == SplitMix64(SplitMix64(1).next() ^ 2).next()


def test_a_stream_begins_where_32_bits_can_say() -> None:
    order = Order("shard", 2, 5, 0, 1, 0.01, in_time=True)
    assert Order("shard", 2, 5, 0, 1, 0.01, in_time=True, start=2**32 - 1).start == 2**32 - 1
    assert order.started_at(2**32 - 1).start == 2**32 - 1
    assert order.started_at(2**32 + 7).start == 7


def test_what_a_device_says_of_a_visit_is_bounded() -> None:
    """At most 2^20 bytes of stack, 2^24 samples judged on, and no more than the device has as an arena."""
    order = Order("shard", 2, 5, 0, 1, 0.01, (1, 5))  # 10 samples; judged on what its shard leaves
    points = (Checkpoint(1, 2**24, 2**23, 0.5), Checkpoint(5, 2**24, 2**23, 0.4))
    most = Result(10, 0.5, 0.4, 3, 4, 2**20, points, arena_bytes=4096)
    most.check(order, 4096)
    more = tuple(replace(point, count=2**24 + 1) for point in points)
    for lie, said in (
        (replace(most, stack_bytes=2**20 + 1), "more memory in use"),
        (replace(most, arena_bytes=4097), "more memory in use"),
        (replace(most, checkpoints=more), "judged on 16777217 samples"),
        (replace(most, checkpoints=(points[0], replace(points[1], count=7, correct=7))), "judged on"),
        (replace(most, samples=9), "9 training steps, the order asks for 10"),
        (replace(most, train_us=2**32 - 1), "a counter is at its end"),
    ):
        with pytest.raises(UsageError, match=said):
            lie.check(order, 4096)
    asked = replace(order, queries=4)  # 2 ways of 4: judged on 8
    told = tuple(replace(point, count=8, correct=3) for point in points)
    replace(most, checkpoints=told).check(asked, 4096)
    with pytest.raises(UsageError, match="judged on 16777216 samples, the order asks for 8"):
        most.check(asked, 4096)


def test_a_result_that_is_read_later_is_the_same() -> None:
    whole = Result(3, 1.5, 0.5, 1, 2, 3, (Checkpoint(0, 4, 1, 0.25),), 77)
    later = Result.decoded_later(whole.encode())
    assert copy.copy(later).arena_bytes == 77 and later == whole and hash(later) == hash(whole)
    assert repr(later) == repr(whole) and pickle.loads(pickle.dumps(Result.decoded_later(whole.encode()))) == whole
    assert not hasattr(later, "sample")
