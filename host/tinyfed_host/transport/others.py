"""Who else is on a line, as Linux tells it in /proc. Elsewhere, and of what may not be looked at, nothing is known."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

PROCESSES = Path("/proc")
ACCEPTED, NOT_ACCEPTED = "03", "02"  # states of a unix socket that is connected


def users(port: str) -> str:
    """The other processes that have a terminal open, "minicom (process 812), cat (process 93)"; empty: none is seen.

    A process that has the other end of a PTY is the device, whatever else it has open.
    """
    path = os.path.realpath(port)
    found = []
    for process in PROCESSES.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            opened = dict(_opened(process))
            if path in opened.values() and not _has_other_end(process, opened, path):
                found.append(f"{(process / 'comm').read_text().strip()} (process {process.name})")
    return ", ".join(found)


def blamed(port: str, otherwise: str) -> str:
    """What to do about bytes that do not come: end whoever takes them, where somebody else has the port open."""
    others = users(port)
    return f"{others} has this port open too and takes what the board says: end it" if others else otherwise


def is_kept_waiting(connection: socket.socket) -> bool:
    """Whether a connected socket stands in the queue of a program of this computer that talks to somebody else."""
    with contextlib.suppress(OSError):
        if connection.family == socket.AF_UNIX:
            path = os.fsdecode(connection.getpeername())
            lines = (line.split(maxsplit=7) for line in _table("unix") if line.endswith(f" {path}"))
            states = {words[5] for words in lines}
            return {ACCEPTED, NOT_ACCEPTED} <= states
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            ours, theirs = connection.getsockname()[1], connection.getpeername()[1]
            # an end that listens on [::] stands in tcp6, also of an IPv4 connection
            rows = [line.split() for name in ("tcp", "tcp6") if _has_table(name) for line in _table(name)]
            # at their end, by the ports of both ends: the inode, which is 0 until the connection is accepted
            inodes = {
                row[2].partition(":")[2]: row[9] for row in rows if row[3] == "01" and row[1].endswith(f":{theirs:04X}")
            }
            own = inodes.pop(f"{ours:04X}", None)
            return own == "0" and any(inode != "0" for inode in inodes.values())
    return False


def _opened(process: Path) -> Iterator[tuple[str, str]]:
    for entry in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            yield entry.name, str(entry.readlink())


def _has_other_end(process: Path, opened: dict[str, str], path: str) -> bool:
    masters = (number for number, target in opened.items() if target.endswith("/ptmx"))
    numbers = ((process / "fdinfo" / number).read_text().partition("tty-index:")[2].split()[:1] for number in masters)
    return path.startswith("/dev/pts/") and any(number == [path.rpartition("/")[2]] for number in numbers)


def _has_table(name: str) -> bool:
    return (PROCESSES / "net" / name).exists()


def _table(name: str) -> list[str]:
    return (PROCESSES / "net" / name).read_text(errors="surrogateescape").splitlines()[1:]
