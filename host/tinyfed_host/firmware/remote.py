"""Putting a board's program onto the computer that it is for, over ssh: a Raspberry Pi or another Linux."""

import hashlib
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tinyfed.boards import Board
from tinyfed.errors import BuildError, DeviceError, MissingToolError, TinyfedError, UsageError
from tinyfed_host.firmware.build import not_installed

PROGRAM = "tinyfed-device"  # in the user's home folder
UNIT_FILE = f"/etc/systemd/system/{PROGRAM}.service"
LINE = "listen:0.0.0.0:5000"
# Nothing that a shell, or systemd (%), reads as something else.
_LINE = re.compile(r"(listen|tcp):(?P<host>\w[\w.-]*|\[[0-9A-Fa-f:.]+\]):(?P<port>\d{1,5})|/dev/[\w./-]+", re.ASCII)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
_ADDRESS = re.compile(r"(?P<user>[A-Za-z_][\w.-]*)@(?P<host>\w[\w.-]*|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?")
_OPTIONS = ("ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")

UNIT = """[Unit]
Description=tinyfed device
After=network.target
StartLimitIntervalSec=0

[Service]
User={user}
WorkingDirectory=~
EnvironmentFile=-/etc/default/{program}
ExecStart=/bin/sh -c "exec ./{program} --port {line} --store tinyfed-store $$TINYFED_OPTIONS"
WatchdogSec=8
Restart=always
RestartSec=2
RestartPreventExitStatus=2
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""

# What the scripts below end with.
_DAMAGED, _RUNS_NOT, _NO_ROOT = 41, 42, 43

# Standard input is a line that begins with the program's SHA-256, and the program. The file is replaced, not written
# over: one that runs could not be.
_COPY = f"""set -e
umask 022
new=.{PROGRAM}.new
trap "rm -f $new" EXIT
read -r sum rest
cat > "$new"
[ "$(sha256sum < "$new" | cut -d " " -f 1)" = "$sum" ] || exit {_DAMAGED}
chmod 755 "$new"
"./$new" --help > /dev/null || {{ echo "a computer that is $(uname -m)" >&2; exit {_RUNS_NOT}; }}
"""
_REPLACE = f"""mv "$new" {PROGRAM}
"""
_RESTART = f"""if systemctl -q is-enabled {PROGRAM} 2> /dev/null; then
  sudo -n systemctl restart {PROGRAM} || exit {_NO_ROOT}
  echo restarted
fi
"""
_INSTALL = f"""sudo -n tee {UNIT_FILE} > /dev/null << \\END
{{unit}}END
sudo -n systemctl daemon-reload
sudo -n systemctl enable {PROGRAM}
sudo -n systemctl restart {PROGRAM}
"""
_ASK_ROOT = f"""sudo -n true || exit {_NO_ROOT}
"""


@dataclass(frozen=True)
class Address:
    """Where ssh goes to."""

    user: str
    host: str  # a name or an address, IPv6 without brackets
    port: int | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """From `user@host`, `user@host:22` or `user@[fe80::1]`. Raises `UsageError`."""
        found = _ADDRESS.fullmatch(text)
        if found is None or int(found["port"] or 1) not in range(1, 65536):
            problem = "is no computer to copy the program to"
            raise UsageError(
                problem, key="--port", value=text, remedy="write USER@HOST, as for ssh: pi@raspberrypi.local"
            )
        return cls(found["user"], found["host"].strip("[]"), int(found["port"]) if found["port"] else None)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}"


def is_program(board: Board) -> bool:
    """Whether the board's firmware is a program of Linux, which is copied, not flashed."""
    return board.port == "posix"


def unit(user: str, line: str) -> str:
    """The systemd unit that keeps the device running. Raises `UsageError` when it cannot hold such a line."""
    found = _LINE.fullmatch(line)
    if found is None or int(found["port"] or 1) not in range(1, 65536):
        remedy = "write listen:HOST:PORT, tcp:HOST:PORT (an IPv6 HOST in brackets, PORT 1 to 65535) or /dev/..."
        raise UsageError("is no line that a service can wait on", key="--line", value=line, remedy=remedy)
    return UNIT.format(user=user, program=PROGRAM, line=line)


def reached(address: Address, line: str | None) -> str | None:
    """The port of a device that listens on `line` at `address`; None where it waits for nobody from here."""
    if line is None or not line.startswith("listen:"):
        return None
    if line.removeprefix("listen:").rpartition(":")[0] in _LOOPBACK and address.host not in _LOOPBACK:
        return None  # for who comes through ssh
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"socket://{host}:{line.rpartition(':')[2]}"


def command(address: Address, line: str | None = None) -> list[str]:
    """The ssh that copies the program; with a `line` it also installs the unit. Raises `UsageError` as `unit`."""
    script = _COPY + _REPLACE + _RESTART
    if line is not None:
        script = _ASK_ROOT + _COPY + _REPLACE + _INSTALL.format(unit=unit(address.user, line))
    options = [*_OPTIONS, *([f"Port={address.port}"] if address.port else [])]
    words = [word for option in options for word in ("-o", option)]
    return ["ssh", *words, "--", str(address), f"sh -c {shlex.quote(script)}"]


def show(command: list[str]) -> str:
    """The same as a line for a shell, with the program in this folder."""
    return f"{{ sha256sum < {PROGRAM}; cat {PROGRAM}; }} | {shlex.join(command)}"


def copy(board: Board, program: Path, address: Address, line: str | None = None) -> bool:
    """Copy a program to `address`; with a `line` have systemd keep it running there. Returns whether a service runs it.

    Raises:
        MissingToolError: there is no ssh here.
        DeviceError: the computer cannot be reached, or lets nobody in.
        BuildError: the program did not arrive whole or does not run there, or there are no rights to install it.
        UsageError: as `unit`.
    """
    content = program.read_bytes()
    sent = f"{hashlib.sha256(content).hexdigest()}\n".encode() + content
    try:
        done = subprocess.run(command(address, line), input=sent, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise not_installed("ssh", "openssh-client") from error
    except OSError as error:
        raise MissingToolError(f"cannot be started: {error.strerror}", where="ssh") from error
    if done.returncode:
        raise _failure(board, address, done.returncode, done.stderr.decode(errors="replace"))
    return line is not None or b"restarted" in done.stdout


def _failure(board: Board, address: Address, code: int, said: str) -> TinyfedError:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else f"ssh ended with {code}"
    if code == _DAMAGED:
        return BuildError("the program did not arrive whole", where=str(address), remedy="try again")
    if code == _RUNS_NOT:
        remedy = "build for another board; raspberrypi is 64-bit, raspberrypi32 is 32-bit"
        return BuildError(f"{board.name}'s program does not run there, on {last}", where=str(address), remedy=remedy)
    if code == _NO_ROOT:
        remedy = f"allow it without a password, or do there what --dry-run shows ({last})"
        return BuildError("sudo wants a password there", where=str(address), remedy=remedy)
    if code != 255:  # not ssh's own
        return BuildError(last, where=str(address))
    for pattern, remedy in (
        ("resolve hostname", "check the name, try its address or NAME.local"),
        ("permission denied", f"let your key in: ssh-copy-id {address}"),
        ("host key verification failed", f"look at the key: ssh {address}"),
        ("refused|timed out|no route|unreachable", "is it on, and ssh enabled (sudo raspi-config, interface options)?"),
    ):
        if re.search(pattern, said, re.IGNORECASE):
            return DeviceError(last, where=str(address), remedy=remedy)
    return DeviceError(last, where=str(address), remedy=f"try: ssh {address}")
