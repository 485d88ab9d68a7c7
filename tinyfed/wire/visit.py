"""A visit: an order down, a result up, carried out at most once. See docs/wire.md."""

from tinyfed.wire import messages
from tinyfed.wire.frames import Frame
from tinyfed.wire.messages import MessageType
from tinyfed.wire.session import KEEP_ALIVE_S, LongOperation, Reason


class VisitOperation(LongOperation):
    """Have an order carried out. `result` holds the device's answer when it is done."""

    def __init__(
        self, order: bytes, weights_hash: int = 0, *, samples: int | None = None, steps_max: int = 0xFFFFFFFF
    ) -> None:
        """`weights_hash`: of the weights that the device must hold; 0: any. `samples` that the order has it learn,
        `steps_max` pieces of work that it takes at most: it fails when the device speaks of others."""
        super().__init__()
        self.result = b""
        self.answer_hash = 0  # of what an upload of this visit brings
        self._samples = samples
        self._steps_max = steps_max
        self._steps = -1
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
        assert self.number is not None
        self.send(MessageType.ORDER, messages.pack_order(self.number, self._weights_hash, self._order))

    def on_frame(self, frame: Frame, now_s: float) -> None:
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
            if self.implausible(
                total=(answer.total, self._samples in (None, answer.total)),
                done=(answer.done, answer.done <= answer.total),
                steps=(answer.steps, answer.steps <= self._steps_max),
            ):
                return
            if answer.steps > self._steps:
                self._steps = answer.steps
                self._session.moved(now_s)
            self.samples_done, self.samples_total = answer.done, answer.total
        elif frame.type == MessageType.RESULT:
            outcome = messages.VisitResult.unpack(frame.payload)
            if outcome.visit != self.number:
                return
            self.result, self.answer_hash = outcome.result, outcome.answer_hash
            if self.accepted_s is None:
                self.accepted_s = now_s
            self._session.received_result(self.number)
            self.finish()
