"""A line that flips, loses, doubles, delays and invents bytes, between the real C link and the Python session.

What must hold in every case: the operation ends well, the weights that come back are the ones trained from the
weights that were sent, an order is carried out exactly once, and the line is never quiet for more than 2 s.
"""

import random
from collections.abc import Callable, Iterator

import pytest
from wire_pair import CDevice, Channel, Fault, Pair, bit_errors, no_fault

from tinyfed.wire.messages import Kind
from tinyfed.wire.session import HelloOperation, HostSession
from tinyfed.wire.transfer import TransferOperation, UploadOperation
from tinyfed.wire.visit import VisitOperation

STRUCTURE = 77
IMAGE = bytes(range(250, 256)) + bytes(30) + b"tiny model"
# Small, with zeros, code-like bytes and a run; as long as the image.
WEIGHTS = bytes([0, 255, 0, 0, 1, 11]) + b"\xfe" * 30 + b"0123456789"
STEPS = 2
QUIET_S = 2.0


def whole_visit(pair: Pair, weights: bytes = WEIGHTS) -> None:
    """Greet, load, send weights, train, take the weights back; check everything."""
    hello = HelloOperation()
    pair.run(hello)
    assert hello.failure is None
    image = TransferOperation(Kind.IMAGE, IMAGE[: len(weights)].ljust(len(weights), b"i"))
    pair.run(image)
    assert image.failure is None
    visit_only(pair, weights)
    assert pair.device.trained == 1


def visit_only(pair: Pair, weights: bytes) -> None:
    transfer = TransferOperation(Kind.WEIGHTS, weights, structure_hash=STRUCTURE)
    pair.run(transfer)
    assert transfer.failure is None
    visit = VisitOperation(b"\x05", transfer.content_hash)
    pair.run(visit)
    assert visit.failure is None
    assert visit.result == b"\x05" * 40
    upload = UploadOperation(len(weights))
    pair.run(upload)
    assert upload.failure is None
    assert upload.content == bytes((byte + 5 * STEPS) & 0xFF for byte in weights)
    assert pair.device.violations == 0


def spoil_at(target: int, change: Callable[[int], bytes]) -> Fault:
    """Replace the byte number `target` of this direction by `change` of it."""

    def spoil(data: bytes, offset: int) -> bytes:
        at = target - offset
        if not 0 <= at < len(data):
            return data
        return data[:at] + change(data[at]) + data[at + 1 :]

    return spoil


def lengths() -> tuple[int, int]:
    """Bytes down and up of an undisturbed visit."""
    pair = Pair(CDevice(steps=STEPS))
    whole_visit(pair)
    return pair.down.sent, pair.up.sent


def one_inference(pair: Pair, sample: bytes = b"\0\xff a sample") -> None:
    """Send an input to a model that is held, take the outputs; the model is as before."""
    pair.greet()
    transfer = TransferOperation(Kind.INPUT, sample, structure_hash=STRUCTURE)
    pair.run(transfer)
    assert transfer.failure is None
    upload = UploadOperation(input_hash=transfer.content_hash)
    pair.run(upload)
    assert upload.failure is None
    assert upload.content == bytes((sample[i] + IMAGE[i % len(IMAGE)]) & 0xFF for i in range(len(sample)))
    assert pair.device.violations == 0
    weights = UploadOperation(len(IMAGE))
    pair.run(weights)
    assert weights.content == IMAGE


def holding(down: Fault, up: Fault, **line: float) -> Pair:
    """A pair whose device holds a model before the line becomes bad."""
    pair = Pair(CDevice(steps=STEPS), down=Channel(**line), up=Channel(**line))
    pair.greet()
    pair.run(TransferOperation(Kind.IMAGE, IMAGE))
    starts = pair.down.sent, pair.up.sent
    pair.down.fault = lambda data, offset: down(data, offset - starts[0])
    pair.up.fault = lambda data, offset: up(data, offset - starts[1])
    return pair


CHANGES: dict[str, Callable[[int], bytes]] = {
    "lost": lambda byte: b"",
    "doubled": lambda byte: bytes([byte, byte]),
    "made zero": lambda byte: b"\0" if byte else b"\1",
    "zero invented": lambda byte: bytes([0, byte]),
    "byte invented": lambda byte: bytes([0x5A, byte]),
    **{f"bit {bit} flipped": lambda byte, bit=bit: bytes([byte ^ 1 << bit]) for bit in range(8)},  # type: ignore[misc]
}
# In `make check` four kinds stand for all.
EVERY_CHANGE = [
    change
    if change in ("lost", "doubled", "zero invented", "bit 0 flipped")
    else pytest.param(change, marks=pytest.mark.slow)
    for change in CHANGES
]


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("change", EVERY_CHANGE)
def test_one_byte_spoiled_at_every_offset_of_a_whole_visit(direction: str, change: str) -> None:
    total = lengths()[direction == "up"]
    assert total > 300
    for target in range(total):
        fault = spoil_at(target, CHANGES[change])
        pair = Pair(
            CDevice(steps=STEPS),
            down=Channel(fault if direction == "down" else lambda data, offset: data),
            up=Channel(fault if direction == "up" else lambda data, offset: data),
        )
        try:
            whole_visit(pair)
            assert pair.quiet_s <= QUIET_S
        except AssertionError as error:
            raise AssertionError(f"byte {target} of {total} {direction} {change}: {error}") from error


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("change", EVERY_CHANGE)
def test_one_byte_spoiled_at_every_offset_of_an_inference(direction: str, change: str) -> None:
    pair = holding(no_fault, no_fault)
    before = pair.down.sent, pair.up.sent
    one_inference(pair)
    total = (pair.down.sent - before[0], pair.up.sent - before[1])[direction == "up"]
    assert total > 100
    for target in range(total):
        fault = spoil_at(target, CHANGES[change])
        pair = holding(fault if direction == "down" else no_fault, fault if direction == "up" else no_fault)
        try:
            one_inference(pair)
            assert pair.quiet_s <= QUIET_S
        except AssertionError as error:
            raise AssertionError(f"byte {target} of {total} {direction} {change}: {error}") from error


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rate", [1e-4, 1e-3])
def test_random_bit_errors_while_inputs_and_outputs_pass(rate: float, seed: int) -> None:
    rng = random.Random(f"infer {rate} {seed}")
    pair = holding(bit_errors(rng, rate), bit_errors(rng, rate), bytes_per_s=11_520, latency_s=0.002)
    for _ in range(3):
        one_inference(pair, rng.randbytes(1000))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rate", [1e-5, 1e-4, 1e-3])
def test_random_bit_errors_in_both_directions(rate: float, seed: int) -> None:
    rng = random.Random(f"{rate} {seed}")
    size = 1000 if rate > 5e-4 else 8000
    weights = rng.randbytes(size)
    pair = Pair(
        CDevice(steps=STEPS),
        down=Channel(bit_errors(rng, rate), bytes_per_s=11_520, latency_s=0.002),
        up=Channel(bit_errors(rng, rate), bytes_per_s=11_520, latency_s=0.002),
    )
    whole_visit(pair, weights)


@pytest.mark.parametrize("rate,most", [(1e-5, 1.4), (1e-4, 2.6), (3e-4, 5.0)])
@pytest.mark.parametrize("window_chunks", [3, 16])
def test_a_bad_line_is_not_filled_with_repetitions(rate: float, most: float, window_chunks: int) -> None:
    """20,000 bytes each way at 115,200 baud: `most` times what a good line takes, also with a window far too large
    (three times that, then): what is reported after going back must not make the host go back again."""
    taken = []
    for seed in range(3):
        rng = random.Random(seed)
        fault = bit_errors(rng, rate)
        pair = Pair(
            session=HostSession(7, window_chunks=window_chunks),
            down=Channel(fault, bytes_per_s=11_520, latency_s=0.004),
            up=Channel(fault, bytes_per_s=11_520, latency_s=0.004),
        )
        pair.room = 64
        pair.greet()
        content = rng.randbytes(20_000)
        upload = UploadOperation()
        taken.append(pair.run(TransferOperation(Kind.IMAGE, content)) + pair.run(upload))
        assert upload.content == content
    limit = most if window_chunks == 3 else 3 * most
    assert sum(taken) / len(taken) <= limit * 40_000 / 11_520, taken


def frames_of(data: bytes) -> Iterator[bytes]:
    """A write, cut into what is between the delimiters (with them)."""
    start = 0
    for index, byte in enumerate(data):
        if byte == 0 and index > start:
            yield data[start : index + 1]
            start = index + 1
    if start < len(data):
        yield data[start:]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("what", ["lost", "doubled", "swapped", "late"])
def test_frames_lost_doubled_swapped_or_late(what: str, seed: int) -> None:
    rng = random.Random(f"{what} {seed}")
    held: dict[int, list[bytes]] = {0: [], 1: []}

    def spoil(side: int) -> Fault:
        def fault(data: bytes, offset: int) -> bytes:
            out = b""
            for frame in frames_of(data):
                if rng.random() > 0.05:
                    out += frame
                elif what == "doubled":
                    out += frame + frame
                elif what == "swapped":
                    out = frame + out
                elif what == "late":
                    held[side].append(frame)
                if held[side] and rng.random() < 0.02:
                    out += held[side].pop(0)
            return out

        return fault

    pair = Pair(CDevice(steps=STEPS), down=Channel(spoil(0)), up=Channel(spoil(1)))
    whole_visit(pair)
    for _ in range(10):
        visit_only(pair, rng.randbytes(46))
    assert pair.device.trained == 11


@pytest.mark.parametrize("seed", range(5))
def test_noise_between_frames(seed: int) -> None:
    rng = random.Random(seed)

    def noisy(data: bytes, offset: int) -> bytes:
        before = rng.randbytes(rng.randrange(40))
        return before + data if rng.random() < 0.3 else data

    pair = Pair(CDevice(steps=STEPS), down=Channel(noisy), up=Channel(noisy))
    whole_visit(pair, rng.randbytes(4000))


@pytest.mark.parametrize("seed", range(5))
def test_a_transfer_goes_on_where_it_stopped(seed: int) -> None:
    """The line is cut for 12 s, longer than patience and watchdog; the next attempt sends only the rest."""
    rng = random.Random(seed)
    content = rng.randbytes(20_000)
    cut_at = rng.randrange(3000, 18_000)
    pair = Pair(CDevice(steps=STEPS), down=Channel(bytes_per_s=11_520), up=Channel(bytes_per_s=11_520))
    pair.greet()
    state = {"cut": True}
    pair.down.fault = lambda data, offset: b"" if state["cut"] and offset >= cut_at else data
    first = TransferOperation(Kind.IMAGE, content)
    pair.run(first)
    assert first.failure is not None
    assert not pair.device.valid
    state["cut"] = False
    pair.pass_time(5.0)
    sent = pair.down.sent
    second = TransferOperation(Kind.IMAGE, content)
    pair.run(second)
    assert second.failure is None
    arrived = len(content) - (pair.down.sent - sent)
    assert arrived >= cut_at - 6000, (arrived, cut_at)
    upload = UploadOperation(len(content))
    pair.run(upload)
    assert upload.content == content


def test_an_upload_goes_on_where_it_stopped() -> None:
    content = random.Random(3).randbytes(20_000)
    pair = Pair(CDevice(steps=STEPS), down=Channel(bytes_per_s=11_520), up=Channel(bytes_per_s=11_520))
    pair.room = 64
    pair.greet()
    image = TransferOperation(Kind.IMAGE, content)
    pair.run(image)
    begin = pair.up.sent
    pair.up.fault = lambda data, offset: b"" if 9000 < offset - begin < 13_000 else data
    upload = UploadOperation(len(content))
    pair.run(upload)
    assert upload.content == content
    assert pair.up.sent - begin < len(content) * 1.03 + 4000 + 6000


def test_a_line_dead_in_one_direction_ends_within_the_patience() -> None:
    for direction in ("down", "up"):
        pair = Pair(CDevice(steps=STEPS))
        pair.greet()
        getattr(pair, direction).fault = lambda data, offset: b""
        operation = TransferOperation(Kind.IMAGE, bytes(5000))
        took = pair.run(operation, limit_s=60)
        assert operation.failure is not None
        assert took < 25


def test_a_device_that_heard_noise_and_old_traffic_for_an_hour_still_answers() -> None:
    """Random bytes, and spoiled recordings of a whole visit, at 115,200 baud all the time."""
    rng = random.Random(60)
    pair = Pair(CDevice(steps=STEPS))
    said: list[bytes] = []
    pair.down.fault = lambda data, offset: said.append(data) or data  # type: ignore[func-returns-value]
    whole_visit(pair)
    recording = b"".join(said)
    spoil = bit_errors(rng, 3e-4)
    left = 3600 * 11_520
    while left > 0:
        data = rng.randbytes(20_000) if rng.random() < 0.5 else spoil(recording, 0) * 8
        pair.device.receive(data, int(pair.now_s * 1000))
        pair.device.work(int(pair.now_s * 1000))
        while pair.device.transmit(int(pair.now_s * 1000)):
            pass
        pair.now_s += len(data) / 11_520
        left -= len(data)
    assert pair.device.violations == 0
    pair = Pair(pair.device, HostSession(0x5151), seed=3)
    trained = pair.device.trained
    hello = pair.greet().hello
    assert hello is not None
    image = TransferOperation(Kind.IMAGE, IMAGE)
    pair.run(image)
    assert image.failure is None
    visit_only(pair, WEIGHTS)
    assert pair.device.trained == trained + 1
