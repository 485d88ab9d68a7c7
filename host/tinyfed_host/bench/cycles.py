"""Where a step's instructions go on the board, and an estimate of the cycles they take.

A plugin in the emulator counts how often each instruction of the bench image runs; the disassembly says what it is;
the table of the Cortex-M4 Technical Reference Manual (DDI 0439, 3.3 and 7.2.3) says what it costs. The estimate
leaves out what the emulator cannot know: flash wait states, bus contention, and the stall of one cycle when a float
result is used by the very next instruction. A taken branch costs 1 + 2 cycles for the refilled pipeline (the manual
says 1 to 3); every branch that ran is counted as taken unless the next instruction in line ran just as often.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinyfed.boards import Board
from tinyfed.files import TemporaryFolder
from tinyfed.paths import share
from tinyfed_host.bench.board import BenchImage, emulate, run_tool
from tinyfed_host.bench.nets import BenchNet

BRANCH_REFILL = 2
BEGIN, END = "tinyfed_bench_begin", "tinyfed_bench_end"
# By the mnemonic without width and condition; what is not here costs one cycle.
CYCLES = {
    "ldr": 2, "ldrb": 2, "ldrh": 2, "ldrsb": 2, "ldrsh": 2, "str": 2, "strb": 2, "strh": 2, "ldrd": 3, "strd": 3,
    "vldr": 2, "vstr": 2, "vmla": 3, "vmls": 3, "vnmla": 3, "vnmls": 3, "vfma": 3, "vfms": 3, "vdiv": 14, "vsqrt": 14,
    "udiv": 12, "sdiv": 12, "mls": 2, "mla": 2,
}  # fmt: skip
TRANSFERS = ("ldmia", "ldmdb", "ldm", "stmia", "stmdb", "stm", "push", "pop", "vldmia", "vstmia", "vpush", "vpop")
BRANCHES = ("b", "bl", "bx", "blx", "cbz", "cbnz", "tbb", "tbh")
CONDITIONS = ("eq", "ne", "cs", "hs", "cc", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al")
LINE = re.compile(r"^\s*([0-9a-f]+):\t(?:[0-9a-f]{4} ?){1,2}\s*\t(\S+)(?:\t([^;@]*))?")


@dataclass(frozen=True)
class Instruction:
    """One line of the disassembly."""

    function: str
    mnemonic: str  # without width and condition
    operands: str
    next_address: int


@dataclass(frozen=True)
class Profile:
    """Instructions and estimated cycles of all measured steps together."""

    instructions: int
    cycles: int
    by_function: Mapping[str, int]  # instructions
    by_kind: Mapping[str, int]  # instructions, by mnemonic


def bare(mnemonic: str) -> str:
    """`vadd.f32` -> `vadd`, `bne.n` -> `b`, `ldr.w` -> `ldr`, `movls` -> `mov`."""
    name = mnemonic.split(".")[0]
    if name in CYCLES or name in TRANSFERS or name in BRANCHES:
        return name
    for condition in CONDITIONS:
        if name.endswith(condition):
            stem = name.removesuffix(condition)
            if stem in CYCLES or stem in TRANSFERS or stem in BRANCHES or stem in ("mov", "vmov", "mvn", "add", "sub"):
                return stem
    return name


def disassemble(board: Board, elf: Path) -> tuple[dict[int, Instruction], dict[str, int]]:
    """Instructions by address, and the addresses of the functions."""
    text = run_tool([board.compiler.prefix + "objdump", "-d", str(elf)], "disassembling the bench image")
    found: list[tuple[int, str, str, str]] = []
    functions: dict[str, int] = {}
    function = ""
    for line in text.splitlines():
        if header := re.match(r"^([0-9a-f]+) <(\S+)>:", line):
            function = header[2]
            functions[function] = int(header[1], 16)
        elif match := LINE.match(line):
            found.append((int(match[1], 16), function, match[2], (match[3] or "").strip()))
    addresses = [address for address, *_ in found[1:]] + [0]
    return {
        address: Instruction(name, bare(mnemonic), operands, after)
        for (address, name, mnemonic, operands), after in zip(found, addresses, strict=True)
    }, functions


def cost(instruction: Instruction, count: int, count_of_next: int) -> int:
    """Estimated cycles of an instruction that ran `count` times."""
    name = instruction.mnemonic
    writes_pc = "pc" in instruction.operands and name in ("pop", "ldm", "ldmia", "ldr", "mov")
    cycles = CYCLES.get(name, 1)
    if name in TRANSFERS:
        cycles = 1 + register_count(instruction.operands)
    if name == "vmov" and len(re.findall(r"\b[sdr]\d+|\bip|\blr", instruction.operands)) > 2:
        cycles = 2
    taken = count if name in BRANCHES or writes_pc else 0
    if name in ("b", "cbz", "cbnz") and count_of_next == count:
        taken = 0
    return cycles * count + BRANCH_REFILL * taken


def register_count(operands: str) -> int:
    """Registers between the braces of a multiple transfer; a double counts as two."""
    listed = operands[operands.index("{") + 1 : operands.index("}")] if "{" in operands else operands
    total = 0
    for part in listed.split(","):
        ends = [end.strip() for end in part.split("-")]
        width = 2 if ends[0].startswith("d") else 1
        numbers = [int(re.sub(r"\D", "", end) or 0) for end in ends]
        total += width * (numbers[-1] - numbers[0] + 1 if len(ends) == 2 else 1)
    return total


def plugin(image: BenchImage) -> Path:
    """The counting plugin, compiled for this machine beside the image."""
    library = image.elf.with_name("count.so")
    if not library.is_file():
        source = share() / "firmware" / "bench" / "plugin" / "count.c"
        made = library.with_suffix(".new")
        run_tool(["gcc", "-std=gnu99", "-O2", "-fPIC", "-shared", str(source), "-o", str(made)], "compiling the plugin")
        made.replace(library)
    return library


def profile(board: Board, image: BenchImage, net: BenchNet) -> Profile:
    """Count the net's measured steps on the emulated board, instruction by instruction."""
    listing, functions = disassemble(board, image.elf)
    base = board.memory["flash"].address
    with TemporaryFolder(image.elf.parent) as folder:
        told = folder / "counts"
        arguments = f"begin={functions[BEGIN]:#x},end={functions[END]:#x},base={base:#x},out={told}"
        emulate(board, image, net, ("-plugin", f"{plugin(image)},{arguments}"))
        counts = {int(address, 16): int(count) for address, count in map(str.split, told.read_text().splitlines())}
    by_function: dict[str, int] = defaultdict(int)
    by_kind: dict[str, int] = defaultdict(int)
    cycles = 0
    for address, count in counts.items():
        instruction = listing[address]
        if instruction.function in (BEGIN, END, "measure"):
            continue
        cycles += cost(instruction, count, counts.get(instruction.next_address, 0))
        by_function[instruction.function] += count
        by_kind[instruction.mnemonic] += count
    return Profile(sum(by_function.values()), cycles, by_function, by_kind)
