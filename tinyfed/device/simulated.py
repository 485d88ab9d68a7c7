"""The simulated device: the engine and the visit of firmware/ in-process, with an arena of a stated size."""

import hashlib
import time

from tinyfed.device import DeviceInfo, Traffic, VisitOutcome
from tinyfed.engine import _device
from tinyfed.errors import DeviceError, DivergedError, DoesNotFitError, TinyfedError, UsageError
from tinyfed.model.image import read_weights
from tinyfed.status import Status, explain
from tinyfed.weights import Weights
from tinyfed.wire.encodings import Shortened
from tinyfed.wire.order import Order, Result
from tinyfed.wire.update import expand, layer_sizes, shared_part

ARENA_BYTES = 256 * 1024


class SimulatedDevice:
    """A device without a line: what it computes is, to the bit, what a board computes. Implements `Device`.

    `arena_bytes` is the memory for the model image and all that training needs; `shard` what lies in its data
    flash (None: it can only make its samples itself). Raises UsageError when the shard is damaged.
    """

    def __init__(self, name: str = "simulated", *, shard: bytes | None = None, arena_bytes: int = ARENA_BYTES) -> None:
        if not 0 < arena_bytes < 2**32:
            raise UsageError(f"arena of {arena_bytes} bytes, allowed is 1 to {2**32 - 1}", where=f"device {name}")
        self.name = name
        self.traffic = Traffic()
        self._image = b""
        self._fresh = False  # the weights are still the image's
        self._layer_sizes: tuple[int, ...] = ()
        try:
            self._device = _device.Device(arena_bytes, shard)
        except _device.StatusError as error:
            status, _ = error.args
            raise UsageError(f"its shard is refused: {explain(status)}", where=f"device {name}") from None

    @property
    def info(self) -> DeviceInfo:
        """What it says of itself now."""
        facts = self._device.facts()
        return DeviceInfo(
            unique_id=hashlib.blake2s(self.name.encode(), digest_size=8).hexdigest(),
            board="simulated",
            firmware_build="0",
            protocol_version=1,
            arena_bytes=facts["arena_bytes"],
            max_payload_bytes=0,
            capabilities=frozenset({"online", "shard" if facts["class_count"] else "generator"}),
            feature_count=facts["feature_count"],
            class_count=facts["class_count"],
            structure_hash=facts["structure_hash"],
            weights_hash=facts["weights_hash"],
        )

    def load(self, image: bytes) -> None:
        """Put a model image into the arena. Raises DoesNotFitError, or UsageError when it is no model image."""
        try:
            self._device.load(image)
            self._image, self._fresh, self._layer_sizes = image, True, ()
        except _device.StatusError as error:
            raise self._translate(error, None) from None

    def visit(
        self, weights: Weights | None, order: Order, *, want_weights: bool, shortened: Shortened | None = None
    ) -> VisitOutcome:
        """Train and evaluate as the order says, from these weights (None: from those it has); there is no line to
        shorten them for.

        Raises UsageError for an order out of range, DoesNotFitError, or DeviceError when the order does not fit model
        and samples or the loss is no longer finite.
        """
        self._device.cancel(False)
        fresh, self._fresh = self._fresh and weights is None, False
        begin = time.perf_counter()
        try:
            result, trained = self._device.visit(order.encode(), weights, want_weights)
        except _device.StatusError as error:
            raise self._translate(error, order) from None
        if trained is not None and order.answers_update:
            base = read_weights(self._image).tobytes() if fresh else weights
            if base is None:
                raise UsageError(
                    "what it shares is an update: send the weights with the order", where=f"device {self.name}"
                )
            self._layer_sizes = self._layer_sizes or layer_sizes(self._image)
            trained = expand(order, trained, base, shared_part(order, self._layer_sizes))
        weights = None if trained is None else Weights(trained)
        return VisitOutcome(Result.decoded_later(result), weights, 0, 0, 0.0, time.perf_counter() - begin)

    def cancel(self) -> None:
        """End the visit that another thread waits for with a DeviceError."""
        self._device.cancel(True)

    def close(self) -> None:
        """Nothing to let go of."""

    def _translate(self, error: _device.StatusError, order: Order | None) -> TinyfedError:
        number, bytes_short = error.args
        where = f"device {self.name}"
        facts = self._device.facts()
        if number == Status.MEMORY:
            return DoesNotFitError(
                f"the arena of {facts['arena_bytes']} bytes is {bytes_short} bytes short: "
                "choose a smaller model or a larger board",
                where=where,
            )
        if order is None:
            return UsageError(f"the model is refused: {explain(number)}", where=where)
        if number == Status.SOURCE and order.source == "shard":
            return DeviceError(
                f"{'no shard' if not facts['class_count'] else 'its shard is too small'} for an order of "
                f"{order.ways} classes with {order.shots} samples to learn from and "
                f"{order.queries or 'at least 1'} to judge on: give it more data or ask for less",
                where=where,
            )
        if number == Status.SHAPE:
            return DeviceError(
                f"the order does not fit: it has {order.ways} classes, the samples "
                f"{facts['feature_count'] or 1} features, the model {facts['parameter_count']} parameters: "
                "model inputs, outputs and loss must match the task",
                where=where,
            )
        kind = DivergedError if number == Status.NUMERIC else DeviceError
        return kind(explain(number), where=where)
