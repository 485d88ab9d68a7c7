"""What instructions take on a Cortex-M4F, counted by hand by the manual's rules (`tinyfed_host.bench.pipeline`)."""

from pathlib import Path

import pytest
from conftest import require_tools
from tinyfed_host.bench.board import run_tool
from tinyfed_host.bench.chips import CHIPS
from tinyfed_host.bench.cycles import Misses, Pair, estimate, parse
from tinyfed_host.bench.pipeline import Instruction, cycles


def code(text: str) -> list[Instruction]:
    """`a; b; c` as instructions of two bytes in line; `.w` and all of floating point have four."""
    listed, address = [], 0x100
    for line in text.split(";"):
        mnemonic, _, operands = line.strip().partition(" ")
        size = 4 if mnemonic.endswith(".w") or mnemonic.startswith("v") else 2
        listed.append(Instruction(address, size, mnemonic, operands))
        address += size
    return listed


@pytest.mark.parametrize(
    ("text", "by_hand"),
    [
        ("add r0, r1", 1),
        ("mul r0, r1; smlad r2, r3, r4, r5", 2),
        ("smlal r0, r1, r2, r3; mla r4, r5, r6, r7", 2),
        ("udiv r0, r1, r2", 12),
        # Loads and stores, DDI 0439 3.3.3: its own examples are 3, 3, 3 and 4.
        ("ldr r0, [r1]; ldr r1, [r2]", 3),
        ("ldr r0, [r1, r2]; str r0, [r3, #20]", 3),
        ("ldr r0, [r1, r2]; str r1, [r3, r2]", 3),
        ("ldr r0, [r1, r5]; ldr r1, [r2]; ldr r2, [r3, #4]", 4),
        ("ldr r0, [r1]; ldr r2, [r0]", 4),
        ("ldr r0, [r1], #4; ldr r2, [r3]", 4),
        ("ldr.w r0, [r1, #4]!; str r2, [r3]", 3),
        ("str r0, [r1]; str r0, [r2, r3]; ldr r0, [r1]", 1 + 2 + 2),
        ("vldr s0, [r1]; vldr s1, [r1, #4]; vstr s0, [r2]", 2 + 1 + 1),
        ("ldrd r0, r1, [r2]; ldr r3, [r2]", 3 + 2),
        ("ldr r3, [r2]; strd r0, r1, [r2]", 2 + 3),
        # "A three element LDM takes 2 + 1 + 1", 7.2.3: VLDM 1 + N.
        ("ldmia r0!, {r1, r2, r3}", 4),
        ("push {r4, r5-r9, lr}", 8),
        ("vpush {d8-d9}; vldmia r0!, {s0-s7}", 5 + 9),
        # An address from the instruction before.
        ("add r0, r1; ldr r2, [r0]", 1 + 1 + 2),
        ("add r0, r1; mov r3, r4; ldr r2, [r0]", 1 + 1 + 2),
        ("smull r0, r1, r2, r3; str r4, [r1]", 1 + 1 + 1),
        ("add r0, r1; str r0, [r2]", 2),  # a value is no address
        ("adds r0, #1; vldmia r0, {s0-s1}", 1 + 1 + 3),
        ("cmp r0, r1; ldr r2, [r0]", 1 + 2),
        # Floating point.
        ("vmul.f32 s0, s1, s2; vadd.f32 s3, s0, s4", 1 + 1 + 1),
        ("vmul.f32 s0, s1, s2; vmul.f32 s5, s1, s2; vadd.f32 s3, s0, s4", 3),
        ("vmul.f32 s0, s1, s2; add r0, r1; vadd.f32 s3, s0, s4", 3),
        ("vadd.f32 s0, s1, s2; vstr s0, [r0]", 1 + 1 + 1),
        ("vadd.f32 s1, s2, s3; vstmia r0!, {s0-s1}", 1 + 3),  # s1 leaves a cycle after s0
        ("vmla.f32 s0, s1, s2; vmla.f32 s0, s3, s4", 3 + 3),  # the addend may come late
        ("vmla.f32 s0, s1, s2; vmla.f32 s3, s0, s4", 3 + 1 + 3),
        ("vmul.f32 s0, s1, s2; vmla.f32 s0, s3, s4", 1 + 3),
        ("vmla.f32 s0, s1, s2; vadd.f32 s3, s0, s4", 3 + 1 + 1),
        # Integer code goes on behind a division; other floating point waits 14 cycles, its result's reader 15.
        ("vdiv.f32 s0, s1, s2; add r0, r1; add r0, r1", 3),
        ("vdiv.f32 s0, s1, s2; add r0, r1; vadd.f32 s3, s4, s5", 14 + 1),
        ("vsqrt.f32 s0, s1; vadd.f32 s3, s0, s5", 15 + 1),
        ("vmov s0, r0; vmov r0, r1, d0", 1 + 2),
        ("vcmpe.f32 s0, s1; vmrs APSR_nzcv, fpscr", 2),
    ],
)  # fmt: skip
def test_instructions_in_line(text: str, by_hand: int) -> None:
    assert cycles(code(text)) == by_hand


def test_branches() -> None:
    """A taken one is 1 and the refill; 1 more to 32 bits that do not begin at a word; a load into PC 3 more than it."""

    def to(text: str, address: int, size: int = 2, refill: int = 1) -> int:
        """Without the target's own cycle."""
        return cycles([*code(text), Instruction(address, size, "mov", "r0, r1")], refill) - 1

    assert to("bne.n 200", 0x102) == 1
    for branch in ("bne.n 200", "b.n 200", "bl 200", "bx lr", "blx r3", "cbz r0, 200", "mov pc, lr"):
        assert [to(branch, 0x200, refill=refill) for refill in (1, 2, 3)] == [2, 3, 4]
    assert [to("b.n 200", address, size) for address, size in ((0x202, 2), (0x200, 4), (0x202, 4))] == [2, 2, 3]
    assert to("tbb [pc, r0]", 0x200) == 1 + 2 + 1
    assert to("ldr.w pc, [r0]", 0x200) == 2 + 3
    assert to("pop {r4, pc}", 0x200) == 3 + 3


def test_an_assembled_loop(tmp_path: Path) -> None:
    """A dot product in four lanes, ten times round.

    Once round: two VLDM of 4 are 5 each; four VMUL and four VADD 1 each, a product being four cycles old when it is
    taken; SUBS 1, BNE 1, and 1 more where it is taken, to a target at a word: 10 * 20 + 9. BX is 2, where it came to 1.
    """
    require_tools("arm-none-eabi-as", "arm-none-eabi-objdump")
    source = [".syntax unified", ".thumb", "loop: vldmia r0!, {s0-s3}", "vldmia r1!, {s4-s7}"]
    source += [f"vmul.f32 s{k}, s{k}, s{k + 4}" for k in range(4)]
    source += [f"vadd.f32 s{k + 8}, s{k + 8}, s{k}" for k in range(4)]
    written, made = tmp_path / "loop.s", str(tmp_path / "loop.o")
    written.write_text("\n".join([*source, "subs r2, #1", "bne loop", "bx lr", "nop", ""]))
    run_tool(["arm-none-eabi-as", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", str(written), "-o", made], "assembling")
    listing = parse(run_tool(["arm-none-eabi-objdump", "-d", made], "disassembling"))
    listing[0x200] = Instruction(0x200, 2, "nop", "", "caller")
    leave = next(address for address, instruction in listing.items() if instruction.name == "bx")
    loop, behind, caller = (0, 12), (leave, 1), (0x200, 1)
    pairs = [Pair((0, 0), loop, 1), Pair(loop, loop, 9), Pair(loop, behind, 1), Pair(behind, caller, 1)]
    found = estimate(listing, pairs)
    assert found.instructions == 10 * 12 + 2
    assert found.by_cause == {"instructions": 122, "loads": 80, "branches": 10}
    assert found.cycles == 10 * 20 + 9 + 2 + 1
    assert found.by_function == {"loop": (121, 211), "caller": (1, 1)}


def test_what_flash_adds() -> None:
    """STM32F405: 5 cycles a read of 16 bytes; behind the last one 5 - 4 words. STM32L4R5: 5, and 5 - 2. nRF52840 has no
    prefetch: 3, and 3."""
    assert [chip.flash_cycles(2, 3, 4) for chip in CHIPS] == [6 * 5 + 3 * 1, 6 * 5 + 3 * 3, 9 * 3]
    listing = {0x100: Instruction(0x100, 2, "nop", "", "f"), 0x102: Instruction(0x102, 2, "nop", "", "measure")}
    pairs = [Pair((0, 0), (0x100, 1), 10), Pair((0x100, 1), (0x102, 1), 10)]
    found = estimate(listing, pairs, [Misses(at, CHIPS[0], 2, 3, 4) for at in listing])
    assert found.flash == {"stm32f405": {"f": 33}, "stm32l4r5": {}, "nrf52840": {}}
    told = found.estimates(10)
    assert told["cycles_estimated"] == 1
    assert told["chips_estimated"]["stm32f405"] == {"cycles": 4, "flash": 3, "microseconds": 0.0}
