"""What some devices can do beside a visit. A caller that needs it asks for the role, not for a kind of device."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from tinyfed.device.protocol import Device
from tinyfed.wire.record import RecordStatus


class InferenceDevice(Device, Protocol):
    """A device that answers one sample at a time."""

    def infer(self, sample: bytes, step: int | None = None) -> bytes:
        """What the model it holds makes of a sample, both float32 little-endian. `step`: of a stream, from 0 on; the
        device goes on from the states that the step before left.

        Raises:
            DoesNotFitError: the arena has no room for the sample behind the model.
            DeviceError: it holds no model, or cannot; the step before is not the last input it had.
        """


@runtime_checkable
class Recorder(Device, Protocol):
    """A device that keeps samples it has taken from its own sensor."""

    def recorded(self) -> tuple[int, ...]:
        """Samples of each class it has recorded; none without a sensor. A recording that runs is ended. Raises
        `DeviceError`."""

    def record(
        self,
        label: int,
        *,
        windows: int = 0,
        seconds: float = 0.0,
        progress: Callable[[RecordStatus], None] | None = None,
    ) -> RecordStatus:
        """Record samples of a class, until so many windows or seconds or its store is full; `label` can be
        `wire.record.STOP` or `FORGET` too. Blocks; `progress` hears of each window.

        Raises:
            UsageError: no such class, or the device has no sensor.
            DoesNotFitError: the store is full, or the model leaves no room for it.
            DeviceError: it does not answer, or restarted: what was recorded is gone then.
        """
