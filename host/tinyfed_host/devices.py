"""Ports: opening one, asking it who is there, finding a device again by its unique id."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tinyfed.device import DeviceInfo
from tinyfed.errors import DeviceError, TinyfedError
from tinyfed_host.device import Device
from tinyfed_host.transport.base import Transport

PROBES_AT_ONCE = 64


def open_transport(port: str) -> Transport:
    """A serial port by its path, or `socket://HOST:PORT`, `unix://PATH`. Raises `DeviceError`, `UsageError`."""
    if "://" in port:
        from tinyfed_host.transport.socket import connect

        return connect(port)
    from tinyfed_host.transport.serial import SerialTransport

    return SerialTransport(port)


def greet(port: str) -> Device:
    """The device on a port of an emulator that may still be starting. Raises `DeviceError`."""
    from tinyfed_host.link import SerialDevice

    return SerialDevice(open_transport(port))


def connect(port: str) -> Device:
    """The device on a port. A port that is something else is left as it was found. Raises `DeviceError`."""
    from tinyfed_host.link import SerialDevice, probe

    transport = open_transport(port)
    try:
        if probe(transport) is None:
            raise DeviceError(
                f"{port}: no tinyfed device answers; is the firmware flashed, and is it the right port? "
                "`tinyfed devices` shows what is on each"
            )
    except BaseException:
        transport.close()
        raise
    return SerialDevice(transport)


def probe_port(port: str) -> DeviceInfo:
    """Who is on a port. Raises `TinyfedError`: nobody, something else, or the port cannot be opened."""
    from tinyfed_host.link import probe

    transport = open_transport(port)
    try:
        info = probe(transport)
    finally:
        transport.close()
    if info is None:
        raise DeviceError(f"{port}: no tinyfed device answers; is the firmware flashed, and is it the right port?")
    return info


def probe_all(ports: Sequence[str]) -> list[dict[str, Any]]:
    """Ask all ports at once (none given: every USB serial port). One entry a port, JSON; `error` says what is wrong."""
    from tinyfed_host.transport.serial import list_serial_ports

    known = {entry.port: entry for entry in list_serial_ports()}
    asked = list(dict.fromkeys(ports)) or list(known)
    if not asked:
        return []

    def ask(port: str) -> dict[str, Any]:
        usb = known.get(port)
        entry: dict[str, Any] = {
            "port": port,
            "usb_id": usb.usb_id if usb else "",
            "usb_serial": usb.serial_number if usb else "",
            "error": "",
        }
        try:
            info = probe_port(port)
        except TinyfedError as error:
            return {**entry, "error": str(error)}
        return {
            **entry,
            "board": info.board,
            "unique_id": info.unique_id,
            "firmware_build": info.firmware_build,
            "protocol_version": info.protocol_version,
            "arena_bytes": info.arena_bytes,
            "max_payload_bytes": info.max_payload_bytes,
            "capabilities": sorted(info.capabilities),
            "feature_count": info.feature_count,
            "class_count": info.class_count,
            "structure_hash": f"{info.structure_hash:016x}" if info.structure_hash else "",
            "weights_hash": f"{info.weights_hash:016x}" if info.weights_hash else "",
        }

    with ThreadPoolExecutor(max_workers=min(PROBES_AT_ONCE, len(asked))) as pool:
        return list(pool.map(ask, asked))


def find(unique_id: str, port: str) -> Device:
    """The device with this unique id, on the port it was last seen on or on any other USB serial port.

    Raises:
        DeviceError: it answers on none of them.
    """
    from tinyfed_host.transport.serial import list_serial_ports

    others = [entry.port for entry in list_serial_ports() if entry.port != port]
    reason = ""
    for candidate in (port, *others):
        try:
            if probe_port(candidate).unique_id != unique_id:
                reason = reason or f"another device is on {candidate}"
                continue
            return connect(candidate)
        except DeviceError as error:
            reason = reason or str(error)
    raise DeviceError(f"device {unique_id}: not found on {port} nor on another port ({reason}); plug it in again")
