"""Carries a strategy's decisions out over the devices of a fleet, round after round.

It knows neither the algorithm nor what carries the bytes. A device that fails is a result: recorded with its
reason, left out, tried again later. A round is committed to the store before the next begins.
"""

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyfed.errors import DeviceError, DivergedError
from tinyfed.meta.robust import UpdateBound, squared_norm
from tinyfed.meta.strategy import Reply, State, Strategy, Streams, takes_late
from tinyfed_host.experiment.schema import RoundSection
from tinyfed_host.run.attendance import Attendance
from tinyfed_host.run.clock import Clock, SystemClock
from tinyfed_host.run.events import Event, Observer, nobody
from tinyfed_host.run.exchange import WeightsExchange
from tinyfed_host.run.flight import Flight, Landed
from tinyfed_host.run.store import RoundRecord, RunStore, VisitRecord
from tinyfed_host.run.visit import Devices, Visitor

LOSS_ROUNDS = 20  # that the run's loss is the mean of: one round says little
WAIT_S = 60.0  # for a device, when none answers
ASK_FIRST_S = 0.5  # after which all are tried again meanwhile, then doubled
ASK_MOST_S = 5.0


@dataclass(frozen=True)
class RunEnd:
    """Where a run stands when `run` returns."""

    rounds: int
    weights_sha256: str
    metrics: Mapping[str, Any]  # of the last round


@dataclass
class _Wait:
    """For any device to answer."""

    until_s: float  # of the clock
    pause_s: float = ASK_FIRST_S


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
        clock: Clock | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        """`image` is the model with any weights; its structure is what devices must have loaded. `wait_s`: for how long
        a device is waited for when none answers; may be infinite."""
        self._strategy = strategy
        self._fleet = fleet
        self._store = store
        self._quorum = rules.quorum
        self._told = observe
        self._clock = clock or SystemClock()
        self._wait_s = wait_s
        self._attendance = Attendance(rules.retry_after, self._observe)
        self._losses: deque[float] = deque(maxlen=LOSS_ROUNDS)  # of the last rounds
        self._bound = UpdateBound(rules.max_update)
        self._streams = Streams()
        self._exchange = WeightsExchange(rules.encoding, image, self._observe, rules.answer)
        self._visitor = Visitor(fleet, self._exchange, image, rules, self._observe, self._clock)
        self._flight = Flight(
            self._visitor.visit, fleet.cancel, rules.timeout_s, self._clock, wants_late=takes_late(strategy)
        )

    def run(self, state: State, *, rounds: int | None = None, until: Callable[[], bool] | None = None) -> RunEnd:
        """Go on from `state` until `rounds` are done in all (None: what the strategy says) or `until` is true.

        Raises `DeviceError` when no device answers any more, `StoreError` when a round cannot be stored; what was
        committed stays.
        """
        ids = self._fleet.ids()
        self._attendance.begin(ids)
        self._losses.extend(self._store.losses(LOSS_ROUNDS))
        last = self._strategy.rounds if rounds is None else rounds
        named = {unique_id: self._fleet.client(unique_id, state.round) for unique_id in ids}
        clients = {unique_id: client for unique_id, client in named.items() if client}
        data = {"rounds": last, "done": state.round, "devices": ids, "clients": clients}
        self._observe(Event("run-started", data=data))
        metrics: Mapping[str, Any] = {}
        try:
            while state.round < last and not (until is not None and until()):
                state, metrics = self._round(state, last)
        finally:
            self._visitor.stop()
            self._flight.close()
        end = RunEnd(state.round, state.weights.sha256, metrics)
        self._observe(Event("run-ended", data={"rounds": end.rounds, "weights_sha256": end.weights_sha256}))
        return end

    def restore(self, document: Mapping[str, Any], arrays: Mapping[str, bytes]) -> State:
        """The state that a commit of this coordinator stored."""
        self._attendance.restore(document.get("absences", {}))
        self._exchange.restore(document.get("held", []), arrays)
        self._flight.restore(document.get("late", {}), arrays)
        self._bound.restore(document.get("norms", []))
        self._streams.restore(document.get("streams", {}))
        return State.restore(document["strategy"], arrays)

    def _observe(self, event: Event) -> None:
        """Tell of it, of a device with the client it works for in that round."""
        if event.device and not event.client:
            event = dataclasses.replace(event, client=self._fleet.client(event.device, max(0, event.round - 1)))
        self._told(event)

    def _round(self, state: State, last: int) -> tuple[State, Mapping[str, Any]]:
        begun = self._clock.now()
        records: list[VisitRecord] = []
        late: list[Reply] = []
        after = self._strategy.aggregate(state, [*self._replies(state, last, records, late), *late])
        metrics = _round_metrics(records, self._clock.now() - begun)
        if metrics["loss_last"] is not None:
            self._losses.append(metrics["loss_last"])
        metrics["loss"] = sum(self._losses) / len(self._losses) if self._losses else None
        document = {
            "strategy": after.document(),
            "absences": self._attendance.document(),
            "held": self._exchange.document(),
            "late": self._flight.document(),
            "norms": self._bound.document(),
            "streams": self._streams.document(),
        }
        arrays = {**after.arrays(), **self._exchange.changes(), **self._flight.changes()}
        self._store.commit_round(RoundRecord(after.round, document, arrays, metrics, records))
        self._observe(Event("round-ended", after.round, data={**metrics, "rounds": last}))
        return after, metrics

    def _replies(self, state: State, last: int, records: list[VisitRecord], late: list[Reply]) -> list[Reply]:
        """Select and visit until a quorum answered. Each device is tried in one selection of a round only,
        until none is left; then all are given time and tried again. Appends to `records` and `late`."""
        number = state.round + 1
        failed_now: set[str] = set()
        diverged: list[Landed] = []
        waiting: _Wait | None = None
        while True:
            late += self._account(state.round, self._flight.late(state.round), records)
            here = self._selectable(state.round, failed_now)
            chosen = self._strategy.select(state, here) if here else ()
            if chosen:
                assignments = {
                    unique_id: self._streams.placed(
                        self._strategy.configure(state, unique_id), self._data_of(unique_id, state.round)
                    )
                    for unique_id in chosen
                }
                self._observe(Event("round-started", number, data={"devices": list(chosen)}))
                if self._visitor.is_slow and number < last:
                    self._prepare_next(state, chosen, here)
                landed = self._flight.round(state.round, assignments)
                diverged += [one for one in landed if one.diverged]
                replies = self._account(state.round, landed, records, waiting=waiting is not None)
                if len(replies) >= max(1, math.ceil(self._quorum * len(chosen))):
                    self._leave_out(state.round, diverged)
                    self._visitor.tries_again = True
                    return replies
                failed_now.update(set(chosen) - {reply.device for reply in replies})
                if set(here) - failed_now:
                    continue
            elif self._flight.has_late:
                self._flight.wait_for_late()
                failed_now.clear()
                continue
            if diverged and all(one.unique_id in failed_now for one in diverged) and len(diverged) == len(failed_now):
                raise self._all_diverged(number, diverged)
            self._leave_out(state.round, diverged)
            waiting = waiting or self._begin_to_wait(number)
            left_s = waiting.until_s - self._clock.now()
            if left_s <= 0:
                raise self._nobody(number, records)
            self._observe(
                Event("waiting", number, data={"left_s": round(left_s, 3) if math.isfinite(left_s) else None})
            )
            self._clock.pause(min(waiting.pause_s, left_s))
            waiting.pause_s = min(2 * waiting.pause_s, ASK_MOST_S)
            failed_now.clear()

    def _data_of(self, unique_id: str, round_index: int) -> str:
        """Whose samples a device has in a round: a client's, or its own."""
        return self._fleet.client(unique_id, round_index) or unique_id

    def _begin_to_wait(self, number: int) -> "_Wait":
        """No device answers: from now on each is asked once in a while, and only what answers is told and recorded."""
        if self._wait_s > 0:
            how_long = f"{self._wait_s:g} s" if math.isfinite(self._wait_s) else "as long as it takes"
            self._observe(Event("retry", number, text=f"no device answers; waiting for one, {how_long}"))
        self._visitor.tries_again = False
        return _Wait(self._clock.now() + self._wait_s)

    def _selectable(self, round_index: int, failed_now: set[str]) -> list[str]:
        for unique_id in self._flight.returned():
            self._visitor.lose(unique_id)
        ids = self._fleet.ids()
        busy = {unique_id for unique_id in ids if unique_id in self._flight}
        return self._attendance.selectable(round_index, ids, busy | failed_now)

    def _prepare_next(self, state: State, chosen: Sequence[str], here: Sequence[str]) -> None:
        """While the devices of this round work, get those ready that the next round will probably ask for."""
        coming = self._strategy.select(dataclasses.replace(state, round=state.round + 1), here)
        self._visitor.prepare(set(coming) - set(chosen), state.round + 1)

    def _account(
        self, round_index: int, landed: Iterable[Landed], records: list[VisitRecord], *, waiting: bool = False
    ) -> list[Reply]:
        """Record each visit, tell the observer, and leave out who failed, but not again while all are waited for.
        Returns what came back."""
        number = round_index + 1
        attempts = {record.device: record.attempt for record in records}
        replies = []
        for one in self._bounded(landed):
            attempt = attempts.get(one.unique_id, 0) + 1
            client = self._fleet.client(one.unique_id, round_index - one.age)
            named = {"client": client} if client else {}
            if one.visited is None and waiting and not one.late:
                continue
            if one.visited is None:
                records.append(VisitRecord(one.unique_id, attempt, one.failure, named))
                if one.late:
                    text = f"{one.failure}; its answer is used when it comes"
                    self._observe(Event("late", number, one.unique_id, text, client=client))
                elif not one.diverged or one.age:
                    self._attendance.failed(one.unique_id, round_index, one.failure)
                continue
            self._exchange.holds(one.unique_id, one.assignment.order, one.visited.outcome.weights)
            metrics = {**named, **one.visited.metrics()}
            if one.age:
                metrics["age"] = one.age
            records.append(VisitRecord(one.unique_id, attempt, None, metrics))
            self._streams.ended(one.assignment.order, self._data_of(one.unique_id, round_index - one.age))
            self._attendance.answered(one.unique_id, round_index)
            self._observe(Event("visit-ended", number, one.unique_id, client=client, data=metrics))
            replies.append(one.visited.reply(one.unique_id, one.age))
        return replies

    def _leave_out(self, round_index: int, diverged: list[Landed]) -> None:
        """Those that diverged where not all did: it is theirs alone."""
        for one in diverged:
            self._attendance.failed(one.unique_id, round_index, one.failure)
        diverged.clear()

    def _all_diverged(self, number: int, diverged: Sequence[Landed]) -> DivergedError:
        rates = sorted({one.assignment.order.learning_rate for one in diverged})
        at = " to ".join(dict.fromkeys(f"{rate:g}" for rate in (rates[0], rates[-1])))
        return DivergedError(
            f"round {number}: learning diverges on all {len(diverged)} devices; the last said: {diverged[-1].failure}",
            remedy=f"lower learning_rate ({at} now), or scale the samples to values around 1",
        )

    def _bounded(self, landed: Iterable[Landed]) -> list[Landed]:
        """The same visits, those whose update is too large as failed ones."""
        there = list(landed)
        norms: dict[int, float] = {}
        for number, one in enumerate(there):
            weights = None if one.visited is None else one.visited.reply(one.unique_id).weights
            if weights is not None:  # of a meta-gradient they are the move itself
                start = 0 if one.assignment.order.meta_gradient else one.assignment.weights.array
                norms[number] = squared_norm(weights.array - start) ** 0.5
        weights_norm = squared_norm(there[0].assignment.weights.array) ** 0.5 if norms else 0.0
        for number, reason in zip(norms, self._bound.judge(list(norms.values()), weights_norm), strict=True):
            if reason:
                failure = f"device {there[number].unique_id}: {reason}: not used"
                there[number] = dataclasses.replace(there[number], visited=None, failure=failure)
        return there

    def _nobody(self, number: int, records: Sequence[VisitRecord]) -> DeviceError:
        failures = [record for record in records if record.failure]
        last = f"; the last said: {failures[-1].failure}" if failures else ""
        return DeviceError(
            f"round {number}: none of {len(self._fleet.ids())} devices answers{last}",
            remedy="look for them with `tinyfed devices`; --wait gives them longer" if self._wait_s else "",
        )


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
