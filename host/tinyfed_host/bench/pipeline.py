"""What instructions take on a Cortex-M4F, in the order in which they ran: an estimate, no chip was measured.

TRM is the Cortex-M4 Technical Reference Manual (Arm DDI 0439): 3.3.1 has the cycles of each instruction, 3.3.3 says how
loads and stores pair, 7.2.3 has the floating-point unit. MEASURED is what others measured on an STM32F407
(github.com/jnk0le/random, "pipeline cycle test").

- An instruction takes one cycle: MUL, MLA, SMLAD and SMLAL too (TRM 3.3.1).
- A load takes 2; directly behind a load that did not update its base it takes 1, unless its address is what that one
  loaded (TRM 3.3.3). LDRD and STRD take 3 and pair with nothing (TRM 3.3.3).
- A store to a base and a constant takes 1, to a base and a register 2, or 1 behind a load (TRM 3.3.3, MEASURED). VLDR
  and VSTR go as LDR and STR do.
- LDM, STM, PUSH, POP, VLDM, VSTM: 1 and one a register (TRM 3.3.1, 7.2.3).
- An address from what the instruction before computed: 1 more (TRM 3.3.3, MEASURED).
- A branch takes 1, and `refill` more where it is taken (TRM 3.3.1: 1 to 3); 1 more to a 32-bit instruction that does
  not begin at a word. TBB and TBH: 2 more; a load into PC: 3 more than the load (TRM 3.3.3).
- VADD, VSUB, VMUL, VCVT: 1; their result is there 2 cycles after they began, so an instruction directly behind waits 1.
  VMLA and VFMA: 3, the result after 4, the addend read a cycle late (TRM 7.2.3: one cycle longer where the next
  instruction takes the result).
- VDIV and VSQRT: 14, the result after 15; what is no floating-point instruction goes on meanwhile (TRM 7.2.3).
- UDIV and SDIV: 2 to 12 by their values, which are not known: 12 (TRM 3.3.1).

Left out: a load directly behind a store costs that store 1 more (MEASURED; the manual says 1 for the store).
Not known: whether an instruction of an IT block was skipped (it counts as done), whether IT itself was folded (it
takes 1), contention for the bus, accesses that are not aligned, stores that wait for each other, and loads of 32 bits
that fail to pair where they do not begin at a word (MEASURED).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

REFILL = 1
# What cycles go to. An instruction's first cycle is its own; the others have a cause.
CAUSES = ("instructions", "loads", "branches", "addresses", "floating-point results", "long arithmetic")
CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?$"
KINDS = {
    kind: re.compile(f"(?:{names}){CONDITION}")
    for kind, names in {
        "branch": "b|bl|bx|blx|cbz|cbnz",
        "table": "tbb|tbh",
        "load": "ldr(?:b|h|sb|sh)?|vldr",
        "store": "str(?:b|h)?|vstr",
        "double": "ldrd|strd",
        "multiple": "(?:v?ldm|v?stm)(?:ia|db)?|v?push|v?pop",
        "multiply-add": "v(?:n?ml[as]|fn?m[as])",
        "divide": "vdiv|vsqrt",
        "arithmetic": "v(?:add|sub|mul|nmul|cvt[abmnprt]?)",
        "float": "v.*",
        "integer divide": "[us]div",
        "compare": "cmp|cmn|tst|teq|it[te]*|nop",
    }.items()
}
REGISTER = re.compile(r"\b(?:r\d+|sl|fp|ip|sp|lr|pc|s\d+|d\d+)\b")
NUMBERS = {"sl": 10, "fp": 11, "ip": 12}
TWO_RESULTS = re.compile(r"[us]m(?:ull|lal|lald|lsld|aal)")


def registers(text: str) -> list[str]:
    """The registers in an operand, ranges written out, a double as its two halves."""
    numbered = re.sub(r"\b(sl|fp|ip)\b", lambda name: f"r{NUMBERS[name[1]]}", text)

    def written_out(found: re.Match[str]) -> str:
        return ",".join(f"{found[1]}{k}" for k in range(int(found[2]), int(found[3]) + 1))

    listed = REGISTER.findall(re.sub(r"\b([rsd])(\d+)-[rsd](\d+)", written_out, numbered))
    return [
        part
        for name in listed
        for part in ((f"s{2 * int(name[1:])}", f"s{2 * int(name[1:]) + 1}") if name[0] == "d" else (name,))
    ]


@dataclass(frozen=True)
class Instruction:
    """A line of a disassembly; `mnemonic` and `operands` as objdump writes them, `bytes` 2 or 4."""

    address: int
    bytes: int
    mnemonic: str
    operands: str
    function: str = ""

    @cached_property
    def name(self) -> str:
        """Without its width and type."""
        return self.mnemonic.split(".")[0]

    @cached_property
    def kind(self) -> str:
        """One of KINDS, or "integer"."""
        return next((kind for kind, names in KINDS.items() if names.match(self.name)), "integer")

    @cached_property
    def parts(self) -> list[str]:
        """Operands, what is in brackets or braces whole."""
        return [part.strip() for part in re.findall(r"(?:\[[^]]*\]!?|\{[^}]*\}|[^,\[{])+", self.operands)]

    @cached_property
    def is_float(self) -> bool:
        return self.name.startswith("v")

    @cached_property
    def address_registers(self) -> frozenset[str]:
        """What a load or store makes its address of."""
        if self.kind in ("load", "store", "double", "table"):
            return frozenset(registers(self.operands[self.operands.find("[") :]))
        if self.kind == "multiple":
            return frozenset(["sp"] if "pu" in self.name or "pop" in self.name else registers(self.parts[0]))
        return frozenset()

    @cached_property
    def updates_base(self) -> bool:
        return "!" in self.operands or "]," in self.operands

    @cached_property
    def listed(self) -> list[str]:
        """The registers that move to or from memory."""
        if self.kind == "multiple":
            return registers(self.operands[self.operands.index("{") :])
        return registers(self.operands[: self.operands.find("[")])

    @cached_property
    def is_store(self) -> bool:
        return "st" in self.name or "push" in self.name

    @cached_property
    def results(self) -> list[str]:
        """Registers written, but for a base that is updated."""
        if self.kind in ("load", "double", "multiple"):
            return [] if self.is_store else self.listed
        if self.kind in ("store", "branch", "table", "compare") or self.name.startswith("vcmp") or not self.parts:
            return []
        count = 1
        if TWO_RESULTS.match(self.name) or (self.name.startswith("vmov") and len(self.parts) > 2):
            count = 2 if len(self.parts) != 3 or self.parts[2][0] == "d" else 1
        return [name for part in self.parts[:count] for name in registers(part)]

    @cached_property
    def reads(self) -> list[str]:
        """Registers whose values an instruction takes when it begins, addresses aside."""
        if self.kind in ("store", "double", "multiple"):
            return self.listed if self.is_store else []
        first = 0 if self.name.startswith("vcmp") else 1
        return [name for part in self.parts[first:] for name in registers(part)]

    @cached_property
    def loads_pc(self) -> bool:
        return "pc" in self.results


@dataclass
class Pipeline:
    """The state between two instructions. `now` counts cycles."""

    refill: int = REFILL
    now: int = 0
    before: Instruction | None = None
    ready: dict[str, int] = field(default_factory=dict)  # a floating-point register: when its value is there
    unit_free: int = 0  # when the floating-point unit has divided

    def step(self, instruction: Instruction, target: Instruction | None = None) -> dict[str, int]:
        """Do one instruction; `target` is what ran next where that is not the next in line. Cycles by cause."""
        spent = {"instructions": 1}

        def spend(cause: str, cycles: int) -> None:
            if cycles:
                spent[cause] = spent.get(cause, 0) + cycles

        kind, before = instruction.kind, self.before
        loaded = before is not None and before.kind == "load" and not before.updates_base
        if before is not None and before.kind not in ("load", "double", "multiple"):
            spend("addresses", int(not instruction.address_registers.isdisjoint(before.results)))
        begin = self.now + spent.get("addresses", 0)
        if instruction.is_float:
            begin_at = max(begin, self.unit_free, *self._waits(instruction))
            spend("floating-point results", begin_at - begin)
            begin = begin_at
        if kind == "load":
            free = loaded and before is not None and instruction.address_registers.isdisjoint(before.results)
            spend("loads", 0 if free else 1)
        elif kind == "store":
            spend("loads", int(not loaded and len(instruction.address_registers) > 1))
        elif kind == "double":
            spend("loads", 2)
        elif kind == "multiple":
            spend("loads", len(instruction.listed))
        elif kind == "table":
            spend("branches", 2)
        elif kind == "multiply-add":
            spend("long arithmetic", 2)
        elif kind == "integer divide":
            spend("long arithmetic", 11)
        elif kind == "float" and len(instruction.parts) > 2:
            spend("long arithmetic", 1)  # VMOV of two registers
        if target is not None:
            spend("branches", 3 if instruction.loads_pc and kind in ("load", "multiple") else self.refill)
            spend("branches", int(target.bytes == 4 and target.address % 4 != 0))
        latency = {"arithmetic": 2, "multiply-add": 4, "divide": 15}.get(kind)
        if latency is not None:
            self.ready.update(dict.fromkeys(instruction.results, begin + latency))
        else:
            for name in instruction.results:
                self.ready.pop(name, None)
        if kind == "divide":
            self.unit_free = begin + 14
        self.now += sum(spent.values())
        self.before = instruction
        return spent

    def _waits(self, instruction: Instruction) -> Iterator[int]:
        """When each value that a floating-point instruction takes lets it begin."""
        yield 0
        for place, name in enumerate(instruction.reads):
            # A store of several writes one register a cycle.
            yield self.ready.get(name, 0) - (place if instruction.kind == "multiple" else 0)
        if instruction.kind == "multiply-add":
            yield from (self.ready.get(name, 0) - 1 for name in instruction.results)


def cycles(code: Sequence[Instruction], refill: int = REFILL) -> int:
    """Estimated cycles of instructions that ran in this order, each the next one's in line or its branch's target."""
    core = Pipeline(refill)
    for instruction, after in zip(code, [*code[1:], None], strict=True):
        jumps = after is not None and after.address != instruction.address + instruction.bytes
        core.step(instruction, after if jumps else None)
    return core.now
