"""Labelled samples from a sensor: the windows are the host's, bit for bit; the message, the store and its limits."""

import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from numpy.typing import NDArray

from tinyfed.boards import read_board, read_boards
from tinyfed.data.recording import write_recording
from tinyfed.data.shard import write_shard
from tinyfed.device.simulated import SimulatedDevice
from tinyfed.engine import _device
from tinyfed.errors import UsageError
from tinyfed.model.image import encode
from tinyfed.model.initialize import initialize
from tinyfed.model.spec import mlp
from tinyfed.status import Status
from tinyfed.tasks import watch
from tinyfed.wire.frames import Frame
from tinyfed.wire.frames import encode as frame
from tinyfed.wire.messages import Hello, MessageType
from tinyfed.wire.order import Order, Result
from tinyfed.wire.record import CLASSES_MAX, FORGET, STOP, LabelOperation, RecordStatus
from tinyfed.wire.session import HelloOperation, HostSession, Operation
from tinyfed.wire.transfer import TransferOperation
from tinyfed.wire.visit import VisitOperation

FEATURES = 120
STORE_BYTES = 384 + 480 + 8 * 480  # 8 windows
SPEC = mlp(FEATURES, (8,), 2, "relu", loss="softmax_cross_entropy")
IMAGE = encode(SPEC, initialize(SPEC, 3))


def readings(seconds: float, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, 1, (round(50 * seconds), 6))


def windows(take: NDArray[np.float64]) -> NDArray[np.float32]:
    """As the watch task prepares them, one after the other."""
    mean, deviation = watch.standardization()
    rows = []
    for start in range(0, len(take) - 99, 50):
        groups = take[start : start + 100].reshape(20, 5, 6)
        total = groups[:, 0]
        for k in range(1, 5):
            total = total + groups[:, k]
        rows.append((((total / 5) - mean) / deviation).astype(np.float32).reshape(FEATURES))
    return np.array(rows).reshape(-1, FEATURES)


class Line:
    """A device in-process and a session at the other end of a perfect line."""

    def __init__(
        self,
        *takes: NDArray[np.float64],
        arena_bytes: int = 65536,
        record_bytes: int = STORE_BYTES,
        rate_hz: int = 50,
        window: tuple[int, int, int, int, int, bytes] | None = None,
    ) -> None:
        sensor = write_recording(takes, rate_hz) if takes else None
        self.device = _device.LineDevice(
            arena_bytes, bytes(12), "board", None, None, 0, sensor=sensor, record_bytes=record_bytes, window=window
        )
        self.session = HostSession(0x1234_5678_9ABC)
        self.now_s = 0.0
        self.run(HelloOperation())

    def run(self, operation: Operation, limit_s: float = 60.0) -> Operation:
        self.session.start(operation, self.now_s)
        end = self.now_s + limit_s
        while not operation.done and self.now_s < end:
            sent = self.device.feed(self.session.poll(self.now_s), round(self.now_s * 1e6) & 0xFFFFFFFF)
            self.session.feed(sent, self.now_s)
            self.now_s += 0.001
        return operation

    def record(self, label: int, **limits: int) -> LabelOperation:
        operation = LabelOperation(label, **limits)
        self.run(operation)
        return operation

    def hello(self) -> Hello:
        self.run(HelloOperation())
        assert self.session.hello is not None
        return self.session.hello


def test_the_devices_windows_are_the_watch_tasks_for_every_published_recording() -> None:
    recordings = watch.read_recordings(watch.dataset_path().read_bytes())
    count = 0
    for series, label, person, side in zip(
        recordings["X"], recordings["y"], recordings["subject"], recordings["side"], strict=True
    ):
        expected = watch.samples((int(person), int(side)))[int(label)].tobytes()
        assert _device.motion_windows(np.ascontiguousarray(series, "<f8").tobytes()) == expected
        count += 1
    assert count == 140


def test_the_constants_in_c_are_those_of_the_task() -> None:
    text = (ROOT / "firmware/visit/motion.c").read_text()
    for value in np.concatenate(watch.standardization()).tolist():
        assert f" {value.hex()}," in text


def test_recorded_samples_train_as_a_shard_of_them_does() -> None:
    first, second = readings(6, 1), readings(5, 2)
    line = Line(first, second)
    assert "sensor" in line.hello().capability_names()
    assert line.hello().class_count == 0
    assert line.record(0).status == RecordStatus(
        line.session._visit,
        0,
        False,
        Status.SOURCE,
        5,
        8,
        0,
        (5,),  # the take was over
    )
    assert line.record(1, windows=3).status == RecordStatus(line.session._visit, 1, False, 0, 3, 8, 0, (5, 3))
    hello = line.hello()
    assert (hello.class_count, hello.feature_count) == (2, FEATURES)
    assert hello.arena_bytes == 65536 - STORE_BYTES
    line.run(TransferOperation(1, IMAGE))
    order = Order("shard", 2, 2, queries=1, seed=9, learning_rate=0.05, checkpoints=(0, 2), true_labels=True)
    visit = VisitOperation(order.encode())
    line.run(visit)
    simulated = SimulatedDevice(shard=write_shard([windows(first), windows(second)[:3]]))
    simulated.load(IMAGE)
    expected = simulated.visit(None, order, want_weights=False).result
    found = Result.decode(visit.result)
    assert (found.loss_first, found.loss_last) == (expected.loss_first, expected.loss_last)
    assert found.checkpoints == expected.checkpoints


def test_samples_lie_in_order_of_class_however_they_came() -> None:
    takes = [readings(3, 1), readings(2, 2), readings(3, 3)]
    line = Line(*takes)
    for label in (1, 0, 1):
        line.record(label)
    line.run(TransferOperation(1, IMAGE))
    order = Order("shard", 2, 1, queries=0, seed=4, learning_rate=0.1, true_labels=True)
    visit = VisitOperation(order.encode())
    line.run(visit)
    simulated = SimulatedDevice(
        shard=write_shard([windows(takes[1]), np.concatenate([windows(takes[0]), windows(takes[2])])])
    )
    simulated.load(IMAGE)
    assert Result.decode(visit.result) == simulated.visit(None, order, want_weights=False).result


def test_a_window_across_two_labels_is_dropped() -> None:
    line = Line(readings(1.5, 1), readings(1.5, 2))
    assert line.record(0).failure is not None  # no window fits into 1.5 s
    failed = line.record(1).failure
    assert failed is not None and failed.status == Status.SOURCE
    assert line.hello().class_count == 0


def test_seconds_end_a_recording_and_a_reading_that_is_no_number_drops_its_window() -> None:
    take = readings(10, 1)
    take[120] = np.nan  # the windows begun at 1 s and 2 s hold it; the next one begins after its step, at 2.5 s
    line = Line(take)
    status = line.record(0, milliseconds=5500).status
    assert status is not None and (status.windows, status.status) == (3, 0)  # 0-2, 2.5-4.5, 3.5-5.5 s


def test_a_full_store_takes_no_more_and_can_be_emptied() -> None:
    line = Line(readings(30, 1))
    status = line.record(0).status
    assert status is not None and (status.windows, status.capacity, status.counts) == (8, 8, (8,))
    again = line.record(1)
    assert again.failure is not None and again.failure.status == Status.MEMORY
    assert again.status is not None and again.status.capacity == 8
    forgotten = line.record(FORGET).status
    assert forgotten is not None and forgotten.counts == ()
    assert line.hello().arena_bytes == 65536 and line.hello().class_count == 0
    assert line.record(1, windows=1).failure is None


def test_a_class_out_of_range_and_a_board_without_a_sensor_are_refused() -> None:
    failure = Line(readings(3)).record(CLASSES_MAX).failure
    assert failure is not None and failure.status == Status.ARGUMENT
    nothing = Line()
    assert "sensor" not in nothing.hello().capability_names()
    failure = nothing.record(0).failure
    assert failure is not None and failure.status == Status.SOURCE
    other = Line(np.zeros((200, 3)))  # three channels: not what the windows are made of
    assert "sensor" not in other.hello().capability_names()


def test_model_and_samples_keep_out_of_each_others_place() -> None:
    small = Line(readings(3), arena_bytes=6144)
    small.run(TransferOperation(1, IMAGE))  # 986 parameters, about 4 KB
    failure = small.record(0).failure
    assert failure is not None and failure.status == Status.MEMORY and failure.detail > 0
    small = Line(readings(3), arena_bytes=6144)
    assert small.record(0).failure is None or small.record(0).status is not None
    transfer = TransferOperation(1, IMAGE)
    small.run(transfer)
    assert transfer.failure is not None and transfer.failure.status == Status.MEMORY


def test_an_order_while_recording_waits_and_a_stop_ends_it() -> None:
    line = Line(readings(3))
    # a sensor that is never due: the take stands still because nothing works on it between these frames
    operation = LabelOperation(0, windows=5)
    line.session.start(operation, line.now_s)
    answer = line.device.feed(line.session.poll(line.now_s), round(line.now_s * 1e6), 0)
    line.session.feed(answer, line.now_s)
    assert operation.status is not None and operation.status.running
    order = VisitOperation(Order("sine", 1, 4, 2, 1, 0.1).encode())
    line.session.start(order, line.now_s)
    line.session.feed(line.device.feed(line.session.poll(line.now_s), round(line.now_s * 1e6), 0), line.now_s)
    assert order.failure is not None and order.failure.status == Status.BUSY
    stop = LabelOperation(STOP)
    line.session.start(stop, line.now_s)
    line.session.feed(line.device.feed(line.session.poll(line.now_s), round(line.now_s * 1e6), 0), line.now_s)
    assert stop.done and stop.status is not None and not stop.status.running


def test_nothing_a_device_sends_holds_a_sample() -> None:
    """Whatever type a host sends after recording, no 8 bytes of any sample come back."""
    take = readings(4, 5)
    line = Line(take)
    line.record(0)
    stored = windows(take)
    needles = {stored[w, i : i + 2].tobytes() for w in range(len(stored)) for i in range(0, FEATURES, 2)}
    back = b""
    for kind in range(0x80):
        if kind == MessageType.RESET:
            continue
        for size in (0, 4, 12, 32, 64):
            payload = struct.pack("<IHHI", 77, STOP, 0, 0)[: min(size, 12)].ljust(size, b"\0")
            sequence = line.session.next_sequence()
            sent = frame(Frame(kind, line.session.session_id, sequence, payload))
            back += line.device.feed(sent, round(line.now_s * 1e6), 3)
    assert len(back) > 100  # it did answer
    plain = back.replace(b"\xff", b"")
    assert not any(needle in back or needle in plain for needle in needles)
    assert needles


@pytest.mark.parametrize(
    ("takes", "rate"),
    [([], 50), ([np.zeros((5, 17))], 50), ([np.zeros((5, 2)), np.zeros((0, 2))], 50), ([np.zeros((5, 2))], 0)],
)
def test_a_recording_that_cannot_be_is_refused(takes: list[NDArray[np.float64]], rate: int) -> None:
    with pytest.raises(UsageError, match="recording"):
        write_recording(takes, rate)


def test_a_damaged_recording_is_no_sensor() -> None:
    good = write_recording([readings(3)], 50)
    for bad in (
        good[:20],
        b"NONE" + good[4:],
        good[:4] + b"\2" + good[5:],
        good[:-8],
        good[:24] + bytes(4) + good[28:],
    ):
        device = _device.LineDevice(65536, bytes(12), sensor=bad, record_bytes=STORE_BYTES)
        session = HostSession(1)
        operation = HelloOperation()
        session.start(operation, 0.0)
        session.feed(device.feed(session.poll(0.0), 0), 0.0)
        assert operation.hello is not None and "sensor" not in operation.hello.capability_names()


def test_a_window_of_another_sensor_is_what_the_board_describes() -> None:
    """3 channels at 100 Hz; a step is the mean of 4 readings, 25 steps, one begun every 10."""
    mean, deviation = np.array([0.5, -1.0, 9.81]), np.array([1.5, 0.25, 3.0])
    form = (3, 100, 4, 25, 10, np.concatenate([mean, deviation]).tobytes())
    takes = [np.random.default_rng(seed).normal(mean, deviation, (200, 3)) for seed in (1, 2)]
    line = Line(*takes, rate_hz=100, window=form, record_bytes=16_384)
    assert "sensor" in line.hello().capability_names()
    assert line.record(0).status.counts == (3,) and line.record(1, milliseconds=1400).status.counts == (3, 2)
    hello = line.hello()
    assert (hello.feature_count, hello.class_count) == (75, 2)
    samples = []
    for take, count in zip(takes, (3, 2), strict=True):
        groups = take.reshape(50, 4, 3)
        steps = ((((groups[:, 0] + groups[:, 1]) + groups[:, 2]) + groups[:, 3]) / 4 - mean) / deviation
        samples.append(np.stack([steps[10 * k : 10 * k + 25].ravel() for k in range(count)]))
    spec = mlp(75, (8,), 2, "relu", loss="softmax_cross_entropy")
    image = encode(spec, initialize(spec, 3))
    line.run(TransferOperation(1, image))
    visit = VisitOperation(Order("shard", 2, 2, 0, seed=9, learning_rate=0.05, true_labels=True).encode())
    line.run(visit)
    simulated = SimulatedDevice(shard=write_shard(samples))
    simulated.load(image)
    expected = simulated.visit(None, Order("shard", 2, 2, 0, 9, 0.05, true_labels=True), want_weights=False).result
    found = Result.decode(visit.result)
    assert (found.loss_first, found.loss_last) == (expected.loss_first, expected.loss_last)
    wrong = Line(takes[0], rate_hz=50, window=form, record_bytes=16_384)
    assert "sensor" not in wrong.hello().capability_names(), "the sensor gives another rate than is described"


def test_record_bytes_leave_room_for_models() -> None:
    with_sensor = [board.name for board in read_boards() if board.record_bytes]
    assert {"mps2_an386", "native", "raspberrypi", "nano33ble"} <= set(with_sensor)
    assert read_board("stm32f405").record_bytes == 0


@pytest.mark.parametrize("value", [100_001, 2**21])
def test_record_bytes_out_of_range_are_refused(value: int, tmp_path: Path) -> None:
    text = (ROOT / "boards/mps2_an386.json").read_text()
    (tmp_path / "x.json").write_text(text.replace('"record_bytes": 147456', f'"record_bytes": {value}'))
    with pytest.raises(UsageError, match="record_bytes"):
        read_board("x", tmp_path)


def test_a_host_that_goes_silent_ends_the_recording_and_the_windows_stay() -> None:
    line = Line(readings(8))
    operation = LabelOperation(0, windows=100)
    line.session.start(operation, line.now_s)
    line.device.feed(line.session.poll(line.now_s), round(line.now_s * 1e6), 4)  # 128 readings
    line.now_s += 11.0
    line.device.feed(b"", round(line.now_s * 1e6), 1)
    line.run(HelloOperation())
    status = line.record(STOP).status
    assert status is not None and not status.running and status.counts == (1,)
