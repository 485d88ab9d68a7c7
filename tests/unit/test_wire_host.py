"""The Python session against hand-made answers: what a device that is wrong, late or repeats itself must not cause."""

import itertools
import struct
from collections.abc import Callable

import pytest
from wire_pair import answer_greeting

from tinyfed.errors import UsageError
from tinyfed.status import Status
from tinyfed.wire import messages, record
from tinyfed.wire.frames import Frame, FrameDecoder, encode
from tinyfed.wire.messages import Kind, MessageType, hash64
from tinyfed.wire.record import LabelOperation
from tinyfed.wire.save import SaveOperation
from tinyfed.wire.session import CancelOperation, Failure, HostSession, Operation, Reason
from tinyfed.wire.transfer import TransferOperation, UploadOperation
from tinyfed.wire.visit import VisitOperation

SESSION = 0x0C0D_0E0F


def start(operation: Operation) -> HostSession:
    """A session that was greeted, and its operation begun."""
    session = HostSession(1)
    session.start(operation, 0.0)
    (greeting,) = FrameDecoder().feed(session.poll(0.0))
    session.feed(answer_greeting(greeting, SESSION), 0.0)
    assert session.session_id == SESSION
    return session


def say(
    session: HostSession, kind: int, sequence: int, payload: bytes, *, at: int = SESSION, now_s: float = 0.0
) -> None:
    session.feed(encode(Frame(kind, at, sequence, payload)), now_s)


def heard(session: HostSession, now_s: float = 0.0) -> list[Frame]:
    return FrameDecoder().feed(session.poll(now_s))


def upload_status(total: int, content_hash: int, status: int) -> bytes:
    return messages._UPLOAD_STATUS.pack(total, content_hash, 0, status)


def transfer_status(next_offset: int, status: int = 0, *, gap: bool = False, round_: int = 0) -> bytes:
    return messages._TRANSFER_STATUS.pack(next_offset, 0, status, int(gap), round_)


def test_weights_whose_hash_is_wrong_are_asked_for_again_and_in_the_end_refused() -> None:
    upload = UploadOperation(4)
    session = start(upload)
    for attempt in range(3):
        requests = [frame for frame in heard(session) if frame.type == MessageType.UPLOAD_REQUEST]
        assert [frame.payload[:4] for frame in requests] == [bytes(4)], attempt
        say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(4, 0, 0))
        say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(0, 0, b"abcd"))
        say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(4, hash64(b"abcx"), 1))
    assert upload.failure is not None
    assert upload.failure.reason is Reason.DAMAGED
    assert session.count.retries == 2


def test_an_answer_to_another_session_or_request_is_not_taken() -> None:
    upload = UploadOperation(4)
    session = start(upload)
    good = upload_status(4, hash64(b"abcd"), 1)
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(4, 0, 0))
    for at, sequence in ((SESSION + 1, upload.sequence), (SESSION, upload.sequence - 1)):
        say(session, MessageType.CHUNK_UP, sequence, messages.pack_chunk(0, 0, b"xxxx"), at=at)
        assert upload.content == b""
    say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(0, 0, b"abcd"))
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, good, at=SESSION + 1)
    say(session, MessageType.UPLOAD_STATUS, upload.sequence - 1, good)
    assert not upload.done
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, good)
    assert upload.done
    assert upload.failure is None


def test_a_chunk_beyond_the_total_is_not_taken() -> None:
    upload = UploadOperation()
    session = start(upload)
    say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(0, 0, b"early"))
    assert upload.content == b""  # nobody has said yet how many there are
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(4, 0, 0))
    say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(0, 0, b"abcde"))
    say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(0, 0, b""))
    assert upload.content == b""


def test_weights_of_another_size_are_refused() -> None:
    upload = UploadOperation(4)
    session = start(upload)
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(8, 0, 0))
    assert upload.failure is not None
    assert (upload.failure.reason, upload.failure.detail) == (Reason.REFUSED, 8)


def test_a_result_that_is_repeated_is_received_again_and_starts_nothing() -> None:
    visit = VisitOperation(b"order")
    session = start(visit)
    session.poll(0.0)
    assert visit.number is not None
    number = messages.pack_number(visit.number)
    other = messages._RESULT.pack(visit.number + 1, 5)
    say(session, MessageType.RESULT, visit.sequence, other + b"of another visit")
    assert not visit.done
    say(session, MessageType.RESULT, visit.sequence, messages._RESULT.pack(visit.number, 7) + b"result")
    assert (visit.result, visit.answer_hash) == (b"result", 7)
    assert [frame.type for frame in heard(session)] == [MessageType.RESULT_RECEIVED]
    upload = UploadOperation(4)
    session.start(upload, 1.0)
    session.poll(1.0)
    say(session, MessageType.RESULT, visit.sequence, messages._RESULT.pack(visit.number, 7) + b"result")
    frames = heard(session, 1.0)
    assert [(frame.type, frame.payload) for frame in frames] == [(MessageType.RESULT_RECEIVED, number)]


def test_acknowledgements_that_are_late_or_impossible_move_nothing() -> None:
    transfer = TransferOperation(Kind.IMAGE, bytes(5000))
    session = start(transfer)
    session.poll(0.0)
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(0))
    assert len(heard(session)) == 3  # the window
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(2048))
    assert transfer.acknowledged == 2048
    session.poll(0.0)
    for late in (transfer_status(1024, gap=True, round_=1), transfer_status(5001), transfer_status(2048)):
        say(session, MessageType.TRANSFER_STATUS, transfer.sequence, late)
        assert transfer.acknowledged == 2048
        assert heard(session) == []


def test_a_gap_of_an_earlier_round_is_not_gone_back_for() -> None:
    transfer = TransferOperation(Kind.IMAGE, bytes(9000))
    session = start(transfer)
    session.poll(0.0)
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(0))
    offset, round_, _ = messages.unpack_chunk(heard(session)[0].payload)
    assert offset == 0
    gap = transfer_status(1024, gap=True, round_=round_)
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, gap)
    again = [messages.unpack_chunk(frame.payload)[:2] for frame in heard(session)]
    assert again[0] == (1024, round_ + 1)
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, gap)
    assert heard(session) == []


def chunks(frames: list[Frame]) -> list[tuple[int, int]]:
    """Offset and length of each chunk among frames sent down."""
    found = [messages.unpack_chunk(frame.payload) for frame in frames if frame.type == MessageType.CHUNK_DOWN]
    return [(offset, len(piece)) for offset, _, piece in found]


def test_after_a_gap_the_device_has_a_whole_interval_to_answer() -> None:
    """0.2 s and twice 1,024 bytes at 11,520 a second: 0.378 s. Gone back at 0.3 s, it asks at 0.678 s."""
    transfer = TransferOperation(Kind.IMAGE, bytes(9000))
    session = start(transfer)
    session.poll(0.0)
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(0))
    _, round_, _ = messages.unpack_chunk(heard(session)[0].payload)
    gap = transfer_status(0, gap=True, round_=round_)
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, gap, now_s=0.3)
    assert chunks(heard(session, 0.3))[0] == (0, 512)
    assert heard(session, 0.67) == []
    assert [frame.type for frame in heard(session, 0.68)] == [MessageType.TRANSFER_BEGIN]


def test_what_a_device_has_already_is_not_sent_though_it_was_never_sent_in_this_round() -> None:
    """After a loss the host goes back to 0, and the device says that all it had thrown away is there: 9,000 - 4,096."""
    transfer = TransferOperation(Kind.IMAGE, bytes(9000))
    session = start(transfer)
    session.poll(0.0)
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(0))
    round_ = messages.unpack_chunk(heard(session)[0].payload)[1]
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(0, gap=True, round_=round_))
    assert chunks(heard(session)) == [(0, 512), (512, 512), (1024, 512)]
    say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(4096, round_=round_ + 1))
    assert chunks(heard(session)) == [(4096, 512), (4608, 512), (5120, 512)]


def test_an_upload_that_falls_silent_is_asked_about_once_before_it_is_begun_anew() -> None:
    """The device has spoken in it: the host says what it has; only after silence does it ask with a new number."""
    upload = UploadOperation(8)
    session = start(upload)
    session.poll(0.0)
    first = upload.sequence
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(8, 0, 0))
    assert [(frame.type, frame.sequence) for frame in heard(session, 0.4)] == [(MessageType.ACK, first)]
    (again,) = heard(session, 1.2)
    assert again.type == MessageType.UPLOAD_REQUEST and again.sequence > first


def test_a_gap_in_an_upload_is_told_once_a_round_and_late_chunks_tell_none() -> None:
    """Chunk 0 is lost: the first that comes behind it has the host say so, the next do not, until the device has gone
    back, which its round says; what is still under way of an earlier round is late."""
    upload = UploadOperation(200)
    session = start(upload)
    session.poll(0.0)
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(200, 0, 0))
    told = []
    for offset, round_ in ((64, 0), (128, 0), (64, 1), (128, 1), (64, 2), (128, 1), (64, 2)):
        say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(offset, round_, bytes(64)))
        told += [(frame.payload[6], frame.payload[7]) for frame in heard(session) if frame.type == MessageType.ACK]
    assert told == [(messages.FLAG_GAP, 0), (messages.FLAG_GAP, 1), (messages.FLAG_GAP, 2)]
    assert session.count.retries == 3
    say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(0, 2, bytes(64)))
    (ack,) = heard(session)
    assert (ack.payload[:4], ack.payload[6]) == ((64).to_bytes(4, "little"), 0)


def test_chunks_up_grow_again_after_sixteen_that_passed() -> None:
    """A damaged frame halves them, 1,024 to 512 bytes; each acknowledgement says how long the next ones may be."""
    upload = UploadOperation(200)
    session = start(upload)
    session.poll(0.0)
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(200, 0, 0))
    session.feed(b"\x05spoiled\x00", 0.0)
    sizes = []
    for index in range(17):
        say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(index, 0, b"x"))
        (ack,) = [frame for frame in heard(session) if frame.type == MessageType.ACK][-1:]
        sizes.append(int.from_bytes(ack.payload[4:6], "little"))
    assert sizes == [512] * 15 + [1024] * 2


def test_content_that_arrives_wrong_as_a_whole_is_sent_three_times_at_most() -> None:
    """Each frame is good, the device's hash of the whole is not: two retries, each with a new number, then an error."""
    transfer = TransferOperation(Kind.IMAGE, b"abcd")
    session = start(transfer)
    numbers = []
    for _ in range(3):
        assert transfer.failure is None
        (begin,) = [frame for frame in heard(session) if frame.type == MessageType.TRANSFER_BEGIN]
        numbers.append(begin.sequence)
        say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(0))
        (chunk,) = [frame for frame in heard(session) if frame.type == MessageType.CHUNK_DOWN]
        assert messages.unpack_chunk(chunk.payload)[2] == b"abcd"
        say(session, MessageType.TRANSFER_STATUS, transfer.sequence, transfer_status(4, Status.CHECKSUM))
    assert transfer.failure is not None and transfer.failure.reason is Reason.DAMAGED
    assert len(set(numbers)) == 3
    assert session.count.retries == 2


@pytest.mark.parametrize("length", [0, 1 << 24])
def test_what_no_transfer_can_carry_is_refused_before_it_begins(length: int) -> None:
    """An offset has 24 bits, and a transfer at least one byte."""
    with pytest.raises(UsageError, match=f"^{length} bytes cannot be sent to a device: 1 to 16,777,215 can$"):
        TransferOperation(Kind.IMAGE, bytes(length))
    assert TransferOperation(Kind.IMAGE, b"x").content == b"x"


def test_a_request_is_repeated_at_growing_intervals_of_at_most_two_seconds() -> None:
    session = start(TransferOperation(Kind.IMAGE, b"x"))
    sent = []
    for step in range(995):
        if session.poll(step / 100):
            sent.append(step / 100)
    gaps = [b - a for a, b in itertools.pairwise(sent)]
    assert gaps[0] <= 0.4
    assert all(b >= a for a, b in itertools.pairwise(gaps))
    assert max(gaps) <= 2.01
    session.poll(10.0)
    operation = session._operation
    assert operation is not None
    assert operation.failure is not None
    assert operation.failure.reason is Reason.SILENT


def over_while_it_says(operation: Operation, frame: Frame, seconds: float = 40.0) -> tuple[float, HostSession]:
    """When the operation is over on a line on which a device says this frame all the time, a hundred times a second."""
    session = HostSession(1)
    session.start(operation, 0.0)
    said = encode(frame)
    for step in range(round(100 * seconds)):
        now_s = step / 100
        for heard_frame in FrameDecoder().feed(session.poll(now_s)):
            if heard_frame.type == MessageType.HELLO_REQUEST:
                session.feed(answer_greeting(heard_frame, SESSION), now_s)
        session.feed(said, now_s)
        if operation.done:
            return now_s, session
    return seconds, session


OPERATIONS: dict[str, tuple[Callable[[], Operation], float]] = {
    "transfer": (lambda: TransferOperation(Kind.IMAGE, bytes(100)), 30.0),
    "upload": (lambda: UploadOperation(4), 30.0),
    "visit": (lambda: VisitOperation(b"order"), 30.0),
    "save": (SaveOperation, 30.0),
    "label": (lambda: LabelOperation(0, windows=5), 30.0),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_device_that_only_says_cancelled_does_not_keep_an_operation_alive(name: str) -> None:
    make, limit_s = OPERATIONS[name]
    operation = make()
    over_s, _ = over_while_it_says(operation, Frame(MessageType.CANCELLED, SESSION, 1))
    assert operation.failure is not None and operation.failure.reason is Reason.STALLED
    assert over_s == pytest.approx(limit_s, abs=0.1)


def test_a_cancel_that_is_answered_by_something_else_ends_after_the_patience() -> None:
    operation = CancelOperation()
    over_s, _ = over_while_it_says(operation, Frame(MessageType.TRANSFER_STATUS, SESSION, 1, transfer_status(0)))
    assert operation.failure is not None and operation.failure.reason is Reason.STALLED
    assert over_s == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_device_that_denies_its_session_is_greeted_again_but_rarely(name: str) -> None:
    """ERROR -11 a hundred times a second: at most 32 greetings again, a quarter of a second apart."""
    operation = OPERATIONS[name][0]()
    error = Frame(MessageType.ERROR, SESSION, 1, messages._ERROR.pack(0, Status.STATE, 6))
    over_s, session = over_while_it_says(operation, error)
    assert operation.failure is not None and operation.failure.reason is Reason.STALLED
    assert session.count.bytes_sent < 33 * 200  # a greeting and the request, each time
    assert 32 * 0.25 <= over_s < 12


def test_a_visit_that_evaluates_for_long_is_alive() -> None:
    """Its training samples are done, its steps grow: for a minute, a step a second."""
    visit = VisitOperation(b"order", samples=3)
    session = start(visit)
    session.poll(0.0)
    for second in range(60):
        status = messages._VISIT_STATUS.pack(visit.number or 0, 3, 3, 0, second, 0)
        session.feed(encode(Frame(MessageType.VISIT_STATUS, SESSION, visit.sequence, status)), float(second))
        session.poll(second + 0.5)
        assert not visit.done
    for second in range(60, 95):  # and the same step again and again
        session.feed(encode(Frame(MessageType.VISIT_STATUS, SESSION, visit.sequence, status)), float(second))
        session.poll(float(second))
    assert visit.failure is not None and visit.failure.reason is Reason.STALLED


def recorded(operation: LabelOperation, windows: int, *, running: bool = True, capacity: int = 65_535) -> bytes:
    """RECORD_STATUS of so many samples of class 1, all of this recording."""
    number = operation._number
    return record._STATUS.pack(number, 1, int(running), 0, windows, capacity, 0, 2, 0) + struct.pack("<HH", 0, windows)


@pytest.mark.parametrize(("again_s", "over_s"), [(None, 89), (40, 129)])
def test_a_recording_is_given_up_when_its_sensor_gives_no_window_for_a_minute(again_s: int | None, over_s: int) -> None:
    """The last window, 60 s in which the device is waited for, and 30 s without progress: polled once a second."""
    operation = LabelOperation(1, windows=5)
    session = start(operation)
    session.poll(0.0)
    for second in range(200):
        windows = 2 if again_s is not None and second >= again_s else 1
        say(session, MessageType.RECORD_STATUS, operation.sequence, recorded(operation, windows), now_s=float(second))
        session.poll(float(second))
        if operation.done:
            break
    assert operation.failure is not None and operation.failure.reason is Reason.STALLED
    assert second == over_s


def test_a_recording_s_status_is_read_whole_or_not() -> None:
    operation = LabelOperation(1, windows=5)
    session = start(operation)
    session.poll(0.0)
    whole = recorded(operation, 3)
    assert record.RecordStatus.unpack(whole).counts == (0, 3)
    with pytest.raises(messages.MalformedError, match=r"^the counts are cut off$"):
        record.RecordStatus.unpack(whole[:-1])
    with pytest.raises(messages.MalformedError, match=r"^23 bytes where 24 are needed$"):
        record.RecordStatus.unpack(whole[:23])
    say(session, MessageType.RECORD_STATUS, operation.sequence, whole)
    assert operation.status is not None and operation.failure is None  # 65,535 samples are what a shard can count
    say(session, MessageType.RECORD_STATUS, operation.sequence, recorded(operation, 3, capacity=65_536))
    assert operation.failure is not None and operation.failure.field == "capacity"


def test_a_saving_is_waited_for_as_long_as_the_device_says_it_will_be_silent() -> None:
    """12 s without a word while it erases, by what it says at 1 s: the patience of 10 s begins at 13 s."""
    operation = SaveOperation()
    session = start(operation)
    session.poll(0.0)
    status = messages._SAVE_STATUS.pack(10, 99, 0, 0, 12_000)
    say(session, MessageType.SAVE_STATUS, operation.sequence, status, now_s=1.0)
    session.poll(22.9)
    assert not operation.done
    session.poll(23.0)
    assert operation.failure is not None and operation.failure.reason is Reason.SILENT


def test_a_saving_hears_its_own_answers_and_asks_again_after_what_they_say() -> None:
    """Others' numbers and other frames say nothing. Silent for 12 s from 1 s on, it is asked about at 13 s."""
    operation = SaveOperation()
    session = start(operation)
    session.poll(0.0)
    whole = messages._SAVE_STATUS.pack(99, 99, 0, 1, 0)
    say(session, MessageType.SAVE_STATUS, operation.sequence - 1, whole)
    say(session, MessageType.VISIT_STATUS, operation.sequence, whole)
    assert not operation.done
    status = messages._SAVE_STATUS.pack(10, 99, 0, 0, 12_000)
    say(session, MessageType.SAVE_STATUS, operation.sequence, status, now_s=1.0)
    assert heard(session, 12.9) == []
    assert [frame.type for frame in heard(session, 13.0)] == [MessageType.SAVE]


def test_a_saving_that_goes_on_for_a_minute_is_alive() -> None:
    operation = SaveOperation()
    session = start(operation)
    for second in range(60):
        status = messages._SAVE_STATUS.pack(second + 1, 99, 0, 0, 0)
        say(session, MessageType.SAVE_STATUS, operation.sequence, status, now_s=float(second))
        session.poll(float(second))
        assert not operation.done
    assert operation.bytes_done == 60


def test_a_saving_that_writes_nothing_more_is_given_up() -> None:
    operation = SaveOperation()
    session = start(operation)
    status = messages._SAVE_STATUS.pack(10, 99, 0, 0, 0)
    for second in range(60):
        say(session, MessageType.SAVE_STATUS, operation.sequence, status, now_s=float(second))
        session.poll(float(second))
        if operation.done:
            break
    assert operation.failure is not None and operation.failure.reason is Reason.STALLED
    assert second == 30


def test_a_greeting_whose_name_is_cut_off_is_malformed() -> None:
    whole = messages._HELLO.pack(1, 2, 3, 0, 65536, 0, 0, 0, 1024, 0, 0, 0, 4) + b"pair"
    assert messages.Hello.unpack(whole).board == "pair"
    with pytest.raises(messages.MalformedError, match=r"^the board's name is cut off$"):
        messages.Hello.unpack(whole[:-1])


def test_a_visit_tells_when_it_was_accepted_and_asks_again_a_second_later() -> None:
    """Accepted at 0.2 s: it is asked about at 1.2 s, not before, and the moment stays as more comes."""
    visit = VisitOperation(b"order")
    session = start(visit)
    session.poll(0.0)
    assert visit.accepted_s is None and visit.number is not None
    status = messages._VISIT_STATUS.pack(visit.number, 0, 3, 0, 0, 0)
    say(session, MessageType.VISIT_STATUS, visit.sequence, status, now_s=0.2)
    assert visit.accepted_s == 0.2
    assert heard(session, 1.19) == []
    assert [frame.type for frame in heard(session, 1.21)] == [MessageType.ORDER]
    say(session, MessageType.VISIT_STATUS, visit.sequence, status, now_s=1.3)
    assert heard(session, 2.2) == []
    say(session, MessageType.RESULT, visit.sequence, messages._RESULT.pack(visit.number, 7), now_s=2.5)
    assert visit.done and visit.accepted_s == 0.2


def test_a_visit_whose_result_comes_first_was_accepted_then() -> None:
    visit = VisitOperation(b"order")
    session = start(visit)
    session.poll(0.0)
    say(session, MessageType.RESULT, visit.sequence, messages._RESULT.pack(visit.number or 0, 7), now_s=0.5)
    assert visit.accepted_s == 0.5


@pytest.mark.parametrize(
    ("done", "total", "steps", "field"),
    [(4, 3, 4, "done"), (0, 4, 1, "total"), (2**32 - 1, 3, 9, "done"), (3, 3, 10, "steps"), (3, 3, 9, "")],
)
def test_counts_that_an_order_does_not_imply_fail_its_visit(done: int, total: int, steps: int, field: str) -> None:
    visit = VisitOperation(b"order", samples=3, steps_max=9)
    session = start(visit)
    session.poll(0.0)
    status = messages._VISIT_STATUS.pack(visit.number or 0, done, total, 0, steps, 0)
    say(session, MessageType.VISIT_STATUS, visit.sequence, status)
    lie = {"done": done, "total": total, "steps": steps}.get(field, 0)
    assert visit.failure == (Failure(Reason.IMPLAUSIBLE, detail=lie, field=field) if field else None)
    assert visit.samples_total == (0 if field else 3)


@pytest.mark.parametrize(
    ("label", "windows", "capacity", "counts", "field"),
    [
        (1, 5, 8, (0, 5), ""),
        (1, 6, 8, (0, 6), "windows"),  # five were asked for
        (1, 3, 8, (1, 1), "windows"),
        (1, 1, 8, (0, 9), "counts"),
        (1, 1, 2**32 - 1, (0, 1), "capacity"),
        (2, 1, 8, (0, 1), "label"),
        (1, 0, 8, (0,) * 33, "classes"),
    ],
)
def test_a_recording_has_the_samples_that_were_asked_for(
    label: int, windows: int, capacity: int, counts: tuple[int, ...], field: str
) -> None:
    operation = LabelOperation(1, windows=5)
    session = start(operation)
    session.poll(0.0)
    status = record._STATUS.pack(operation._number, label, 1, 0, windows, capacity, 0, len(counts), 0)
    status += b"".join(count.to_bytes(2, "little") for count in counts)
    say(session, MessageType.RECORD_STATUS, operation.sequence, status)
    assert (operation.failure.field if operation.failure else "") == field
    assert (operation.status is None) == bool(field)


@pytest.mark.parametrize(
    ("told", "field"),
    [
        (((0, 99), (40, 99)), ""),
        (((9, 8),), "done"),
        (((0, 99), (0, 98)), "total"),
        (((0, 67_108_860),), ""),  # four times the largest image
        (((0, 67_108_861),), "total"),
    ],
)
def test_a_saving_writes_what_it_said_it_would(told: tuple[tuple[int, int], ...], field: str) -> None:
    operation = SaveOperation()
    assert (operation.bytes_done, operation.bytes_total) == (0, 0)
    session = start(operation)
    session.poll(0.0)
    for done, total in told:
        say(session, MessageType.SAVE_STATUS, operation.sequence, messages._SAVE_STATUS.pack(done, total, 0, 0, 0))
    assert (operation.failure.field if operation.failure else "") == field


def test_weights_that_are_whole_but_not_the_visits_are_not_taken() -> None:
    upload = UploadOperation(4, visit=7, content_hash=hash64(b"abcd"))
    session = start(upload)
    (request,) = heard(session)
    assert int.from_bytes(request.payload[8:12], "little") == 7
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(4, 0, 0))
    say(session, MessageType.CHUNK_UP, upload.sequence, messages.pack_chunk(0, 0, b"abcx"))
    say(session, MessageType.UPLOAD_STATUS, upload.sequence, upload_status(4, hash64(b"abcx"), 1))
    assert upload.failure is not None and upload.failure.reason is Reason.FOREIGN


def test_another_device_on_the_line_is_not_gone_on_with() -> None:
    transfer = TransferOperation(Kind.IMAGE, bytes(100))
    session = start(transfer)
    session.poll(0.0)
    error = messages._ERROR.pack(0, Status.STATE, 2)
    say(session, MessageType.ERROR, transfer.sequence, error, now_s=1.0)
    (greeting,) = heard(session, 1.0)
    session.feed(answer_greeting(greeting, SESSION + 1, board=b"other"), 1.0)
    assert transfer.failure is not None and transfer.failure.reason is Reason.CHANGED


def test_a_session_whose_requests_are_used_up_is_left_for_another() -> None:
    """The nonce is another one too: the same would be answered with the same session."""
    session = start(UploadOperation(4))
    session.poll(0.0)
    session._sequence = 0xF000
    old_nonce = session._nonce
    session.start(UploadOperation(4), 1.0)
    (greeting,) = heard(session, 1.0)
    assert greeting.type == MessageType.HELLO_REQUEST and greeting.payload[:8] != old_nonce
    session.feed(answer_greeting(greeting, SESSION + 1), 1.0)
    (request,) = heard(session, 1.0)
    assert (request.session, request.sequence) == (SESSION + 1, 1)


def test_a_result_repeated_ten_thousand_times_is_not_answered_each_time() -> None:
    visit = VisitOperation(b"order")
    session = start(visit)
    session.poll(0.0)
    result = encode(Frame(MessageType.RESULT, SESSION, visit.sequence, messages._RESULT.pack(visit.number or 0, 7)))
    session.feed(result, 0.0)
    session.start(UploadOperation(4), 0.0)
    session.poll(0.0)
    session.feed(result * 10_000, 1.0)
    assert len(heard(session, 1.0)) <= 33
