"""One device's part of a round: its weights and order go there, what it learned comes back, with retries."""

import contextlib
import dataclasses
import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tinyfed.device import Device, VisitOutcome
from tinyfed.errors import DeviceError, DivergedError, DoesNotFitError, TinyfedError
from tinyfed.meta.strategy import Assignment, Reply
from tinyfed.model.image import replace_weights
from tinyfed.weights import Content, Weights
from tinyfed.wire.encodings import Shortened, WeightsEncoding
from tinyfed_host.experiment.schema import RoundSection
from tinyfed_host.run.clock import Clock
from tinyfed_host.run.events import Event, Observer
from tinyfed_host.run.exchange import WeightsExchange, as_if_sent_exactly

RETRY_FIRST_S = 0.05  # doubled with each retry of a visit
WORTH_PREPARING_S = 0.005
# Resets that nobody asked for, by what a device says of them (docs/wire.md).
RESTARTED = {
    "watchdog": "its watchdog has reset it: its firmware had stood still",
    "brown-out": "it has restarted: its power had been too low",
    "fault": "it has restarted: its processor had met a fault",
}


class Devices(Protocol):
    """What a run needs of a fleet."""

    def ids(self) -> list[str]:
        """Unique ids, sorted."""

    def ready(self, unique_id: str, round_index: int) -> Device:
        """The device, answering. Raises `DeviceError`."""

    def client(self, unique_id: str, round_index: int) -> str:
        """The name of the client whose data the device has in a round, or ""."""

    def lost(self, unique_id: str) -> None:
        """The device failed; `ready` looks for it anew."""

    def cancel(self, unique_id: str) -> None:
        """Make whatever blocks on this device give up soon."""


@dataclass(frozen=True)
class Visited:
    """A visit that went well."""

    assignment: Assignment
    sent: Shortened
    outcome: VisitOutcome

    def reply(self, unique_id: str, age: int = 0) -> Reply:
        """As the strategy sees it."""
        trained = self.outcome.weights
        weights = None if trained is None else as_if_sent_exactly(self.assignment.weights, self.sent.weights, trained)
        return Reply(unique_id, self.outcome.result, weights, age)

    def metrics(self) -> dict[str, Any]:
        """What is told of it; times in seconds."""
        outcome = self.outcome
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
        if self.sent.encoding != WeightsEncoding():
            metrics["encoding"] = self.sent.encoding.name
        if result.checkpoints:
            metrics["checkpoints"] = [dataclasses.asdict(checkpoint) for checkpoint in result.checkpoints]
        return metrics


class _Rejected(DeviceError):
    """A device answered with weights that must not be used. Trying again at once would give the same."""


class Visitor:
    """Visits the devices of a fleet. Thread-safe for different devices."""

    def __init__(
        self,
        fleet: Devices,
        exchange: WeightsExchange,
        image: bytes,
        rules: RoundSection,
        observe: Observer,
        clock: Clock,
    ) -> None:
        """`image` is the model with any weights; its structure is what devices must have loaded."""
        self._fleet = fleet
        self._exchange = exchange
        self._image = image
        self._rules = rules
        self._observe = observe
        self._clock = clock
        self._loaded: dict[str, Device] = {}  # those that hold the model's structure
        self._boots: dict[str, int] = {}  # of devices, when they were last ready
        self._last_image = Weights(), Content()
        self.tries_again = True  # what failed, at once
        self.is_slow = False  # getting a device ready takes long
        self._stopped = threading.Event()

    def visit(self, unique_id: str, assignment: Assignment, round_index: int) -> Visited:
        """All of it. Blocks; raises `DeviceError` when the last retry fails too."""
        number = round_index + 1
        self._observe(Event("visit-started", number, unique_id))
        for attempt in range(self._rules.retries + 1):
            try:
                return self._attempt(self._ready(unique_id, round_index), unique_id, assignment, number)
            except (DoesNotFitError, DivergedError, _Rejected):
                raise
            except DeviceError as error:
                self.lose(unique_id)
                if attempt == self._rules.retries or not self.tries_again or self._stopped.is_set():
                    raise
                self._observe(Event("retry", number, unique_id, f"{error}; trying again"))
                self._clock.pause(RETRY_FIRST_S * 2**attempt, self._stopped)
        raise AssertionError("unreachable")

    def lose(self, unique_id: str) -> None:
        """What the device is and holds must be found out anew."""
        self._loaded.pop(unique_id, None)
        self._fleet.lost(unique_id)

    def prepare(self, ids: Iterable[str], round_index: int) -> None:
        """Get devices ready in the background that a round will probably ask for."""
        for unique_id in ids:
            threading.Thread(
                target=self._prepare_one, args=(unique_id, round_index), name=f"prepare-{unique_id}", daemon=True
            ).start()

    def stop(self) -> None:
        """Try nothing again from now on."""
        self._stopped.set()

    def _attempt(self, device: Device, unique_id: str, assignment: Assignment, number: int) -> Visited:
        down, up, begun = device.traffic.down, device.traffic.up, self._clock.now()
        order = assignment.order
        if assignment.want_weights:
            order = self._exchange.answered(device.info, order, number)
        sent = self._exchange.shorten(device.info, assignment.weights, order, number)
        in_image = self._loaded.get(unique_id) is not device
        if in_image:  # the structure and this round's weights in one transfer
            device.load(self._image_with(sent.weights))
            self._loaded[unique_id] = device
        loaded = self._clock.now()
        outcome = device.visit(
            None if in_image else sent.weights,
            order,
            want_weights=assignment.want_weights,
            shortened=None if in_image else sent,
        )
        if assignment.want_weights:
            self._inspect(unique_id, assignment.weights.size, outcome.weights or Weights())
        outcome = dataclasses.replace(
            outcome,
            bytes_down=max(outcome.bytes_down, device.traffic.down - down),
            bytes_up=max(outcome.bytes_up, device.traffic.up - up),
            wire_s=outcome.wire_s + (loaded - begun if in_image else 0.0),
        )
        return Visited(assignment, sent, outcome)

    def _ready(self, unique_id: str, round_index: int) -> Device:
        begun = self._clock.now()
        device = self._fleet.ready(unique_id, round_index)
        self.is_slow = self.is_slow or self._clock.now() - begun > WORTH_PREPARING_S
        info = device.info
        before = self._boots.get(unique_id)
        self._boots[unique_id] = info.boot
        if before not in (None, info.boot) and info.reset_cause in RESTARTED:
            told = RESTARTED[info.reset_cause]
            data = {"reset_cause": info.reset_cause}
            self._observe(Event("device-restarted", round_index + 1, unique_id, told, data))
        return device

    def _prepare_one(self, unique_id: str, round_index: int) -> None:
        with contextlib.suppress(TinyfedError):  # its visit will find out, and tell
            self._fleet.ready(unique_id, round_index)

    def _image_with(self, weights: Weights) -> Content:
        """The model with these weights; the devices of a round that get the same ones get the same image."""
        before, image = self._last_image
        if before is not weights:
            image = replace_weights(self._image, weights)
            self._last_image = weights, image
        return image

    def _inspect(self, unique_id: str, expected: int, trained: Weights) -> None:
        """Refuse weights that would spoil the model."""
        if trained.size != expected:
            raise _Rejected(f"device {unique_id}: sent {trained.size} weights, the model has {expected}: not used")
        norm = float(np.linalg.norm(trained.array.astype(np.float64)))
        if not math.isfinite(norm):
            raise DivergedError(f"device {unique_id}: its weights are not finite: not used")
        if norm > self._rules.max_norm:
            raise DivergedError(
                f"device {unique_id}: its weights' norm is {norm:.3g}, more than round.max_norm = "
                f"{self._rules.max_norm:g}: not used"
            )


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
