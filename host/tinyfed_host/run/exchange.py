"""How weights go down to the devices of a run and back: in which encoding, and what each device holds to build on.

What a device trains from depends on the run's stored state only, never on what a line happened to carry: a device
that restarted is given the same floats in full. So retries and resumes give the same bits under every encoding.
"""

import dataclasses
import math
import threading
from collections.abc import Mapping

from tinyfed.device import DeviceInfo
from tinyfed.model.image import read_records
from tinyfed.weights import Weights
from tinyfed.wire.encodings import Shortened, WeightsEncoding, shorten
from tinyfed.wire.order import Order
from tinyfed_host.run.events import Event, Observer

_HELD = "held/"  # the store's arrays of what devices hold


class WeightsExchange:
    """Thread-safe for different devices."""

    def __init__(self, encoding: str, image: bytes, observe: Observer, answer: str = "float32") -> None:
        """`encoding` of what goes down, `answer` of what comes back: names of `tinyfed.wire.encodings.NAMES`."""
        self._wanted = WeightsEncoding.named(encoding)
        self._answer = WeightsEncoding.named(answer)
        _, _, records = read_records(image)
        self._sizes = tuple(math.prod(shape) for record in records for shape in record.parameter_shapes)
        self._observe = observe
        self._held: dict[str, Weights] = {}
        self._changed: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def shorten(self, info: DeviceInfo, weights: Weights, order: Order, number: int) -> Shortened:
        """The weights as this device gets them in round `number`. Raises `UsageError` where they cannot be shortened.

        An order that shares a part of the layers takes that part in float32. A device whose firmware lacks what is
        wanted gets them in the nearest encoding, which is told once.
        """
        if order.is_partial:
            return shorten(WeightsEncoding(), weights)
        unique_id = info.unique_id
        base = self._held.get(unique_id) if self._wanted.delta else None
        best = self._wanted.negotiated(info.capabilities, holds_weights=True)
        if best != self._wanted:
            self._tell(number, unique_id, f"its firmware takes no {self._wanted.name} weights: sent as {best.name}")
        how = self._wanted.negotiated(info.capabilities, holds_weights=base is not None)
        return shorten(how, weights, self._sizes, base)

    def answered(self, info: DeviceInfo, order: Order, number: int) -> Order:
        """The order, with how the weights come back as far as this device can and the order goes with it."""
        wanted = self._answer
        if order.top or (order.meta_gradient and wanted.delta):
            wanted = WeightsEncoding()
        if wanted != WeightsEncoding() and "answers" not in info.capabilities:
            self._tell(number, info.unique_id, f"its firmware answers in float32 only, not in {wanted.name}")
            wanted = WeightsEncoding()
        return dataclasses.replace(order, answer=wanted.name)

    def _tell(self, number: int, unique_id: str, text: str) -> None:
        """Once a device and text."""
        with self._lock:
            if (unique_id, text) in self._told:
                return
            self._told.add((unique_id, text))
        self._observe(Event("fallback", number, unique_id, f"{text}; flash a newer one"))

    def holds(self, unique_id: str, order: Order, weights: Weights | None) -> None:
        """What came back from a device (None: nothing); it holds that when the order asked for all of it."""
        if not self._wanted.delta:
            return
        if weights is None or order.is_partial or order.top:
            self._held.pop(unique_id, None)
        else:
            self._held[unique_id] = weights
            self._changed.add(unique_id)

    def document(self) -> list[str]:
        """Whose weights are known, for the store."""
        return sorted(self._held)

    def changes(self) -> dict[str, bytes]:
        """The arrays that the next commit must hold; then forgotten."""
        changed, self._changed = self._changed, set()
        return {_HELD + unique_id: self._held[unique_id] for unique_id in sorted(changed) if unique_id in self._held}

    def restore(self, document: list[str], arrays: Mapping[str, bytes]) -> None:
        """Go on from what `document` and all `changes` so far gave."""
        stored = {unique_id: arrays.get(_HELD + unique_id) for unique_id in document}
        self._held = {unique_id: Weights.of(data) for unique_id, data in stored.items() if data is not None}


def as_if_sent_exactly(sent: Weights, start: Weights, trained: Weights) -> Weights:
    """The trained weights for a strategy that asked to start from `sent`, where the device started from `start`.

    What the device learned is added to what was meant, `sent + (trained - start)` in float32, so that rounding on the
    way down does not build up in the model.
    """
    return trained if start == sent else Weights.of(sent.array + (trained.array - start.array))
