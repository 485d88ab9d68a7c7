"""What int8 inference costs on a Cortex-M4: instructions, stack and code, counted on QEMU's mps2-an386.

A bare image with nothing but the engine (firmware/bench/infer/infer.c) is compiled and run with `-icount`, so every
figure is the same on every run. Instructions are executed ones; cycles are estimated (`pipeline`)."""

import functools
import re
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyfed.boards import Board, Compiler
from tinyfed.errors import DeviceError, UsageError
from tinyfed.files import TemporaryFolder
from tinyfed.model.int8.image import KINDS, read_plan, read_ports
from tinyfed.paths import share
from tinyfed_host.bench.board import compile_all, run_tool
from tinyfed_host.bench.cycles import Profile, profile
from tinyfed_host.firmware import build

MACHINE = "mps2-an386"
BLOB_AT = 0x21000000
MAGIC = 0x48434E42
# Bare images: no start-up files, and no loops turned into calls of memset that is not there.
LINK = ["-nostartfiles", "-nostdlib", "-Wl,--gc-sections", "-Wl,--build-id=none"]
TIMEOUT_S = 300.0
_EXITS = {2: "no blob", 3: "the program is not valid", 4: "the run failed", 5: "the work area is larger than 3 MB"}


@dataclass(frozen=True)
class InferenceCost:
    """What one inference takes. `instructions` are the largest over the inputs; `code_bytes` the operators linked."""

    instructions: int
    macs: int
    arena_bytes: int
    stack_bytes: int
    code_bytes: int
    program_bytes: int
    outputs: tuple[NDArray[Any], ...]
    profile: Profile | None  # of all inputs together, where it was asked for

    def figures(self) -> dict[str, Any]:
        per_mac = round(self.instructions / self.macs, 4) if self.macs else None
        estimated: dict[str, Any] = {}
        if self.profile is not None:
            estimated = self.profile.estimates(len(self.outputs))
            each = {"core": estimated["cycles_estimated"]}
            each |= {name: chip["cycles"] for name, chip in estimated["chips_estimated"].items()}
            if self.macs:
                estimated["cycles_per_mac_estimated"] = {name: round(n / self.macs, 4) for name, n in each.items()}
        return {
            "instructions": self.instructions,
            "macs": self.macs,
            "instructions_per_mac": per_mac,
            **estimated,
            "arena_bytes": self.arena_bytes,
            "stack_bytes": self.stack_bytes,
            "code_bytes": self.code_bytes,
            "program_bytes": self.program_bytes,
        }


def measure(board: Board, program: bytes, inputs: Sequence[NDArray[Any]], *, estimate: bool = False) -> InferenceCost:
    """Run `program` on the emulated board for each input and count; `estimate`: run it once more for the cycles.

    Raises UsageError for a board that cannot count, MissingToolError, BuildError and DeviceError."""
    if board.emulator is None or MACHINE not in board.emulator.command:
        raise UsageError(
            f"instructions are counted on QEMU's {MACHINE}: use --board mps2_an386", where=f"board {board.name}"
        )
    tool = board.emulator.program
    if shutil.which(tool) is None:
        raise build.not_installed(tool, board.emulator.package)
    with TemporaryFolder() as folder:
        elf, code_bytes = _built(board.compiler, build.recipe().program_kinds(program))
        image = folder / "infer.elf"
        image.write_bytes(elf)
        blob = _blob(program, inputs)
        lines = _run(tool, image, blob, folder)
        found = None
        if estimate:
            # On a chip the program lies in flash; what follows it, the inputs, is copied before anything is counted.
            weights = range(BLOB_AT, BLOB_AT + len(program) + 16)
            found = profile(
                board.compiler.prefix, image, [weights], lambda extra: _run(tool, image, blob, folder, extra)
            )
    plan = read_plan(program)
    counts = [int(value) for value in re.findall(r"^instructions (\d+)$", lines, re.M)]
    dtype = read_ports(program)[1][0].dtype
    raw = [np.frombuffer(bytes.fromhex(value), dtype) for value in re.findall(r"^output ([0-9a-f]*)$", lines, re.M)]
    stack = re.search(r"^stack (\d+)$", lines, re.M)
    if len(counts) != len(inputs) or len(raw) != len(inputs) or stack is None:
        raise DeviceError(f"the emulated board said {lines[-200:]!r}: run again, and report it if it stays")
    return InferenceCost(
        instructions=max(counts),
        macs=plan.multiply_adds,
        arena_bytes=plan.work_bytes,
        stack_bytes=int(stack[1]),
        code_bytes=code_bytes,
        program_bytes=plan.program_bytes,
        outputs=tuple(raw),
        profile=found,
    )


def operator_bytes(board: Board) -> dict[int, int]:
    """Code and constants that each kind of operator adds to an image, by its number; 0 is the general form."""
    least = _built(board.compiler, frozenset())[1]
    alone = {kind: _built(board.compiler, frozenset({kind}))[1] - least for kind in KINDS.values()}
    general = frozenset({0, *(KINDS[name] for name in ("conv", "dense", "depthwise"))})
    return alone | {0: _built(board.compiler, general)[1] - _built(board.compiler, general - {0})[1]}


def _blob(program: bytes, inputs: Sequence[NDArray[Any]]) -> bytes:
    def padded(part: bytes) -> bytes:
        return part + bytes(-len(part) % 16)

    sizes = {value.nbytes for value in inputs}
    assert len(sizes) == 1, "one input size"
    head = struct.pack("<4I", MAGIC, len(program), sizes.pop(), len(inputs))
    return head + padded(program) + b"".join(padded(value.tobytes()) for value in inputs)


@functools.cache
def _built(compiler: Compiler, kinds: frozenset[int]) -> tuple[bytes, int]:
    """(image, bytes of code and constants of the engine in it, without the measuring itself), with these kinds of
    operators; once a process."""
    root = share() / "firmware"
    recipe = build.recipe()
    flags = [*recipe.C_FLAGS, "-O2", f"-DTINYFED_KINDS={recipe.kinds_define(kinds)}"]
    flags += recipe.include_flags(root, "core")
    parts = ["core/int8"]
    if not kinds.isdisjoint(recipe.FLOAT_KINDS):
        flags.append("-DTINYFED_FLOAT")
        parts += ["core/float", "core/kernels", "core/math"]
    sources = [root / "bench" / "infer" / "infer.c", *recipe.sources(root, *parts)]
    with TemporaryFolder() as folder:
        objects = map(str, compile_all(compiler, dict.fromkeys(sources, ()), flags, folder))
        image = folder / "infer.elf"
        link = [*LINK, "-T", str(root / "bench" / "infer" / "infer.ld"), *objects, "-lc", "-lgcc", "-o", str(image)]
        run_tool([compiler.prefix + "gcc", *compiler.flags, *link], "linking the bench image")
        sections = run_tool([compiler.prefix + "size", "-A", "-d", str(image)], "measuring the bench image")
        found = re.search(r"^\.text\s+(\d+)", sections, re.M)
        assert found is not None
        return image.read_bytes(), int(found[1])


def _run(program: str, image: Path, blob: bytes, folder: Path, extra: tuple[str, ...] = ()) -> str:
    data = folder / "blob.bin"
    data.write_bytes(blob)
    command = [program, "-M", MACHINE, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=7"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", str(image)]
    command += ["-device", f"loader,file={data},addr={BLOB_AT:#x},force-raw=on", *extra]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{program} took longer than {TIMEOUT_S:.0f} s: use a smaller model") from error
    if done.returncode != 0:
        reason = _EXITS.get(done.returncode, f"exit code {done.returncode}")
        raise DeviceError(f"the emulated board stopped: {reason}; {done.stderr.strip()[-200:]}")
    return done.stdout + done.stderr


def float_inputs(count: int, value_count: int, seed: int = 0) -> list[NDArray[np.float32]]:
    """`count` float32 inputs of `value_count` normal values."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=value_count).astype(np.float32) for _ in range(count)]


def edge_inputs(count: int, value_count: int, seed: int = 0) -> list[NDArray[np.int8]]:
    """`count` int8 inputs of `value_count` values: all low, all high, then random ones."""
    rng = np.random.default_rng(seed)
    edges = [np.full(value_count, value, np.int8) for value in (-128, 127)]
    return [*edges, *(rng.integers(-128, 128, value_count, np.int8) for _ in range(count))][:count]
