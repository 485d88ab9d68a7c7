"""The devices of a run, known by unique id: simulated, emulated, or on given ports.

The coordinator is told only who is there; which client's data an emulated or simulated device holds is decided here.
"""

import threading
import time
from collections.abc import Callable, Sequence

from tinyfed.device import Device, DeviceInfo
from tinyfed.errors import DeviceError
from tinyfed.tasks.task import Client
from tinyfed_host.fleet.rotation import Rotation
from tinyfed_host.fleet.slots import Slot, close_quietly

CLOSE_S = 1.0  # for all devices that are being reached while the fleet is closed


class _Member:
    """A slot with the device that is there now. Its lock is held while the device is changed or connected."""

    def __init__(self, index: int, slot: Slot) -> None:
        self.index = index
        self.slot = slot
        self.lock = threading.Lock()
        self.device: Device | None = None
        self.client: Client | None = None


class Fleet:
    """Devices by unique id. Thread-safe; each device is used by one thread at a time."""

    def __init__(
        self,
        slots: Sequence[Slot],
        rotation: Rotation | None = None,
        check: Callable[[Device], None] | None = None,
    ) -> None:
        """`check` raises a `TinyfedError` for a device that cannot take part. Raises `DeviceError` on two equal ids."""
        self._members: dict[str, _Member] = {}  # replaced, never changed, so that it can be read at any time
        self._changing = threading.Lock()
        self._rotation = rotation or Rotation((), len(slots), 0)
        self._check = check
        self._closed = False
        self._at_close: list[Callable[[], None]] = []
        for slot in slots:
            self.add(slot)

    def add(self, slot: Slot) -> None:
        """A device joins. Raises `DeviceError` when there is one with its unique id, or the fleet is closed."""
        with self._changing:
            if self._closed:
                raise DeviceError("the fleet is closed", where=f"device {slot.unique_id}")
            if slot.unique_id in self._members:
                raise DeviceError(
                    f"device {slot.unique_id} answers twice: two devices with one unique id cannot be told apart; "
                    "unplug one, or name each device's port once"
                )
            self._members = {**self._members, slot.unique_id: _Member(len(self._members), slot)}

    def replace(self, slot: Slot) -> None:
        """A device that is known came back elsewhere. Raises `DeviceError` while it answers where it was."""
        with self._changing:
            old = self._members[slot.unique_id]
            if self._closed or old.device is not None:
                raise DeviceError(f"device {slot.unique_id} answers twice: unplug one of the two")
            self._members = {**self._members, slot.unique_id: _Member(old.index, slot)}
        with old.lock:
            old.slot.close()

    def remove(self, unique_id: str) -> None:
        """A device leaves for good. Does nothing when it is not there."""
        with self._changing:
            member = self._members.get(unique_id)
            self._members = {key: value for key, value in self._members.items() if key != unique_id}
        if member is not None:
            if member.device is not None:
                member.device.cancel()
            with member.lock:
                member.device = None
                member.slot.close()

    def ids(self) -> list[str]:
        """Unique ids of all devices, sorted."""
        return sorted(self._members)

    def infos(self) -> dict[str, DeviceInfo]:
        """What those say of themselves that are connected now."""
        members = self._members.items()
        return {unique_id: member.device.info for unique_id, member in members if member.device is not None}

    def at_close(self, work: Callable[[], None]) -> None:
        """Do this first when the fleet is closed."""
        self._at_close.append(work)

    def ready(self, unique_id: str, round_index: int) -> Device:
        """The device, answering, with the data of its turn. Blocks. Raises `DeviceError` when it does not answer."""
        member = self._members.get(unique_id)
        if member is None:
            raise DeviceError("it has left the fleet", where=f"device {unique_id}")
        client = self._rotation.client(member.index, round_index)
        with member.lock:
            if self._closed:
                raise DeviceError("the fleet is closed", where=f"device {unique_id}")
            if member.device is not None and member.client is client:
                return member.device
            member.device = None
            device = member.slot.connect(None if client is None else self._rotation.data(client))
            if device.info.unique_id != unique_id:
                device.close()
                raise DeviceError(
                    f"{device.info.unique_id} answers in its place: swap them back", where=f"device {unique_id}"
                )
            if self._check is not None:
                self._check(device)
            member.device, member.client = device, client
            return device

    def client(self, unique_id: str, round_index: int) -> str:
        """The name of the client whose data the device has in a round; "" where it has data of its own."""
        member = self._members.get(unique_id)
        client = None if member is None else self._rotation.client(member.index, round_index)
        return "" if client is None else client.name

    def lost(self, unique_id: str) -> None:
        """Let go of a device that failed; `ready` looks for it anew."""
        member = self._members.get(unique_id)
        if member is None:
            return
        device = member.device
        if device is not None:
            device.cancel()
        with member.lock:
            if member.device is device and device is not None:
                member.device = None
                close_quietly(device)

    def cancel(self, unique_id: str) -> None:
        """Make whatever blocks on this device give up soon."""
        member = self._members.get(unique_id)
        device = None if member is None else member.device
        if device is not None:
            device.cancel()

    def close(self) -> None:
        """Let go of all devices and end what was started. Never raises `DeviceError`."""
        with self._changing:
            self._closed = True
        for work in self._at_close:
            work()
        for unique_id in self._members:
            self.cancel(unique_id)
        end = time.monotonic() + CLOSE_S
        for member in self._members.values():
            got = member.lock.acquire(timeout=max(0.0, end - time.monotonic()))
            try:
                if member.device is not None:
                    close_quietly(member.device)
                    member.device = None
                member.slot.close()
            finally:
                if got:
                    member.lock.release()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
