"""Having a device record labelled samples. See docs/wire.md."""

import struct
from dataclasses import dataclass

from tinyfed.wire.frames import Frame
from tinyfed.wire.messages import MalformedError, MessageType
from tinyfed.wire.session import LongOperation, Reason

FORGET = 0xFFFE
STOP = 0xFFFF
CLASSES_MAX = 32
# Samples that a device stores at most.
CAPACITY_MAX = 0xFFFF
# A sensor that gives no window for so long gives none.
WINDOW_S = 60.0
_LABEL = struct.Struct("<IHHI")
_STATUS = struct.Struct("<IHBbIIIHH")


def pack_label(recording: int, label: int, windows: int, milliseconds: int) -> bytes:
    """LABEL's payload; `windows` and `milliseconds` end it, 0: they do not."""
    return _LABEL.pack(recording, label, windows, milliseconds)


@dataclass(frozen=True)
class RecordStatus:
    """How a recording stands. It says how many samples there are, never what is in them."""

    recording: int
    label: int
    running: bool
    status: int
    windows: int  # stored by this recording
    capacity: int  # samples of all classes
    detail: int
    counts: tuple[int, ...]  # samples stored, by class

    @classmethod
    def unpack(cls, payload: bytes) -> "RecordStatus":
        """Raises `MalformedError` when the payload is too short."""
        if len(payload) < _STATUS.size:
            raise MalformedError(f"{len(payload)} bytes where {_STATUS.size} are needed")
        recording, label, running, status, windows, capacity, detail, classes, _ = _STATUS.unpack_from(payload)
        if len(payload) < _STATUS.size + 2 * classes:
            raise MalformedError("the counts are cut off")
        counts = struct.unpack_from(f"<{classes}H", payload, _STATUS.size)
        return cls(recording, label, bool(running), status, windows, capacity, detail, counts)


class LabelOperation(LongOperation):
    """Record samples of a class until a limit, or stop, or forget. `status` is the newest that the device said."""

    def __init__(self, label: int, *, windows: int = 0, milliseconds: int = 0) -> None:
        """`label`: the class, STOP or FORGET."""
        super().__init__()
        self.status: RecordStatus | None = None
        self._wanted = (label, windows, milliseconds)
        self._number = 0
        self._window_s = 0.0  # when the last window came

    def begin(self, now_s: float) -> None:
        """See `Operation.begin`: the same recording, should the device know it already."""
        self._number = self._number or self._session.next_visit() or 1
        super().begin(now_s)

    def ask(self) -> None:
        self.send(MessageType.LABEL, pack_label(self._number, *self._wanted))

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if frame.type != MessageType.RECORD_STATUS:
            return
        answer = RecordStatus.unpack(frame.payload)
        label, windows_max, _ = self._wanted
        ends = label in (STOP, FORGET)
        if (frame.sequence != self.sequence) if ends else (answer.recording != self._number):
            return
        stored = sum(answer.counts)
        if self.implausible(
            classes=(len(answer.counts), len(answer.counts) <= CLASSES_MAX),
            capacity=(answer.capacity, answer.capacity <= CAPACITY_MAX),
            counts=(stored, stored <= answer.capacity),
            windows=(answer.windows, answer.windows <= min(stored, windows_max or stored)),
            label=(answer.label, ends or answer.label == label),
        ):
            return
        if self.status is None or answer.windows > self.status.windows:
            self._window_s = now_s
        if now_s - self._window_s < WINDOW_S:
            self._session.moved(now_s)
        self.status = answer
        self._timer.stop()
        if ends:
            self.finish()
        elif answer.status < 0 and not answer.windows:
            self.fail(Reason.REFUSED, answer.status, answer.detail)
        elif not answer.running:
            self.finish()
