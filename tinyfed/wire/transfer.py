"""Models down, weights up: windowed, resumable, checked as a whole. See docs/wire.md."""

from tinyfed.errors import UsageError
from tinyfed.status import Status
from tinyfed.weights import content_hash
from tinyfed.wire import messages
from tinyfed.wire.frames import Frame
from tinyfed.wire.messages import COMPLETE, MessageType
from tinyfed.wire.session import Operation, Reason

# Whole transfers whose hash was wrong although each frame's CRC was right.
ATTEMPTS = 3


class TransferOperation(Operation):
    """Send a model image, weights or an input down."""

    def __init__(
        self,
        kind: messages.Kind,
        content: bytes,
        *,
        structure_hash: int = 0,
        encoding: int = messages.Encoding.PLAIN,
        base_hash: int = 0,
        part: tuple[int, int] = (0, 0),
    ) -> None:
        """`content`: the bytes on the wire, encoded already; `part`: first and count of the values, count 0: all; of an
        input step and 1, where a stream of them is sent."""
        super().__init__(survives_reset=kind == messages.Kind.IMAGE)
        if not 0 < len(content) <= messages.TRANSFER_BYTES_MAX:
            raise UsageError(f"{len(content)} bytes cannot be sent to a device: 1 to 16,777,215 can")
        self.content_hash = content_hash(content)
        self.content = content
        self._head = messages.TransferBegin(
            kind, encoding, len(content), self.content_hash, structure_hash, base_hash, *part
        )
        self._round = 0
        self._attempts = 0

    @property
    def acknowledged(self) -> int:
        """Bytes that the device has."""
        return self._next

    def begin(self, now_s: float) -> None:
        self._chunk = self._session.chunk_down
        self._next = 0  # what the device wants
        self._sent = 0
        super().begin(now_s)

    def ask(self) -> None:
        self._streaming = False
        self._next_round()
        self.send(MessageType.TRANSFER_BEGIN, self._head.pack(self._round))

    def _next_round(self) -> None:
        """What is sent from now on comes after a loss: reports of earlier ones are not about it."""
        self._round = (self._round + 1) & 0xFF

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if frame.type != MessageType.TRANSFER_STATUS or frame.sequence != self.sequence:
            return
        answer = messages.TransferStatus.unpack(frame.payload)
        if answer.status == COMPLETE:
            self._next = len(self.content)
            self.finish()
        elif answer.status == Status.CHECKSUM and answer.next_offset == len(self.content):
            self._attempts += 1
            if self._attempts >= ATTEMPTS:
                self.fail(Reason.DAMAGED)
            else:
                self._session.count.retries += 1
                self.begin(now_s)
        elif answer.status < 0:
            self.fail(Reason.REFUSED, answer.status, answer.detail)
        elif self._next <= answer.next_offset <= len(self.content):
            self._advance(answer, now_s)

    def _advance(self, answer: messages.TransferStatus, now_s: float) -> None:
        if answer.next_offset > self._next:
            self._next = answer.next_offset
            self._session.moved(now_s)
            self._chunk.passed()
            self._timer.start(now_s)
        if not self._streaming:
            self._streaming = True
            self._sent = self._next
            self._timer.start(now_s)
        elif answer.gap and answer.round == self._round and self._sent > self._next and self._session.may_answer(now_s):
            self._session.count.retries += 1
            self._chunk.lost()
            self._next_round()
            self._sent = self._next
            self._timer.start(now_s)
        self._sent = max(self._sent, self._next)
        self._fill()

    def _fill(self) -> None:
        """Send what the window has room for."""
        size = self._chunk.within(self._session.chunk_limit())
        window = self._session.window_chunks * size
        while self._sent < len(self.content) and self._sent - self._next < window:
            piece = self.content[self._sent : self._sent + size]
            self.send(MessageType.CHUNK_DOWN, messages.pack_chunk(self._sent, self._round, piece))
            self._sent += len(piece)

    def on_time(self, now_s: float) -> None:
        if self._timer.expired(now_s):
            # asking again tells where the device is, whether a chunk, the answers or the device was lost
            self._session.count.retries += 1
            self._chunk.lost()
            self.ask()


class UploadOperation(Operation):
    """Take the weights back. They are in `content` when it is done."""

    def __init__(
        self,
        expected_bytes: int | None = None,
        *,
        visit: int = 0,
        input_hash: int = 0,
        content_hash: int | None = None,
    ) -> None:
        """`expected_bytes`: any other size is a failure; None: as many as the device has. Instead of the weights it
        holds `visit`: what that visit, the device's last, gives back; `input_hash`: what the model made of the last
        input, this one. `content_hash`: anything else is a failure; None: whatever it has."""
        super().__init__()
        self._visit = visit
        self._input_hash = input_hash
        self._content_hash = content_hash
        self._expected = expected_bytes
        self._attempts = 0
        self._parts = bytearray()
        self._round = 0  # newest that a chunk came in
        self._hash = messages.HASH_START

    @property
    def content(self) -> bytes:
        """What has arrived so far; all of it once the operation is done."""
        return bytes(self._parts)

    def begin(self, now_s: float) -> None:
        """See `Operation.begin`: goes on behind what has arrived already."""
        self._chunk = self._session.chunk_up
        self._heard = False
        self._gap_reported = False
        super().begin(now_s)

    def _size(self) -> int:
        return self._chunk.within(self._session.chunk_limit())

    def ask(self) -> None:
        self.send(
            MessageType.UPLOAD_REQUEST,
            messages.pack_upload_request(
                len(self._parts),
                self._size(),
                self._session.window_chunks,
                self._round,
                self._visit,
                input_hash=self._input_hash,
            ),
        )

    def _acknowledge(self, *, gap: bool) -> None:
        self.send(MessageType.ACK, messages.pack_ack(len(self._parts), self._size(), self._round, gap=gap))

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if frame.sequence != self.sequence:
            return
        if frame.type == MessageType.UPLOAD_STATUS:
            self._on_status(messages.UploadStatus.unpack(frame.payload), now_s)
        elif frame.type == MessageType.CHUNK_UP:
            self._heard = True
            offset, round_, piece = messages.unpack_chunk(frame.payload)
            if (round_ - self._round) & 0xFF in range(1, 128):
                self._round = round_
                self._gap_reported = False
            self._on_chunk(offset, piece, now_s, late=round_ != self._round)

    def _on_status(self, answer: messages.UploadStatus, now_s: float) -> None:
        if answer.status < 0:
            self.fail(Reason.REFUSED, answer.status, answer.detail)
        elif self._expected is not None and answer.total_bytes != self._expected:
            self.fail(Reason.REFUSED, Status.SHAPE, answer.total_bytes)
        elif self.implausible(
            total_bytes=(answer.total_bytes, answer.total_bytes <= messages.TRANSFER_BYTES_MAX),
        ):
            return
        elif answer.status == COMPLETE and len(self._parts) == answer.total_bytes:
            if answer.content_hash == self._hash:
                if self._content_hash in (None, self._hash):
                    self.finish()
                else:
                    self.fail(Reason.FOREIGN)
                return
            self._attempts += 1
            if self._attempts >= ATTEMPTS:
                self.fail(Reason.DAMAGED)
                return
            self._parts.clear()
            self._hash = messages.HASH_START
            self._session.count.retries += 1
            self.begin(now_s)
        else:
            self._expected = answer.total_bytes
            if len(self._parts) == self._expected and self._session.may_answer(now_s):
                self._acknowledge(gap=False)
        self._heard = True

    def _on_chunk(self, offset: int, piece: bytes, now_s: float, *, late: bool) -> None:
        here = len(self._parts)
        if self._expected is None:
            return  # the answer that says how many was lost: it is asked for again
        if offset == here and 0 < len(piece) <= self._expected - here:
            self._parts += piece
            self._session.moved(now_s)
            self._hash = messages.hash64(piece, self._hash)
            self._chunk.passed()
            self._gap_reported = False
            self._timer.start(now_s)
            self._acknowledge(gap=False)
        elif offset > here and not late and not self._gap_reported:
            self._lost(now_s)
        elif offset < here and self._session.may_answer(now_s):
            self._acknowledge(gap=False)

    def _lost(self, now_s: float) -> None:
        if not self._session.may_answer(now_s):
            return
        self._gap_reported = True
        self._chunk.lost()
        self._session.count.retries += 1
        self._acknowledge(gap=True)

    def on_damaged(self, now_s: float) -> None:
        """See `Operation.on_damaged`: most likely the chunk that is wanted."""
        if self._expected is not None and len(self._parts) < self._expected:
            self._lost(now_s)

    def on_time(self, now_s: float) -> None:
        if not self._timer.expired(now_s):
            return
        self._session.count.retries += 1
        if self._expected is None:
            self.ask()
        elif self._heard:
            self._heard = False
            self._acknowledge(gap=len(self._parts) < self._expected)
        else:
            # the device may have given up the upload: ask anew, from here on
            self.sequence = self._session.next_sequence()
            self.ask()
