"""The devices of a run, known by unique id: simulated, emulated, or on given ports.

A seat is a place where one device is: what it takes to reach it, and to reach it again after it was lost. Which
shard an emulated or simulated device holds is the seat's business; the coordinator is told only who is there.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from tinyfed.device import Device, DeviceInfo
from tinyfed.errors import DeviceError, UsageError
from tinyfed.tasks.task import Client


class Seat(Protocol):
    """A place for one device."""

    unique_id: str  # hexadecimal, of the device that sits there

    def connect(self, data: bytes | None) -> Device:
        """Make a device with this data (a shard, or what a `RecordedSeat` plays) answer here; the previous one is let
        go. Raises `DeviceError`."""

    def close(self) -> None:
        """Let go of the device, and end what was started for it."""


@dataclass(frozen=True)
class Rotation:
    """Which client's data each seat holds: with fewer devices than clients, all get their turn."""

    clients: Sequence[Client]
    seats: int
    every: int  # rounds; 0: never
    data: Callable[[Client], bytes | None] = attrgetter("shard")  # what a seat is given of a client

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
        self._places: dict[str, _Place] = {}  # replaced, never changed, so that it can be read at any time
        self._changing = threading.Lock()
        self._rotation = rotation or Rotation((), len(seats), 0)
        self._check = check
        self._closed = False
        self._at_close: list[Callable[[], None]] = []
        for seat in seats:
            self.add(seat)

    def add(self, seat: Seat) -> None:
        """A device joins. Raises `DeviceError` when there is one with its unique id, or the fleet is closed."""
        with self._changing:
            if self._closed:
                raise DeviceError(f"device {seat.unique_id}: the fleet is closed")
            if seat.unique_id in self._places:
                raise DeviceError(
                    f"device {seat.unique_id} answers twice: two devices with one unique id cannot be told apart; "
                    "unplug one, or name each device's port once"
                )
            self._places = {**self._places, seat.unique_id: _Place(len(self._places), seat)}

    def replace(self, seat: Seat) -> None:
        """A device that is known came back elsewhere. Raises `DeviceError` while it answers where it was."""
        with self._changing:
            old = self._places[seat.unique_id]
            if self._closed or old.device is not None:
                raise DeviceError(f"device {seat.unique_id} answers twice: unplug one of the two")
            self._places = {**self._places, seat.unique_id: _Place(old.index, seat)}
        with old.lock:
            old.seat.close()

    def remove(self, unique_id: str) -> None:
        """A device leaves for good. Does nothing when it is not there."""
        with self._changing:
            place = self._places.get(unique_id)
            self._places = {key: value for key, value in self._places.items() if key != unique_id}
        if place is not None:
            if place.device is not None:
                place.device.cancel()
            with place.lock:
                place.device = None
                place.seat.close()

    def ids(self) -> list[str]:
        """Unique ids of all devices, sorted."""
        return sorted(self._places)

    def infos(self) -> dict[str, DeviceInfo]:
        """What those say of themselves that are connected now."""
        places = self._places.items()
        return {unique_id: place.device.info for unique_id, place in places if place.device is not None}

    def at_close(self, work: Callable[[], None]) -> None:
        """Do this first when the fleet is closed."""
        self._at_close.append(work)

    def ready(self, unique_id: str, round_index: int) -> Device:
        """The device, answering, with the data of its turn. Blocks. Raises `DeviceError` when it does not answer."""
        place = self._places.get(unique_id)
        if place is None:
            raise DeviceError(f"device {unique_id}: it has left the fleet")
        client = self._rotation.client(place.index, round_index)
        with place.lock:
            if self._closed:
                raise DeviceError(f"device {unique_id}: the fleet is closed")
            if place.device is not None and place.client is client:
                return place.device
            place.device = None
            device = place.seat.connect(None if client is None else self._rotation.data(client))
            if device.info.unique_id != unique_id:
                device.close()
                raise DeviceError(f"device {unique_id}: {device.info.unique_id} answers in its place: swap them back")
            if self._check is not None:
                self._check(device)
            place.device, place.client = device, client
            return device

    def lost(self, unique_id: str) -> None:
        """Let go of a device that failed; `ready` looks for it anew."""
        place = self._places.get(unique_id)
        if place is None:
            return
        device = place.device
        if device is not None:
            device.cancel()
        with place.lock:
            if place.device is device and device is not None:
                place.device = None
                _close_quietly(device)

    def cancel(self, unique_id: str) -> None:
        """Make whatever blocks on this device give up soon."""
        place = self._places.get(unique_id)
        device = None if place is None else place.device
        if device is not None:
            device.cancel()

    def close(self) -> None:
        """Let go of all devices and end what was started. Never raises `DeviceError`."""
        with self._changing:
            self._closed = True
        for work in self._at_close:
            work()
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
