"""What a chip's flash adds to the cycles of its Cortex-M4F: an estimate, no chip was measured.

The plugin keeps each chip's caches while the code runs and counts the reads of the flash that they could not spare. A
read costs the chip's wait states; one in line behind the last, where the chip prefetches, what is left of them when the
words before it have run at one a cycle. Caches evict what was not used for longest.

The numbers are those of the manuals named here as known to the authors; they were not looked up again, and no public
figure of a board was compared.

STM32F405 (RM0090, 3.5): reads of 128 bits, 5 wait states at 168 MHz, 64 lines of instructions and 8 of data, each one
read, prefetch. STM32L4R5 (RM0432, 3.3): reads of 64 bits with two banks, 5 wait states at 120 MHz, 1 KB of instructions
and 256 bytes of data, prefetch; a line is four reads, here each comes and goes alone. nRF52840 (Product Specification,
CPU and NVMC): 64 MHz, 3 wait states where the cache misses, 2 KB of instructions in lines of 128 bits, here of two
ways; data is not cached.

Not known: how the chips replace lines, reads for code and for data that meet, how early a prefetch begins and what a
branch does to one under way. Stack, arena and activations lie in RAM without waits; an int8 program's weights and the
literals in code are read from flash. How far off it is, nobody has measured: least where the hot loops fit into the
cache, most where they do not or where weights stream from flash.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """`lines` and `data_lines` of `read_bytes` each; `ways` of the instruction cache."""

    name: str
    clock_hz: int
    waits: int
    read_bytes: int
    lines: int
    ways: int
    data_lines: int
    prefetches: bool

    @property
    def waits_in_line(self) -> int:
        """Cycles of a read behind the last one."""
        return max(self.waits - self.read_bytes // 4, 0) if self.prefetches else self.waits

    @property
    def plugin_argument(self) -> str:
        """The caches, as count.c takes them."""
        return f"chip={self.read_bytes}:{self.lines}:{self.ways}:{self.data_lines}"

    def flash_cycles(self, jumps: int, in_line: int, data: int) -> int:
        """Cycles of so many reads."""
        return self.waits * (jumps + data) + self.waits_in_line * in_line


CHIPS = (
    Chip("stm32f405", 168_000_000, 5, 16, 64, 64, 8, True),
    Chip("stm32l4r5", 120_000_000, 5, 8, 128, 128, 32, True),
    Chip("nrf52840", 64_000_000, 3, 16, 128, 2, 0, False),
)
