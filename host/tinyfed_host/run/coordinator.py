"""Carries a strategy's decisions out over the devices of a fleet, round after round.

It knows neither the algorithm nor what carries the bytes. A device that fails is a result: recorded with its
reason, left out, tried again later. A round is committed to the store before the next begins.
"""

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tinyfed.device import Device, VisitOutcome
from tinyfed.errors import DeviceError, DoesNotFitError, TinyfedError
from tinyfed.meta.strategy import Assignment, Reply, State, Strategy, takes_late
from tinyfed.model.image import replace_weights
from tinyfed.wire.encodings import Shortened, WeightsEncoding
from tinyfed_host.experiment.schema import RoundSection
from tinyfed_host.run.events import Event, Observer, nobody
from tinyfed_host.run.exchange import WeightsExchange, as_if_sent_exactly
from tinyfed_host.run.flight import LateVisits
from tinyfed_host.run.store import RoundRecord, RunStore, VisitRecord, weights_sha256

LEFT_OUT_MAX_ROUNDS = 64
RETRY_FIRST_S = 0.05  # doubled with each retry of a visit
WORTH_PREPARING_S = 0.005
EMPTY_ATTEMPTS = 4  # selections in a row without any answer that end the run
EMPTY_WAIT_S = 0.5  # before the second of them, then doubled


class Devices(Protocol):
    """What the coordinator needs of a fleet."""

    def ids(self) -> list[str]:
        """Unique ids, sorted."""

    def ready(self, unique_id: str, round_index: int) -> Device:
        """The device, answering. Raises `DeviceError`."""

    def lost(self, unique_id: str) -> None:
        """The device failed; `ready` looks for it anew."""

    def cancel(self, unique_id: str) -> None:
        """Make whatever blocks on this device give up soon."""


@dataclass(frozen=True)
class RunEnd:
    """Where a run stands when `run` returns."""

    rounds: int
    weights_sha256: str
    metrics: Mapping[str, Any]  # of the last round


class _Rejected(DeviceError):
    """A device answered with weights that must not be used. Trying again at once would give the same."""


@dataclass(frozen=True)
class _Visited:
    """A visit that went well."""

    assignment: Assignment
    sent: Shortened
    outcome: VisitOutcome

    def reply(self, unique_id: str, age: int = 0) -> Reply:
        """As the strategy sees it."""
        trained = self.outcome.weights
        weights = None if trained is None else as_if_sent_exactly(self.assignment.weights, self.sent.weights, trained)
        return Reply(unique_id, self.outcome.result, weights, age)


@dataclass
class _Absence:
    """A device that failed lately."""

    failures: int = 0  # in a row
    until: int = 0  # round index from which it may take part again


class Coordinator:
    """One run. Use from one thread; visits run in threads of their own."""

    def __init__(
        self,
        strategy: Strategy,
        fleet: Devices,
        store: RunStore,
        image: bytes,
        rules: RoundSection,
        observe: Observer = nobody,
    ) -> None:
        """`image` is the model with any weights; its structure is what devices must have loaded."""
        self._strategy = strategy
        self._fleet = fleet
        self._store = store
        self._image = image
        self._rules = rules
        self._observe = observe
        self._absences: dict[str, _Absence] = {}
        self._exchange = WeightsExchange(rules.encoding, image, observe, rules.answer)
        self._busy: dict[str, Future[_Visited]] = {}
        self._late: set[str] = set()  # cancelled, not yet back
        self._takes_late = takes_late(strategy)
        self._awaited = LateVisits(rules.timeout_s)
        self._arrived: list[Reply] = []  # late, for the round in flight
        self._loaded: dict[str, Device] = {}
        self._known: set[str] = set()
        self._stop = threading.Event()
        self._slow_fleet = False
        self._last = 0
        self.visits = 0

    def run(self, state: State, *, rounds: int | None = None, until: Callable[[], bool] | None = None) -> RunEnd:
        """Go on from `state` until `rounds` are done in all (None: what the strategy says) or `until` is true.

        Raises `DeviceError` when no device answers any more, `StoreError` when a round cannot be stored; what was
        committed stays.
        """
        self._known = set(self._fleet.ids())
        last = self._last = self._strategy.rounds if rounds is None else rounds
        self._observe(Event("run-started", data={"rounds": last, "done": state.round, "devices": self._fleet.ids()}))
        metrics: Mapping[str, Any] = {}
        try:
            while state.round < last and not (until is not None and until()):
                state, metrics = self._round(state, last)
        finally:
            self._stop.set()
            for unique_id, future in self._busy.items():
                if not future.done():
                    self._fleet.cancel(unique_id)
        end = RunEnd(state.round, weights_sha256(state.arrays()["weights"]), metrics)
        self._observe(Event("run-ended", data={"rounds": end.rounds, "weights_sha256": end.weights_sha256}))
        return end

    def restore(self, document: Mapping[str, Any], arrays: Mapping[str, bytes]) -> State:
        """The state that a commit of this coordinator stored."""
        self._absences = {unique_id: _Absence(*values) for unique_id, values in document.get("absences", {}).items()}
        self._exchange.restore(document.get("held", []), arrays)
        for unique_id, asked in self._awaited.restore(document.get("late", {}), arrays).items():
            self._busy[unique_id] = _in_thread(self._visit, unique_id, asked.assignment, asked.round_index)
        return State.restore(document["strategy"], arrays)

    # ---- a round

    def _round(self, state: State, last: int) -> tuple[State, Mapping[str, Any]]:
        begun = time.monotonic()
        records: list[VisitRecord] = []
        replies = self._replies(state, records)
        replies += self._arrived
        self._arrived = []
        after = self._strategy.aggregate(state, replies)
        self.visits += len(records)
        metrics = _round_metrics(records, time.monotonic() - begun)
        document = {
            "strategy": after.document(),
            "absences": {
                unique_id: [absence.failures, absence.until]
                for unique_id, absence in sorted(self._absences.items())
                if absence.failures
            },
            "held": self._exchange.document(),
            "late": self._awaited.document(),
        }
        number = after.round
        arrays = {**after.arrays(), **self._exchange.changes(), **self._awaited.changes()}
        record = RoundRecord(number, document, arrays, metrics, records)
        self._store.commit_round(record)
        self._observe(Event("round-ended", number, data={**metrics, "rounds": last}))
        return after, metrics

    def _replies(self, state: State, records: list[VisitRecord]) -> list[Reply]:
        """Select and visit until a quorum answered. Each device is tried in one selection of a round only,
        until none is left; then all are given time and tried again. Appends to `records`."""
        number = state.round + 1
        failed_now: set[str] = set()
        empty = 0
        while True:
            self._collect(state.round, records)
            here = self._available(state.round, failed_now)
            chosen = self._strategy.select(state, here) if here else ()
            if chosen:
                assignments = {unique_id: self._strategy.configure(state, unique_id) for unique_id in chosen}
                self._observe(Event("round-started", number, data={"devices": list(chosen)}))
                self._prepare(state, chosen, here)
                outcomes = self._visit_all(state.round, assignments, records)
                if len(outcomes) >= max(1, math.ceil(self._rules.quorum * len(chosen))):
                    return [outcomes[unique_id].reply(unique_id) for unique_id in chosen if unique_id in outcomes]
                failed_now.update(set(chosen) - set(outcomes))
                if set(here) - failed_now:
                    continue
            elif self._awaited:
                awaited = [self._busy[unique_id] for unique_id in self._awaited]
                wait(awaited, timeout=self._rules.timeout_s, return_when=FIRST_COMPLETED)
                failed_now.clear()
                continue
            empty += 1
            if empty >= EMPTY_ATTEMPTS:
                raise DeviceError(self._nobody(number, records))
            self._observe(Event("retry", number, text="no device answers; trying all of them again"))
            time.sleep(EMPTY_WAIT_S * 2 ** (empty - 1))
            failed_now.clear()

    def _nobody(self, number: int, records: Sequence[VisitRecord]) -> str:
        failures = [record for record in records if record.failure]
        last = f"; the last said: {failures[-1].failure}" if failures else ""
        return (
            f"round {number}: none of {len(self._fleet.ids())} devices answers{last}. "
            f"The run so far is kept: see `tinyfed devices`, then `tinyfed run --resume {self._store.folder}`"
        )

    def _available(self, round_index: int, failed_now: set[str]) -> list[str]:
        """Who may be selected: first those that did not fail lately, else everybody."""
        back = [unique_id for unique_id, future in self._busy.items() if future.done()]
        for unique_id in [unique_id for unique_id in back if unique_id not in self._awaited]:
            del self._busy[unique_id]
            if unique_id in self._late:  # it was cancelled in the middle of something: greet it anew
                self._late.discard(unique_id)
                self._loaded.pop(unique_id, None)
                self._fleet.lost(unique_id)
        ids = self._fleet.ids()
        for unique_id in set(ids) - self._known:
            self._observe(Event("device-joined", round_index + 1, unique_id))
        for unique_id in self._known - set(ids):
            self._observe(Event("device-left", round_index + 1, unique_id))
        self._known = set(ids)
        there = [unique_id for unique_id in ids if unique_id not in self._busy and unique_id not in failed_now]
        reliable = [
            unique_id
            for unique_id in there
            if unique_id not in self._absences or self._absences[unique_id].until <= round_index
        ]
        return reliable or there

    # ---- visits

    def _visit_all(
        self, round_index: int, assignments: Mapping[str, Assignment], records: list[VisitRecord]
    ) -> dict[str, _Visited]:
        """Visit all at once; whoever is not back in time is left behind. Appends to `records`."""
        deadline = time.monotonic() + self._rules.timeout_s
        pending: dict[Future[_Visited], str] = {}
        for unique_id, assignment in assignments.items():
            future = _in_thread(self._visit, unique_id, assignment, round_index)
            pending[future] = unique_id
            self._busy[unique_id] = future
        outcomes: dict[str, _Visited] = {}
        failures: dict[str, str] = {}
        while pending:
            done, _ = wait(pending, timeout=max(0.0, deadline - time.monotonic()), return_when=FIRST_COMPLETED)
            if not done:
                break
            for future in done:
                unique_id = pending.pop(future)
                error = future.exception()
                if error is None:
                    outcomes[unique_id] = future.result()
                elif isinstance(error, TinyfedError):
                    failures[unique_id] = str(error)
                else:
                    raise error
        for unique_id in pending.values():
            failures[unique_id] = f"device {unique_id}: no answer within {self._rules.timeout_s:g} s"
            if self._takes_late:
                self._awaited.add(unique_id, round_index, assignments[unique_id])
            else:
                self._late.add(unique_id)
                self._fleet.cancel(unique_id)
        self._account(round_index, assignments, outcomes, failures, records)
        return outcomes

    def _collect(self, round_index: int, records: list[VisitRecord]) -> None:
        """Take the late answers that have come, and give up on those that do not come. Appends to `records`."""
        for unique_id in self._awaited:
            future = self._busy[unique_id]
            overdue = not future.done() and self._awaited.overdue(unique_id)
            if not future.done() and not overdue:
                continue
            asked = self._awaited.take(unique_id)
            age = round_index - asked.round_index
            error = None if overdue else future.exception()
            if error is not None and not isinstance(error, TinyfedError):
                raise error
            if overdue:
                self._late.add(unique_id)
                self._fleet.cancel(unique_id)
            else:
                del self._busy[unique_id]
            outcomes, failures = {}, {}
            if error is None and not overdue:
                outcomes[unique_id] = future.result()
                self._arrived.append(outcomes[unique_id].reply(unique_id, age))
            else:
                failures[unique_id] = str(error or f"device {unique_id}: no answer to round {asked.round_index + 1}")
            self._account(round_index, {unique_id: asked.assignment}, outcomes, failures, records, age)

    def _account(
        self,
        round_index: int,
        chosen: Mapping[str, Assignment],
        outcomes: Mapping[str, _Visited],
        failures: Mapping[str, str],
        records: list[VisitRecord],
        age: int = 0,
    ) -> None:
        """Record each visit, tell the observer, and leave out who failed. `age`: rounds ago it was asked."""
        number = round_index + 1
        attempts = {record.device: record.attempt for record in records}
        for unique_id in chosen:
            attempt = attempts.get(unique_id, 0) + 1
            absence = self._absences.setdefault(unique_id, _Absence())
            if unique_id in outcomes:
                self._exchange.holds(unique_id, chosen[unique_id].order, outcomes[unique_id].outcome.weights)
                metrics = _visit_metrics(outcomes[unique_id])
                if age:
                    metrics["age"] = age
                records.append(VisitRecord(unique_id, attempt, None, metrics))
                if absence.failures:
                    self._observe(Event("device-back", number, unique_id))
                absence.failures = 0
                self._observe(Event("visit-ended", number, unique_id, data=metrics))
                continue
            reason = failures[unique_id]
            if unique_id in self._awaited:
                records.append(VisitRecord(unique_id, attempt, reason, {}))
                self._observe(Event("late", number, unique_id, f"{reason}; its answer is used when it comes"))
                continue
            absence.failures += 1
            left_out = min(self._rules.retry_after * 2 ** min(absence.failures - 1, 16), LEFT_OUT_MAX_ROUNDS)
            absence.until = round_index + 1 + left_out
            records.append(VisitRecord(unique_id, attempt, reason, {}))
            text = f"{reason}; left out for {left_out} round{'s' if left_out != 1 else ''}"
            self._observe(Event("device-failed", number, unique_id, text))

    def _visit(self, unique_id: str, assignment: Assignment, round_index: int) -> _Visited:
        """One device's part of a round, with retries. In a thread of its own."""
        number = round_index + 1
        self._observe(Event("visit-started", number, unique_id))
        weights = assignment.weights.astype("<f4", copy=False).tobytes()
        for attempt in range(self._rules.retries + 1):
            try:
                device = self._ready(unique_id, round_index)
                down, up, begun = device.traffic.down, device.traffic.up, time.monotonic()
                order = assignment.order
                if assignment.want_weights:
                    order = self._exchange.answered(device.info, order, number)
                sent = self._exchange.shorten(device.info, weights, order, number)
                in_image = self._loaded.get(unique_id) is not device
                if in_image:  # the structure and this round's weights in one transfer
                    device.load(replace_weights(self._image, np.frombuffer(sent.weights, "<f4")))
                    self._loaded[unique_id] = device
                loaded = time.monotonic()
                outcome = device.visit(
                    None if in_image else sent.weights,
                    order,
                    want_weights=assignment.want_weights,
                    shortened=None if in_image else sent,
                )
                self._inspect(unique_id, assignment, outcome)
                outcome = dataclasses.replace(
                    outcome,
                    bytes_down=max(outcome.bytes_down, device.traffic.down - down),
                    bytes_up=max(outcome.bytes_up, device.traffic.up - up),
                    wire_s=outcome.wire_s + (loaded - begun if in_image else 0.0),
                )
                return _Visited(assignment, sent, outcome)
            except (DoesNotFitError, _Rejected):
                raise
            except DeviceError as error:
                self._loaded.pop(unique_id, None)
                self._fleet.lost(unique_id)
                if attempt == self._rules.retries or self._stop.is_set():
                    raise
                self._observe(Event("retry", number, unique_id, f"{error}; trying again"))
                self._stop.wait(RETRY_FIRST_S * 2**attempt)
        raise AssertionError("unreachable")

    def _ready(self, unique_id: str, round_index: int) -> Device:
        begun = time.monotonic()
        device = self._fleet.ready(unique_id, round_index)
        self._slow_fleet = self._slow_fleet or time.monotonic() - begun > WORTH_PREPARING_S
        return device

    def _prepare(self, state: State, busy: Collection[str], here: Sequence[str]) -> None:
        """While the devices of this round work, get those ready that the next round will probably ask for."""
        if not self._slow_fleet or state.round + 1 >= self._last:
            return
        coming = self._strategy.select(dataclasses.replace(state, round=state.round + 1), here)
        for unique_id in set(coming) - set(busy):
            threading.Thread(
                target=self._prepare_one, args=(unique_id, state.round + 1), name=f"prepare-{unique_id}", daemon=True
            ).start()

    def _prepare_one(self, unique_id: str, round_index: int) -> None:
        with contextlib.suppress(TinyfedError):  # its visit will find out, and tell
            self._fleet.ready(unique_id, round_index)

    def _inspect(self, unique_id: str, assignment: Assignment, outcome: VisitOutcome) -> None:
        """Refuse weights that would spoil the model."""
        if not assignment.want_weights:
            return
        expected = assignment.weights.size
        if outcome.weights is None or len(outcome.weights) != 4 * expected:
            got = 0 if outcome.weights is None else len(outcome.weights) // 4
            raise _Rejected(f"device {unique_id}: sent {got} weights, the model has {expected}: not used")
        weights = np.frombuffer(outcome.weights, "<f4")
        norm = float(np.linalg.norm(weights.astype(np.float64)))
        if not math.isfinite(norm):
            raise _Rejected(f"device {unique_id}: its weights are not finite: not used; a lower learning_rate helps")
        if norm > self._rules.max_norm:
            raise _Rejected(
                f"device {unique_id}: its weights' norm is {norm:.3g}, more than round.max_norm = "
                f"{self._rules.max_norm:g}: not used"
            )


def _in_thread(
    work: Callable[[str, Assignment, int], _Visited], unique_id: str, assignment: Assignment, round_index: int
) -> "Future[_Visited]":
    """A daemon thread: one that hangs does not keep the process from ending."""
    future: Future[_Visited] = Future()

    def body() -> None:
        try:
            future.set_result(work(unique_id, assignment, round_index))
        except BaseException as error:  # handed to whoever waits for the future
            future.set_exception(error)

    threading.Thread(target=body, name=f"visit-{unique_id}", daemon=True).start()
    return future


def _visit_metrics(visited: _Visited) -> dict[str, Any]:
    """What is told of a visit; times in seconds."""
    outcome = visited.outcome
    result = outcome.result
    metrics: dict[str, Any] = {
        "loss_first": _finite(result.loss_first),
        "loss_last": _finite(result.loss_last),
        "samples": result.samples,
        "bytes_down": outcome.bytes_down,
        "bytes_up": outcome.bytes_up,
        "wire_s": round(outcome.wire_s, 6),
        "train_s": round(outcome.train_s, 6),
        "device_train_us": result.train_us,
        "instructions": result.train_instructions,
        "stack_bytes": result.stack_bytes,
        "arena_bytes": result.arena_bytes,
    }
    if visited.sent.encoding != WeightsEncoding():
        metrics["encoding"] = visited.sent.encoding.name
    if result.checkpoints:
        metrics["checkpoints"] = [dataclasses.asdict(checkpoint) for checkpoint in result.checkpoints]
    return metrics


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


def _round_metrics(records: Sequence[VisitRecord], seconds: float) -> dict[str, Any]:
    """Means and sums over the round's visits that went well."""
    good = [record.metrics for record in records if record.failure is None]
    metrics: dict[str, Any] = {"seconds": round(seconds, 6), "answered": len(good), "failed": len(records) - len(good)}
    for key in ("loss_first", "loss_last"):
        values = [entry[key] for entry in good if entry[key] is not None]
        metrics[key] = sum(values) / len(values) if values else None
    for key in ("samples", "bytes_down", "bytes_up"):
        metrics[key] = sum(entry[key] for entry in good)
    return metrics
