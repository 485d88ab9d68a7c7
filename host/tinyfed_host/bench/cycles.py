"""Where instructions and estimated cycles of a bench image go: the emulator says what ran, `pipeline` what it takes.

A plugin in the emulator counts pairs of blocks, one after the other. Each is stepped through the model behind the block
that ran before it, so what one instruction does to the next is exact across branches too; what reaches further than a
block (a division's fourteen cycles) is cut off there.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyfed.files import TemporaryFolder
from tinyfed.paths import cache, share
from tinyfed_host.bench.board import run_tool
from tinyfed_host.bench.chips import CHIPS, Chip
from tinyfed_host.bench.pipeline import CAUSES, REFILL, Instruction, Pipeline

BEGIN, END = "tinyfed_bench_begin", "tinyfed_bench_end"
# What measures, between the two.
MEASURING = (BEGIN, END, "measure", "run")
LINE = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{4} ?){1,2})\s*\t(\S+)(?:\t([^;@]*))?")


@dataclass(frozen=True)
class Profile:
    """Instructions and estimated cycles of everything measured, together."""

    instructions: int
    by_cause: Mapping[str, int]  # cycles, by pipeline.CAUSES
    by_function: Mapping[str, tuple[int, int]]  # instructions, cycles
    by_address: Mapping[int, tuple[Instruction, int, int]]  # an instruction, how often it ran, its cycles
    flash: Mapping[str, Mapping[str, int]]  # a chip: a function: cycles more than `by_function` says

    @property
    def cycles(self) -> int:
        """Of the core, its memory without waits."""
        return sum(self.by_cause.values())

    def estimates(self, times: int) -> dict[str, Any]:
        """By name, of what was measured `times` times taken once: cycles, what they go to, and those of chips."""
        chips = {}
        for chip in CHIPS:
            flash = sum(self.flash[chip.name].values())
            cycles = (self.cycles + flash) / times
            microseconds = round(1e6 * cycles / chip.clock_hz, 1)
            chips[chip.name] = {"cycles": round(cycles), "flash": round(flash / times), "microseconds": microseconds}
        causes = {name: round(self.by_cause.get(name, 0) / times) for name in CAUSES}
        return {"cycles_estimated": round(self.cycles / times), "causes_estimated": causes, "chips_estimated": chips}


@dataclass(frozen=True)
class Pair:
    """Two blocks that ran one after the other, by their addresses and numbers of instructions; how often they did."""

    before: tuple[int, int]
    block: tuple[int, int]
    count: int


def parse(disassembly: str) -> dict[int, Instruction]:
    """Instructions by address, of what `objdump -d` wrote."""
    found: dict[int, Instruction] = {}
    function = ""
    for line in disassembly.splitlines():
        if header := re.match(r"^[0-9a-f]+ <(\S+)>:", line):
            function = header[1]
        elif match := LINE.match(line):
            address, size = int(match[1], 16), len(match[2].replace(" ", "")) // 2
            found[address] = Instruction(address, size, match[3], (match[4] or "").strip(), function)
    return found


@dataclass(frozen=True)
class Misses:
    """Reads of a chip's flash that its caches could not spare a block of code."""

    address: int
    chip: Chip
    jumps: int
    in_line: int
    data: int


def estimate(
    listing: Mapping[int, Instruction], pairs: Iterable[Pair], misses: Iterable[Misses] = (), refill: int = REFILL
) -> Profile:
    """Step each block through the pipeline behind the one before it."""
    causes: dict[str, int] = defaultdict(int)
    counts: dict[int, int] = defaultdict(int)
    cycles: dict[int, int] = defaultdict(int)
    functions: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def add(instruction: Instruction, spent: Mapping[str, int], times: int) -> None:
        for cause, each in spent.items():
            causes[cause] += times * each
        cycles[instruction.address] += times * sum(spent.values())
        functions[instruction.function][1] += times * sum(spent.values())

    def block(which: tuple[int, int]) -> list[Instruction]:
        address, count = which
        code = []
        for _ in range(count):
            code.append(listing[address])
            address += code[-1].bytes
        return code

    for pair in pairs:
        before, code = block(pair.before), block(pair.block)
        core = Pipeline(refill)
        for instruction in before[:-1]:
            core.step(instruction)
        if before:
            last, first = before[-1], code[0]
            jumps = first.address != last.address + last.bytes
            spent = core.step(last, first if jumps else None)
            if last.function not in MEASURING and "branches" in spent:
                add(last, {"branches": spent["branches"]}, pair.count)
        if code[0].function in MEASURING:
            continue
        for instruction in code:
            spent = core.step(instruction)
            # Where a branch went is seen in the pair that follows; TBB's own two cycles belong to that too.
            spent.pop("branches", None)
            add(instruction, spent, pair.count)
            counts[instruction.address] += pair.count
            functions[instruction.function][0] += pair.count
    flash: dict[str, dict[str, int]] = {chip.name: defaultdict(int) for chip in CHIPS}
    for some in misses:
        if (function := listing[some.address].function) not in MEASURING:
            flash[some.chip.name][function] += some.chip.flash_cycles(some.jumps, some.in_line, some.data)
    return Profile(
        sum(counts.values()),
        dict(causes),
        {name: (ran, took) for name, (ran, took) in functions.items()},
        {address: (listing[address], count, cycles[address]) for address, count in counts.items()},
        flash,
    )


def plugin() -> Path:
    """The counting plugin, compiled for this machine once."""
    source = share() / "firmware" / "bench" / "plugin" / "count.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    library = cache() / "bench" / f"count-{digest[:16]}.so"
    if not library.is_file():
        library.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFolder(library.parent) as folder:
            made = folder / library.name
            run_tool(
                ["gcc", "-std=gnu99", "-O2", "-fPIC", "-shared", str(source), "-o", str(made)], "compiling the plugin"
            )
            made.replace(library)
    return library


def profile(prefix: str, elf: Path, flash: Sequence[range], emulate: Callable[[tuple[str, ...]], object]) -> Profile:
    """Run a bench image and estimate. `prefix` is the compiler's; `flash` says what a chip has there, besides the code;
    `emulate` runs the image with more options of the emulator.

    Raises:
        MissingToolError, BuildError: from compiling the plugin, and what `emulate` raises.
    """
    listing = parse(run_tool([prefix + "objdump", "-d", str(elf)], "disassembling the bench image"))
    places: dict[str, int] = {}
    for instruction in listing.values():
        places.setdefault(instruction.function, instruction.address)
    code = range(min(listing), max(listing) + 4)
    arguments = [f"begin={places[BEGIN]:#x}", f"end={places[END]:#x}", *(chip.plugin_argument for chip in CHIPS)]
    arguments += [f"flash={part.start:#x}:{part.stop:#x}" for part in (code, *flash)]
    pairs, misses = [], []
    with TemporaryFolder() as folder:
        told = folder / "told"
        emulate(("-plugin", ",".join([str(plugin()), *arguments, f"out={told}"])))
        for kind, *words in map(str.split, told.read_text().splitlines()):
            a, b, c, d, e = map(int, words)
            if kind == "pair":
                pairs.append(Pair((a, b), (c, d), e))
            else:
                misses.append(Misses(a, CHIPS[b], c, d, e))
    return estimate(listing, pairs, misses)
