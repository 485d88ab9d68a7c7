"""The programs that write a board's flash: how each is called, and what its failures mean.

A tool is data: adding one is an entry in `TOOLS`. What a board uses, and with which arguments, is in its manifest.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinyfed.fields import Source, Table, text
from tinyfed_host.firmware.build import GO_ONLINE, NO_REGISTRY, UNREACHED


@dataclass(frozen=True)
class Failure:
    """What a tool's output tells: `pattern` (a regular expression, any case) -> what happened, what to do. The remedy
    takes `connect` (the failed command up to what the tool was to do), `target`, `driver` (OpenOCD's of the flash) and
    `image`."""

    pattern: str
    what: str
    remedy: str
    differs: bool = False  # the board can be asked, and has something else in its flash


@dataclass(frozen=True)
class Tool:
    """A flasher. The templates' words take `image` (ELF), `binary`, `address`, `probe` and the fields of the board's
    manifest; `select` is added when a probe is named. `check` follows a write that does not verify itself; its words
    take `size` too, `leave` (":leave" after the last write) and `readback`, a file for what the flash holds."""

    name: str
    package: str
    usb: str  # regular expression over "vvvv:pppp product" of what it talks to
    fields: tuple[str, ...]  # what the manifest's flash.<name> must hold
    write: tuple[str, ...]
    write_data: tuple[str, ...]  # a file of raw bytes at an address; empty: it takes them with the program
    verify: tuple[str, ...]  # empty: the tool cannot compare without writing
    select: tuple[str, ...]
    failures: tuple[Failure, ...]
    check: tuple[str, ...] = ()
    builds: bool = False  # it compiles what it writes, and wants the board's serial port instead of a probe


STLINK = "0483:37(48|4[a-f]|5[0-9])"
CMSIS_DAP = ".*CMSIS-DAP|1366:"  # 1366 is Segger: development kits carry a J-Link
NO_PROBE = "connect the board's debug probe with a data cable (some only charge) and check `lsusb`"
SEVERAL = "disconnect all but one, or name one with --probe SERIAL"
LOCKED = "the chip is locked"
UNLOCK = "what unlocks it also erases program, saved models and samples"
DIFFERS = "the flash reads back differently"
VERIFY = "try again; if it stays, power the board from another port: the supply may sag while flash is written"
UNPLUGGED = "check cable and power and flash again; until then the board has half an image and does not answer"
AGAIN = "press RESET twice, wait until the light breathes, and flash again"
PERMISSION = "install the tool's udev rules (apt brings them) and replug the board, or ask for the group plugdev"

# Of pyOCD's `compare`.
MISMATCH = "mismatched byte at"

_COMMON = (
    Failure(
        r"LIBUSB_ERROR_ACCESS|insufficient permissions|permission denied", "the probe may not be opened", PERMISSION
    ),
)

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="openocd",
            package="openocd",
            usb=f"{STLINK}|{CMSIS_DAP}",
            fields=("interface", "target"),
            write=("-f", "{interface}", "-f", "{target}", "-c", "program {{{image}}} verify reset exit"),
            write_data=(
                *("-f", "{interface}", "-f", "{target}"),
                *("-c", "program {{{binary}}} verify reset exit {address}"),
            ),
            verify=(
                *("-f", "{interface}", "-f", "{target}"),
                *("-c", "init; reset halt; verify_image {{{image}}}; reset run; shutdown"),
            ),
            select=("-c", "adapter serial {probe}"),
            failures=(
                *_COMMON,
                Failure(r"multiple devices found|more than one", "there are several debug probes", SEVERAL),
                Failure(
                    r"unable to find a matching CMSIS-DAP device|no j-link device found|open failed|"
                    r"unable to open ftdi|error: no device found",
                    "no debug probe was found",
                    NO_PROBE,
                ),
                Failure(
                    r"AP lock engaged|could not find MEM-AP",
                    LOCKED,
                    # before a reset, which would lock the erased chip again: the firmware in it keeps it open
                    f"{UNLOCK}: {{connect}} -c 'init; nrf52_recover; halt; flash write_image {{{{{{image}}}}}}; "
                    "reset run; exit'",
                ),
                Failure(
                    r"device protected|flash.*(write|read) protected",
                    LOCKED,
                    f"{UNLOCK}: {{connect}} -c 'init; reset halt; {{driver}} unlock 0; exit'",
                ),
                Failure(r"verify failed|checksum mismatch|contents differ", DIFFERS, VERIFY, differs=True),
                Failure(
                    r"LIBUSB_ERROR_NO_DEVICE|LIBUSB_ERROR_PIPE|LIBUSB_ERROR_IO|communication failure|"
                    r"unable to connect to the target|timed out while waiting|error writing to flash",
                    "the connection to the board broke off",
                    UNPLUGGED,
                ),
            ),
        ),
        Tool(
            name="st-flash",
            package="stlink-tools",
            usb=STLINK,
            fields=(),
            write=("--reset", "write", "{binary}", "{address}"),
            write_data=("--reset", "write", "{binary}", "{address}"),
            verify=(),
            select=("--serial", "{probe}"),
            failures=(
                *_COMMON,
                Failure(r"multiple|more than one", "there are several ST-Link probes", SEVERAL),
                Failure(r"couldn't find any st-link|no st-link|failed to open", "no ST-Link was found", NO_PROBE),
                Failure(
                    r"protected|locked|rdp",
                    LOCKED,
                    f"{UNLOCK}: flash with --method openocd, whose message has the line to type",
                ),
                Failure(r"verif.*(fail|mismatch)", DIFFERS, VERIFY, differs=True),
                Failure(r"LIBUSB_ERROR|usb error|send_recv|failed to connect", "the connection broke off", UNPLUGGED),
            ),
        ),
        Tool(
            name="dfu-util",
            package="dfu-util",
            usb="0483:df11",
            fields=("usb",),
            write=("-a", "0", "-d", "{usb}", "-s", "{address}", "-D", "{binary}"),
            write_data=("-a", "0", "-d", "{usb}", "-s", "{address}", "-D", "{binary}"),
            verify=(),
            check=("-a", "0", "-d", "{usb}", "-s", "{address}:{size}{leave}", "-U", "{readback}"),
            select=("-S", "{probe}"),
            failures=(
                *_COMMON,
                Failure(r"more than one dfu", "there are several boards in DFU mode", SEVERAL),
                Failure(
                    r"no dfu capable usb device",
                    "no board is in DFU mode",
                    "hold the board's BOOT button (or join B0 and 3.3 V), press RESET, and flash again",
                ),
                Failure(r"failed verification", DIFFERS, VERIFY, differs=True),
                Failure(
                    r"vendor specific error|unable to write memory|memory erase function failed|ERASE_PAGE|protected|"
                    r"not (writeable|readable)",
                    "the chip refuses to be written, it is locked",
                    f"{UNLOCK}: dfu-util -a 0 -s 0x08000000:unprotect:force -D FILE (any file)",
                ),
                Failure(
                    r"LIBUSB_ERROR|error during download|lost device|get_status", "the connection broke off", UNPLUGGED
                ),
            ),
        ),
        Tool(
            name="pyocd",
            package="pip install pyocd",
            usb=f"{STLINK}|{CMSIS_DAP}",
            fields=("target",),
            # by itself it would erase all of a locked chip, unasked
            write=("flash", "--no-wait", "-O", "auto_unlock=false", "--target", "{target}", "{image}"),
            write_data=(
                *("flash", "--no-wait", "-O", "auto_unlock=false", "--target", "{target}"),
                *("--format", "bin", "--base-address", "{address}", "{binary}"),
            ),
            # ends with 0 whatever it finds
            verify=("commander", "--no-wait", "--target", "{target}", "-c", 'compare {address} "{binary}"'),
            check=("commander", "--no-wait", "--target", "{target}", "-c", 'compare {address} "{binary}"'),
            select=("--uid", "{probe}"),
            failures=(
                *_COMMON,
                Failure(r"enter the number|multiple|more than one", "there are several debug probes", SEVERAL),
                Failure(r"no (available|connected) debug probe|no probe", "no debug probe was found", NO_PROBE),
                Failure(
                    r"approtect|is locked|locked",
                    LOCKED,
                    f"{UNLOCK}: pyocd erase --chip --target {{target}}; then flash again",
                ),
                Failure(MISMATCH, DIFFERS, VERIFY, differs=True),
                Failure(
                    r"no ack|transfer (fault|error|timeout)|probe error|disconnected|usb(error|.*no such device)",
                    "the connection to the board broke off",
                    UNPLUGGED,
                ),
            ),
        ),
        Tool(
            name="pio",
            package="pip install 'tinyfed[firmware]'",
            usb="(?!)",  # it writes over the board's own serial port
            fields=(),
            write=("run", "--project-dir", "{project}", "-e", "{board}", "-t", "upload"),
            write_data=(),
            verify=(),
            select=("--upload-port", "{probe}"),
            builds=True,
            failures=(
                Failure(UNREACHED, NO_REGISTRY, GO_ONLINE),
                Failure(
                    r"permission denied", "the serial port may not be opened", "ask for the group dialout, log in again"
                ),
                Failure(
                    r"resource busy|access is denied", "another program has the serial port", "close it and try again"
                ),
                Failure(
                    r"please specify `?upload_port|no device found on|could not open port|couldn't find a board|"
                    r"no such file or directory: '/dev|no serial ports available|failed to open port",
                    "the board's boot loader does not answer",
                    AGAIN,
                ),
                Failure(r"verify (failed|error)|page errors", DIFFERS, VERIFY, differs=True),
                Failure(
                    r"SAM-BA operation failed|input/output error|device disconnected|timed out",
                    "the connection to the board broke off",  # a cable, or the watchdog that no restart stops
                    AGAIN,
                ),
            ),
        ),
    )
}


def fill(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The words of a template with its fields in place."""
    return [word.format(**values) for word in words]


def command(
    tool: Tool, words: Sequence[str], settings: Mapping[str, Any], probe: str | None, values: Mapping[str, str]
) -> list[str]:
    """The command line for one step. Raises UsageError when the board's manifest lacks a field of the tool."""
    source = Source("the board's manifest", remedy="docs/howto-board.md lists the fields")
    table = Table(settings, source, ("tinyfed", "flash", tool.name))
    line = fill(words, {name: table.take(name, text(empty=False)) for name in tool.fields} | dict(values))
    if tool.name == "openocd" and "transport" in settings:  # a J-Link would begin with JTAG
        line[2:2] = ["-c", f"transport select {settings['transport']}"]
    if probe is None:
        return [tool.name, *line]
    selecting = fill(tool.select, {"probe": probe})
    if tool.name in ("pyocd", "pio"):  # options follow the subcommand
        return [tool.name, line[0], *selecting, *line[1:]]
    if tool.name == "openocd":  # after the interface, which the serial number belongs to
        return [tool.name, *line[:2], *selecting, *line[2:]]
    return [tool.name, *selecting, *line]


def explain(tool: Tool, output: str, image: Path, called: Sequence[str]) -> Failure:
    """What a failed run of the tool, `called` so, means and what to do."""
    for failure in tool.failures:
        if re.search(failure.pattern, output, re.IGNORECASE):
            target = called[called.index("--target") + 1] if "--target" in called else ""
            driver = "stm32l4x" if "target/stm32l4x.cfg" in called else "stm32f2x"
            remedy = failure.remedy.format(connect=shlex.join(called[:-2]), target=target, driver=driver, image=image)
            return replace(failure, remedy=remedy)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|fail|cannot|could not", line, re.IGNORECASE)]
    last = (errors or lines or ["it said nothing"])[-1]
    return Failure("", f"{last} (flashing {image.name})", "")
