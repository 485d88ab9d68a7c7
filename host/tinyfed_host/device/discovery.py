"""Ports: opening one, asking it who is there, finding a device again by its unique id."""

import threading
from collections.abc import Sequence
from typing import Any

from tinyfed.device import DeviceInfo
from tinyfed.errors import DeviceError, TinyfedError
from tinyfed_host.device.line import NOBODY, RemoteDevice, device_info, probe
from tinyfed_host.device.side_by_side import side_by_side
from tinyfed_host.transport import serial, socket
from tinyfed_host.transport.base import Transport
from tinyfed_host.transport.others import blamed

# Two that look for their devices at the same moment would find the ports in use by each other.
_looking = threading.Lock()


def open_transport(port: str) -> Transport:
    """A serial port by its path, or `socket://HOST:PORT`, `unix://PATH`. Raises `DeviceError`, `UsageError`."""
    if "://" in port:
        return socket.connect(port)
    return serial.SerialTransport(port)


def connect(port: str) -> RemoteDevice:
    """The device on a port. A port that is something else is left as it was found. Raises `DeviceError`."""
    transport = open_transport(port)
    try:
        session = probe(transport)
        if session is None:
            raise DeviceError(
                "no tinyfed device answers",
                where=port,
                remedy=f"{blamed(port, NOBODY)}; `tinyfed devices` shows what is on each",
            )
    except BaseException:
        transport.close()
        raise
    return RemoteDevice(transport, session=session)


def probe_port(port: str) -> DeviceInfo:
    """Who is on a port. Raises `TinyfedError`: nobody, something else, or the port cannot be opened."""
    transport = open_transport(port)
    try:
        session = probe(transport)
    finally:
        transport.close()
    if session is None or session.hello is None:
        raise DeviceError("no tinyfed device answers", where=port, remedy=blamed(port, NOBODY))
    return device_info(session.hello, port)


def probe_all(ports: Sequence[str]) -> list[dict[str, Any]]:
    """Ask all ports at once (none given: every USB serial port). One entry a port, JSON; `error` says what is wrong,
    `problem` the same without the port."""
    known = {entry.port: entry for entry in serial.list_serial_ports()}
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
            return {**entry, "error": str(error), "problem": error.detail}
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
            "reset_cause": info.reset_cause,
        }

    return side_by_side(ask, asked)


def find(unique_id: str, port: str) -> RemoteDevice:
    """The device with this unique id, on the port it was last seen on or, these asked at once, another USB serial port.

    Raises:
        DeviceError: it answers on none of them.
    """

    def ask(candidate: str) -> tuple[str | None, str]:
        try:
            there = probe_port(candidate).unique_id
        except DeviceError as error:
            return None, str(error)
        return there, f"another device is on {candidate}"

    answers = {port: ask(port)}
    if answers[port][0] != unique_id:
        with _looking:
            others = [entry.port for entry in serial.list_serial_ports() if entry.port != port]
            answers.update(zip(others, side_by_side(ask, others), strict=True))
    for candidate, (there, _) in answers.items():
        if there == unique_id:
            return connect(candidate)
    reason = answers[port][1]
    raise DeviceError(
        f"not found on {port} nor on another port ({reason})", where=f"device {unique_id}", remedy="plug it in again"
    )
