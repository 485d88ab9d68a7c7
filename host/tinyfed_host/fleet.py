"""The devices of a run, known by unique id: simulated, emulated, or on given ports.

A seat is a place where one device is: what it takes to reach it, and to reach it again after it was lost. Which
shard an emulated or simulated device holds is the seat's business; the coordinator is told only who is there.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tinyfed.errors import DeviceError, UsageError
from tinyfed.tasks.task import Client
from tinyfed_host.device import Device


class Seat(Protocol):
    """A place for one device."""

    unique_id: str  # hexadecimal, of the device that sits there

    def connect(self, shard: bytes | None) -> Device:
        """Make a device with this shard answer here; the previous one is let go. Raises `DeviceError`."""

    def close(self) -> None:
        """Let go of the device, and end what was started for it."""


@dataclass(frozen=True)
class Rotation:
    """Which client's shard each seat holds: with fewer devices than clients, all get their turn."""

    clients: Sequence[Client]
    seats: int
    every: int  # rounds; 0: never

    def client(self, seat: int, round_index: int) -> Client | None:
        """The client of a seat in a round (0 is the first); None where devices have data of their own."""
        if not self.clients:
            return None
        turn = round_index // self.every if self.every else 0
        return self.clients[(turn * self.seats + seat) % len(self.clients)]


class _Place:
    """A seat with the device that is there now. Its lock is held while the device is changed or connected."""

    def __init__(self, index: int, seat: Seat) -> None:
        self.index = index
        self.seat = seat
        self.lock = threading.Lock()
        self.device: Device | None = None
        self.client: Client | None = None


class Fleet:
    """Devices by unique id. Thread-safe; each device is used by one thread at a time."""

    def __init__(
        self,
        seats: Sequence[Seat],
        rotation: Rotation | None = None,
        check: Callable[[Device], None] | None = None,
    ) -> None:
        """`check` raises a `TinyfedError` for a device that cannot take part. Raises `DeviceError` on two equal ids."""
        self._places: dict[str, _Place] = {}
        self._rotation = rotation or Rotation((), len(seats), 0)
        self._check = check
        self._closed = False
        for index, seat in enumerate(seats):
            if seat.unique_id in self._places:
                raise DeviceError(
                    f"device {seat.unique_id} answers twice: two devices with one unique id cannot be told apart; "
                    "unplug one, or name each device's port once"
                )
            self._places[seat.unique_id] = _Place(index, seat)

    def ids(self) -> list[str]:
        """Unique ids of all devices, sorted."""
        return sorted(self._places)

    def ready(self, unique_id: str, round_index: int) -> Device:
        """The device, answering, with the data of its turn. Blocks. Raises `DeviceError` when it does not answer."""
        place = self._places[unique_id]
        client = self._rotation.client(place.index, round_index)
        with place.lock:
            if self._closed:
                raise DeviceError(f"device {unique_id}: the fleet is closed")
            if place.device is not None and place.client is client:
                return place.device
            place.device = None
            device = place.seat.connect(None if client is None else client.shard)
            if device.info.unique_id != unique_id:
                device.close()
                raise DeviceError(f"device {unique_id}: {device.info.unique_id} answers in its place: swap them back")
            if self._check is not None:
                self._check(device)
            place.device, place.client = device, client
            return device

    def lost(self, unique_id: str) -> None:
        """Let go of a device that failed; `ready` looks for it anew."""
        place = self._places[unique_id]
        device = place.device
        if device is not None:
            device.cancel()
        with place.lock:
            if place.device is device and device is not None:
                place.device = None
                _close_quietly(device)

    def cancel(self, unique_id: str) -> None:
        """Make whatever blocks on this device give up soon."""
        device = self._places[unique_id].device
        if device is not None:
            device.cancel()

    def close(self) -> None:
        """Let go of all devices and end what was started. Never raises `DeviceError`."""
        self._closed = True
        for unique_id in self._places:
            self.cancel(unique_id)
        for place in self._places.values():
            got = place.lock.acquire(timeout=5.0)
            try:
                if place.device is not None:
                    _close_quietly(place.device)
                    place.device = None
                place.seat.close()
            finally:
                if got:
                    place.lock.release()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_quietly(device: Device) -> None:
    """A device that is gone already cannot be closed better."""
    try:
        device.close()
    except DeviceError:
        return


def device_id(number: int) -> str:
    """The unique id of the `number`-th simulated or emulated device, 24 hexadecimal digits."""
    if not 0 <= number < 1 << 32:
        raise UsageError(f"device number {number}: must be 0..4294967295")
    return (b"tinyfed" + bytes(1) + number.to_bytes(4, "big")).hex()
