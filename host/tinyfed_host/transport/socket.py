"""TCP and unix sockets: emulators, and boards behind a serial server."""

import contextlib
import select
import socket
from urllib.parse import urlsplit

from tinyfed.errors import DeviceError, UsageError

# Sockets to emulators are faster than any board's line; timers adapt to what is measured.
SOCKET_BYTES_PER_S = 20_000.0
# Nobody takes bytes for this long: the other end hangs.
WRITE_TIMEOUT_S = 10.0


class SocketTransport:
    """A connected stream socket as a `Transport`; takes the socket over."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self.name = name
        self.bytes_per_s = SOCKET_BYTES_PER_S
        self._socket = connection
        self._open = True
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, timeout_s: float) -> bytes:
        try:
            if not select.select([self._socket], [], [], max(0.0, timeout_s))[0]:
                return b""
            data = self._socket.recv(65536)
        except BlockingIOError:
            return b""
        except (OSError, ValueError) as error:
            raise self._gone() from error
        if not data:
            raise self._gone()
        return data

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                if not select.select([], [self._socket], [], WRITE_TIMEOUT_S)[1]:
                    raise DeviceError(
                        f"the other end has taken no byte for {WRITE_TIMEOUT_S:.0f} s",
                        where=self.name,
                        remedy="restart it",
                    )
                with contextlib.suppress(BlockingIOError):
                    rest = rest[self._socket.send(rest) :]
        except (OSError, ValueError) as error:
            raise self._gone() from error

    def close(self) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def _gone(self) -> DeviceError:
        return DeviceError(
            "the connection was closed", where=self.name, remedy="is the emulator or the board still running?"
        )


def connect(url: str, timeout_s: float = 5.0) -> SocketTransport:
    """Connect to `socket://HOST:PORT` or `unix://PATH`.

    Raises:
        UsageError: the address is not one of these.
        DeviceError: nobody answers there.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(str(error), where=url, remedy="write socket://HOST:PORT") from error
    try:
        if parts.scheme == "socket" and parts.hostname and port:
            return SocketTransport(socket.create_connection((parts.hostname, port), timeout_s), url)
        if parts.scheme == "unix" and parts.path:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout_s)
                connection.connect(parts.path)
            except OSError:
                connection.close()
                raise
            return SocketTransport(connection, url)
    except OSError as error:
        raise DeviceError(
            f"{error.strerror or error}", where=url, remedy="is the emulator or serial server running?"
        ) from error
    raise UsageError("not an address of a device", where=url, remedy="write socket://HOST:PORT or unix://PATH")
