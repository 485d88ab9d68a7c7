"""Which ports a run is to use, when a person named devices by their unique ids, or named none."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from tinyfed.errors import DeviceError, UsageError
from tinyfed.text import printable
from tinyfed_host.device import discovery as devices
from tinyfed_host.device.unique_id import is_unique_id

# Shows a question and returns the line that a person typed; EOFError at the end of input.
Ask = Callable[[str], str]


def at_terminal() -> Ask | None:
    """How to ask the person at the terminal; None: nobody is there. Standard output is left alone."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        sys.stderr.write(question)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    return ask


def choose(ports: Sequence[str], *, needed: bool, ask: Ask | None = None) -> tuple[str, ...]:
    """The ports themselves: a unique id among them stands for the port where that device answers.

    With none given but `needed`, no port is taken for being the first or the only one: a person is asked, who can be
    asked through `ask`.

    Raises:
        UsageError: none was given or chosen; it lists who answers where.
        DeviceError: a device of that id answers on no USB serial port.
    """
    if not ports and not needed:
        return ()
    if ports and not any(map(is_unique_id, ports)):
        return tuple(ports)
    found = devices.probe_all(())
    if not ports:
        answering = [entry for entry in found if not entry["error"]]
        chosen_now = _asked(answering, ask) if ask is not None and answering else ()
        if chosen_now:
            return chosen_now
        raise UsageError(
            f"a fleet of ports needs to know which: {_told(found)}. Add --port PORT or --port UNIQUE_ID, once for each "
            "device, or --port any for all that answer"
        )
    where = {entry["unique_id"]: entry["port"] for entry in found if not entry["error"]}
    chosen = []
    for port in ports:
        wanted = is_unique_id(port)
        if wanted and port.lower() not in where:
            raise DeviceError(f"device {port.lower()} is on no USB serial port: {_told(found)}; plug it in")
        chosen.append(where[port.lower()] if wanted else port)
    return tuple(chosen)


def _asked(answering: Sequence[dict[str, Any]], ask: Ask) -> tuple[str, ...]:
    """The ports that a person picks from a numbered list; none: nothing was typed."""
    listed = "".join(f"  {number}  {printable(_candidate(entry))}\n" for number, entry in enumerate(answering, 1))
    question = f"Which devices take part?\n{listed}Numbers, or all [none]: "
    while True:
        try:
            words = ask(question).replace(",", " ").split()
        except EOFError:
            return ()
        if words == ["all"]:
            return tuple(entry["port"] for entry in answering)
        if all(word.isdecimal() and 1 <= int(word) <= len(answering) for word in words):
            return tuple(dict.fromkeys(answering[int(word) - 1]["port"] for word in words))
        question = f"Numbers from 1 to {len(answering)} with spaces between, or all [none]: "


def _told(found: Sequence[dict[str, Any]]) -> str:
    """Who answered where, in one line."""
    if not found:
        return "no USB serial port is there"
    return "; ".join(_candidate(entry) for entry in found)


def _candidate(entry: dict[str, Any]) -> str:
    who = "no tinyfed device" if entry["error"] else f"{entry['board']} {entry['unique_id']}"
    usb = f" (USB {entry['usb_id']})" if entry["usb_id"] else ""
    return f"{entry['port']}{usb} {who}"
