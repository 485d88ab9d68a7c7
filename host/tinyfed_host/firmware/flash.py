"""Writing firmware and data into boards with the tools their users have, and waiting until the board answers."""

import functools
import os
import re
import selectors
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfed.boards import Board
from tinyfed.device import DeviceInfo
from tinyfed.errors import BuildError, DeviceError, DoesNotFitError, MissingToolError, UsageError
from tinyfed.files import TemporaryFolder
from tinyfed.paths import share
from tinyfed_host.firmware import build
from tinyfed_host.firmware.flashers import DIFFERS, MISMATCH, TOOLS, VERIFY, Tool, command, explain

# A flasher that says nothing for so long hangs; the slowest step, a mass erase, takes 30 s.
SILENCE_S = 60.0
ANSWER_S = 15.0
USB_DEVICES = Path("/sys/bus/usb/devices")

Say = Callable[[str], None]


class FlashDiffersError(BuildError):
    """A board can be asked, and its flash holds something else than was to be written."""


@dataclass(frozen=True)
class Step:
    """One call of a tool."""

    what: str
    tool: Tool
    command: list[str]
    image: Path
    readback: Path | None = None  # what the flash holds, to be compared with `expected`
    expected: Path | None = None
    board: Board | None = None  # that the tool builds before it writes
    shard: Path | None = None  # samples that it writes with the program

    def __str__(self) -> str:
        return (f"TINYFED_SHARD={shlex.quote(str(self.shard))} " if self.shard else "") + shlex.join(self.command)


def methods(board: Board) -> list[str]:
    """The flashers the board's manifest names, first the one its users prefer."""
    return [name for name in board.flash if name != "where"]


def choose(board: Board, method: str | None = None, *, dry: bool = False) -> Tool:
    """The tool to flash a board with: `method`, or the first of the manifest's that is installed; `dry` does without.

    Raises:
        UsageError: the board cannot be flashed, or not that way.
        MissingToolError: none of its tools is installed.
    """
    names = methods(board)
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        raise UsageError(
            f"tinyfed.flash.{unknown[0]} is no flasher tinyfed knows ({', '.join(TOOLS)})", where=str(board.path)
        )
    if not names:
        raise UsageError(f"{board.name} has no flash to write; `tinyfed emulate --board {board.name}` starts it")
    if method is not None and method not in names:
        raise UsageError(f"{board.name} cannot be flashed with {method}; its manifest names {', '.join(names)}")
    names = [method] if method else names
    for name in names:
        if shutil.which(name):
            return TOOLS[name]
    first = TOOLS[names[0]]
    if dry:
        return first
    missing = names[0] if len(names) == 1 else f"none of {', '.join(names)}"
    raise MissingToolError(f"{missing} is {'not ' if len(names) == 1 else ''}installed: {build.install(first.package)}")


def attached(tool: Tool, devices: Path = USB_DEVICES) -> list[str]:
    """Serial numbers of the attached probes (or boards in DFU mode) the tool could use, sorted. A tool that meets
    several picks one by itself, or the wrong one."""
    found = []
    for device in devices.glob("*"):
        facts = {}
        for name in ("idVendor", "idProduct", "product", "serial"):
            try:
                facts[name] = (device / name).read_text(errors="replace").strip()
            except OSError:
                facts[name] = ""
        if re.match(tool.usb, f"{facts['idVendor']}:{facts['idProduct']} {facts['product']}", re.IGNORECASE):
            found.append(facts["serial"] or device.name)
    return sorted(found)


def refuse_several(tool: Tool, probe: str | None, devices: Path = USB_DEVICES) -> None:
    """Raises `UsageError` when it is not clear which probe is meant."""
    serials = attached(tool, devices)
    if probe is None and len(serials) > 1:
        raise UsageError(
            f"{len(serials)} are attached ({', '.join(serials)})",
            where=tool.name,
            remedy="name one with --probe SERIAL",
        )
    if probe is not None and serials and probe not in serials:
        raise UsageError(f"there is no {probe}; attached: {', '.join(serials)}", where=tool.name)


def plan(
    board: Board,
    image: Path,
    *,
    method: str | None = None,
    probe: str | None = None,
    port: str | None = None,
    shard: Path | None = None,
    dry: bool = False,
) -> list[Step]:
    """What flashing will call, in order. The image is an ELF with the raw image beside it; `dry`: neither they nor the
    tool need be there.

    Raises:
        UsageError, MissingToolError: as `choose`; DoesNotFitError: the shard is larger than the data flash.
    """
    tool = choose(board, method, dry=dry)
    probe = port or probe if tool.builds else probe  # it writes over the board's own port
    settings = board.flash[tool.name]
    values = _values(board, image) | {"project": str(share() / "firmware"), "board": board.name}
    steps = []
    if shard is not None:
        region = board.memory.get("data_flash")
        if region is None:
            raise UsageError(f"{board.name} has no data flash; leave --shard away")
        try:
            size = shard.stat().st_size
        except OSError as error:
            raise UsageError(f"the shard cannot be read: {error.strerror}", where=str(shard)) from error
        if size > region.size_bytes:
            raise DoesNotFitError(
                f"{size:,} bytes, the data flash of {board.name} has {region.size_bytes:,}: "
                f"{size - region.size_bytes:,} too many",
                where=str(shard),
                remedy="use fewer samples",
            )
        if not tool.builds:
            data = values | {"binary": str(shard), "address": f"{region.address:#010x}"}
            steps.append(Step("samples", tool, command(tool, tool.write_data, settings, probe, data), shard))
            steps += _check(tool, settings, probe, data, image, "")
    words = command(tool, tool.write, settings, probe, values)
    if tool.builds:
        words += build.project_options(board)
    steps.append(
        Step("firmware", tool, words, image, board=board, shard=shard.absolute() if shard and tool.builds else None)
    )
    return steps + _check(tool, settings, probe, values, image, ":leave")


@functools.cache
def _own_files() -> TemporaryFolder:
    """Of this process, for what is read back."""
    return TemporaryFolder()


def _values(board: Board, image: Path) -> dict[str, str]:
    """The words of a template that say what is written where."""
    address = f"{board.memory['flash'].address:#010x}"
    return {"image": str(image), "binary": str(image.with_suffix(".bin")), "address": address}


def _check(
    tool: Tool, settings: Mapping[str, Any], probe: str | None, values: Mapping[str, str], image: Path, leave: str
) -> list[Step]:
    """How to find out whether what was written is there, for a tool whose writing does not."""
    if not tool.check:
        return []
    expected = Path(values["binary"])
    more = {"size": str(expected.stat().st_size) if expected.is_file() else "SIZE", "leave": leave}
    if "{readback}" not in tool.check:
        return [Step("comparison", tool, command(tool, tool.check, settings, probe, {**values, **more}), image)]
    readback = _own_files().path / "readback.bin"
    words = command(tool, tool.check, settings, probe, {**values, **more, "readback": str(readback)})
    return [Step("comparison", tool, words, image, readback, expected)]


def verify_step(board: Board, image: Path, *, method: str | None = None, probe: str | None = None) -> Step | None:
    """How to find out whether the image is there already; None where the tool cannot."""
    tool = choose(board, method)
    if not tool.verify:
        return None
    return Step(
        "comparison", tool, command(tool, tool.verify, board.flash[tool.name], probe, _values(board, image)), image
    )


def run(step: Step, say: Say) -> str:
    """Carry a step out, telling how far it is. Returns what the tool said.

    Raises:
        BuildError: it failed; the message says what to do. `FlashDiffersError`: what was written is not there.
    """
    if step.readback is not None:
        step.readback.unlink(missing_ok=True)  # the tool writes over no file
    try:
        process = subprocess.Popen(
            step.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            env=_environment(step),
        )
    except OSError as error:
        raise MissingToolError(f"cannot be started: {error.strerror}", where=step.tool.name) from error
    output = b""
    told = ""
    try:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                silence_s = build.BUILD_TIMEOUT_S if step.tool.builds else SILENCE_S
                if not selector.select(silence_s):
                    raise BuildError(f"{step.tool.name} has said nothing for {silence_s:.0f} s; replug the probe")
                chunk = os.read(process.stdout.fileno(), 4096)
                if not chunk:
                    break
                output += chunk
                found = re.findall(rb"(\d{1,3})(?:\.\d+)? ?%", output[-400:])
                share = f"{step.what}: {int(found[-1])} %" if found else ""
                if share and share != told:
                    told = share
                    say(share)
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr]
    text = output.decode(errors="replace")
    if code != 0 or re.search(MISMATCH, text, re.IGNORECASE):
        failure = explain(step.tool, text, step.image, step.command)
        kind = FlashDiffersError if failure.differs else BuildError
        raise kind(failure.what, where=step.tool.name, remedy=failure.remedy)
    if step.readback is not None and step.expected is not None:
        same = step.readback.is_file() and step.readback.read_bytes() == step.expected.read_bytes()
        step.readback.unlink(missing_ok=True)
        if not same:
            raise FlashDiffersError(DIFFERS, where=step.tool.name, remedy=VERIFY)
    return text


def _environment(step: Step) -> dict[str, str]:
    """PlatformIO writes what tinyfed has built with it."""
    if not step.tool.builds or step.board is None:
        return dict(os.environ)
    return os.environ | build.environment(step.board) | {"TINYFED_SHARD": str(step.shard or "")}


def is_there(step: Step) -> bool:
    """Whether the comparison finds the image on the board. Raises `BuildError` when the board cannot be asked."""
    try:
        run(step, lambda text: None)
    except FlashDiffersError:
        return False
    return True


def wait_for_answer(
    port: str,
    build_id: str,
    timeout_s: float = ANSWER_S,
    silent: str = "press RESET, and check the wiring in docs/boards",
) -> DeviceInfo:
    """Wait until the board on a port says hello with this build; `silent` is what to do where nothing does.

    Raises:
        DeviceError: it does not, or with another build.
    """
    from tinyfed_host.device.discovery import probe_port

    end = time.monotonic() + timeout_s
    while True:
        try:
            info = probe_port(port)
        except DeviceError:
            info = None
        if info is not None and info.firmware_build == build_id:
            return info
        if time.monotonic() >= end:
            if info is None:
                raise DeviceError(
                    f"flashed, but nothing answers after {timeout_s:.0f} s",
                    where=port,
                    remedy=silent,
                )
            problem = f"build {info.firmware_build} answers, {build_id} was flashed"
            raise DeviceError(problem, where=port, remedy="is this the port of another board?")
        time.sleep(0.2)


def answering(ports: Sequence[str]) -> dict[str, DeviceInfo]:
    """The tinyfed devices among these ports."""
    from tinyfed_host.device.discovery import probe_port

    found = {}
    for port in ports:
        try:
            found[port] = probe_port(port)
        except DeviceError:
            continue
    return found


def find_port(board: Board) -> str | None:
    """The only USB serial port there is; None without one.

    Raises:
        UsageError: there are several, and none or more than one of them is this board.
    """
    from tinyfed_host.transport.serial import list_serial_ports

    ports = [entry.port for entry in list_serial_ports()]
    if len(ports) < 2:
        return ports[0] if ports else None
    ours = [port for port, info in answering(ports).items() if info.board == board.name]
    if len(ours) == 1:
        return ours[0]
    raise UsageError(f"there are several serial ports ({', '.join(ports)}); name the board's with --port")


def make_image(board: Board, model: Path | None) -> tuple[Path, str]:
    """The board's image and the build id that is in it. Raises as `build.build` does."""
    image = build.build(board, model=model)
    return image, build.info(image).build_id
