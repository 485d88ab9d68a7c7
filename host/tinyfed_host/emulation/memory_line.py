"""An emulated board's line through memory that this process and the emulator share: `emulator.start(in_memory=True)`.

QEMU's UART takes one byte a turn of its main loop, which is most of the time of a visit. Here the bytes lie in two
rings in the board's PSRAM (`tinyfed_memory_line_t` in firmware/port/cortexm/emulator.h), which the emulator keeps in a
file; a byte on the UART's socket only says that there are some. What the firmware and the host make of the bytes is
the same.
"""

import mmap
import time
from pathlib import Path

from tinyfed.errors import DeviceError
from tinyfed_host.transport.socket import WRITE_TIMEOUT_S, SocketTransport

RING_BYTES = 65_536
COUNTS = 4
DOWN_WRITTEN, DOWN_TAKEN, UP_WRITTEN, UP_TAKEN = range(COUNTS)
DOWN, UP = 64, 64 + RING_BYTES
LINE_BYTES = UP + RING_BYTES
ROOM_POLL_S = 0.0005


class MemoryTransport:
    """The board's UART as a bell, and the file of its memory with the line at `offset`, as a `Transport`.

    Raises:
        DeviceError: the file cannot be mapped.
    """

    def __init__(self, bell: SocketTransport, path: Path, offset: int) -> None:
        self.name = bell.name
        self.bytes_per_s = bell.bytes_per_s
        self._bell = bell
        self._at = offset
        try:
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), offset + LINE_BYTES)
            # the other side must never see half a count: an element of this is one aligned store
            self._counts = memoryview(self._memory)[offset : offset + 4 * COUNTS].cast("I")
        except (OSError, ValueError) as error:
            bell.close()
            raise DeviceError(
                f"its memory cannot be shared: {error}", where=self.name, remedy="start the board again"
            ) from error

    def read(self, timeout_s: float) -> bytes:
        end = time.monotonic() + timeout_s
        while not (data := self._take()):
            if not self._bell.read(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                return self._take()
        return data

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        end = time.monotonic() + WRITE_TIMEOUT_S
        while rest:
            if put := self._put(rest):
                rest = rest[put:]
                self._bell.write(b"\0")
                end = time.monotonic() + WRITE_TIMEOUT_S
            elif time.monotonic() > end:
                raise DeviceError(
                    f"the board has taken no byte for {WRITE_TIMEOUT_S:.0f} s", where=self.name, remedy="restart it"
                )
            else:
                time.sleep(ROOM_POLL_S)

    def close(self) -> None:
        """See `Transport.close`. The memory goes with this object: another thread may be reading it."""
        self._bell.close()

    def _take(self) -> bytes:
        taken = self._counts[UP_TAKEN]
        count = (self._counts[UP_WRITTEN] - taken) % 2**32
        if not count:
            return b""
        first, ring = taken % RING_BYTES, self._at + UP
        data = self._memory[ring + first : ring + min(first + count, RING_BYTES)]
        data += self._memory[ring : ring + count - len(data)]
        self._counts[UP_TAKEN] = (taken + count) % 2**32
        return data

    def _put(self, data: memoryview) -> int:
        written = self._counts[DOWN_WRITTEN]
        first, ring = written % RING_BYTES, self._at + DOWN
        room = RING_BYTES - (written - self._counts[DOWN_TAKEN]) % 2**32
        count = min(len(data), room, RING_BYTES - first)
        if count:
            self._memory[ring + first : ring + first + count] = data[:count]
            self._counts[DOWN_WRITTEN] = (written + count) % 2**32
        return count
