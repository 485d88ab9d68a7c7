"""The real C link against the Python session: that it works, and what it does when it must not go on."""

import random

import pytest
from wire_pair import CDevice, Channel, Pair

from tinyfed.status import Status
from tinyfed.wire.messages import Kind
from tinyfed.wire.session import CancelOperation, HelloOperation, HostSession, Reason, ResetOperation
from tinyfed.wire.transfer import TransferOperation, UploadOperation
from tinyfed.wire.visit import VisitOperation

STRUCTURE = 77  # what tests/c/wire/pair_device.c says of itself
LINE = 11_520.0  # bytes a second at 115,200 baud


def trained(content: bytes, seed: int, steps: int) -> bytes:
    """What the pair device makes of its bytes in a visit."""
    return bytes((byte + seed * steps) & 0xFF for byte in content)


def load(pair: Pair, content: bytes, kind: Kind = Kind.IMAGE) -> TransferOperation:
    operation = TransferOperation(kind, content, structure_hash=STRUCTURE if kind == Kind.WEIGHTS else 0)
    pair.run(operation)
    return operation


def payload_of(kind: str, size: int) -> bytes:
    rng = random.Random(size)
    return {
        "zeros": bytes(size),
        "ones": b"\x01" * size,
        "no zeros": bytes(rng.randrange(1, 256) for _ in range(size)),
        "ff": b"\xff" * size,
        "random": rng.randbytes(size),
        "sparse": bytes(rng.choice((0, 0, 0, 7)) for _ in range(size)),
    }[kind]


@pytest.mark.parametrize("kind", ["zeros", "ones", "no zeros", "ff", "random", "sparse"])
@pytest.mark.parametrize("size", [1, 253, 1013, 1024, 1025, 20_000])
def test_a_visit_gives_back_what_was_trained(kind: str, size: int) -> None:
    pair = Pair()
    content = payload_of(kind, size)
    pair.greet()
    assert load(pair, content).failure is None
    visit = VisitOperation(b"\x05order")
    pair.run(visit)
    assert visit.failure is None
    assert visit.result == b"\x05" * 40
    upload = UploadOperation(size)
    pair.run(upload)
    assert upload.failure is None
    assert upload.content == trained(content, 5, 3)
    assert (pair.device.trained, pair.device.violations) == (1, 0)
    assert pair.session.count.retries == 0


@pytest.mark.parametrize("room", [1, 7, 64])
def test_the_port_may_take_any_number_of_bytes_at_once(room: int) -> None:
    pair = Pair()
    pair.room = room
    content = payload_of("random", 3000)
    pair.greet()
    load(pair, content)
    upload = UploadOperation()
    pair.run(upload)
    assert upload.content == content
    assert pair.session.count.retries == 0


def test_hello_says_what_the_device_said() -> None:
    pair = Pair()
    hello = pair.greet().hello
    assert hello is not None
    assert hello.board == "pair"
    assert hello.unique_id == bytes(range(1, 13))
    assert hello.firmware_build == 0x1122334455667788
    assert hello.arena_bytes == 1 << 20
    assert hello.capability_names() == {"train", "reset"}
    assert (hello.feature_count, hello.class_count, hello.chunk_bytes) == (4, 2, 1024)
    assert (hello.structure_hash, hello.weights_hash, hello.state) == (0, 0, 0)


def test_nothing_is_sent_twice_on_a_good_line_at_115200_baud() -> None:
    pair = Pair(down=Channel(bytes_per_s=LINE), up=Channel(bytes_per_s=LINE))
    pair.room = 64
    content = payload_of("random", 20_000)
    pair.greet()
    sent, took = pair.down.sent, pair.now_s
    assert load(pair, content).failure is None
    took = pair.now_s - took
    assert pair.session.count.retries == 0
    share = len(content) / (pair.down.sent - sent)
    assert share >= 0.97, share
    # the line is never idle: what was sent is what it carries in that time
    assert took <= (pair.down.sent - sent) / LINE * 1.02
    received, took = pair.up.sent, pair.now_s
    upload = UploadOperation(len(content))
    pair.run(upload)
    assert upload.content == content
    share = len(content) / (pair.up.sent - received)
    assert share >= 0.97, share
    assert pair.now_s - took <= (pair.up.sent - received) / LINE * 1.02
    assert pair.session.count.retries == 0


@pytest.mark.parametrize("chunk_bytes", [64, 256, 1024])
def test_chunks_are_no_larger_than_the_device_takes(chunk_bytes: int) -> None:
    pair = Pair(CDevice(chunk_bytes=chunk_bytes))
    content = payload_of("random", 5000)
    pair.greet()
    assert load(pair, content).failure is None
    upload = UploadOperation()
    pair.run(upload)
    assert upload.content == content


def test_an_image_larger_than_the_arena_is_refused_with_the_bytes_that_are_short() -> None:
    pair = Pair(CDevice(arena_bytes=1000))
    pair.greet()
    failure = load(pair, bytes(1017)).failure
    assert failure is not None
    assert (failure.reason, failure.status, failure.detail) == (Reason.REFUSED, Status.MEMORY, 17)
    assert pair.now_s - 1000 < 1


def test_weights_for_another_structure_are_refused() -> None:
    pair = Pair()
    pair.greet()
    load(pair, bytes(100))
    operation = TransferOperation(Kind.WEIGHTS, bytes(100), structure_hash=78)
    pair.run(operation)
    assert operation.failure is not None
    assert operation.failure.status == Status.SHAPE
    assert pair.device.valid


def test_a_refused_transfer_leaves_the_model_as_it_is() -> None:
    pair = Pair(CDevice(arena_bytes=1000))
    pair.greet()
    load(pair, b"a" * 100)
    assert load(pair, bytes(2000)).failure is not None
    upload = UploadOperation()
    pair.run(upload)
    assert upload.content == b"a" * 100


def test_the_same_content_is_not_sent_twice_until_it_was_trained() -> None:
    pair = Pair()
    content = payload_of("random", 2000)
    pair.greet()
    load(pair, content)
    sent = pair.down.sent
    load(pair, content)
    assert pair.down.sent - sent < 100
    assert pair.device.transfers == 1
    pair.run(VisitOperation(b"\x01"))
    load(pair, content)
    assert pair.device.transfers == 2
    upload = UploadOperation()
    pair.run(upload)
    assert upload.content == content


def test_an_order_for_other_weights_is_refused() -> None:
    pair = Pair()
    pair.greet()
    operation = load(pair, b"model")
    right, wrong = VisitOperation(b"\x01", operation.content_hash), VisitOperation(b"\x01", 12345)
    pair.run(wrong)
    assert wrong.failure is not None
    assert wrong.failure.status == Status.STATE
    pair.run(right)
    assert right.failure is None


def test_nothing_is_done_without_a_model() -> None:
    pair = Pair()
    pair.greet()
    visit, upload = VisitOperation(b"\x01"), UploadOperation()
    for operation in (visit, upload):
        pair.run(operation)
        assert operation.failure is not None
        assert operation.failure.status == Status.STATE
    assert (pair.device.trained, pair.device.violations) == (0, 0)


def test_a_device_that_is_not_there_is_silent_after_the_patience() -> None:
    pair = Pair(down=Channel(lambda data, offset: b""))
    operation = HelloOperation()
    took = pair.run(operation)
    assert operation.failure is not None
    assert operation.failure.reason is Reason.SILENT
    assert took == pytest.approx(10.0, abs=0.01)


def test_a_long_visit_hears_that_the_other_is_there() -> None:
    pair = Pair(CDevice(steps=300))
    pair.greet()
    load(pair, b"model")
    pair.on_turn = lambda: setattr(pair, "now_s", pair.now_s + 0.2)  # each step takes 0.2 s: a minute in all
    visit = VisitOperation(b"\x01")
    took = pair.run(visit)
    assert took > 50
    assert visit.failure is None
    assert visit.samples_total == 300
    assert 200 < visit.samples_done < 300
    assert pair.device.hosts_gone == 0
    assert pair.device.trained == 1


def test_a_host_that_goes_away_ends_the_visit_and_the_device_answers_the_next_one() -> None:
    pair = Pair(CDevice(steps=10**6))
    pair.greet()
    load(pair, b"model")
    pair.session.start(VisitOperation(b"\x01"), pair.now_s)
    for _ in range(5):
        pair.turn()
    # from here on nobody asks any more
    begin = pair.now_s
    while pair.device.hosts_gone == 0:
        pair.device.work(int(pair.now_s * 1000))
        pair.now_s += 0.05
        assert pair.now_s - begin < 11
    assert pair.now_s - begin > 9.9
    pair.session = HostSession(99)
    hello = pair.greet().hello
    assert hello is not None
    assert hello.state == 0
    pair.device.set_steps(2)
    load(pair, b"other")
    visit = VisitOperation(b"\x01")
    pair.run(visit)
    assert visit.failure is None


def test_a_visit_that_runs_can_be_cancelled_and_is_busy_for_others_until_then() -> None:
    pair = Pair(CDevice(steps=10**6))
    pair.greet()
    load(pair, b"model")
    pair.session.start(VisitOperation(b"\x01"), pair.now_s)
    for _ in range(5):
        pair.turn()
    second = VisitOperation(b"\x02")
    pair.run(second)
    assert second.failure is not None
    assert second.failure.status == Status.BUSY
    assert load(pair, b"x").failure is not None
    cancel = CancelOperation()
    pair.run(cancel)
    assert cancel.failure is None
    pair.device.set_steps(2)
    assert load(pair, b"model").failure is None
    third = VisitOperation(b"\x03")
    pair.run(third)
    assert third.failure is None
    assert pair.device.trained == 1


def test_a_reset_is_noticed_whatever_is_under_way_and_an_image_starts_over() -> None:
    content = payload_of("random", 5000)
    for moment in range(0, 8000, 250):
        pair = Pair(down=Channel(bytes_per_s=LINE), up=Channel(bytes_per_s=LINE))
        pair.greet()
        done = []

        def cut(pair: Pair = pair, at: int = moment, done: list[int] = done) -> None:
            if pair.down.sent >= at and not done:
                done.append(1)
                pair.device.power_cycle()

        pair.on_turn = cut
        outcome = [load(pair, content).failure]
        weights = load(pair, content[::-1], Kind.WEIGHTS)
        outcome.append(weights.failure)
        assert outcome[0] is None
        if outcome[1] is not None:
            assert outcome[1].reason is Reason.RESET
            assert load(pair, content[::-1]).failure is None
        upload = UploadOperation()
        pair.run(upload)
        assert upload.content == content[::-1]
        assert pair.device.violations == 0


def test_a_reset_in_a_visit_is_told_and_never_trained_over() -> None:
    pair = Pair(CDevice(steps=10**6))
    pair.greet()
    load(pair, b"model")
    pair.on_turn = lambda: setattr(pair, "now_s", pair.now_s + 0.1)
    visit = VisitOperation(b"\x01")
    pair.session.start(visit, pair.now_s)
    for _ in range(20):
        pair.turn()
    pair.device.power_cycle()
    while not visit.done:
        if not pair.turn():
            pair.wait()
    assert visit.failure is not None
    assert visit.failure.reason is Reason.RESET
    assert pair.device.trained == 0


def test_reset_on_request_changes_the_boot_number() -> None:
    pair = Pair()
    before = pair.greet().hello
    pair.run(ResetOperation())
    assert pair.device.resets == 1
    after = pair.greet().hello
    assert before is not None
    assert after is not None
    assert before.boot != after.boot


def test_another_host_in_between_costs_only_a_greeting() -> None:
    pair = Pair()
    pair.greet()
    load(pair, b"model")
    other = HostSession(0x77)
    first, pair.session = pair.session, other
    pair.greet()
    pair.session = first
    upload = UploadOperation()
    pair.run(upload)
    assert upload.failure is None
    assert upload.content == b"model"


def test_what_an_earlier_host_left_on_the_line_is_ignored() -> None:
    pair = Pair()
    pair.greet()
    load(pair, b"model")
    pair.run(VisitOperation(b"\x01"))
    left_over: list[bytes] = []
    pair.up.fault = lambda data, offset: left_over.append(data) or b""  # type: ignore[func-returns-value]
    pair.session.start(UploadOperation(), pair.now_s)
    for _ in range(3):
        pair.turn()
    pair.up.fault = lambda data, offset: b"".join(left_over) + data
    pair.session = HostSession(0x99)
    pair.greet()
    upload = UploadOperation()
    pair.run(upload)
    assert upload.content == trained(b"model", 1, 3)


def test_the_clock_may_wrap() -> None:
    pair = Pair(CDevice(steps=20))
    pair.now_s = 2**32 / 1000 - 1.0
    pair.greet()
    pair.on_turn = lambda: setattr(pair, "now_s", pair.now_s + 0.2)
    load(pair, payload_of("random", 3000))
    visit = VisitOperation(b"\x01")
    pair.run(visit)
    assert visit.failure is None
    assert pair.now_s > 2**32 / 1000
    assert pair.device.hosts_gone == 0
