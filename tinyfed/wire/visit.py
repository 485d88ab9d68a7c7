"""A visit: an order down, a result up, carried out at most once. See docs/wire.md."""

from tinyfed.wire import messages
from tinyfed.wire.frames import Frame
from tinyfed.wire.messages import MessageType
from tinyfed.wire.session import Operation, Reason

# The order is repeated so often while the visit runs: each end hears that the other is there.
KEEP_ALIVE_S = 1.0


class VisitOperation(Operation):
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
        self.sequence = self._session.next_sequence()
        self._payload = messages.pack_order(self.number, self._weights_hash, self._order)
        self._timer = self._session.retry_timer()
        self._timer.start(now_s)
        self._alive_s = now_s
        self.send(MessageType.ORDER, self._payload)

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
                self._alive_s = now_s
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

    def on_time(self, now_s: float) -> None:
        """See `Operation.on_time`."""
        if self._timer.expired(now_s):
            self._session.count.retries += 1
            self.send(MessageType.ORDER, self._payload)
        elif self._timer.due_s is None and now_s - self._alive_s >= KEEP_ALIVE_S:
            self._alive_s = now_s
            self.send(MessageType.ORDER, self._payload)

    def due_s(self) -> float | None:
        """See `Operation.due_s`."""
        return self._timer.due_s if self._timer.due_s is not None else self._alive_s + KEEP_ALIVE_S
