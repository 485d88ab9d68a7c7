"""Firmware images: built by PlatformIO, cached by the hash of what they are made from.

The folder with the sources is only read; what is built lies in the user's cache, so an installed wheel and a
repository work alike.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tinyfed.boards import Board, read_board
from tinyfed.errors import BuildError, MissingToolError, UsageError
from tinyfed.files import TemporaryFolder, replace_all
from tinyfed.paths import cache, share
from tinyfed.reading import MODEL_BYTES_MAX, read_bytes

# PlatformIO asks for this package of its registry; it is SCons, which comes as a Python package too.
SCONS_VERSION = "4.11.1"
TOOL_SCONS_VERSION = "4.41101.0"
BUILD_TIMEOUT_S = 1800.0  # a busy small computer takes minutes for the first build
# What PlatformIO says where its registry does not answer.
UNREACHED = r"HTTPClientError|UnknownPackageError|InternetConnectionError|Could not (?:find|install) the package"
NO_REGISTRY = "this board's framework comes from PlatformIO's registry, which cannot be reached"
GO_ONLINE = "go online and try again"


class RegistryError(BuildError):
    """What the board's image is made of is in PlatformIO's registry, which cannot be reached."""


@dataclass(frozen=True)
class Size:
    """What an image takes, bytes. `ram` is without the arena and with the stack."""

    flash: int
    ram: int
    arena: int
    stack: int


@dataclass(frozen=True)
class ImageInfo:
    """What is in an image, as firmware/app/main.c writes it."""

    board: str
    build_id: str  # 16 hexadecimal digits
    protocol_version: int
    model_bytes: int  # 0: no model embedded
    model_hash: int


INFO_MAGIC = b"tinyfed firmware"
_INFO = struct.Struct("<16sQQIHH40s")


def core_folder() -> Path:
    """PlatformIO's core_dir for tinyfed: in the repository its own .cache, else the user's cache."""
    root = share()
    if (root / ".git").exists():
        return root / ".cache" / "platformio"
    # PlatformIO notes there where the platform's folder lies: two installations must not share it.
    return cache() / f"platformio-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"


def seed() -> Path:
    """Put the package `tool-scons` into `core_folder()`, so that PlatformIO needs no registry. Returns the folder.

    Raises:
        MissingToolError: PlatformIO or SCons is not installed.
    """
    for problem in missing_packages():
        raise MissingToolError(problem)
    core = core_folder()
    package_folder = core / "packages" / "tool-scons"
    spec = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
    files = {
        "package.json": json.dumps({"name": "tool-scons", "version": TOOL_SCONS_VERSION, "system": "*"}),
        ".piopm": json.dumps({"type": "tool", "name": "tool-scons", "version": TOOL_SCONS_VERSION, "spec": spec}),
        "scons.py": "import SCons.Script\n\nSCons.Script.main()\n",
    }
    package_folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = package_folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            replace_all({path: text.encode("utf-8")})
    return core


@lru_cache(maxsize=1)
def recipe() -> Any:
    """firmware/platform/tinyfed_build.py, which PlatformIO's builder uses too."""
    path = share() / "firmware" / "platform" / "tinyfed_build.py"
    spec = importlib.util.spec_from_file_location("tinyfed_build", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise BuildError(f"{path} is missing: the installation is damaged; install tinyfed again")
    module = importlib.util.module_from_spec(spec)
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # the folder may be read-only
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def install(package: str) -> str:
    """The command that brings a package: apt's, but where it is `pip install ...` itself."""
    return package if package.startswith("pip ") else f"sudo apt-get install {package}"


def not_installed(program: str, package: str) -> MissingToolError:
    """What a command ends with that needs a program of a package."""
    return MissingToolError(f"{program} is not installed: {install(package)}")


def missing_packages() -> list[str]:
    """Which of the Python packages that build firmware are not installed, each with how to get it."""
    needed = (("platformio", "platformio"), ("SCons", f"scons=={SCONS_VERSION}"))
    return [
        f"{package} is not installed: pip install 'tinyfed[firmware]'"
        for module, package in needed
        if importlib.util.find_spec(module) is None
    ]


def build_id(board: Board, model: bytes | None = None, dense_only: bool = False) -> str:
    """What the device will report as its firmware build, 16 hexadecimal digits. With a framework only what is built
    tells: `info(build(board)).build_id`.

    Raises:
        MissingToolError: the board's compiler is not installed.
    """
    manifest = dict(board.manifest)
    try:
        compiler = recipe().compiler_version(manifest)
        return str(recipe().build_id(share() / "firmware", board.name, manifest, compiler, model, dense_only))
    except FileNotFoundError as error:
        raise not_installed(f"{board.compiler.prefix}gcc", board.compiler.package) from error


def build(
    board: Board | str, *, model: Path | bytes | None = None, dense_only: bool = False, force: bool = False
) -> Path:
    """The board's image (an ELF file), built if it is not in the cache. `model` (a file, or its bytes) goes into its
    flash. `dense_only` leaves the layers beside dense ones away: a smaller image, which refuses a model with others.

    Raises:
        UsageError: there is no such board, or the model cannot be read.
        MissingToolError: the compiler or PlatformIO is not installed.
        BuildError: the sources do not compile; the message has the first error.
    """
    board = read_board(board) if isinstance(board, str) else board
    if has_framework(board):
        if model is not None or dense_only:
            option = "--model" if model is not None else "--dense-only"
            raise UsageError(f"{board.name} is built without a model; leave {option} away and load one later")
        return _build_with_framework(board)
    image = read_bytes(model, MODEL_BYTES_MAX) if isinstance(model, Path) else model
    if image is not None and image[:4] == b"TFI8":  # an int8 network by itself: a device opens model images
        from tinyfed.model.run import frozen_alone

        image = frozen_alone(image)
    identity = build_id(board, image, dense_only)
    folder = cache() / "firmware" / f"{board.name}-{identity}"
    elf = folder / "firmware.elf"
    with _lock(folder):
        if force or not elf.is_file():
            _compile(board, folder, image, dense_only)
    return elf


def has_framework(board: Board) -> bool:
    """Whether the board is built with a framework, which PlatformIO fetches with a compiler of its own."""
    return bool(board.manifest.get("frameworks"))


def _workspace(board: Board) -> Path:
    """Where PlatformIO keeps what it builds with a framework, from build to build."""
    return cache() / "firmware" / "pio" / board.name


def last_built(board: Board) -> Path | None:
    """The image of the last build with the board's framework; None where there was none."""
    elf = image_path(board) if has_framework(board) else None
    return elf if elf is not None and elf.is_file() else None


def _build_with_framework(board: Board) -> Path:
    """PlatformIO compiles what has changed, and what is built says which build it is."""
    with _lock(cache() / "firmware" / board.name):
        done = _platformio(board, _workspace(board), environment(board))
        elf = last_built(board)
        if done.returncode != 0 or elf is None:
            raise _failed(board, done.stdout, cache() / "firmware" / f"{board.name}.log")
        taken, room = size(board, elf).flash, board.memory["flash"].size_bytes
        if taken > room:
            raise BuildError(
                f"the program takes {taken:,} bytes, {taken - room:,} more than tinyfed.memory.flash has",
                where=board.name,
                remedy="give it more in a manifest of your own (docs/howto-board.md)",
            )
    return elf


def environment(board: Board, workspace: Path | None = None) -> dict[str, str]:
    """What PlatformIO builds the board in. Raises `MissingToolError` as `seed` does."""
    workspace = workspace or _workspace(board)
    return {
        "PLATFORMIO_CORE_DIR": str(seed()),
        "PLATFORMIO_WORKSPACE_DIR": str(workspace),
        "PLATFORMIO_BUILD_DIR": str(workspace / "build"),
        "PLATFORMIO_BOARDS_DIR": str(board.path.parent if _is_listed(board) else workspace / "boards"),
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "C",
    }


def image_path(board: Board, model: Path | None = None) -> Path:
    """Where `build` puts the board's image; the id in it is `BUILD` where no compiler can tell."""
    if has_framework(board):
        return _workspace(board) / "build" / board.name / "firmware.elf"
    try:
        identity = build_id(board, None if model is None else read_bytes(model, MODEL_BYTES_MAX))
    except MissingToolError:
        identity = "BUILD"
    return cache() / "firmware" / f"{board.name}-{identity}" / "firmware.elf"


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One build of an image at a time, between processes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _compile(board: Board, folder: Path, model: bytes | None, dense_only: bool) -> None:
    with TemporaryFolder(folder.parent) as work:
        _compile_in(work, board, folder, model, dense_only)


def _compile_in(work: Path, board: Board, folder: Path, model: bytes | None, dense_only: bool) -> None:
    own = environment(board, work) | {"TINYFED_DENSE_ONLY": "1" if dense_only else "0", "TINYFED_MODEL": ""}
    if model is not None:
        (work / "model.tfm").write_bytes(model)
        own["TINYFED_MODEL"] = str(work / "model.tfm")
    done = _platformio(board, work, own)
    built = work / "build" / board.name
    if done.returncode != 0 or not (built / "firmware.elf").is_file():
        raise _failed(board, done.stdout, folder.with_name(folder.name + ".log"))
    folder.mkdir(exist_ok=True)
    for name in ("firmware.bin", "firmware.elf"):  # the ELF last: it says that all is there
        if (built / name).is_file():
            (built / name).replace(folder / name)


def _failed(board: Board, output: str, log: Path) -> BuildError:
    replace_all({log: output.encode("utf-8")})
    return failure(board.name, output, log)


def _platformio(board: Board, work: Path, own: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Have PlatformIO build the board's environment in a folder."""
    work.mkdir(parents=True, exist_ok=True)
    project = share() / "firmware"
    command = [sys.executable, "-m", "platformio", "run", "--project-dir", str(project), "-e", board.name]
    command += project_options(board, work)
    try:
        return subprocess.run(
            command,
            env=os.environ | own,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=BUILD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"building for {board.name} took more than {BUILD_TIMEOUT_S:.0f} s; try again") from error


def _is_listed(board: Board) -> bool:
    """Whether firmware/platformio.ini has an environment for the board."""
    return f"[env:{board.name}]" in (share() / "firmware" / "platformio.ini").read_text(encoding="utf-8")


def project_options(board: Board, workspace: Path | None = None) -> list[str]:
    """PlatformIO's options for a board that firmware/platformio.ini does not list: a file with an environment for it.
    With a framework that goes on from another board's, and has the options that the manifest's `flash.pio` holds."""
    if _is_listed(board):
        return []
    project, work = share() / "firmware", workspace or _workspace(board)
    text = (project / "platformio.ini").read_text(encoding="utf-8")
    text = text.replace("symlink://platform", f"symlink://{project / 'platform'}")
    options = {"board": board.name}
    if has_framework(board):
        options = {"extends": "env:nano33ble", "board": "nano33ble", **board.flash.get("pio", {})}
    lines = "".join(f"{key} = {value}\n" for key, value in options.items())
    path = work / "platformio.ini"
    manifest = board.path.read_bytes()
    files = {work / "boards" / f"{name}.json": manifest for name in (board.name, options.get("board", board.name))}
    (work / "boards").mkdir(parents=True, exist_ok=True)
    replace_all({path: f"{text}\n[env:{board.name}]\n{lines}".encode(), **files})
    return ["--project-conf", str(path)]


def failure(board: str, output: str, log: Path) -> BuildError:
    """What a failed build for a board means; `log` holds its output."""
    if re.search(UNREACHED, output):
        return RegistryError(NO_REGISTRY, where=board, remedy=GO_ONLINE)
    return BuildError(f"building for {board} failed: {first_error(output)} (everything: {log})")


def first_error(output: str) -> str:
    """The line of a build's output that tells what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (r"^(?!collect2).*error:", r"undefined reference", r"overflowed by", r"Error"):
        for line in lines:
            if re.search(pattern, line):
                return line
    return lines[-1] if lines else "PlatformIO said nothing"


def size(board: Board | str, elf: Path | None = None) -> Size:
    """What the board's image takes in flash and RAM; with a framework the last one that was built.

    Raises:
        BuildError, MissingToolError, UsageError: as `build`.
    """
    board = read_board(board) if isinstance(board, str) else board
    elf = elf or last_built(board) or build(board)
    program = board.compiler.prefix + "size"
    brought = core_folder().glob("packages/toolchain-*/bin") if has_framework(board) else ()
    path = os.pathsep.join([*map(str, brought), os.environ.get("PATH", os.defpath)])
    try:
        done = subprocess.run(
            [shutil.which(program, path=path) or program, "-A", "-d", str(elf)],
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise not_installed(f"{board.compiler.prefix}size", board.compiler.package) from error
    except subprocess.CalledProcessError as error:
        raise UsageError(f"not an image: {error.stderr.strip()}", where=str(elf)) from error
    sections = {m[1]: int(m[2]) for m in re.finditer(r"^(\.[\w.]+)\s+(\d+)", done.stdout, re.MULTILINE)}
    flash = sum(sections.get(name, 0) for name in (".text", ".rodata", ".data", ".ARM.exidx", ".eh_frame"))
    ram = sum(sections.get(name, 0) for name in (".data", ".bss", ".kept", ".stack", ".tbss", ".tdata"))
    if has_framework(board):  # whose linker script puts the arena among the rest
        ram -= board.arena_bytes
    return Size(
        flash,
        ram,
        sections.get(".arena", board.arena_bytes),
        sections.get(".stack", 0),
    )


def info(path: Path) -> ImageInfo:
    """What is in an image, ELF or raw.

    Raises:
        UsageError: the file cannot be read, or is no tinyfed firmware.
    """
    data = read_bytes(path, MODEL_BYTES_MAX)
    at = data.find(INFO_MAGIC)
    while at >= 0 and at + _INFO.size <= len(data):
        _, build, model_hash, model_bytes, version, reserved, board = _INFO.unpack_from(data, at)
        name = board.rstrip(b"\0")
        if reserved == 0 and name and name.isascii() and name.decode().isprintable():
            return ImageInfo(name.decode(), f"{build:016x}", version, model_bytes, model_hash)
        at = data.find(INFO_MAGIC, at + 1)
    raise UsageError("not a tinyfed firmware image", where=str(path), remedy="`tinyfed firmware build` makes one")


if __name__ == "__main__":
    seed()
