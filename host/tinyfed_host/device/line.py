"""A device at the other end of a line, as the coordinator wants it: blocking calls over a transport and a session."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable

from tinyfed.boards import BOARD_NAME
from tinyfed.device import DeviceInfo, Traffic, VisitOutcome
from tinyfed.errors import DeviceError, DivergedError, DoesNotFitError, TinyfedError, UsageError
from tinyfed.model.image import needs_int8, read_weights, structure_hash
from tinyfed.status import Status, explain
from tinyfed.text import printable
from tinyfed.weights import Weights, content_hash
from tinyfed.wire.encodings import Shortened
from tinyfed.wire.frames import VERSION
from tinyfed.wire.messages import Hello, Kind, hash64
from tinyfed.wire.order import Order, Result
from tinyfed.wire.record import CLASSES_MAX, STOP, LabelOperation, RecordStatus
from tinyfed.wire.save import SaveOperation
from tinyfed.wire.session import (
    CancelOperation,
    Failure,
    HelloOperation,
    HostSession,
    Operation,
    Reason,
    ResetOperation,
)
from tinyfed.wire.transfer import TransferOperation, UploadOperation
from tinyfed.wire.update import expand, layer_sizes, shared_part
from tinyfed.wire.visit import VisitOperation
from tinyfed_host.transport.base import Transport
from tinyfed_host.transport.others import blamed

CHUNK_BYTES_LEAST = 16
# A device that says nothing for so long is gone.
PATIENCE_S = 10.0
# How long a call that waits may take to notice `cancel`.
CANCEL_POLL_S = 0.1
# To find out what a port is.
PROBE_S = 1.0
PROBE_ATTEMPTS = 3
# The remedy where nothing answers.
NOBODY = "is the firmware flashed, and is it the right port?"
# To the line's beginning, kill to its end, kill line: any line editor takes back what the probe typed; the terminal's
# own knows only the last.
KILL_LINE = b"\x01\x0b\x15"
FLASH_IT = "flash firmware built by this tinyfed"
# What a failed operation says, and what to do.
FAILURES = {
    Reason.SILENT: ("no answer for {s:g} s ({doing})", "look whether it has power, or reset it"),
    Reason.RESET: ("it restarted in the middle ({doing})", "load the model again"),
    Reason.VERSION: (f"it speaks version {{detail}} of the protocol, this tinyfed version {VERSION}", FLASH_IT),
    Reason.STALLED: ("it talks, but gets no further ({doing})", "reset it"),
    Reason.FOREIGN: ("the weights that came are not those that the visit left ({doing})", ""),
    Reason.CHANGED: ("another device answers now ({doing})", "put back the one before"),
    Reason.IMPLAUSIBLE: ("it says what cannot be: {field} {detail} ({doing})", ""),
    Reason.DAMAGED: ("what arrives is damaged each time ({doing})", "check cable and baud rate"),
}
UNHEARD = frozenset({Reason.SILENT, Reason.STALLED, Reason.DAMAGED})  # bytes are missing
# Training steps (bytes, while a model is saved) done and in all, as the device's heartbeat tells them.
Progress = Callable[[int, int], None]


def device_info(hello: Hello, where: str) -> DeviceInfo:
    """The coordinator's view of a HELLO that came from `where`.

    Raises:
        DeviceError: it calls itself what no board is called, or takes no chunks.
    """
    if not BOARD_NAME.fullmatch(hello.board):
        raise DeviceError(
            f"{where}: it calls itself '{printable(hello.board)}', and a board's name has 1 to 32 letters, digits, "
            '".", "_" or "-"; flash firmware built by tinyfed'
        )
    if hello.chunk_bytes < CHUNK_BYTES_LEAST:
        raise DeviceError(
            f"it takes chunks of {hello.chunk_bytes} bytes; {CHUNK_BYTES_LEAST} are the least", where=where
        )
    return DeviceInfo(
        unique_id=hello.unique_id.hex(),
        board=hello.board,
        firmware_build=f"{hello.firmware_build:016x}",
        protocol_version=VERSION,
        arena_bytes=hello.arena_bytes,
        max_payload_bytes=hello.chunk_bytes,
        capabilities=hello.capability_names(),
        feature_count=hello.feature_count,
        class_count=hello.class_count,
        structure_hash=hello.structure_hash,
        weights_hash=hello.weights_hash,
        boot=hello.boot,
        reset_cause=hello.reset_cause,
    )


class RemoteDevice:
    """A device at the other end of a line. Implements `Device`, `InferenceDevice` and `Recorder`; takes the transport
    over.

    Raises:
        DeviceError: nothing that speaks tinyfed's protocol answers within `patience_s`.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        patience_s: float = PATIENCE_S,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
        session: HostSession | None = None,
    ) -> None:
        """`session`: one in which the device was greeted already, to go on in."""
        self.traffic = Traffic()
        self._transport = transport
        self._session = session or HostSession(secrets.randbits(64), bytes_per_s=transport.bytes_per_s)
        self._session.patience_s = patience_s
        self._progress = progress
        self._clock = clock
        self._cancelled = threading.Event()
        self._held: bytes | None = None  # what the device holds, as far as is known
        self._held_hash = 0  # of what it holds; 0: not known
        self._image = b""  # loaded last
        self._fresh = False  # its weights are still the image's
        self._info: DeviceInfo | None = None
        try:
            if self._session.hello is None:
                self._greet()
            else:
                self._greeted(self._session.hello)
            if self._session.hello is not None and self._session.hello.state == 2:
                self._run(CancelOperation())  # a visit of a host that is gone
                self._greet()
        except BaseException:
            transport.close()
            raise

    @property
    def info(self) -> DeviceInfo:
        assert self._info is not None
        return self._info

    @property
    def port(self) -> str:
        """The name of its line."""
        return self._transport.name

    def load(self, image: bytes) -> None:
        """See `Device.load`. Also raises UsageError when the device finds that this is no model image."""
        self._cancelled.clear()
        self._held = None
        self._held_hash = 0
        if needs_int8(image) and "frozen" not in self.info.capabilities:
            raise self._wrong(
                "its firmware has no int8 kernels, which this model needs: build one with them, "
                f"`tinyfed firmware build --board {self.info.board}` without --dense-only, or with --model",
                kind=UsageError,
            )
        whole = operation = TransferOperation(Kind.IMAGE, image)
        if needs_int8(image) and self.info.structure_hash == structure_hash(image):
            # its flash may carry the frozen network: the head's weights do
            weights = read_weights(image).tobytes()
            operation = TransferOperation(Kind.WEIGHTS, weights, structure_hash=self.info.structure_hash)
        self._run(operation)
        stale = operation.failure is not None and operation.failure.reason in (Reason.REFUSED, Reason.RESET)
        if operation is not whole and stale:
            operation = whole  # it no longer holds what it said
            self._run(operation)
        if operation.failure is not None:
            raise self._refused_image(operation.failure, len(image))
        boot = self._boot()
        self._greet()
        if self._boot() != boot:
            raise self._failed(Failure(Reason.RESET), "loading the model")
        self._image, self._fresh = image, True

    def visit(
        self, weights: Weights | None, order: Order, *, want_weights: bool, shortened: Shortened | None = None
    ) -> VisitOutcome:
        self._cancelled.clear()
        down, up = self._session.count.bytes_sent, self._session.count.bytes_received
        begin = self._clock()
        part = self._part(order)
        start = self._start(weights, part)
        if weights is None and not self._held_hash:
            self._greet()  # it says what it goes on with
        weights_hash = self._held_hash if weights is None else self._send_weights(weights, shortened, part)
        sent = self._clock()
        operation = VisitOperation(order.encode(), weights_hash, samples=order.samples, steps_max=order.steps_max)
        held, self._held = self._held, None
        self._held_hash = 0
        self._fresh = False
        self._finish(operation, "the order")
        trained = self._clock()
        assert operation.number is not None
        content: Weights | None = None
        if part is None:
            self._held_hash = operation.answer_hash
        if want_weights:
            expected = len(held) if held is not None and part is None else None
            upload = UploadOperation(expected, visit=operation.number, content_hash=operation.answer_hash)
            self._finish(upload, "taking the weights back" if part is None else "taking the update back")
            if part is None:
                self._held = content = Weights(upload.content)
        try:
            result = Result.decode(operation.result)
            result.check(order, self.info.arena_bytes)
            if want_weights and part is not None:
                content = expand(order, upload.content, start, part)
                if not order.is_partial and not order.top:
                    self._held = content  # the device goes on with what it made of its answer
                    self._held_hash = content_hash(content)
        except UsageError as error:
            raise self._wrong(str(error)) from error
        return VisitOutcome(
            result=result,
            weights=content,
            bytes_down=self._session.count.bytes_sent - down,
            bytes_up=self._session.count.bytes_received - up,
            wire_s=(sent - begin) + (self._clock() - trained),
            train_s=trained - sent,
        )

    def infer(self, sample: bytes, step: int | None = None) -> bytes:
        """See `InferenceDevice.infer`: the bits of the in-process engine."""
        self._cancelled.clear()
        if "infer" not in self.info.capabilities:
            raise self._wrong("its firmware takes no inputs over the line", FLASH_IT)
        if step is not None and "steps" not in self.info.capabilities:
            raise self._wrong("its firmware keeps no states between inputs", FLASH_IT)
        transfer = TransferOperation(
            Kind.INPUT,
            sample,
            structure_hash=self.info.structure_hash,
            base_hash=self._held_hash,
            part=(0, 0) if step is None else (step, 1),
        )
        self._run(transfer)
        failure = transfer.failure
        if failure is not None and failure.reason is Reason.REFUSED and failure.status == Status.MEMORY:
            raise self._wrong(
                f"a sample of {len(sample)} bytes beside the model is {failure.detail} bytes too large "
                f"for the arena of {self.info.arena_bytes} bytes",
                "take a smaller model or a larger board",
                kind=DoesNotFitError,
            )
        if failure is not None:
            raise self._failed(failure, "sending an input")
        upload = UploadOperation(input_hash=transfer.content_hash)
        self._finish(upload, "taking the outputs back")
        return upload.content

    def record(
        self,
        label: int,
        *,
        windows: int = 0,
        seconds: float = 0.0,
        progress: Callable[[RecordStatus], None] | None = None,
    ) -> RecordStatus:
        if "sensor" not in self.info.capabilities:
            raise self._wrong(
                "this board has no sensor to record from", "docs/howto-sensor.md adds one", kind=UsageError
            )
        if label < STOP - 1 and not 0 <= label < CLASSES_MAX:
            raise UsageError(f"must be 0 to {CLASSES_MAX - 1}", key=f"class {label}")
        self._cancelled.clear()
        operation = LabelOperation(label, windows=windows, milliseconds=round(1000 * seconds))
        try:
            self._run(operation, progress)
        except BaseException:
            if label < STOP - 1:
                self._give_up(LabelOperation(STOP))
            raise
        if operation.failure is not None:
            raise self._not_recorded(operation)
        assert operation.status is not None
        self._greet()  # what it has stored, and the arena that is left, have changed
        return operation.status

    def recorded(self) -> tuple[int, ...]:
        return self.record(STOP).counts if "sensor" in self.info.capabilities else ()

    def _not_recorded(self, operation: LabelOperation) -> TinyfedError:
        failure, status = operation.failure, operation.status
        assert failure is not None
        if failure.reason is Reason.REFUSED and failure.status == Status.MEMORY:
            if status is not None and status.capacity:
                return self._wrong(
                    f"the store is full with {sum(status.counts)} of {status.capacity} windows",
                    "`tinyfed devices label PORT --forget` empties it",
                    kind=DoesNotFitError,
                )
            return self._wrong(
                f"the loaded model leaves the samples no room: {failure.detail:,} bytes short",
                "load a smaller model, or record before the model is loaded",
                kind=DoesNotFitError,
            )
        if failure.reason is Reason.REFUSED and failure.status == Status.SOURCE:
            return self._wrong("its sensor gives nothing", "look how it is wired")
        if failure.reason is Reason.RESET:
            return self._wrong("it restarted, and what it had recorded is gone", "record again")
        return self._failed(failure, "recording")

    def reset(self) -> None:
        """Restart the device and greet it again. Raises DeviceError when it does not come back."""
        self._cancelled.clear()
        self._run(ResetOperation())
        self._held = None
        self._held_hash = 0
        self._greet()

    def save(self, *, forget: bool = False) -> None:
        """Write the model it holds into its flash, from where it starts with it; or forget what is there.

        Raises:
            DeviceError: it cannot, holds no model, or the flash does not take it.
            DoesNotFitError: the model is larger than a slot.
        """
        self._cancelled.clear()
        if "save" not in self.info.capabilities:
            raise self._wrong(
                "this board keeps no model: it has no flash for one, or was started without (a program: --store FILE)"
            )
        held = self._held_hash
        self._greet()  # a visit has changed the weights
        operation = SaveOperation(0 if forget else held or self.info.weights_hash, forget=forget)
        self._run(operation)
        failure = operation.failure
        if failure is not None and failure.reason is Reason.REFUSED and failure.status == Status.MEMORY:
            raise self._wrong(
                f"the model is {failure.detail} bytes larger than a slot of its flash", kind=DoesNotFitError
            )
        if failure is not None and failure.reason is Reason.REFUSED and failure.status == Status.STATE:
            raise self._wrong("it holds no whole model: load a model first")
        if failure is not None:
            raise self._failed(failure, "saving the model")
        self._greet()

    def cancel(self) -> None:
        """See `Device.cancel`. Does nothing to a call that begins later."""
        self._cancelled.set()

    def close(self) -> None:
        self._transport.close()

    def _part(self, order: Order) -> tuple[int, int] | None:
        """First and number of the values it shares; None: the whole weights go both ways.

        Raises DeviceError for an order that its firmware does not know.
        """
        for needed, name in (
            (order.is_partial, "partial"),
            (order.top > 0, "sparse"),
            (order.answer != "float32", "answers"),
        ):
            if needed and name not in self.info.capabilities:
                raise self._wrong(f"its firmware cannot do '{name}', which the order asks for", FLASH_IT)
        if not order.answers_update:
            return None
        if not self._image:
            raise self._wrong("no model is known to be loaded: load one before it shares a part of it")
        return shared_part(order, layer_sizes(self._image))

    def _start(self, weights: bytes | None, part: tuple[int, int] | None) -> bytes:
        """The weights that an update is to."""
        if weights is not None or part is None:
            return weights or b""
        if not self._fresh:
            raise self._wrong("what it shares is an update: send the weights with the order")
        return read_weights(self._image).tobytes()

    def _send_weights(self, weights: Weights, shortened: Shortened | None, part: tuple[int, int] | None = None) -> int:
        """Give it these weights, the shorter way where it holds what that builds on; returns their hash.

        Of a `part` only that is sent, plain, and the others are 0."""
        held, self._held = self._held, None
        self._held_hash = 0
        structure_hash = self.info.structure_hash
        if part is not None and 4 * part[1] < len(weights):
            first, end = 4 * part[0], 4 * (part[0] + part[1])
            self._finish(
                TransferOperation(Kind.WEIGHTS, weights[first:end], structure_hash=structure_hash, part=part),
                "sending weights",
            )
            return hash64(bytes(first) + weights[first:end] + bytes(len(weights) - end))
        plain = TransferOperation(Kind.WEIGHTS, weights, structure_hash=structure_hash)
        operation = plain
        if shortened is not None and (shortened.base is None or shortened.base == held):
            assert shortened.weights == weights
            operation = TransferOperation(
                Kind.WEIGHTS,
                shortened.content,
                structure_hash=structure_hash,
                encoding=shortened.encoding.number,
                base_hash=0 if shortened.base is None else content_hash(shortened.base),
            )
        self._run(operation)
        if operation is not plain and operation.failure is not None and operation.failure.reason is Reason.REFUSED:
            operation = plain  # it no longer holds what was thought
            self._run(operation)
        if operation.failure is not None:
            raise self._failed(operation.failure, "sending weights")
        self._held = weights
        return plain.content_hash

    def _greet(self) -> None:
        operation = HelloOperation()
        self._run(operation)
        if operation.failure is not None:
            raise self._failed(operation.failure, "greeting")
        assert operation.hello is not None
        self._greeted(operation.hello)

    def _boot(self) -> int:
        assert self._session.hello is not None
        return self._session.hello.boot

    def _greeted(self, hello: Hello) -> None:
        self._info = device_info(hello, self._who())
        self._held_hash = hello.weights_hash

    def _finish(self, operation: Operation, doing: str) -> None:
        self._run(operation)
        if operation.failure is not None:
            raise self._failed(operation.failure, doing)

    def _run(self, operation: Operation, recorded: Callable[[RecordStatus], None] | None = None) -> None:
        """Carry the operation out over the transport."""
        told: RecordStatus | None = None
        self._session.start(operation, self._clock())
        try:
            while not operation.done:
                if self._cancelled.is_set():
                    raise self._wrong("given up on request")
                self._step(operation)
                if recorded is not None and isinstance(operation, LabelOperation) and operation.status is not told:
                    told = operation.status
                    if told is not None:
                        recorded(told)
            self._flush()
        except DeviceError:
            if self._cancelled.is_set() and not isinstance(operation, CancelOperation):
                self._give_up()
            raise
        finally:
            count = self._session.count
            self.traffic.down, self.traffic.up = count.bytes_sent, count.bytes_received
            self.traffic.retries = count.retries

    def _step(self, operation: Operation) -> None:
        self._flush()
        if operation.done:
            return
        wait_s = min(self._session.deadline() - self._clock(), CANCEL_POLL_S)
        data = self._transport.read(max(0.0, wait_s))
        if data:
            self._session.feed(data, self._clock())
        if self._progress is not None and isinstance(operation, VisitOperation) and operation.samples_total:
            self._progress(operation.samples_done, operation.samples_total)
        if self._progress is not None and isinstance(operation, SaveOperation) and operation.bytes_total:
            self._progress(operation.bytes_done, operation.bytes_total)

    def _flush(self) -> None:
        data = self._session.poll(self._clock())
        if data:
            self._transport.write(data)

    def _give_up(self, operation: Operation | None = None) -> None:
        """Tell the device, without waiting long for it, that nobody wants its answer any more."""
        operation = operation or CancelOperation()
        end = self._clock() + 0.5
        with contextlib.suppress(DeviceError):
            self._session.start(operation, self._clock())
            while not operation.done and self._clock() < end:
                self._step(operation)

    def _who(self) -> str:
        if self._info is None:
            return self._transport.name
        return f"{self._transport.name} ({self._info.board} {self._info.unique_id})"

    def _wrong(self, problem: str, remedy: str = "", kind: type[TinyfedError] = DeviceError) -> TinyfedError:
        return kind(problem, where=self._who(), remedy=remedy)

    def _failed(self, failure: Failure, doing: str) -> TinyfedError:
        if failure.reason is Reason.SILENT and self._info is None:
            return self._wrong("no tinyfed device answers", blamed(self._transport.name, NOBODY))
        if failure.reason is Reason.REFUSED:
            kind = DivergedError if failure.status == Status.NUMERIC else DeviceError
            return self._wrong(f"{doing} was refused: {explain(failure.status)}", kind=kind)
        problem, remedy = FAILURES[failure.reason]
        if failure.reason in UNHEARD:
            remedy = blamed(self._transport.name, remedy)
        said = {"doing": doing, "detail": failure.detail, "field": failure.field, "s": self._session.patience_s}
        return self._wrong(problem.format_map(said), remedy)

    def _refused_image(self, failure: Failure, image_bytes: int) -> TinyfedError:
        if failure.reason is Reason.REFUSED and failure.status == Status.MEMORY:
            return self._wrong(
                f"a model image of {image_bytes} bytes and its work area are {failure.detail} bytes "
                f"too large for the arena of {self.info.arena_bytes} bytes",
                "take a smaller model or a larger board",
                kind=DoesNotFitError,
            )
        if failure.reason is Reason.REFUSED and failure.status not in (Status.BUSY, Status.CANCELLED):
            return self._wrong(
                f"the model image is refused at byte {failure.detail}: {explain(failure.status)}", kind=UsageError
            )
        return self._failed(failure, "loading the model")


def probe(
    transport: Transport, timeout_s: float = PROBE_S, clock: Callable[[], float] = time.monotonic
) -> HostSession | None:
    """Ask who is at the other end: the session in which a device answered, its `hello` in it, or None when it is no
    tinyfed device. Does not close the transport.

    What is sent has no byte that a terminal acts on, and is taken back when nobody answered.

    Raises:
        DeviceError: the line is gone, or the device speaks another version of the protocol.
    """
    session = HostSession(secrets.randbits(64), bytes_per_s=transport.bytes_per_s, patience_s=timeout_s)
    operation = HelloOperation(interval_s=timeout_s / PROBE_ATTEMPTS, attempts=PROBE_ATTEMPTS)
    session.start(operation, clock())
    while True:
        data = session.poll(clock())
        if data:
            transport.write(data)
        if operation.done:
            break
        received = transport.read(max(0.0, session.deadline() - clock()))
        session.feed(received, clock())
    if operation.hello is not None:
        return session
    if operation.failure is not None and operation.failure.reason is Reason.VERSION:
        raise DeviceError(
            f"a tinyfed device with version {operation.failure.detail} of the protocol; "
            f"this tinyfed speaks version {VERSION}: flash firmware built by it",
            where=transport.name,
        )
    transport.write(KILL_LINE)
    return None
