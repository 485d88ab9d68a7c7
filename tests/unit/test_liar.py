"""A device that lies: what it says of a visit is what the order implies, or the visit fails."""

import contextlib
import json
import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from liar import NOISE, Change, LyingLine, LyingSlot, honest, result_with
from test_visit_line import IMAGE, ORDER, SHARD, SPEC, WEIGHTS
from tinyfed_host.device.inference import run_on
from tinyfed_host.device.line import RemoteDevice
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.experiment.schema import RoundSection
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.run.coordinator import Coordinator
from tinyfed_host.run.events import Event
from tinyfed_host.run.store import METRICS, RunHeader, RunStore
from virtual_clock import VirtualClock

from tinyfed.engine._device import LineDevice
from tinyfed.errors import DeviceError
from tinyfed.meta.fedavg import FedAvg
from tinyfed.model.convert import FloatModel
from tinyfed.wire.frames import Frame, FrameDecoder
from tinyfed.wire.messages import Kind, MessageType, VisitStatus
from tinyfed.wire.session import HelloOperation, HostSession
from tinyfed.wire.transfer import TransferOperation
from tinyfed.wire.visit import VisitOperation

# Of ORDER: 3 classes of 4 samples, judged on 2 of each after 0, 1 and 4 of each.
LIES: dict[str, tuple[dict[str, float], str]] = {
    "all samples there are": ({"samples": NOISE}, "4294967295 training steps, the order asks for 12"),
    "no samples": ({"samples": 0}, "0 training steps, the order asks for 12"),
    "one too many": ({"samples": 13}, "13 training steps"),
    "a loss that is no number": ({"loss_first": math.nan}, "a loss is not 0 to 1e+30"),
    "a last loss that is no number": ({"loss_last": math.nan}, "range"),
    "a loss without end": ({"loss_first": math.inf}, "a loss is not"),
    "a loss below all": ({"loss_last": -3e38}, "a loss is not"),
    "a loss of a checkpoint": ({"loss": -3e38}, "a loss is not"),
    "a checkpoint's loss is no number": ({"loss": math.nan}, "a loss is not"),
    "judged on all there is": (
        {"count": NOISE, "correct": NOISE},
        "judged on 4294967295 samples, the order asks for 6",
    ),
    "another checkpoint": ({"shots": 3}, "its checkpoints are not those of the order"),
    "time without end": ({"train_us": NOISE}, "a counter is at its end"),
    "instructions without end": ({"instructions": NOISE}, "a counter is at its end"),
    "stack without end": ({"stack_bytes": NOISE}, "more memory in use than the device has"),
    "arena without end": ({"arena_bytes": NOISE}, "more memory in use than the device has"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_in_a_result_ends_the_visit_with_its_reason(name: str) -> None:
    lies, reason = LIES[name]
    line = LyingLine(LineDevice(65536, bytes(12), "some-board", SHARD), result_with(**lies))
    device = RemoteDevice(line, clock=line.clock)
    device.load(IMAGE)
    with pytest.raises(DeviceError, match=rf"some-board 0+\): result: .*{reason.replace('+', '.')}"):
        device.visit(WEIGHTS.tobytes(), ORDER, want_weights=True)


def go(folder: Path, slots: list[LyingSlot], rounds: int) -> tuple[bytes, list[Event], str]:
    """Weights, events and what the run's folder tells of FedAvg on all of these devices."""
    events: list[Event] = []
    strategy = FedAvg(ORDER, rounds, devices=len(slots))
    header = RunHeader("r", {}, IMAGE, "2026-01-01T00:00:00+00:00", "")
    rules = RoundSection(quorum=0.5, retries=0, retry_after=0)
    with RunStore.create(folder, header) as store, Fleet(slots) as fleet:
        coordinator = Coordinator(strategy, fleet, store, IMAGE, rules, events.append, VirtualClock())
        coordinator.run(strategy.begin(WEIGHTS, 1))
        snapshot = store.snapshot()
        assert snapshot is not None
        weights = bytes(snapshot.arrays["weights"])
    return weights, events, (folder / METRICS).read_text()


def slots(count: int, *changes: Any) -> list[LyingSlot]:
    changes = (*changes, *[honest] * (count - len(changes)))
    return [LyingSlot(device_id(number), SHARD, change) for number, change in enumerate(changes)]


def no_constant(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


@pytest.mark.parametrize("name", LIES)
def test_a_liar_of_a_fleet_changes_nothing_but_its_own_record(name: str, tmp_path: Path) -> None:
    lies, reason = LIES[name]
    weights, events, told = go(tmp_path / "liar", slots(3, result_with(**lies)), rounds=2)
    honest_weights, _, _ = go(tmp_path / "honest", slots(3)[1:], rounds=2)
    assert weights == honest_weights  # those two weigh a half each, as if the third were not there
    failed = [event for event in events if event.kind == "device-failed"]
    assert {event.device for event in failed} == {device_id(0)} and all("result: " in event.text for event in failed)
    for line in told.splitlines():
        entry = json.loads(line, parse_constant=no_constant)
        assert (entry["answered"], entry["failed"]) == (2, 1)
    assert "4294967295" not in told.replace(reason, "").replace("4294967295 training steps", "")
    assert "3e+38" not in told


def test_no_samples_from_all_is_an_error_of_the_devices(tmp_path: Path) -> None:
    lie = result_with(samples=0)
    with pytest.raises(DeviceError, match=r"none of 2 devices answers.*0 training steps"):
        go(tmp_path / "r", slots(2, lie, lie), rounds=1)


def another_id_after(count: int, true_id: bytes) -> Change:
    """Has its own id in so many greetings, then another."""
    greetings = 0

    def change(frame: Frame) -> Frame:
        nonlocal greetings
        if frame.type != MessageType.HELLO:
            return frame
        greetings += 1
        payload = frame.payload if greetings <= count else frame.payload.replace(true_id, b"x" * 12)
        return Frame(frame.type, frame.session, frame.sequence, payload, frame.version)

    return change


def test_a_device_that_changes_its_id_is_dropped(tmp_path: Path) -> None:
    """In the connection that it began under its own (the second greeting follows the model), and in each later one."""
    liar = another_id_after(1, bytes.fromhex(device_id(0)))
    _, events, told = go(tmp_path / "r", slots(3, liar), rounds=6)
    failed = [event for event in events if event.kind == "device-failed"]
    assert {event.device for event in failed} == {device_id(0)}
    assert "another device answers now" in failed[0].text
    assert all("answers in its place" in event.text for event in failed[1:])
    entries = [json.loads(line) for line in told.splitlines()]
    assert [entry["answered"] for entry in entries[-3:]] == [2, 2, 2]
    assert {visit["device"] for entry in entries for visit in entry["visits"]} == {device_id(k) for k in range(3)}


STEPS = {
    "judged three times": (ORDER, 3 * 7),
    "a gradient of the queries": (replace(ORDER, update="sgd", meta_gradient=True, checkpoints=()), 7),
    "the largest changes": (replace(ORDER, top=500, checkpoints=()), 3),  # two of four digits tell them apart
    "shorter": (replace(ORDER, answer="int8", checkpoints=(4,)), 7 + 1),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_visit_takes_as_many_steps_as_its_order_implies(name: str) -> None:
    """Asked after each piece of work: the begin, 12 samples learned, what is judged (6 and the end), the choice."""
    order, more = STEPS[name]
    device, session, told = LineDevice(65536, bytes(12), "some-board", SHARD), HostSession(1), [0]
    visit = VisitOperation(order.encode(), samples=12, steps_max=order.steps_max)
    for operation in (HelloOperation(), TransferOperation(Kind.IMAGE, IMAGE), visit):
        session.start(operation, 0.0)
        decoder = FrameDecoder()
        for _ in range(200):
            if operation is visit:
                visit.ask()
            answer = device.feed(session.poll(0.0), 0, 1)
            session.feed(answer, 0.0)
            statuses = [f for f in decoder.feed(answer) if f.type == MessageType.VISIT_STATUS]
            told += [VisitStatus.unpack(frame.payload).steps for frame in statuses]
        assert operation.done and operation.failure is None
    assert max(told) == 1 + 12 + more - 1  # the last one is answered with the result
    assert order.steps_max == 1 + 12 + sum(7 for _ in order.checkpoints) + 7 * order.meta_gradient + 5


class Inventive(RemoteDevice):
    """Gives these outputs, whatever the model."""

    content = b""

    def infer(self, sample: bytes, step: int | None = None) -> bytes:
        return self.content or super().infer(sample, step)


@pytest.mark.parametrize("content", [b"", bytes(8), bytes(13), bytes(400), struct.pack("<3f", 0, math.nan, 1)])
def test_outputs_are_as_many_finite_numbers_as_the_model_gives(content: bytes) -> None:
    line = LyingLine(LineDevice(65536, bytes(12), "some-board", SHARD), honest)
    device = Inventive(line, clock=line.clock)
    device.content = content
    with (
        pytest.raises(DeviceError, match=f"{len(content)} bytes came back, the model gives 3 finite numbers")
        if content
        else contextlib.nullcontext()
    ):
        outputs = run_on(FloatModel("x", SPEC, WEIGHTS, IMAGE), [np.zeros((1, 2), np.float32)], device)
        assert outputs.raw[0].shape == (1, 3)
