"""The C link against hand-made frames: each rule of docs/wire.md that a well-behaved host would not put to the test."""

import itertools
import zlib

import pytest
from wire_pair import CDevice

from tinyfed.status import Status
from tinyfed.wire import messages
from tinyfed.wire.frames import CRC, HEADER, VERSION, Frame, FrameDecoder, cobs_encode, encode
from tinyfed.wire.messages import COMPLETE, Kind, MessageType, TransferBegin, hash64

NONCE = 0x0A0B
CONTENT = bytes(range(200))


class Line:
    """Says frames to a device and hears its frames; the clock stands until told."""

    def __init__(self, steps: int = 3, *, greet: bool = True) -> None:
        self.device = CDevice(steps=steps)
        self.now_ms = 5000
        self._decoder = FrameDecoder()
        self.said: list[bytes] = []
        self.session = 0  # as the device gave it
        if greet:
            self.session = self.greet(NONCE).session

    def say(
        self,
        kind: int,
        sequence: int,
        payload: bytes = b"",
        session: int | None = None,
        version: int = VERSION,
    ) -> None:
        session = self.session if session is None else session
        self.said.append(encode(Frame(kind, session, sequence, payload, version)))
        self.device.receive(self.said[-1], self.now_ms)

    def greet(self, nonce: int = NONCE, *, tag: int = 1) -> messages.Hello:
        """Say hello; what the device answers to this nonce and tag."""
        self.say(MessageType.HELLO_REQUEST, 0, nonce.to_bytes(8, "little"), session=tag)
        (answer,) = (frame for frame in self.hear() if frame.type == MessageType.HELLO)
        hello = messages.Hello.unpack(answer.payload)
        assert (answer.session, hello.nonce) == (tag, nonce)
        return hello

    def hear(self, *, work: bool = False) -> list[Frame]:
        if work:
            self.device.work(self.now_ms)
        data = b""
        while piece := self.device.transmit(self.now_ms):
            data += piece
        return self._decoder.feed(data)

    def later(self, milliseconds: int, *, work: bool = False) -> list[Frame]:
        self.now_ms += milliseconds
        return self.hear(work=work)

    def begin(self, sequence: int, content: bytes = CONTENT, *, kind: int = Kind.IMAGE, round_: int = 1) -> None:
        structure = 0 if kind == Kind.IMAGE else 77
        head = TransferBegin(kind, 0, len(content), hash64(content), structure, 0, 0, 0)
        self.say(MessageType.TRANSFER_BEGIN, sequence, head.pack(round_))

    def chunk(self, sequence: int, offset: int, data: bytes, round_: int = 1) -> None:
        self.say(MessageType.CHUNK_DOWN, sequence, messages.pack_chunk(offset, round_, data))

    def load(self, sequence: int = 2, content: bytes = CONTENT) -> None:
        self.begin(sequence, content)
        self.chunk(sequence, 0, content)
        assert status(self.hear()[-1]).status == COMPLETE

    def order(self, sequence: int, visit: int = 1, order: bytes = b"\x01") -> None:
        self.say(MessageType.ORDER, sequence, messages.pack_order(visit, 0, order))


def status(frame: Frame) -> messages.TransferStatus:
    assert frame.type == MessageType.TRANSFER_STATUS
    return messages.TransferStatus.unpack(frame.payload)


def error(frames: list[Frame]) -> messages.ErrorMessage:
    assert [frame.type for frame in frames] == [MessageType.ERROR]
    return messages.ErrorMessage.unpack(frames[0].payload)


def test_content_that_is_not_what_was_announced_is_refused_and_nothing_uses_it() -> None:
    line = Line()
    line.load()
    line.begin(3, CONTENT[::-1])
    line.chunk(3, 0, CONTENT)  # each frame is good, the whole is not
    answer = status(line.hear()[-1])
    assert (answer.status, answer.next_offset) == (Status.CHECKSUM, len(CONTENT))
    assert line.greet().weights_hash == 0
    line.order(5)
    assert messages.VisitStatus.unpack(line.hear()[-1].payload).status == Status.STATE
    line.say(MessageType.UPLOAD_REQUEST, 6, messages.pack_upload_request(0, 100, 3, 0))
    assert messages.UploadStatus.unpack(line.hear()[-1].payload).status == Status.STATE
    assert line.device.violations == 0
    assert line.device.trained == 0


def test_while_a_transfer_is_under_way_the_model_is_not_used() -> None:
    line = Line()
    line.load()
    line.begin(3, CONTENT[::-1])
    line.chunk(3, 0, CONTENT[:50:-1])
    line.hear()
    greeting = line.greet()
    assert (greeting.weights_hash, greeting.state) == (0, 1)
    line.order(5)
    assert messages.VisitStatus.unpack(line.hear()[-1].payload).status == Status.STATE
    line.say(MessageType.UPLOAD_REQUEST, 6, messages.pack_upload_request(0, 100, 3, 0))
    assert messages.UploadStatus.unpack(line.hear()[-1].payload).status == Status.STATE
    assert line.device.violations == 0


def test_a_delayed_request_cannot_undo_what_came_after_it() -> None:
    line = Line()
    line.load(2)
    line.order(7)
    for _ in range(5):
        line.hear(work=True)
    assert line.device.trained == 1
    line.begin(2)  # the one of before, delayed
    line.say(MessageType.CANCEL, 3)
    line.order(4, visit=9)
    line.say(MessageType.RESET, 5, messages.pack_number(messages.RESET_MAGIC))
    assert line.hear(work=True) == []
    assert line.device.valid
    assert (line.device.trained, line.device.resets, line.device.transfers) == (1, 0, 1)


def test_sequence_numbers_end_and_do_not_begin_anew() -> None:
    line = Line()
    line.load(0xFFFE)
    line.load(0xFFFF, CONTENT[::-1])
    for sequence in (0, 1, 0x8000, 0xFFFE):
        line.begin(sequence)
        assert line.hear() == [], sequence
    line.session = line.greet(NONCE + 1).session
    line.load(1)


def test_a_greeting_said_again_changes_nothing() -> None:
    """The same host's: the session, the requests it has seen and a transfer under way stay."""
    line = Line()
    line.load(5)
    line.begin(6, CONTENT[::-1])
    for tag in (1, 2, 1):
        assert line.greet(tag=tag).session == line.session
    line.begin(5)
    assert line.hear() == []
    line.chunk(6, 0, CONTENT[::-1])
    assert status(line.hear()[-1]).status == COMPLETE


def test_a_session_that_was_left_is_refused_for_good() -> None:
    """Each change of host opens another session, also back to one that was there before. What was recorded of all
    earlier ones, the greetings too, starts nothing."""
    line = Line()
    sessions = [line.session]
    for turn, nonce in enumerate((NONCE + 1, NONCE, NONCE + 1, NONCE)):
        line.session = line.greet(nonce).session
        sessions.append(line.session)
        line.load(1)
        line.order(2, visit=turn + 1)
        for _ in range(4):
            line.hear(work=True)
        line.begin(3, CONTENT[::-1])
        line.say(MessageType.CANCEL, 4)
        line.say(MessageType.RESET, 5, messages.pack_number(0))
        line.hear()
    recorded = list(line.said)
    assert len(set(sessions)) == len(sessions) == 5
    line.session = line.greet(NONCE + 2).session
    line.load(1)
    before = (line.device.trained, line.device.transfers, line.greet(NONCE + 2).weights_hash)
    assert before[0] == 4
    for frame in [*recorded, *recorded[::-1]]:
        line.device.receive(frame, line.now_ms)
        for answer in line.hear(work=True):
            assert answer.type in (MessageType.HELLO, MessageType.ERROR)
    after = line.greet(NONCE + 3)
    assert after.session not in sessions and after.state == 0
    assert (line.device.trained, line.device.transfers, after.weights_hash) == before


def test_a_start_has_another_boot_number_for_another_greeting_or_another_time() -> None:
    """Made from tag, nonce and time; two of them may be the same by chance of 2^-32."""
    boots = []
    for nonce, tag, now_ms in ((1, 1, 5000), (1, 2, 5000), (2, 1, 5000), (1, 1, 5001)):
        line = Line(greet=False)
        line.now_ms = now_ms
        boots.append(line.greet(nonce, tag=tag).boot)
    assert len(set(boots)) == 4
    line = Line(greet=False)
    assert line.greet(1).boot == boots[0]
    assert line.greet(2, tag=7).boot == boots[0]


def test_another_session_is_answered_with_an_error_and_changes_nothing() -> None:
    line = Line()
    line.load()
    for kind in (MessageType.CANCEL, MessageType.ORDER, MessageType.UPLOAD_REQUEST, MessageType.CHUNK_DOWN):
        line.say(kind, 9, bytes(32), session=line.session + 1)
        answer = line.hear()
        assert error(answer).code == Status.STATE
        assert (answer[0].session, answer[0].sequence) == (line.session + 1, 9)
        assert error(answer).answered_type == kind
    assert line.device.valid
    assert line.device.trained == 0


def test_another_version_is_told_which_one_is_spoken_here() -> None:
    line = Line(greet=False)
    for version, payload in ((9, b"more than today"), (1, b"")):
        line.say(MessageType.HELLO_REQUEST, 0, payload, session=0x12345678, version=version)
        (answer,) = line.hear()
        assert (answer.version, answer.type, answer.session) == (VERSION, MessageType.HELLO, 0x12345678)
        hello = messages.Hello.unpack(answer.payload)
        assert (hello.nonce, hello.session) == (0, 0)  # a version that is not spoken gets no session
    line.say(MessageType.CANCEL, 2, session=0x12345678, version=9)
    (answer,) = line.hear()
    assert answer.session == 0x12345678
    assert error([answer]).code == Status.VERSION


def test_another_version_leaves_the_session_as_it_is() -> None:
    line = Line()
    line.load()
    line.say(MessageType.HELLO_REQUEST, 0, session=5, version=1)
    line.hear()
    line.order(3)
    assert line.hear()[0].type == MessageType.VISIT_STATUS


@pytest.mark.parametrize("silent_ms", [0, 11_000])
def test_a_transfer_outlives_a_change_of_session_and_a_silent_host(silent_ms: int) -> None:
    line = Line()
    line.begin(2)
    line.chunk(2, 0, CONTENT[:120])
    assert status(line.hear()[-1]).next_offset == 120
    line.later(silent_ms, work=True)
    line.session = line.greet(0x5555).session
    line.begin(1)
    assert status(line.hear()[-1]).next_offset == 120


def test_a_quiet_line_in_a_transfer_is_reported_again_and_again_until_the_watchdog() -> None:
    line = Line()
    line.begin(2)
    line.hear()
    heard = []
    for _ in range(200):  # 20 s
        for frame in line.later(100, work=True):
            assert status(frame).gap
            heard.append(line.now_ms)
    gaps = [b - a for a, b in itertools.pairwise(heard)]
    assert heard[0] - 5000 == 300
    assert gaps[:3] == [600, 1200, 1200]
    assert 14_000 < heard[-1] < 15_100


def test_a_chunk_behind_the_next_one_is_reported_once_a_round() -> None:
    line = Line()
    line.begin(2, round_=250)
    line.hear()
    for _ in range(3):
        line.chunk(2, 100, b"x" * 50, round_=250)
    answers = [status(frame) for frame in line.hear()]
    assert [(answer.gap, answer.round) for answer in answers] == [(True, 250)]
    line.chunk(2, 100, b"x" * 50, round_=3)  # newer, although the number is smaller
    line.chunk(2, 150, b"x" * 50, round_=3)
    answers = [status(frame) for frame in line.hear()]
    assert [(answer.gap, answer.round) for answer in answers] == [(True, 3)]
    line.chunk(2, 100, b"x" * 50, round_=250)  # late
    assert line.hear() == []
    line.chunk(2, 0, CONTENT, round_=3)
    assert status(line.hear()[-1]).status == COMPLETE


def test_a_damaged_frame_in_a_transfer_is_reported_at_once() -> None:
    line = Line()
    line.begin(2)
    line.hear()
    data = bytearray(encode(Frame(MessageType.CHUNK_DOWN, line.session, 2, messages.pack_chunk(0, 1, CONTENT))))
    data[50] ^= 4
    line.device.receive(bytes(data), line.now_ms)
    assert status(line.hear()[-1]).gap
    line.chunk(2, 0, CONTENT)
    assert status(line.hear()[-1]).status == COMPLETE


def test_a_chunk_may_not_go_beyond_the_end() -> None:
    line = Line()
    line.begin(2)
    line.chunk(2, 0, CONTENT[:150])
    line.hear()
    line.chunk(2, 150, bytes(60))
    line.hear()
    line.chunk(2, 150, CONTENT[150:])
    assert status(line.hear()[-1]).status == COMPLETE


@pytest.mark.parametrize("total", [0, 1 << 24])
def test_a_transfer_of_no_bytes_or_too_many_is_refused(total: int) -> None:
    line = Line()
    line.say(MessageType.TRANSFER_BEGIN, 2, TransferBegin(Kind.IMAGE, 0, total, 0, 0, 0, 0, 0).pack(0))
    assert status(line.hear()[-1]).status == Status.ARGUMENT


def test_the_heartbeat_comes_every_second_and_the_result_every_half_until_it_is_received() -> None:
    line = Line(steps=100)
    line.load()
    line.order(3)
    line.hear()
    beats = 0
    for _ in range(90):
        line.say(MessageType.ORDER, 3, messages.pack_order(1, 0, b"\x01")) if beats == 5 else None
        beats += sum(frame.type == MessageType.VISIT_STATUS for frame in line.later(100, work=True))
    assert 8 <= beats <= 10
    while not line.device.trained:
        frames = line.hear(work=True)
    results = sum(frame.type == MessageType.RESULT for frame in frames)
    assert results == 1
    results = sum(frame.type == MessageType.RESULT for _ in range(20) for frame in line.later(100))
    assert results == 4
    line.say(MessageType.RESULT_RECEIVED, 3, messages.pack_number(2))  # of another visit
    assert [frame.type for frame in line.later(500)] == [MessageType.RESULT]
    line.say(MessageType.RESULT_RECEIVED, 3, messages.pack_number(1))
    assert line.later(2000) == []
    line.order(4)
    assert [frame.type for frame in line.hear()] == [MessageType.RESULT]
    assert line.device.trained == 1


def test_a_visit_number_with_another_order_is_another_visit() -> None:
    line = Line()
    line.load()
    for sequence, order in ((3, b"\x01"), (4, b"\x02")):
        line.order(sequence, visit=1, order=order)
        for _ in range(4):
            line.hear(work=True)
    assert line.device.trained == 2


def test_nothing_else_is_done_while_a_visit_runs() -> None:
    line = Line(steps=100)
    line.load()
    line.order(3)
    line.hear(work=True)
    line.begin(4, CONTENT[::-1])
    assert error(line.hear()).code == Status.BUSY
    line.say(MessageType.UPLOAD_REQUEST, 5, messages.pack_upload_request(0, 100, 3, 0))
    assert error(line.hear()).code == Status.BUSY
    line.order(6, visit=2)
    assert error(line.hear()).code == Status.BUSY
    assert line.greet().state == 2
    assert line.device.violations == 0
    line.say(MessageType.CANCEL, 8)
    assert [frame.type for frame in line.hear()] == [MessageType.CANCELLED]


def test_an_upload_waits_for_its_window_and_goes_back_by_itself() -> None:
    line = Line()
    content = bytes(1000)
    line.load(2, content)
    line.say(MessageType.UPLOAD_REQUEST, 3, messages.pack_upload_request(0, 100, 3, 9))
    heads = [messages.unpack_chunk(frame.payload)[:2] for frame in line.hear() if frame.type == MessageType.CHUNK_UP]
    assert heads == [(0, 9), (100, 9), (200, 9)]
    assert line.later(499) == []
    heads = [messages.unpack_chunk(frame.payload)[:2] for frame in line.later(1)]
    assert heads == [(0, 10), (100, 10), (200, 10)]
    line.say(MessageType.ACK, 3, messages.pack_ack(100, 100, 9, gap=True))  # about an earlier round
    assert [messages.unpack_chunk(frame.payload)[:2] for frame in line.hear()] == [(300, 10)]
    line.say(MessageType.ACK, 3, messages.pack_ack(100, 50, 10, gap=True))
    assert [messages.unpack_chunk(frame.payload)[:2] for frame in line.hear()] == [(100, 11), (150, 11), (200, 11)]
    for wrong in (messages.pack_ack(0, 50, 11, gap=False), messages.pack_ack(1001, 50, 11, gap=False)):
        line.say(MessageType.ACK, 3, wrong)
        assert line.hear() == []


def test_an_upload_nobody_acknowledges_ends_with_the_watchdog() -> None:
    line = Line()
    line.load()
    line.say(MessageType.UPLOAD_REQUEST, 3, messages.pack_upload_request(0, 100, 1, 0))
    chunks = sum(frame.type == MessageType.CHUNK_UP for _ in range(200) for frame in line.later(100, work=True))
    assert 18 <= chunks <= 21


def test_reset_needs_its_word() -> None:
    line = Line()
    line.say(MessageType.RESET, 2, messages.pack_number(1))
    assert line.device.resets == 0
    line.say(MessageType.RESET, 3, messages.pack_number(messages.RESET_MAGIC))
    assert line.device.resets == 1


def test_an_order_longer_than_allowed_is_refused() -> None:
    line = Line()
    line.load()
    line.say(MessageType.ORDER, 3, messages.pack_order(1, 0, b"") + bytes(65))
    assert error(line.hear()).code == Status.ARGUMENT
    line.say(MessageType.ORDER, 4, messages.pack_order(1, 0, bytes(64)))
    assert line.hear()[-1].type == MessageType.VISIT_STATUS


def test_a_frame_longer_than_the_longest_is_dropped() -> None:
    """8 + 4 + 1024 + 4 bytes are the longest, 1028 of them payload: too long for an order, which is told. With one
    byte more, and a CRC that is right, it is no frame."""
    line = Line()
    for payload_bytes in (1028, 1029):
        body = HEADER.pack(VERSION, MessageType.ORDER, line.session, 3) + bytes([1]) * payload_bytes
        line.device.receive(b"\0" + cobs_encode(body + CRC.pack(zlib.crc32(body))) + b"\0", line.now_ms)
        if payload_bytes == 1028:
            assert error(line.hear()).code == Status.ARGUMENT
        else:
            assert line.hear() == []


def test_an_upload_is_of_the_visit_it_names_or_refused() -> None:
    line = Line()
    line.load()
    line.order(3, visit=7)
    for _ in range(5):
        line.hear(work=True)
    for sequence, visit in ((4, 7), (5, 8), (6, 0)):
        line.say(MessageType.UPLOAD_REQUEST, sequence, messages.pack_upload_request(0, 100, 3, 0, visit))
        answer = next(frame for frame in line.hear() if frame.type == MessageType.UPLOAD_STATUS)
        refused = messages.UploadStatus.unpack(answer.payload).status == Status.STATE
        assert refused == (visit == 8), visit


def test_what_it_says_to_itself_is_no_request() -> None:
    """An echoing line: frames from a device mean nothing to one."""
    line = Line()
    for kind in range(0x80, 0x100):
        line.say(kind, 50, bytes(32))
    for kind in (0, *range(max(kind for kind in MessageType if kind < 0x80) + 1, 0x80)):
        line.say(kind, 50, bytes(32))
    assert line.hear() == []


def asks_for_outputs(line: Line, sequence: int, content: bytes = b"an input") -> list[Frame]:
    line.say(
        MessageType.UPLOAD_REQUEST, sequence, messages.pack_upload_request(0, 100, 3, 0, input_hash=hash64(content))
    )
    return line.hear()


def test_an_input_that_comes_leaves_the_model_as_it_is() -> None:
    line = Line()
    line.load()
    before = line.greet().weights_hash
    line.begin(4, b"an input", kind=Kind.INPUT)
    line.chunk(4, 0, b"an ")
    line.hear()
    greeting = line.greet()
    assert (greeting.weights_hash, greeting.state) == (before, 0)
    line.say(MessageType.UPLOAD_REQUEST, 6, messages.pack_upload_request(0, 200, 3, 0))
    assert line.hear()[-1].payload[4:] == CONTENT
    assert line.device.violations == 0


def test_a_visit_gives_up_an_input_and_its_late_bytes_are_not_written() -> None:
    line = Line()
    line.load()
    line.begin(3, b"an input", kind=Kind.INPUT)
    line.chunk(3, 0, b"an ")
    line.hear()
    line.order(4)
    line.chunk(3, 3, b"input")
    while line.device.trained == 0:
        line.hear(work=True)
    assert line.device.inferred == 0
    assert messages.UploadStatus.unpack(asks_for_outputs(line, 5)[-1].payload).status == Status.STATE
    assert line.device.violations == 0


def test_outputs_are_of_the_last_input_or_refused() -> None:
    line = Line()
    line.load()
    assert messages.UploadStatus.unpack(asks_for_outputs(line, 3)[-1].payload).status == Status.STATE
    for sequence, content in ((4, b"one"), (8, b"other"), (12, b"other")):
        line.begin(sequence, content, kind=Kind.INPUT)
        line.chunk(sequence, 0, content)
        assert status(line.hear()[-1]).status == COMPLETE
        frames = asks_for_outputs(line, sequence + 1, content)
        expected = bytes((a + b) & 0xFF for a, b in zip(content, CONTENT, strict=False))
        assert [frame.payload[4:] for frame in frames if frame.type == MessageType.CHUNK_UP] == [expected]
    assert line.device.inferred == 2  # the same input again is known
    line.begin(20, CONTENT[::-1], kind=Kind.WEIGHTS)
    line.hear()
    assert messages.UploadStatus.unpack(asks_for_outputs(line, 21)[-1].payload).status == Status.STATE
    line.begin(22, b"one", kind=Kind.INPUT)  # there is no whole model
    assert status(line.hear()[-1]).status == Status.STATE
    assert line.device.violations == 0
