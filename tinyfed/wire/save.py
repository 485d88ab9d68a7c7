"""Keeping a model through a power cut: a request down, its progress up. See docs/wire.md."""

from tinyfed.wire import messages
from tinyfed.wire.frames import Frame
from tinyfed.wire.messages import COMPLETE, MessageType
from tinyfed.wire.session import Operation, Reason

# The request is repeated so often while the device works: each end hears that the other is there.
KEEP_ALIVE_S = 1.0


class SaveOperation(Operation):
    """Have the device write its model into its flash, or forget what is there."""

    def __init__(self, weights_hash: int = 0, *, forget: bool = False) -> None:
        """`weights_hash`: of the weights that the device must hold; 0: any."""
        super().__init__()
        self.bytes_done = 0
        self.bytes_total = 0
        self._payload = messages.pack_save(weights_hash, forget=forget)
        self._alive_s: float | None = None  # when to ask again; None: not yet answered

    def begin(self, now_s: float) -> None:
        """See `Operation.begin`."""
        self.sequence = self._session.next_sequence()
        self._timer = self._session.retry_timer()
        self._timer.start(now_s)
        self._alive_s = None
        self.send(MessageType.SAVE, self._payload)

    def on_frame(self, frame: Frame, now_s: float) -> None:
        """See `Operation.on_frame`."""
        if frame.type != MessageType.SAVE_STATUS or frame.sequence != self.sequence:
            return
        answer = messages.SaveStatus.unpack(frame.payload)
        self.bytes_done, self.bytes_total = answer.done, answer.total
        if answer.status < 0:
            self.fail(Reason.REFUSED, answer.status, answer.detail)
        elif answer.status == COMPLETE:
            self.finish()
        else:
            self._timer.stop()
            self._alive_s = now_s + max(KEEP_ALIVE_S, answer.quiet_ms / 1000)

    def on_time(self, now_s: float) -> None:
        """See `Operation.on_time`."""
        if self._alive_s is not None and now_s >= self._alive_s:
            self._alive_s = now_s + KEEP_ALIVE_S
            self.send(MessageType.SAVE, self._payload)
        elif self._timer.expired(now_s):
            self._session.count.retries += 1
            self.send(MessageType.SAVE, self._payload)

    def due_s(self) -> float | None:
        """See `Operation.due_s`."""
        return self._timer.due_s if self._alive_s is None else self._alive_s
