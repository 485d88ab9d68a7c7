"""Serial ports and PTYs. The only place that imports pyserial."""

import contextlib
import errno
import os
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import serial
from serial.tools import list_ports

from tinyfed.errors import DeviceError
from tinyfed_host.transport import others

DEFAULT_BAUD = 115_200
WRITE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class PortDescription:
    """A serial port of this host, as the operating system describes it."""

    port: str
    description: str
    usb_id: str  # "vvvv:pppp" in hexadecimal, or empty
    serial_number: str  # of the USB device, or empty


def list_serial_ports() -> list[PortDescription]:
    """The USB serial ports of this host (built-in UARTs without a name are left out), sorted."""
    found = []
    for port in list_ports.comports():
        if port.vid is None:
            continue
        usb_id = f"{port.vid:04x}:{port.pid or 0:04x}"
        found.append(PortDescription(port.device, port.description or "", usb_id, port.serial_number or ""))
    return sorted(found, key=lambda entry: entry.port)


class SerialTransport:
    """A serial port opened for this process alone; the terminal's settings are put back on close.

    Raises:
        DeviceError: the port does not exist, is in use, or may not be opened.
    """

    def __init__(self, port: str, baud: int = DEFAULT_BAUD) -> None:
        self.name = port
        self.bytes_per_s = baud / 10  # a start bit, eight bits, a stop bit
        # held open until pyserial has it too: the last close of a PTY would hang up on its other end
        handle, self._settings = _terminal_settings(port)
        try:
            self._serial = serial.Serial(port, baud, timeout=0, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            raise DeviceError(_why(error, port), where=port) from error
        finally:
            if handle is not None:
                os.close(handle)

    def read(self, timeout_s: float) -> bytes:
        try:
            self._serial.timeout = max(0.0, timeout_s)
            first = bytes(self._serial.read(1))
            if not first:
                return b""
            return first + bytes(self._serial.read(self._serial.in_waiting))
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._gone() from error

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise DeviceError(
                f"no byte was taken for {WRITE_TIMEOUT_S:.0f} s", where=self.name, remedy="reset the board or replug it"
            ) from error
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._gone() from error

    def close(self) -> None:
        if self._serial.is_open:
            if self._settings is not None:
                with contextlib.suppress(termios.error, OSError):
                    termios.tcsetattr(self._serial.fileno(), termios.TCSANOW, self._settings)
            with contextlib.suppress(OSError):
                self._serial.close()

    def _gone(self) -> DeviceError:
        if not Path(self.name).exists():
            return DeviceError("the port is gone", where=self.name, remedy="plug the board in again")
        users = others.users(self.name)
        if users:
            return DeviceError(f"{users} reads this port too", where=self.name, remedy="end it or choose another port")
        return DeviceError("the port was closed at its other end", where=self.name, remedy="plug the board in again")


def _terminal_settings(port: str) -> tuple[int | None, list[Any] | None]:
    """An open handle and what the terminal is set to now, so that it can be left as it was found."""
    try:
        handle = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return None, None
    try:
        return handle, termios.tcgetattr(handle)
    except termios.error:
        return handle, None


def _why(error: Exception, port: str) -> str:
    number = _error_number(error)
    if number == errno.ENOENT:
        return "there is no such port; `tinyfed devices` lists them"
    if number in (errno.EACCES, errno.EPERM):
        return "not permitted; add yourself to the group that owns it (often dialout) and log in again"
    if number in (errno.ENODEV, errno.EINVAL, errno.ENOTTY):
        return "this is no serial port; `tinyfed devices` lists them"
    if number in (errno.EAGAIN, errno.EBUSY):
        return f"{others.users(port) or 'another program'} uses this port; end it or choose another port"
    return f"cannot be opened as a serial port ({error})"


def _error_number(error: BaseException | None) -> int | None:
    """The system's number. pyserial leaves it away where the terminal's settings are refused: the cause has it."""
    while error is not None:
        number = error.args[0] if isinstance(error, termios.error) else getattr(error, "errno", None)
        if isinstance(number, int):
            return number
        error = error.__cause__ or error.__context__
    return None
