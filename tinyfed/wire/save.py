"""Keeping a model through a power cut: a request down, its progress up. See docs/wire.md."""

from tinyfed.wire import messages
from tinyfed.wire.frames import Frame
from tinyfed.wire.messages import COMPLETE, MessageType
from tinyfed.wire.session import KEEP_ALIVE_S, LongOperation, Reason

# Bytes erased and written for an image of the largest size, each page whole.
TOTAL_MAX = 4 * messages.TRANSFER_BYTES_MAX


class SaveOperation(LongOperation):
    """Have the device write its model into its flash, or forget what is there."""

    def __init__(self, weights_hash: int = 0, *, forget: bool = False) -> None:
        """`weights_hash`: of the weights that the device must hold; 0: any."""
        super().__init__()
        self.bytes_done = 0
        self.bytes_total = 0
        self._payload = messages.pack_save(weights_hash, forget=forget)

    def ask(self) -> None:
        self.send(MessageType.SAVE, self._payload)

    def on_frame(self, frame: Frame, now_s: float) -> None:
        if frame.type != MessageType.SAVE_STATUS or frame.sequence != self.sequence:
            return
        answer = messages.SaveStatus.unpack(frame.payload)
        if answer.status < 0:
            self.fail(Reason.REFUSED, answer.status, answer.detail)
            return
        if self.implausible(
            total=(answer.total, answer.total <= TOTAL_MAX and self.bytes_total in (0, answer.total)),
            done=(answer.done, answer.done <= answer.total),
        ):
            return
        quiet_s = answer.quiet_ms / 1000
        if self._timer.due_s is not None or answer.done > self.bytes_done:
            self._session.moved(now_s + quiet_s)
        self.bytes_done, self.bytes_total = answer.done, answer.total
        if answer.status == COMPLETE:
            self.finish()
        else:
            self._timer.stop()
            self._alive_s = now_s + max(KEEP_ALIVE_S, quiet_s)
