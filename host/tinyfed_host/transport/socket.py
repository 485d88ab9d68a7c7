"""TCP and unix sockets: emulators, and boards behind a serial server."""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tinyfed.errors import DeviceError, UsageError
from tinyfed_host.transport.others import is_kept_waiting

# Sockets to emulators are faster than any board's line; timers adapt to what is measured.
SOCKET_BYTES_PER_S = 20_000.0
# Nobody takes bytes for this long: the other end hangs.
WRITE_TIMEOUT_S = 10.0
# An emulator takes one connection at a time; after the one before it was closed it takes the next within so long.
TURN_S = 1.0
TURN_POLL_S = 0.01

Ended = Callable[[], DeviceError | None]


class SocketTransport:
    """A connected stream socket as a `Transport`; takes the socket over.

    `ended` says what became of the program at the other end, where that is known.
    """

    def __init__(self, connection: socket.socket, name: str, ended: Ended = lambda: None) -> None:
        self.name = name
        self._ended = ended
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
        return self._ended() or DeviceError(
            "the connection was closed at its other end", where=self.name, remedy="start what is there again"
        )


def connect(url: str, timeout_s: float = 5.0, ended: Ended = lambda: None) -> SocketTransport:
    """Connect to `socket://HOST:PORT` or `unix://PATH`. `ended` as in `SocketTransport`.

    Raises:
        UsageError: the address is not one of these.
        DeviceError: nobody answers there, or whoever does talks to another program.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(str(error), where=url, remedy="write socket://HOST:PORT") from error
    try:
        if parts.scheme == "socket" and parts.hostname and port:
            return _taken(socket.create_connection((parts.hostname, port), timeout_s), url, ended)
        if parts.scheme == "unix" and parts.path:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout_s)
                connection.connect(parts.path)
            except OSError:
                connection.close()
                raise
            return _taken(connection, url, ended)
    except TimeoutError as error:
        raise DeviceError(
            f"no answer for {timeout_s:g} s", where=url, remedy="check the address and the network"
        ) from error
    except OSError as error:
        problem, remedy = str(error.strerror or error), ""
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            problem = "nothing listens there"
            remedy = "start the emulator or serial server, and take the address that it prints"
        raise ended() or DeviceError(problem, where=url, remedy=remedy) from error
    raise UsageError("not an address of a device", where=url, remedy="write socket://HOST:PORT or unix://PATH")


def _taken(connection: socket.socket, url: str, ended: Ended) -> SocketTransport:
    end = time.monotonic() + TURN_S
    while is_kept_waiting(connection):
        if time.monotonic() > end:
            connection.close()
            raise DeviceError(
                "another program is connected to it, and it talks to one at a time", where=url, remedy="end that one"
            )
        time.sleep(TURN_POLL_S)
    return SocketTransport(connection, url, ended)
