"""A device that lies: what it says of a visit is what the order implies, or the visit fails."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from liar import NOISE, LyingLine, LyingSlot, honest, result_with
from test_visit_line import IMAGE, ORDER, SHARD, WEIGHTS
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
