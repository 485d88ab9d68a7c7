"""What an instruction of the Cortex-M4 costs, by its Technical Reference Manual (DDI 0439, 3.3 and 7.2.3)."""

import pytest
from tinyfed_host.bench.cycles import Instruction, bare, cost, register_count


def cycles(mnemonic: str, operands: str = "", count: int = 1, count_of_next: int = 0) -> int:
    return cost(Instruction("f", mnemonic, operands, 0x104), count, count_of_next)


@pytest.mark.parametrize(
    ("mnemonic", "operands", "each"),
    [
        ("add", "r0, r1", 1),
        ("ldr", "r0, [r1]", 2),
        ("strd", "r0, r1, [r2]", 3),
        ("vldr", "s0, [r1]", 2),
        ("vmla", "s0, s1, s2", 3),
        ("vdiv", "s0, s1, s2", 14),
        ("udiv", "r0, r1, r2", 12),
        ("push", "{r4, r5, r6, lr}", 5),  # 1 + 4 registers
        ("vpush", "{d8-d9}", 5),  # a double is two registers
        ("vldmia", "r0!, {s0-s7}", 9),
        ("vmov", "s0, r0", 1),
        ("vmov", "r0, r1, d0", 2),
    ],
)
def test_what_does_not_branch_costs_its_cycles(mnemonic: str, operands: str, each: int) -> None:
    assert cycles(mnemonic, operands) == each
    assert cycles(mnemonic, operands, 100, 100) == cycles(mnemonic, operands, 100, 7) == 100 * each


def test_a_taken_branch_refills_the_pipeline() -> None:
    """1 cycle and 2 to refill: 10 taken branches are 30 cycles. A conditional one that was never taken, as the next
    instruction ran just as often, is 1; one that was taken now and then counts as always taken. A call and a return
    come back to another place: they always count."""
    for mnemonic in ("b", "cbz", "cbnz"):
        assert cycles(mnemonic, "100", 10, 3) == 30
        assert cycles(mnemonic, "100", 10, 10) == 10
    for mnemonic in ("bl", "bx", "blx", "tbb", "tbh"):
        assert cycles(mnemonic, "100", 10, 10) == cycles(mnemonic, "100", 10, 0) == 30


def test_what_loads_the_program_counter_is_a_branch() -> None:
    """pop of 2 registers: 1 + 2, and 2 to refill. ldr: 2 + 2; mov: 1 + 2."""
    assert cycles("pop", "{r4, pc}") == 5
    assert cycles("pop", "{r4, r5}") == 3
    assert cycles("ldr", "pc, [r0]") == 4
    assert cycles("mov", "pc, lr") == 3


def test_width_and_condition_are_taken_off() -> None:
    written = (
        "vadd.f32",
        "bne.n",
        "ldr.w",
        "movls",
        "vmlaeq.f32",
        "bls.n",
        "bl",
        "blt.n",
        "b.n",
        "vmov.f32",
        "ldmia.w",
    )
    assert [bare(mnemonic) for mnemonic in written] == [
        *("vadd", "b", "ldr", "mov", "vmla", "b", "bl", "b", "b", "vmov", "ldmia"),
    ]


def test_registers_between_braces_are_counted() -> None:
    assert register_count("{r4}") == 1
    assert register_count("{r4, r5-r9, lr}") == 7
    assert register_count("sp!, {d8-d15}") == 16
    assert register_count("{s16-s31}") == 16
