"""Which ports a run is to use, when a person named devices by their unique ids, or named none."""

import re
from collections.abc import Sequence
from typing import Any

from tinyfed.errors import DeviceError, UsageError
from tinyfed_host import devices

_UNIQUE_ID = re.compile(r"[0-9a-fA-F]{24}")


def choose(ports: Sequence[str], *, needed: bool) -> tuple[str, ...]:
    """The ports themselves: a unique id among them stands for the port where that device answers.

    With none given but `needed`, no port is taken for being the first or the only one.

    Raises:
        UsageError: none was given; it lists who answers where.
        DeviceError: a device of that id answers on no USB serial port.
    """
    if not ports and not needed:
        return ()
    if ports and not any(_UNIQUE_ID.fullmatch(port) for port in ports):
        return tuple(ports)
    found = devices.probe_all(())
    if not ports:
        raise UsageError(
            f"a fleet of ports needs to know which: {_told(found)}. Add --port PORT or --port UNIQUE_ID, once for each "
            "device, or --port any for all that answer"
        )
    where = {entry["unique_id"]: entry["port"] for entry in found if not entry["error"]}
    chosen = []
    for port in ports:
        wanted = _UNIQUE_ID.fullmatch(port) is not None
        if wanted and port.lower() not in where:
            raise DeviceError(f"device {port.lower()} is on no USB serial port: {_told(found)}; plug it in")
        chosen.append(where[port.lower()] if wanted else port)
    return tuple(chosen)


def _told(found: Sequence[dict[str, Any]]) -> str:
    """Who answered where, in one line."""
    if not found:
        return "no USB serial port is there"
    return "; ".join(_candidate(entry) for entry in found)


def _candidate(entry: dict[str, Any]) -> str:
    who = "no tinyfed device" if entry["error"] else f"{entry['board']} {entry['unique_id']}"
    usb = f" (USB {entry['usb_id']})" if entry["usb_id"] else ""
    return f"{entry['port']}{usb} {who}"
