"""A visit: an order down, a result up, carried out at most once. See docs/wire.md."""

from tinyfed.wire import messages
from tinyfed.wire.frames import Frame
from tinyfed.wire.messages import MessageType
from tinyfed.wire.session import KEEP_ALIVE_S, LongOperation, Reason


class VisitOperation(LongOperation):
    """Have an order carried out. `result` holds the device's answer when it is done."""

    def __init__(self, order: bytes, weights_hash: int = 0) -> None:
        """`weights_hash`: of the weights that the device must hold; 0: any."""
        super().__init__()
        self.result = b""
        self.samples_done = 0
        self.samples_total = 0
        self.accepted_s: float | None = None  # when the device's acceptance came
        self._order = order
        self._weights_hash = weights_hash
        self.number: int | None = None

    def begin(self, now_s: float) -> None:
        """See `Operation.begin`: the same visit, should the device know it already."""
        if self.number is None:
            self.number = self._session.next_visit()
        super().begin(now_s)

    def ask(self) -> None:
        """See `LongOperation.ask`."""
        assert self.number is not None
        self.send(MessageType.ORDER, messages.pack_order(self.number, self._weights_hash, self._order))

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """See `Operation.on_frame`."""
        if frame.type == MessageType.VISIT_STATUS:
            answer = messages.VisitStatus.unpack(frame.payload)
            if answer.visit != self.number:
                return
            if answer.status < 0:
                self.fail(Reason.REFUSED, answer.status, answer.detail)
                return
            if self.accepted_s is None:
                self.accepted_s = now_s
                self._alive_s = now_s + KEEP_ALIVE_S
            self._timer.stop()
            self.samples_done, self.samples_total = answer.done, answer.total
        elif frame.type == MessageType.RESULT and len(frame.payload) >= 4:
            if int.from_bytes(frame.payload[:4], "little") != self.number:
                return
            self.result = frame.payload[4:]
            if self.accepted_s is None:
                self.accepted_s = now_s
            self._session.received_result(self.number)
            self.finish()
