"""The coordinator against devices that do as the test says. The devices here are the only fakes: what real ones
do is in tests/emulated and test_run.py."""

import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tinyfed_host.device.unique_id import device_id
from tinyfed_host.experiment.schema import RoundSection
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.fleet.rotation import Rotation
from tinyfed_host.run.attendance import LEFT_OUT_MAX_ROUNDS, Attendance
from tinyfed_host.run.coordinator import ASK_MOST_S, Coordinator, RunEnd
from tinyfed_host.run.events import Event
from tinyfed_host.run.exchange import WeightsExchange
from tinyfed_host.run.store import RunHeader, RunStore
from virtual_clock import VirtualClock

from tinyfed.device import Device, DeviceInfo, Traffic, VisitOutcome
from tinyfed.errors import DeviceError, DivergedError, DoesNotFitError
from tinyfed.meta.fedavg import FedAvg
from tinyfed.meta.strategy import Reply, State
from tinyfed.meta.tinyreptile import TinyReptile
from tinyfed.model import encode, mlp, read_weights
from tinyfed.random import SplitMix64
from tinyfed.weights import Weights
from tinyfed.wire.encodings import Shortened
from tinyfed.wire.order import Order, Result

ORDER = Order("sine", 1, 4, 0, 0, 0.02)
RULES = RoundSection(timeout_s=5.0, quorum=0.5, retries=2, retry_after=1, max_norm=1e4)
IMAGE = encode(mlp(1, (), 3), np.zeros(6, np.float32))
HEADER = RunHeader("r", {}, IMAGE, "2026-01-01T00:00:00+00:00", "")
PARAMETERS = 6

Behaviour = Callable[["ScriptedDevice", bytes], bytes]


class ScriptedDevice:
    """Moves each weight by a number drawn from the order's seed, unless its script says otherwise."""

    def __init__(self, unique_id: str, script: Behaviour | None) -> None:
        self.info = DeviceInfo(unique_id, "scripted", "0", 1, 4096, 256, frozenset(), 0, 0, 0, 0)
        self.traffic = Traffic()
        self.script = script
        self.cancelled = threading.Event()
        self.held = b""

    def load(self, image: bytes) -> None:
        self.held = read_weights(image).tobytes()

    def visit(
        self, weights: bytes | None, order: Order, *, want_weights: bool, shortened: Shortened | None = None
    ) -> VisitOutcome:
        weights = self.held if weights is None else weights
        random = SplitMix64(order.seed)
        trained = np.frombuffer(weights, "<f4") + np.float32([random.unit() for _ in range(PARAMETERS)])
        data = trained.astype("<f4").tobytes()
        if self.script is not None:
            data = self.script(self, data)
        return VisitOutcome(Result(4, 1.0, 0.5, 0, 0, 0, ()), Weights(data), 24, 24, 0.0, 0.0)

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        return


@dataclasses.dataclass
class ScriptedSlot:
    unique_id: str
    script: Behaviour | None = None
    connections: int = 0
    shard: bytes | None = None

    def connect(self, data: bytes | None) -> Device:
        self.connections += 1
        self.shard = data
        return ScriptedDevice(self.unique_id, self.script)

    def close(self) -> None:
        return


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with RunStore.create(tmp_path / "r", HEADER) as opened:
        yield opened


def run(
    store: RunStore,
    slots: list[ScriptedSlot],
    rounds: int = 12,
    rules: RoundSection = RULES,
    strategy: object = None,
    clock: VirtualClock | None = None,
) -> tuple[RunEnd, list[Event]]:
    events: list[Event] = []
    algorithm = strategy or TinyReptile(ORDER, rounds)
    with Fleet(slots) as fleet:
        conductor = Coordinator(
            algorithm,  # type: ignore[arg-type]
            fleet,
            store,
            IMAGE,
            rules,
            events.append,
            clock or VirtualClock(),
        )
        snapshot = store.snapshot()
        if snapshot is None:
            state = algorithm.begin(np.zeros(PARAMETERS, np.float32), 7)  # type: ignore[attr-defined]
        else:
            state = conductor.restore(snapshot.document, snapshot.arrays)
        end = conductor.run(state, rounds=rounds)
    return end, events


def slots(count: int, **scripts: Behaviour) -> list[ScriptedSlot]:
    return [ScriptedSlot(device_id(k), scripts.get(f"d{k}")) for k in range(count)]


def fail(device: ScriptedDevice, data: bytes) -> bytes:
    raise DeviceError(f"device {device.info.unique_id}: unplugged")


def test_weights_are_what_the_strategy_says(store: RunStore) -> None:
    """The same arithmetic by hand: phi + alpha_t * (phi' - phi), one device a round."""
    end, _ = run(store, slots(3), rounds=5)
    strategy = TinyReptile(ORDER, 5)
    state = strategy.begin(np.zeros(PARAMETERS, np.float32), 7)
    for _ in range(5):
        (chosen,) = strategy.select(state, [device_id(k) for k in range(3)])
        order = strategy.configure(state, chosen).order
        random = SplitMix64(order.seed)
        phi = state.weights.array
        trained = phi + np.float32([random.unit() for _ in range(PARAMETERS)])
        weights = phi + np.float32(0.3 * (1 - state.round / 5)) * (trained - phi)
        state = State(state.seed, state.round + 1, Weights.of(weights))
    snapshot = store.snapshot()
    assert snapshot is not None
    assert snapshot.arrays["weights"] == state.arrays()["weights"]
    assert end.rounds == 5


def test_resume_gives_the_same_bits(store: RunStore, tmp_path: Path) -> None:
    run(store, slots(3), rounds=12)
    whole = store.snapshot()
    with RunStore.create(tmp_path / "parts", HEADER) as parts:
        strategy = TinyReptile(ORDER, 12)
        for rounds in (3, 4, 12):
            run(parts, slots(3), rounds=rounds, strategy=strategy)
        assert parts.snapshot() == whole


def test_a_failed_device_is_recorded_left_out_and_tried_again(store: RunStore) -> None:
    fleet = slots(3, d1=fail)
    end, events = run(store, fleet, rounds=40)
    assert end.rounds == 40
    failed = [(e.round, e.text) for e in events if e.kind == "device-failed"]
    assert failed
    assert all(device_id(1) in text and "unplugged" in text for _, text in failed)
    # left out for 1, 2, 4, ... rounds: the rounds of failures lie further and further apart
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(failed)]
    assert all(gap > 2**k for k, gap in enumerate(gaps)), gaps
    rounds = store.rounds()
    assert all(entry["answered"] == 1 for entry in rounds)
    recorded = [v for entry in rounds for v in entry["visits"] if v["failure"]]
    assert len(recorded) == len(failed)
    assert {v["device"] for v in recorded} == {device_id(1)}


def test_retries_within_a_round_give_the_faultless_bits(store: RunStore, tmp_path: Path) -> None:
    run(store, slots(3), rounds=12)
    faultless = store.snapshot()
    calls = {"count": 0}

    def every_second(device: ScriptedDevice, data: bytes) -> bytes:
        calls["count"] += 1
        return fail(device, data) if calls["count"] % 2 else data

    with RunStore.create(tmp_path / "faulty", HEADER) as faulty:
        fleet = slots(3, d0=every_second, d1=every_second)
        _, events = run(faulty, fleet, rounds=12)
        snapshot = faulty.snapshot()
    assert calls["count"] > 2
    assert faultless is not None
    assert snapshot is not None
    assert snapshot.arrays == faultless.arrays
    assert [e for e in events if e.kind == "retry"]
    assert not [e for e in events if e.kind == "device-failed"]
    assert sum(slot.connections for slot in fleet) > 3  # a failed device is connected anew


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: np.full(PARAMETERS, np.nan, "<f4").tobytes(), "not finite"),
        (lambda data: np.full(PARAMETERS, np.inf, "<f4").tobytes(), "not finite"),
        (lambda data: np.full(PARAMETERS, 1e30, "<f4").tobytes(), "norm"),
        (lambda data: data[:-4], "sent 5 weights, the model has 6"),
    ],
)
def test_spoilt_weights_are_not_used(store: RunStore, spoil: Callable[[bytes], bytes], reason: str) -> None:
    end, events = run(store, slots(2, d0=lambda device, data: spoil(data)), rounds=12)
    assert end.rounds == 12
    failures = [e for e in events if e.kind == "device-failed"]
    assert failures
    assert all(reason in e.text for e in failures)
    assert not [e for e in events if e.kind == "retry"]  # asking again would give the same
    snapshot = store.snapshot()
    assert snapshot is not None
    assert np.isfinite(np.frombuffer(snapshot.arrays["weights"], "<f4")).all()


def test_weights_are_used_up_to_the_norm_that_is_allowed(store: RunStore) -> None:
    """(3, 4, 0, ...) has the norm 5: no more than max_norm = 5. (3, 4.001, 0, ...) has 5.0008: refused."""

    def sends(*values: float) -> Behaviour:
        return lambda device, data: np.float32([*values, 0, 0, 0, 0]).tobytes()

    rules = dataclasses.replace(RULES, max_norm=5.0)
    fleet = slots(2, d0=sends(3, 4), d1=sends(3, 4.001))
    _, events = run(store, fleet, rounds=2, rules=rules, strategy=Everybody(ORDER, 2))
    (failure,) = [event for event in events if event.kind == "device-failed"]
    assert failure.device == device_id(1)
    assert "its weights' norm is 5, more than round.max_norm = 5: not used" in failure.text
    assert {v["device"] for entry in store.rounds() for v in entry["visits"] if v["failure"] is None} == {device_id(0)}


def test_a_device_that_keeps_failing_is_asked_again_within_64_rounds(store: RunStore) -> None:
    """retry_after = 40: left out for 40 rounds, then for 64, as 80 is too many. It fails in round 1, so it is back
    in round 1 + 41 = 42, and fails, and is back in 42 + 65 = 107."""
    rules = dataclasses.replace(RULES, retry_after=40, retries=0)
    _, events = run(store, slots(2, d1=fail), rounds=107, rules=rules, strategy=Everybody(ORDER, 107))
    failed = [event for event in events if event.kind == "device-failed"]
    assert [event.round for event in failed] == [1, 42, 107]
    assert [event.text.rpartition("; ")[2] for event in failed] == [
        "left out for 40 rounds",
        "left out for 64 rounds",
        "left out for 64 rounds",
    ]


class Telling(ScriptedDevice):
    """Says how its losses were, and counts the bytes of its line as a real one does."""

    VISIT_BYTES = (24, 30)

    def __init__(self, unique_id: str, loss_first: float, loss_last: float) -> None:
        super().__init__(unique_id, None)
        self.losses = loss_first, loss_last

    def load(self, image: bytes) -> None:
        super().load(image)
        self.traffic.down += len(image) + 100
        self.traffic.up += 50

    def visit(self, *arguments: object, **options: object) -> VisitOutcome:
        outcome = super().visit(*arguments, **options)  # type: ignore[arg-type]
        down, up = self.VISIT_BYTES
        self.traffic.down += down
        self.traffic.up += up
        result = Result(4, *self.losses, 0, 0, 0, ())
        return dataclasses.replace(outcome, result=result, bytes_down=down, bytes_up=up)


def tell(*losses: tuple[float, float]) -> list[ScriptedSlot]:
    """A fleet of devices, each with its first and last loss."""
    fleet = slots(len(losses))
    for slot, (first, last) in zip(fleet, losses, strict=True):
        device = Telling(slot.unique_id, first, last)
        slot.connect = lambda data, device=device: device  # type: ignore[method-assign, misc]
    return fleet


def test_a_rounds_losses_are_the_means_over_its_devices(store: RunStore) -> None:
    """First: (1 + 2 + 6) / 3 = 3. Last: (0.5 + 1.5) / 2 = 1, as one has none. Samples add up: 3 * 4."""
    run(store, tell((1.0, 0.5), (2.0, 1.5), (6.0, float("nan"))), rounds=1, strategy=Everybody(ORDER, 1))
    (entry,) = store.rounds()
    assert (entry["loss_first"], entry["loss_last"]) == (3.0, 1.0)
    assert (entry["answered"], entry["samples"]) == (3, 12)


def test_a_visit_counts_the_bytes_of_the_image_it_began_with(store: RunStore) -> None:
    """The first visit loads the model: its transfer of len(image) + 100 bytes down and 50 up is the visit's, beside
    the 24 and 30 of the visit itself. The next visits send weights only. A round adds up its two devices."""
    run(store, tell((1.0, 0.5), (1.0, 0.5)), rounds=2, strategy=Everybody(ORDER, 2))
    first, second = store.rounds()
    down, up = Telling.VISIT_BYTES
    assert {(v["bytes_down"], v["bytes_up"]) for v in first["visits"]} == {(len(IMAGE) + 100 + down, 50 + up)}
    assert {(v["bytes_down"], v["bytes_up"]) for v in second["visits"]} == {(down, up)}
    assert (first["bytes_down"], first["bytes_up"]) == (2 * (len(IMAGE) + 100 + down), 2 * (50 + up))


def test_nobody_left_ends_the_run_and_keeps_it(store: RunStore) -> None:
    gone = threading.Event()

    def later(device: ScriptedDevice, data: bytes) -> bytes:
        return fail(device, data) if gone.is_set() else data

    fleet = slots(2, d0=later, d1=later)
    run(store, fleet, rounds=3)
    gone.set()
    with pytest.raises(DeviceError, match=r"round 4: none of 2 devices answers; the last said: .*unplugged") as caught:
        run(store, fleet, rounds=6)
    assert caught.value.remedy.startswith("look for them with `tinyfed devices`")  # how to go on, its `Run` adds
    snapshot = store.snapshot()
    assert snapshot is not None
    assert snapshot.round == 3


@pytest.mark.parametrize("away_s", [0.0, 3.0, 59.0, 3600.0])
def test_one_board_that_was_unplugged_is_waited_for_by_time(store: RunStore, away_s: float) -> None:
    """A cable is touched in round 3: told once, recorded once, and the run learns what it would have."""
    clock, events = VirtualClock(), list[Event]()
    back_at: list[float] = []

    def unplugged(device: ScriptedDevice, data: bytes) -> bytes:
        return fail(device, data) if back_at and clock.now() < back_at[0] else data

    def observe(event: Event) -> None:
        events.append(event)
        if event.kind == "round-ended" and event.round == 2:
            back_at.append(clock.now() + away_s)

    strategy = TinyReptile(ORDER, 6)
    with Fleet(slots(1, d0=unplugged)) as fleet:
        coordinator = Coordinator(strategy, fleet, store, IMAGE, RULES, observe, clock, wait_s=3600.5)
        end = coordinator.run(strategy.begin(np.zeros(PARAMETERS, np.float32), 7))
    assert end.rounds == 6
    assert sum(visit["failure"] is not None for entry in store.rounds() for visit in entry["visits"]) == (away_s > 0.2)
    told = [event.text for event in events if event.kind == "retry" and not event.device]
    assert told == ["no device answers; waiting for one, 3600.5 s"] * (away_s > 0.2)
    left = [event.data["left_s"] for event in events if event.kind == "waiting"]
    assert left == sorted(left, reverse=True)
    assert len(left) <= away_s / ASK_MOST_S + 4
    with RunStore.create(store.folder.with_name("whole"), HEADER) as whole:
        undisturbed, _ = run(whole, slots(1), rounds=6)
    assert undisturbed.weights_sha256 == end.weights_sha256


@pytest.mark.parametrize("wait_s", [0.0, 1.0, 60.0])
def test_the_time_for_which_a_device_is_waited_for_is_what_was_asked(store: RunStore, wait_s: float) -> None:
    clock, events = VirtualClock(), list[Event]()
    strategy = TinyReptile(ORDER, 3)
    with Fleet(slots(2, d0=fail, d1=fail)) as fleet, pytest.raises(DeviceError, match="none of 2 devices answers"):
        coordinator = Coordinator(strategy, fleet, store, IMAGE, RULES, events.append, clock, wait_s=wait_s)
        coordinator.run(strategy.begin(np.zeros(PARAMETERS, np.float32), 7))
    begun = 0.05 + 0.1  # a device's own retries, RETRY_FIRST_S doubled, before it fails for the first time
    assert clock.now() == pytest.approx(2 * begun + wait_s)
    assert sum(event.kind == "device-failed" for event in events) == 2  # not again with each time they are asked


def test_a_device_is_asked_after_half_a_second_then_after_twice_as_long_each_time(store: RunStore) -> None:
    """Of 20 s are left when it is asked: all, and after 0.5, 1, 2, 4, 5 and 5 s more."""
    events: list[Event] = []
    strategy = TinyReptile(ORDER, 1)
    rules = dataclasses.replace(RULES, retries=0)
    with Fleet(slots(1, d0=fail)) as fleet, pytest.raises(DeviceError):
        coordinator = Coordinator(strategy, fleet, store, IMAGE, rules, events.append, VirtualClock(), wait_s=20.0)
        coordinator.run(strategy.begin(np.zeros(PARAMETERS, np.float32), 7))
    left = [event.data["left_s"] for event in events if event.kind == "waiting"]
    assert left == pytest.approx([20, 19.5, 18.5, 16.5, 12.5, 7.5, 2.5])


def test_after_a_wait_a_device_that_fails_once_is_tried_again_at_once(store: RunStore) -> None:
    """In round 2 it fails until it is waited for; in round 3 once: that is a retry and no failure."""
    visits = itertools.count(1)

    def fails(device: ScriptedDevice, data: bytes) -> bytes:
        return fail(device, data) if next(visits) in (2, 3, 4, 7) else data

    end, events = run(store, slots(1, d0=fails), rounds=4)
    assert end.rounds == 4
    assert [
        (event.round, event.kind) for event in events if event.kind in ("device-failed", "retry") and event.device
    ] == [
        (2, "retry"),
        (2, "retry"),
        (2, "device-failed"),
        (4, "retry"),
    ]


def test_a_device_that_was_left_out_is_left_out_of_a_run_that_goes_on(store: RunStore, tmp_path: Path) -> None:
    """It fails in round 1 and is out for 3 rounds: back in round 5, though the run was stopped after the second."""
    rules = dataclasses.replace(RULES, retry_after=3, retries=0)
    failed = []
    for rounds in (2, 5):
        _, events = run(store, slots(2, d1=fail), rounds=rounds, rules=rules, strategy=Everybody(ORDER, 5))
        failed += [event.round for event in events if event.kind == "device-failed"]
    assert failed == [1, 5]


def test_the_loss_of_a_run_that_goes_on_is_the_mean_over_the_rounds_before_too(store: RunStore) -> None:
    """(0.9 + 0.9 + 0.3) / 3 = 0.7."""
    run(store, tell((1.0, 0.9)), rounds=2, strategy=Everybody(ORDER, 3))
    run(store, tell((1.0, 0.3)), rounds=3, strategy=Everybody(ORDER, 3))
    assert [entry["loss"] for entry in store.rounds()] == pytest.approx([0.9, 0.9, 0.7])


def test_an_update_far_larger_than_the_others_is_not_used(store: RunStore) -> None:
    """Of three devices' updates the median norm is near 1, one is 1,000 long: more than 10 times that."""

    def far(device: ScriptedDevice, data: bytes) -> bytes:
        return np.float32([1000, 0, 0, 0, 0, 0]).tobytes()

    _, events = run(store, slots(3, d1=far), rounds=1, strategy=Everybody(ORDER, 1))
    (failure,) = [event for event in events if event.kind == "device-failed"]
    assert failure.device == device_id(1)
    assert "not used" in failure.text
    snapshot = store.snapshot()
    assert snapshot is not None
    assert np.abs(np.frombuffer(snapshot.arrays["weights"], "<f4")).max() < 1


def test_forever_is_without_end(store: RunStore) -> None:
    clock, events = VirtualClock(), list[Event]()
    strategy = TinyReptile(ORDER, 1)

    def back_in_a_year(device: ScriptedDevice, data: bytes) -> bytes:
        return fail(device, data) if len(events) < 1000 else data

    with Fleet(slots(1, d0=back_in_a_year)) as fleet:
        coordinator = Coordinator(strategy, fleet, store, IMAGE, RULES, events.append, clock, wait_s=float("inf"))
        assert coordinator.run(strategy.begin(np.zeros(PARAMETERS, np.float32), 7)).rounds == 1
    assert {event.data["left_s"] for event in events if event.kind == "waiting"} == {None}


def diverge(device: ScriptedDevice, data: bytes) -> bytes:
    raise DivergedError(f"device {device.info.unique_id}: the loss is no longer finite")


def test_learning_that_diverges_on_all_devices_ends_the_run_at_once(store: RunStore) -> None:
    """Each is asked once: the same weights, samples and order would give the same."""
    events: list[Event] = []
    fleet = Fleet(slots(5, **{f"d{k}": diverge for k in range(5)}))
    strategy = TinyReptile(ORDER, 3)
    with fleet, pytest.raises(DivergedError, match="round 1: learning diverges on all 5 devices") as caught:
        coordinator = Coordinator(strategy, fleet, store, IMAGE, RULES, events.append, VirtualClock())
        coordinator.run(strategy.begin(np.zeros(PARAMETERS, np.float32), 7))
    assert (
        caught.value.remedy
        == f"lower learning_rate ({ORDER.learning_rate:g} now), or scale the samples to values around 1"
    )
    kinds = [event.kind for event in events]
    assert kinds.count("visit-started") == 5
    assert "retry" not in kinds and "device-failed" not in kinds  # one error says it all
    assert store.rounds() == []


def test_a_device_that_diverges_alone_is_left_out(store: RunStore) -> None:
    end, events = run(store, slots(3, d0=diverge), rounds=6)
    assert end.rounds == 6
    assert {event.device for event in events if event.kind == "device-failed"} == {device_id(0)}
    assert not [event for event in events if event.kind == "retry"]


def test_a_device_that_is_gone_is_looked_for_though_the_others_diverge(store: RunStore) -> None:
    with pytest.raises(DeviceError, match="none of 2 devices answers") as caught:
        run(store, slots(2, d0=diverge, d1=fail), rounds=2)
    assert not isinstance(caught.value, DivergedError)


def hang(clock: VirtualClock) -> Behaviour:
    """Does nothing until it is cancelled."""

    def work(device: ScriptedDevice, data: bytes) -> bytes:
        with clock.waiting():
            assert device.cancelled.wait(10)
        return data

    return work


def test_straggler_is_left_behind_and_its_late_answer_dropped(store: RunStore, clock: VirtualClock) -> None:
    rules = dataclasses.replace(RULES, timeout_s=0.5)
    end, events = run(store, slots(2, d0=hang(clock)), rounds=6, rules=rules, clock=clock)
    assert end.rounds == 6
    failures = [e.text for e in events if e.kind == "device-failed"]
    assert failures
    assert all("no answer within 0.5 s" in text for text in failures)
    assert clock.now() == 0.5 * len(failures)  # nothing else is waited for
    answered = [v["device"] for entry in store.rounds() for v in entry["visits"] if v["failure"] is None]
    assert set(answered) == {device_id(1)}


def test_a_device_is_left_out_twice_as_long_each_time_up_to_a_limit() -> None:
    """retry_after * 2^(failures in a row - 1) rounds after the one it failed in, at most 64."""
    attendance = Attendance(3, lambda event: None)
    lasted = []
    for round_index in range(0, 700, 100):
        attendance.failed("aa", round_index, "unplugged")
        out = [k for k in range(1, 100) if attendance.selectable(round_index + k, ["aa", "bb"], ()) == ["bb"]]
        assert out == list(range(1, len(out) + 1))
        lasted.append(len(out))
    assert LEFT_OUT_MAX_ROUNDS == 64
    assert lasted == [3, 6, 12, 24, 48, 64, 64]
    assert attendance.selectable(601, ["aa"], ()) == ["aa"]  # nobody else is there
    attendance.answered("aa", 601)
    assert attendance.selectable(602, ["aa", "bb"], ()) == ["aa", "bb"]
    attendance.failed("aa", 602, "unplugged")  # counted from the beginning again
    assert attendance.document() == {"aa": [1, 606]}


@dataclasses.dataclass(frozen=True)
class Remembering(FedAvg):
    """FedAvg that uses late answers, and tells a list what it was given."""

    late: str = "use"
    given: tuple[list[list[tuple[str, int]]]] = ([],)

    def aggregate(self, state: State, replies: Sequence[Reply]) -> State:
        self.given[0].append([(reply.device, reply.age) for reply in replies])
        return super().aggregate(state, replies)


LATE_RULES = dataclasses.replace(RULES, timeout_s=0.5, quorum=0.3)
SLOW_S = 3.0  # less than late answers are waited for


def slow_once(clock: VirtualClock) -> Behaviour:
    """Takes long for its first visit."""
    visits = itertools.count()

    def work(device: ScriptedDevice, data: bytes) -> bytes:
        if next(visits) == 0:
            clock.pause(SLOW_S)
        return data

    return work


def late_run(
    store: RunStore, rounds: int, ready_in: int, **changes: object
) -> tuple[list[list[tuple[str, int]]], list[Event]]:
    """Three devices, of which the first takes until round `ready_in` is over for its first visit."""
    clock = VirtualClock()
    strategy = Remembering(ORDER, rounds, devices=3, given=([],), **changes)  # type: ignore[arg-type]
    events: list[Event] = []

    def observe(event: Event) -> None:
        events.append(event)
        if event.kind == "round-ended" and event.round == ready_in:
            clock.advance(SLOW_S)

    with Fleet(slots(3, d0=slow_once(clock))) as fleet:
        conductor = Coordinator(strategy, fleet, store, IMAGE, LATE_RULES, observe, clock)
        conductor.run(strategy.begin(np.zeros(PARAMETERS, np.float32), 7), rounds=rounds)
    return strategy.given[0], events


def test_a_late_answer_is_handed_to_a_later_round_with_its_age(store: RunStore, tmp_path: Path) -> None:
    given, events = late_run(store, 5, ready_in=2)
    others = {(device_id(1), 0), (device_id(2), 0)}
    assert [set(round_) for round_ in given[:2]] == [others, others]
    assert set(given[2]) == {*others, (device_id(0), 0), (device_id(0), 2)}  # it is asked again, too
    assert given[2][-1] == (device_id(0), 2)
    assert all(age == 0 for round_ in given[3:] for _, age in round_)
    told = [event for event in events if event.kind == "late"]
    assert [(event.round, event.device) for event in told] == [(1, device_id(0))]
    assert "its answer is used when it comes" in told[0].text
    assert not [event for event in events if event.kind == "device-failed"]
    first, _, third, *_ = store.rounds()
    assert "no answer within 0.5 s" in next(v["failure"] for v in first["visits"] if v["device"] == device_id(0))
    assert [v["age"] for v in third["visits"] if "age" in v] == [2]
    # the same order of events gives the same bits
    with RunStore.create(tmp_path / "again", HEADER) as again:
        late_run(again, 5, ready_in=2)
        assert [r["weights_sha256"] for r in again.rounds()] == [r["weights_sha256"] for r in store.rounds()]
    with RunStore.create(tmp_path / "dropped", HEADER) as dropped:
        given, _ = late_run(dropped, 5, ready_in=2, late="drop")
        assert all(age == 0 for round_ in given for _, age in round_)


def test_a_late_answer_is_asked_for_again_by_a_run_that_goes_on(store: RunStore, tmp_path: Path) -> None:
    """Stopped in between: the resumed run asks the same again, and its answer counts as in the run that was not."""
    with RunStore.create(tmp_path / "whole", HEADER) as whole:
        late_run(whole, 3, ready_in=2)
        expected = [entry["weights_sha256"] for entry in whole.rounds()]
    late_run(store, 2, ready_in=99)
    snapshot = store.snapshot()
    assert snapshot is not None
    assert list(snapshot.document["late"]) == [device_id(0)]
    strategy = Remembering(ORDER, 3, devices=3, given=([],))
    before = threading.enumerate()  # the stopped run's device has not answered
    with Fleet(slots(3)) as fleet:
        conductor = Coordinator(strategy, fleet, store, IMAGE, LATE_RULES, clock=VirtualClock())
        state = conductor.restore(snapshot.document, snapshot.arrays)
        for thread in threading.enumerate():
            if thread.name == f"visit-{device_id(0)}" and thread not in before:
                thread.join()
        conductor.run(state, rounds=3)
    assert strategy.given[0][0][-1] == (device_id(0), 2)
    assert [entry["weights_sha256"] for entry in store.rounds()] == expected


def test_when_all_are_late_the_round_waits_for_them(store: RunStore, clock: VirtualClock) -> None:
    strategy = Remembering(ORDER, 2, devices=1, given=([],))
    with Fleet(slots(1, d0=slow_once(clock))) as fleet:
        Coordinator(strategy, fleet, store, IMAGE, LATE_RULES, clock=clock).run(
            strategy.begin(np.zeros(PARAMETERS, np.float32), 7), rounds=2
        )
    assert strategy.given[0] == [[(device_id(0), 0), (device_id(0), 0)], [(device_id(0), 0)]]
    assert SLOW_S <= clock.now() < SLOW_S + 1


def test_a_late_answer_that_never_comes_is_given_up(store: RunStore, clock: VirtualClock) -> None:
    """After ten times the round's 0.5 s: in the sixth round when each takes 0.9 s."""
    strategy = Remembering(ORDER, 8, devices=3, given=([],))

    def pass_time(event: Event) -> None:
        if event.kind == "round-ended":
            clock.advance(0.9)

    with Fleet(slots(3, d0=hang(clock))) as fleet:
        Coordinator(strategy, fleet, store, IMAGE, LATE_RULES, pass_time, clock).run(
            strategy.begin(np.zeros(PARAMETERS, np.float32), 7), rounds=8
        )
    failures = [
        (entry["round"], v["failure"]) for entry in store.rounds() for v in entry["visits"] if v["failure"] is not None
    ]
    who = f"device {device_id(0)}"
    assert failures[:2] == [(1, f"{who}: no answer within 0.5 s"), (7, f"{who}: no answer to round 1")]
    assert not any(age for round_ in strategy.given[0] for _, age in round_)


def test_one_late_answer_comes_though_another_is_still_out(store: RunStore) -> None:
    """Device 0 hangs, device 1 answers after round 1: in round 2 its answer is there, and device 0 is waited for."""
    clock = VirtualClock()
    strategy = Remembering(ORDER, 3, devices=3, given=([],))

    def pass_time(event: Event) -> None:
        if event.kind == "round-ended" and event.round == 1:
            clock.advance(SLOW_S)

    with Fleet(slots(3, d0=hang(clock), d1=slow_once(clock))) as fleet:
        Coordinator(strategy, fleet, store, IMAGE, LATE_RULES, pass_time, clock).run(
            strategy.begin(np.zeros(PARAMETERS, np.float32), 7), rounds=2
        )
    assert strategy.given[0][0] == [(device_id(2), 0)]
    assert (device_id(1), 1) in strategy.given[0][1]


@dataclasses.dataclass(frozen=True)
class Everybody(TinyReptile):
    """All devices at once."""

    def select(self, state: State, devices: object) -> tuple[str, ...]:
        return tuple(devices)  # type: ignore[arg-type]


def test_quorum_of_a_round_with_many(store: RunStore) -> None:
    """Four are asked, two fail: half is enough for a quorum of 0.5, and the failed two are left out next."""
    strategy = Everybody(ORDER, 2)
    end, _ = run(store, slots(4, d0=fail, d2=fail), rounds=2, strategy=strategy)
    assert end.rounds == 2
    first, second = store.rounds()
    assert (first["answered"], first["failed"]) == (2, 2)
    assert (second["answered"], second["failed"]) == (2, 0)


def test_missed_quorum_repeats_the_round_with_those_left(store: RunStore) -> None:
    strategy = Everybody(ORDER, 1)
    rules = dataclasses.replace(RULES, quorum=0.8)
    _, events = run(store, slots(4, d0=fail, d2=fail), rounds=1, rules=rules, strategy=strategy)
    (only,) = store.rounds()
    assert (only["answered"], only["failed"]) == (4, 2)  # two answered twice
    started = [e.data["devices"] for e in events if e.kind == "round-started"]
    assert [len(devices) for devices in started] == [4, 2]  # type: ignore[arg-type]


def test_visits_of_a_round_run_at_once(store: RunStore) -> None:
    barrier = threading.Barrier(4)

    def meet(device: ScriptedDevice, data: bytes) -> bytes:
        barrier.wait(5)
        return data

    run(store, slots(4, d0=meet, d1=meet, d2=meet, d3=meet), rounds=2, strategy=Everybody(ORDER, 2))
    assert [entry["answered"] for entry in store.rounds()] == [4, 4]


def test_model_that_does_not_fit_is_not_tried_again(store: RunStore) -> None:
    slot = ScriptedSlot(device_id(0))

    class Small(ScriptedDevice):
        def load(self, image: bytes) -> None:
            raise DoesNotFitError(f"device {self.info.unique_id}: 100 bytes short")

    slot.connect = lambda shard: Small(slot.unique_id, None)  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="100 bytes short"):
        run(store, [slot], rounds=1)


ENCODINGS = ("float32", "float16", "int8", "float16-delta", "int8-delta")
CAPABLE = frozenset({"float16", "int8", "delta"})


@dataclasses.dataclass
class CapableSlot(ScriptedSlot):
    """Its device takes shorter weights."""

    capabilities: frozenset[str] = CAPABLE
    heard: list[str] = dataclasses.field(default_factory=list)

    def connect(self, data: bytes | None) -> Device:
        device = super().connect(data)
        assert isinstance(device, ScriptedDevice)
        device.info = dataclasses.replace(device.info, capabilities=self.capabilities)
        plain_visit = device.visit

        def visit(weights, order, *, want_weights, shortened=None):  # type: ignore[no-untyped-def]
            assert shortened is None or shortened.weights == weights
            self.heard.append("image" if shortened is None else shortened.encoding.name)
            return plain_visit(weights, order, want_weights=want_weights)

        device.visit = visit  # type: ignore[method-assign]
        return device


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_shortened_weights_give_the_same_bits_after_faults_and_resumes(
    store: RunStore, tmp_path: Path, encoding: str
) -> None:
    rules = dataclasses.replace(RULES, encoding=encoding)
    fleet = [CapableSlot(device_id(k)) for k in range(3)]
    run(store, list(fleet), rounds=12, rules=rules)
    whole = store.snapshot()
    assert whole is not None
    heard = {word for slot in fleet for word in slot.heard}
    assert heard == {"image", encoding}
    calls = {"count": 0}

    def every_third(device: ScriptedDevice, data: bytes) -> bytes:
        calls["count"] += 1
        return fail(device, data) if calls["count"] % 3 == 0 else data

    with RunStore.create(tmp_path / "parts", HEADER) as parts:
        strategy = TinyReptile(ORDER, 12)
        for rounds in (3, 4, 12):
            run(parts, [CapableSlot(device_id(k), every_third) for k in range(3)], rounds, rules, strategy)
        assert parts.snapshot() == whole
    assert calls["count"] > 12


def test_a_part_of_the_layers_goes_in_float32_and_a_sparse_answer_is_no_base() -> None:
    exchange = WeightsExchange("int8-delta", IMAGE, lambda event: None)
    device = ScriptedDevice("aa", None)
    info = dataclasses.replace(device.info, capabilities=CAPABLE)
    weights = np.float32([0.1, 0.2, 0.3, 0.4, 0.5, 7.0]).tobytes()
    sparse = dataclasses.replace(ORDER, top=10)
    partial = dataclasses.replace(ORDER, local_last=1)
    exchange.holds("aa", sparse, weights)
    assert exchange.document() == []
    assert exchange.shorten(info, weights, sparse, 1).encoding.name == "int8"
    exchange.holds("aa", ORDER, weights)
    assert exchange.shorten(info, weights, ORDER, 1).encoding.name == "int8-delta"
    plain = exchange.shorten(info, weights, partial, 1)
    assert (plain.encoding.name, plain.weights) == ("float32", weights)


def test_rounding_on_the_way_down_does_not_build_up(store: RunStore) -> None:
    """A device that learns nothing gives back what it got; the model stays as it was, to the last bit."""

    def learn_nothing(device: ScriptedDevice, data: bytes) -> bytes:
        return device.held

    slot = CapableSlot(device_id(0), learn_nothing)
    rules = dataclasses.replace(RULES, encoding="int8")
    strategy = TinyReptile(ORDER, 1)
    start = np.float32([0.1, 0.2, 0.3, 0.4, 0.5, 7.0])
    with Fleet([slot]) as fleet:
        Coordinator(strategy, fleet, store, IMAGE, rules).run(strategy.begin(start, 7))
    snapshot = store.snapshot()
    assert snapshot is not None
    assert snapshot.arrays["weights"] == start.tobytes()


def test_a_device_that_lacks_an_encoding_gets_another_and_that_is_told(store: RunStore) -> None:
    rules = dataclasses.replace(RULES, encoding="int8-delta")
    lacking = CapableSlot(device_id(0), capabilities=frozenset({"int8"}))
    unable = CapableSlot(device_id(1), capabilities=frozenset())
    _, events = run(store, [lacking, unable], rounds=8, rules=rules)
    told = {event.device: event.text for event in events if event.kind == "fallback"}
    assert "takes no int8-delta weights: sent as int8" in told[device_id(0)]
    assert "takes no int8-delta weights: sent as float32" in told[device_id(1)]
    assert len([event for event in events if event.kind == "fallback"]) == 2
    assert set(lacking.heard) == {"image", "int8"}
    assert set(unable.heard) == {"image", "float32"}


def test_two_devices_with_one_id_are_refused() -> None:
    with pytest.raises(DeviceError, match="answers twice"):
        Fleet([ScriptedSlot("aa"), ScriptedSlot("aa")])


def test_rotation_gives_every_client_its_turn() -> None:
    from tinyfed.tasks.task import Client

    clients = [Client(f"c{k}", lambda k=k: bytes([k])) for k in range(14)]  # type: ignore[misc]
    rotation = Rotation(clients, 5, 2)
    for slot in range(5):
        names = {rotation.client(slot, r).name for r in range(28)}  # type: ignore[union-attr]
        assert len(names) == 14
    for r in range(20):
        assert len({rotation.client(slot, r) for slot in range(5)}) == 5
        assert rotation.client(0, r - r % 2) is rotation.client(0, r)
    fixed = Rotation(clients, 5, 0)
    assert [fixed.client(3, r) for r in range(9)] == [clients[3]] * 9


@pytest.mark.parametrize(("count", "places"), [(14, 5), (10, 5), (7, 3), (3, 1), (4, 4), (2, 5)])
def test_rotation_leaves_no_client_out(count: int, places: int) -> None:
    """14 clients on 5 devices are through after ceil(14 / 5) = 3 turns; then it goes on where it stopped."""
    from tinyfed.tasks.task import Client

    clients = [Client(f"c{k}", lambda k=k: bytes([k])) for k in range(count)]  # type: ignore[misc]
    rotation = Rotation(clients, places, 2)
    turns = -(-count // places)
    held = [rotation.client(place, 2 * turn) for turn in range(3 * turns) for place in range(places)]
    assert {client.name for client in held[: turns * places]} == {f"c{k}" for k in range(count)}  # type: ignore[union-attr]
    assert held == [clients[k % count] for k in range(len(held))]


def test_rotation_reaches_the_slot(store: RunStore) -> None:
    from tinyfed.tasks.task import Client

    clients = [Client(f"c{k}", lambda k=k: bytes([k])) for k in range(3)]  # type: ignore[misc]
    slot = ScriptedSlot(device_id(0))
    with Fleet([slot], Rotation(clients, 1, 2)) as fleet:
        shards = []
        for round_index in range(6):
            fleet.ready(slot.unique_id, round_index)
            shards.append(slot.shard)
    assert shards == [b"\0", b"\0", b"\1", b"\1", b"\2", b"\2"]
    assert slot.connections == 3


def test_devices_join_and_leave_between_rounds(store: RunStore) -> None:
    events: list[Event] = []
    fleet = Fleet(slots(1))
    strategy = Everybody(ORDER, 9)

    def observe(event: Event) -> None:
        events.append(event)
        if event.kind == "round-ended" and event.round == 3:
            fleet.add(ScriptedSlot(device_id(5)))
        if event.kind == "round-ended" and event.round == 6:
            fleet.remove(device_id(0))

    with fleet:
        conductor = Coordinator(strategy, fleet, store, IMAGE, RULES, observe)
        conductor.run(strategy.begin(np.zeros(PARAMETERS, np.float32), 7))
    took_part = [{visit["device"] for visit in entry["visits"]} for entry in store.rounds()]
    assert took_part == [{device_id(0)}] * 3 + [{device_id(0), device_id(5)}] * 3 + [{device_id(5)}] * 3
    told = [(e.kind, e.round, e.device) for e in events if e.kind in ("device-joined", "device-left")]
    assert told == [("device-joined", 4, device_id(5)), ("device-left", 7, device_id(0))]


def test_a_known_device_is_taken_back_only_when_it_is_gone() -> None:
    fleet = Fleet(slots(1))
    with fleet:
        fleet.ready(device_id(0), 0)
        with pytest.raises(DeviceError, match="answers twice"):
            fleet.replace(ScriptedSlot(device_id(0)))
        fleet.lost(device_id(0))
        back = ScriptedSlot(device_id(0))
        fleet.replace(back)
        fleet.ready(device_id(0), 0)
        assert back.connections == 1
