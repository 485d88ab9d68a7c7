"""Devices that come and go: every tinyfed device on a USB serial port, also those plugged in while a run goes on."""

import threading
from collections.abc import Callable, Sequence

from tinyfed.device import Device
from tinyfed.errors import DeviceError, TinyfedError
from tinyfed_host.device import discovery
from tinyfed_host.device.side_by_side import side_by_side
from tinyfed_host.fleet.fleet import Fleet
from tinyfed_host.fleet.slots import PortSlot
from tinyfed_host.transport.serial import list_serial_ports

ANY = "any"  # the word that stands for every port with a device
LOOK_EVERY_S = 2.0
CLOSE_S = 0.5  # for a look that is under way; its thread ends with the process


def usb_ports() -> list[str]:
    """The USB serial ports there are."""
    return [entry.port for entry in list_serial_ports()]


class PortWatcher:
    """Adds every device to the fleet that answers on a port nobody uses, at once and while it is open.

    A port that was asked is asked again only after it was gone: what is no tinyfed device is left alone.
    """

    def __init__(
        self,
        fleet: Fleet,
        ports: Callable[[], Sequence[str]] = usb_ports,
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._fleet = fleet
        self._ports = ports
        self._every_s = every_s
        self._asked: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="port-watcher", daemon=True)

    def look(self) -> list[str]:
        """Ask the ports that are new. Returns the unique ids of the devices that joined."""
        there = list(self._ports())
        self._asked.intersection_update(there)
        new = [port for port in there if port not in self._asked]
        self._asked.update(new)
        if not new:
            return []
        answers = side_by_side(self._greet, new)
        joined = []
        for port, device in zip(new, answers, strict=True):
            if device is not None and self._join(port, device):
                joined.append(device.info.unique_id)
        return joined

    def _greet(self, port: str) -> Device | None:
        try:
            return discovery.connect(port)
        except TinyfedError:
            return None

    def _join(self, port: str, device: Device) -> bool:
        unique_id = device.info.unique_id
        slot = PortSlot(unique_id, port, device)
        try:
            if unique_id in self._fleet.ids():  # it is back, on this port or another: its slot looks for it
                self._fleet.replace(slot)
                return False
            self._fleet.add(slot)
        except DeviceError:
            slot.close()
            return False
        return True

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            self.look()

    def start(self) -> None:
        """Look now, and go on looking."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """Look no longer."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)
