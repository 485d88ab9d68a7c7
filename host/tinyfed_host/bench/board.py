"""The emulated board: builds the bench image around the real core and counts what a step takes."""

import hashlib
import re
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyfed import engine as core
from tinyfed.boards import Board, Compiler
from tinyfed.errors import BuildError, MissingToolError, UsageError
from tinyfed.files import TemporaryFolder, replace_all
from tinyfed.paths import cache, share
from tinyfed_host.bench.nets import BenchNet
from tinyfed_host.firmware import build

# `-icount shift=7`: an instruction takes 2^7 ns of virtual time.
NS_PER_INSTRUCTION = 128
RUN_TIMEOUT_S = 300.0
# Nothing of the engine may be dropped by the linker: these keep the rest.
ENTRY_POINTS = re.compile(r"^\w[^;{}#]*?\b(tinyfed_\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class BenchImage:
    """A linked bench image. `core_sections` are (object, bytes) of firmware/core in flash."""

    elf: Path
    core_sections: tuple[tuple[str, int], ...]

    @property
    def code_bytes(self) -> int:
        """Flash that firmware/core takes: code and constants, every public function kept."""
        return sum(size for _, size in self.core_sections)


@dataclass(frozen=True)
class StepCount:
    """What the steps took on the board. `instructions` one entry a measured step."""

    instructions: tuple[int, ...]
    arena_bytes: int
    work_bytes: int
    parameter_bytes: int
    stack_bytes: int
    weights_hash: int  # after the measured steps


def public_functions() -> list[str]:
    """The functions of tinyfed_core.h."""
    header = (share() / "firmware" / "core" / "tinyfed_core.h").read_text(encoding="utf-8")
    return sorted(set(ENTRY_POINTS.findall(header)))


def sources(board: Board, dense_only: bool = False) -> dict[Path, list[str]]:
    """Source -> its own flags: core, what ports share, and the bench's main."""
    root = share() / "firmware"
    recipe = build.recipe()
    manifest = dict(board.manifest)
    shared = [f"port/{name}" for name in board.manifest["tinyfed"].get("shared", [])]
    table = {root / "bench" / "step.c": ["-O2", *recipe.include_flags(root, "core", *shared)]}
    for part in ("base", "core", *shared):
        for path in recipe.sources(root, part):
            own = recipe.optimization(manifest, path.relative_to(root).as_posix(), dense_only)
            table[path] = [own, *recipe.include_flags(root, part)]
    return table


def run_tool(command: list[str], what: str) -> str:
    """What a program wrote to both outputs. Raises MissingToolError or BuildError."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=RUN_TIMEOUT_S)
    except FileNotFoundError as error:
        raise MissingToolError(f"{command[0]} is not installed: run `make setup`") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{what} took more than {RUN_TIMEOUT_S:.0f} s; try again") from error
    if done.returncode != 0:
        said = done.stderr + done.stdout
        silent = f"{command[0]} ended with {done.returncode} and said nothing"
        reason = build.first_error(said) if said.strip() else silent
        raise BuildError(f"{what} failed: {reason}")
    return done.stdout + done.stderr


def compile_all(
    compiler: Compiler, sources: Mapping[Path, Sequence[str]], flags: Sequence[str], folder: Path
) -> list[Path]:
    """The object files in `folder` of C sources of firmware/, each with flags of its own behind those of all.

    Raises MissingToolError or BuildError.
    """
    gcc = compiler.prefix + "gcc"
    if shutil.which(gcc) is None:
        raise build.not_installed(gcc, compiler.package)
    objects = []
    for source, own in sources.items():
        name = "_".join(source.relative_to(share() / "firmware").with_suffix(".o").parts)
        command = [gcc, *compiler.flags, *flags, *own, "-c", str(source), "-o", str(folder / name)]
        run_tool(command, f"compiling {source.name}")
        objects.append(folder / name)
    return objects


def build_bench(board: Board, extra_flags: tuple[str, ...] = (), *, keep_all: bool = True) -> BenchImage:
    """The bench image for a board with a bare-metal Cortex-M port, built if it is not in the cache.

    `keep_all`: with every public function of the engine, not only what online training needs.

    Raises:
        UsageError: the board has no such port.
        MissingToolError, BuildError: as tinyfed_host.firmware.build.build.
    """
    if "cortexm" not in board.manifest["tinyfed"].get("shared", []) or board.emulator is None:
        raise UsageError(
            "only an emulated Cortex-M board can count a step: try mps2_an386", where=f"board {board.name}"
        )
    recipe: Any = build.recipe()
    root = share() / "firmware"
    manifest = dict(board.manifest)
    table = sources(board, "-DTINYFED_DENSE_ONLY" in extra_flags)
    defines = [f"-D{name}={value}" for name, value in recipe.defines(board.name, manifest).items()]
    flags = [*recipe.C_FLAGS, *extra_flags, *defines]
    link = [*board.compiler.link_flags, *recipe.link_flags(root, manifest), "-Wl,-u,main"]
    if keep_all:
        link += [f"-Wl,-u,{name}" for name in public_functions()]
    link += ["-Wl,--print-map", "-lc", "-lgcc"]
    digest = hashlib.sha256(" ".join([build.build_id(board), *board.compiler.flags, *flags, *link]).encode())
    for path, own in table.items():
        digest.update(" ".join(own).encode() + path.read_bytes())
    folder = cache() / "bench" / f"{board.name}-{digest.hexdigest()[:16]}"
    elf, map_file = folder / "bench.elf", folder / "bench.map"
    if not (elf.is_file() and map_file.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        objects = map(str, compile_all(board.compiler, table, flags, folder))
        command = [board.compiler.prefix + "gcc", *board.compiler.flags, *objects, *link, "-o", str(elf)]
        text = run_tool(command, "linking the bench image")
        replace_all({map_file: text.encode("utf-8")})
    return BenchImage(elf, core_sections(map_file.read_text(encoding="utf-8")))


def core_sections(map_text: str) -> tuple[tuple[str, int], ...]:
    """(object, bytes) of firmware/core's code and constants in a linker map."""
    kept = map_text[map_text.index("Linker script and memory map") :]
    found: dict[str, int] = {}
    pattern = r"^ \.(?:text|rodata)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+\S*/((?:base|core)_\S+)\.o$"
    for match in re.finditer(pattern, kept, re.MULTILINE):
        found[match[2]] = found.get(match[2], 0) + int(match[1], 16)
    return tuple(sorted(found.items()))


def job(net: BenchNet) -> bytes:
    """What the emulator puts into the board's data flash: struct job of firmware/bench/step.c and its parts."""
    parts = [net.image, net.inputs.astype("<f4").tobytes()]
    parts.append(net.targets.astype("<i4" if net.targets.dtype.kind in "iu" else "<f4").tobytes())
    offsets, at = [], 32
    for part in parts:
        offsets.append(at)
        at += (len(part) + 15) // 16 * 16
    head = struct.pack("<5If", offsets[0], len(net.image), offsets[1], offsets[2], len(net.inputs), net.learning_rate)
    blob = bytearray(at)
    blob[: len(head)] = head
    for offset, part in zip(offsets, parts, strict=True):
        blob[offset : offset + len(part)] = part
    return bytes(blob)


def emulator_command(board: Board, elf: Path, blob: Path) -> list[str]:
    """QEMU with nothing on its serial line, the job in data flash, instructions counted."""
    assert board.emulator is not None
    machine = board.emulator.command[board.emulator.command.index("-M") + 1]
    address = board.memory["data_flash"].address
    return [
        *(board.emulator.program, "-M", machine, "-nographic", "-monitor", "none", "-serial", "none", "-nodefaults"),
        *("-semihosting-config", "enable=on,target=native", *board.emulator.counting),
        *("-device", f"loader,file={blob},addr={address:#x},force-raw=on", "-kernel", str(elf)),
    ]


def emulate(board: Board, image: BenchImage, net: BenchNet, extra: tuple[str, ...] = ()) -> str:
    """Run the bench image on a net; what it told. `extra` goes to the emulator."""
    with TemporaryFolder(image.elf.parent) as folder:
        blob = folder / "job.bin"
        blob.write_bytes(job(net))
        return run_tool([*emulator_command(board, image.elf, blob), *extra], f"{net.name} on the emulated {board.name}")


def run(board: Board, image: BenchImage, net: BenchNet) -> StepCount:
    """Carry out the net's measured steps on the emulated board.

    Raises:
        BuildError: the board ended with an error, or its weights are not the in-process engine's.
    """
    output = emulate(board, image, net)
    told: dict[str, list[int]] = {}
    for name, value in re.findall(r"^(\w+) (\d+)$", output, re.MULTILINE):
        told.setdefault(name, []).append(int(value))
    overhead = told["overhead_ticks"][0]
    ns_per_tick = 1e9 / board.clock_hz
    instructions = tuple(round((ticks - overhead) * ns_per_tick / NS_PER_INSTRUCTION) for ticks in told["ticks"])
    count = StepCount(
        instructions=instructions,
        arena_bytes=told["arena_bytes"][0],
        work_bytes=told["work_bytes"][0],
        parameter_bytes=told["parameter_bytes"][0],
        stack_bytes=told["stack_bytes"][0],
        weights_hash=told["weights_hash_high"][0] << 32 | told["weights_hash_low"][0],
    )
    engine = core.Engine(net.image)
    engine.train_online(net.inputs, net.targets, float(np.float32(net.learning_rate)))
    if engine.weights_hash != count.weights_hash:
        raise BuildError(
            f"{board.name} and this machine trained different weights: a fault in a kernel",
            where=net.name,
            remedy="run the parity tests (pytest tests/parity)",
        )
    return count
