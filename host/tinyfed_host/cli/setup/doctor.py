"""`tinyfed doctor`."""

import getpass
import grp
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from tinyfed.boards import Board, read_boards
from tinyfed.data import datasets
from tinyfed.errors import MissingToolError, UsageError
from tinyfed.paths import cache
from tinyfed_host.cli.output import print_json, print_line, print_table
from tinyfed_host.firmware.build import install
from tinyfed_host.firmware.flash import methods
from tinyfed_host.firmware.flashers import TOOLS
from tinyfed_host.transport.serial import list_serial_ports

app = typer.Typer(add_completion=False)

FREE_BYTES = 500_000_000  # the builds of every board's firmware, and some runs
# An extra -> what it is for, and the module that shows that it is installed.
EXTRAS = {
    "tflite": ("running .tflite files", "ai_edge_litert"),
    "keras": ("Keras models in and out", "tensorflow"),
    "quantize": ("tinyfed model quantize", "ai_edge_quantizer"),
    "data": ("Parquet and WAV files, CSV faster", "pyarrow"),
    "tensorboard": ("tinyfed runs export --to tensorboard", "tensorboard"),
    "mlflow": ("tinyfed runs export --to mlflow", "mlflow"),
}
WATCH = "pip install --no-deps seglearn==1.2.5"
GROUPS = {"dialout": "serial ports", "plugdev": "debug probes"}


@dataclass(frozen=True)
class Finding:
    """What was found of one part. Where it is not there, `remedy` is the command that brings it."""

    part: str
    purpose: str
    is_there: bool
    detail: str
    remedy: str = ""
    optional: bool = False  # what not everybody needs

    @property
    def state(self) -> str:
        """In a word."""
        return "ok" if self.is_there else "not here" if self.optional else "missing"


@app.command(epilog="Examples: tinyfed doctor · tinyfed doctor --json")
def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False) -> None:
    """Say what is installed and what is missing, and the command that brings each missing part.

    Exit codes: 0 when all is there that simulated and emulated devices and firmware builds need, 3 when not.
    """
    findings = list(find())
    missing = [finding for finding in findings if not finding.is_there and not finding.optional]
    if as_json:
        for finding in findings:
            print_json(asdict(finding))
        print_json({"missing": [finding.part for finding in missing]})
    else:
        rows = [[found.state, found.part, found.purpose, found.detail or "-"] for found in findings]
        print_table(["", "part", "for", "found"], rows)
        for finding in findings:
            if finding.remedy and not finding.is_there:
                print_line(f"{finding.part}: {finding.remedy}")
    if missing:
        raise MissingToolError(f"missing: {', '.join(finding.part for finding in missing)}")


def find() -> Iterator[Finding]:
    """Look at every part, the ones that everything needs first. Nothing is written."""
    wrong: list[UsageError] = []
    boards = read_boards(wrong=wrong)
    yield Finding("Python", "everything", True, platform.python_version())
    yield from _folders()
    yield from _compilers(boards)
    yield from _emulators(boards)
    for package, module in (("platformio", "platformio"), ("scons", "SCons")):
        yield _package(package, module, "firmware builds", "firmware")
    yield from _flashers(boards)
    yield from (_group(name, purpose) for name, purpose in GROUPS.items())
    for extra, (purpose, module) in EXTRAS.items():
        yield _package(extra, module, purpose, extra, optional=True)
    for name in datasets.DATASETS:
        folder = datasets.folder(name)
        remedy = f"tinyfed data fetch {name}"
        yield Finding(f"data {name}", f"task {name}", folder is not None, str(folder or ""), remedy, optional=True)
    there = importlib.util.find_spec("seglearn") is not None
    yield Finding("data watch", "demo, task watch", there, "seglearn" if there else "", WATCH, optional=True)
    yield from _ports()
    for error in wrong:
        yield Finding(f"board {Path(error.where).stem}", "a board of yours", False, error.where, error.detail, True)


def _folders() -> Iterator[Finding]:
    for part, purpose, path in (("cache", "built firmware", cache()), ("folder", "runs", Path.cwd())):
        there = next(place for place in (path, *path.parents) if place.exists())
        writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
        remedy = "export XDG_CACHE_HOME=FOLDER, one that can be written" if part == "cache" else "cd FOLDER"
        yield Finding(part, purpose, writable, str(path), remedy)
        free = shutil.disk_usage(there).free
        yield Finding(
            f"disk of {part}",
            purpose,
            free >= FREE_BYTES,
            f"{free / 1e9:.1f} GB free",
            f"free some of the disk of {path}",
        )


def _compilers(boards: list[Board]) -> Iterator[Finding]:
    seen: dict[str, list[Board]] = {}
    for board in boards:
        seen.setdefault(board.compiler.prefix, []).append(board)
    for prefix, users in seen.items():
        program = f"{prefix}gcc"
        library = _output(program, "-print-file-name=libc.a")
        complete = library is not None and Path(library).is_absolute()
        detail = "" if library is None else (_output(program, "-dumpfullversion") or "")
        if library is not None and not complete:
            detail += ", without its C library"
        yield Finding(program, _named(users), complete, detail, install(users[0].compiler.package))


def _emulators(boards: list[Board]) -> Iterator[Finding]:
    seen: dict[str, list[Board]] = {}
    for board in boards:
        if board.emulator is not None and board.emulator.program:
            seen.setdefault(board.emulator.program, []).append(board)
    for program, users in seen.items():
        said = _output(program, "--version")
        emulator = users[0].emulator
        assert emulator is not None
        yield Finding(program, _named(users), said is not None, said or "", install(emulator.package))


def _flashers(boards: list[Board]) -> Iterator[Finding]:
    for tool in TOOLS.values():
        users = [board for board in boards if tool.name in methods(board)]
        path = shutil.which(tool.name)
        yield Finding(
            tool.name,
            f"flashing {_named(users)}" if users else "flashing",
            path is not None,
            path or "",
            install(tool.package),
            optional=True,
        )


def _package(part: str, module: str, purpose: str, extra: str, *, optional: bool = False) -> Finding:
    there = importlib.util.find_spec(module) is not None
    version = ""
    if there:
        names = importlib.metadata.packages_distributions().get(module, [])
        version = f"{names[0]} {importlib.metadata.version(names[0])}" if names else "installed"
    return Finding(part, purpose, there, version, f"pip install 'tinyfed[{extra}]'", optional)


def _group(name: str, purpose: str) -> Finding:
    part = f"group {name}"
    try:
        group = grp.getgrnam(name)
    except KeyError:
        return Finding(part, purpose, True, "this system has none", optional=True)
    user = getpass.getuser()
    if os.geteuid() == 0 or group.gr_gid in os.getgroups():
        return Finding(part, purpose, True, user, optional=True)
    if user in group.gr_mem:
        return Finding(part, purpose, False, f"{user} is in it from the next login on", "log in again", optional=True)
    return Finding(part, purpose, False, f"{user} is not in it", f"sudo usermod -aG {name} {user}", optional=True)


def _ports() -> Iterator[Finding]:
    ports = list_serial_ports()
    if not ports:
        yield Finding("ports", "boards", True, "no USB serial port", optional=True)
    for port in ports:
        usable = os.access(port.port, os.R_OK | os.W_OK)
        remedy = f"sudo usermod -aG dialout {getpass.getuser()}"
        yield Finding(port.port, "a board", usable, port.description, remedy, optional=True)


def _named(boards: list[Board]) -> str:
    return ", ".join(board.name for board in boards)


def _output(program: str, option: str) -> str | None:
    """The first line that a program prints; None where it is not there or fails."""
    try:
        done = subprocess.run([program, option], capture_output=True, text=True, errors="replace", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else None
