"""An nRF52840 in this process: Unicorn executes the very image that is flashed, and what lies around the core is here,
as the Product Specification 1.7 has it: NVIC, CLOCK, UARTE0 with EasyDMA, TIMERs, PPI, NVMC, WDT, FICR and UICR. The
firmware uses no other peripheral, and touching one ends the run.

Time is the core's: a cycle for each half-word of code in the engine, the main loop and the port, and what flash and
line take, and it passes only while the host waits for the chip. Interrupts come between any two blocks of that code."""

import heapq
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from unicorn import UC_ARCH_ARM, UC_HOOK_BLOCK, UC_HOOK_INTR, UC_HOOK_MEM_WRITE, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
from unicorn import arm_const as arm

HZ = 64_000_000
US = HZ // 1_000_000
FLASH_BYTES, RAM, RAM_BYTES = 1 << 20, 0x20000000, 256 << 10
INFORMATION, UICR = 0x10000000, 0x10001000  # FICR lies in the first page, UICR in the second
PERIPHERALS, GPIO, SCS = 0x40000000, 0x50000000, 0xE000E000
CLOCK, UARTE, TIMERS = 0x40000000, 0x40002000, (0x40008000, 0x40009000)
WDT, NVMC, PPI = 0x40010000, 0x4001E000, 0x4001F000
RESETREAS, BY_WATCHDOG, BY_SOFTWARE = 0x40000400, 1 << 1, 1 << 2
APPROTECT_DISABLE = 0x40000558
ERASED, BUILD_F0 = 0xFFFFFFFF, 5
# FP state is stacked with each exception, as with CONTROL.FPCA set: 26 words, and this value to return by.
FRAME_WORDS, EXC_RETURN = 26, 0xFFFFFFE9
NOWHERE, THUMB = 0xE0000000, 1 << 24
FIFO_BYTES, DMA_CYCLES = 6, 2 * US

STACKED = (
    *(getattr(arm, f"UC_ARM_REG_{name}") for name in ("R0", "R1", "R2", "R3", "R12", "LR", "PC", "XPSR")),
    *(getattr(arm, f"UC_ARM_REG_S{n}") for n in range(16)),
    arm.UC_ARM_REG_FPSCR,
)


class Nrf52840:
    """A chip with an image in its flash, and its UART as a `Transport` of the host, which goes by `clock`.

    `variant` is FICR's, of the build code. `framing` and `stalls` name received bytes by their number since the start:
    those that have no stop bit, and those behind which something keeps the core from all work for so many ms."""

    name = "nrf52840"
    bytes_per_s = 11520.0

    def __init__(
        self,
        image: Path,
        *,
        variant: int = BUILD_F0,
        framing: frozenset[int] = frozenset(),
        stalls: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        self.resets = self.receiver_stops = self.arrived = 0
        self._framing, self._stalls = framing, stalls
        self._stall_cycles = 0
        self._reset_flags = 0
        self._fault: Exception | None = None
        self._received: list[int] = []  # bytes that have left the host
        self._sent = b""
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        uc = self._uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        uc.mem_map(0, FLASH_BYTES)
        uc.mem_map(RAM, RAM_BYTES)
        uc.mem_map(INFORMATION, 0x2000)
        uc.mem_write(0, b"\xff" * FLASH_BYTES)
        uc.mem_write(RAM, b"\x5a" * RAM_BYTES)
        uc.mem_write(INFORMATION, b"\xff" * 0x2000)
        uc.mem_write(INFORMATION + 0x60, bytes(range(1, 9)))
        uc.mem_write(INFORMATION + 0x130, struct.pack("<II", 8, variant))
        for address, content in segments(image.read_bytes()):
            uc.mem_write(address, content)
        for base, size in ((PERIPHERALS, 0x20000), (GPIO, 0x1000), (SCS, 0x1000)):
            uc.mmio_map(base, size, self._read, base, self._write, base)
        for begin, end in ((0, FLASH_BYTES), (INFORMATION, INFORMATION + 0x2000)):
            uc.hook_add(UC_HOOK_MEM_WRITE, self._flash_write, begin=begin, end=end - 1)
        for begin, end in watched(image):
            uc.hook_add(UC_HOOK_BLOCK, self._block, begin=begin, end=end)
        uc.hook_add(UC_HOOK_INTR, lambda uc, number, data: uc.emu_stop())  # the return from an exception
        self._now = self._order = self._due = 0
        self._reset()

    def clock(self) -> float:
        """Seconds since power came."""
        return self._now / HZ

    def read(self, timeout_s: float) -> bytes:
        end = self._now + max(1, int(timeout_s * HZ))
        while not self._sent and self._now < end:
            self._step(end)
        data, self._sent = self._sent, b""
        return data

    def write(self, data: bytes) -> None:
        if not self._received and data:
            self._at(self._byte_cycles(), self._arrive)
        self._received += data

    def close(self) -> None:
        """The chip stays as it is."""

    def word(self, address: int) -> int:
        return int.from_bytes(self._uc.mem_read(address, 4), "little")

    @property
    def debug_port_is_open(self) -> bool:
        """Of a chip of build F0 or later, from its last reset on."""
        return self._unlocked and self._registers.get(APPROTECT_DISABLE) == 0x5A

    # ---- the core ----------------------------------------------------------------------------------------------

    def _reset(self, flag: int = 0) -> None:
        self.resets += flag != 0
        self._reset_flags |= flag
        self._registers: dict[int, int] = {}
        self._enabled: dict[int, int] = {}  # INTEN of a peripheral
        self._irqs = self._pending = 0  # of the NVIC
        self._frames: list[int] = []  # where the stack was before each exception
        self._events = sorted(event for event in self._events if event[2] in (self._arrive, self._starve))
        self._timers = {base: Timer() for base in TIMERS}
        self._fifo: list[int] = []
        self._dma = False
        self._wanted = self._reset_wanted = self._asleep = False
        self._unlocked = self.word(UICR + 0x208) & 0xFF == 0x5A
        self._uc.reg_write(arm.UC_ARM_REG_PRIMASK, 0)
        self._uc.reg_write(arm.UC_ARM_REG_XPSR, THUMB)
        self._uc.reg_write(arm.UC_ARM_REG_MSP, self.word(0))
        self._uc.reg_write(arm.UC_ARM_REG_SP, self.word(0))
        self._pc = self.word(4)

    def _step(self, end: int) -> None:
        """Go on to the next interrupt, reset or sleep, at most to `end`."""
        self._due = min(end, self._events[0][0]) if self._events else end
        if self._asleep:
            self._now = max(self._now, self._due)
        else:
            self._stopped = False
            self._uc.emu_start(self._pc | 1, NOWHERE)
            self._pc = self._uc.reg_read(arm.UC_ARM_REG_PC)
            if self._fault:
                raise self._fault
            if self._reset_wanted:
                self._reset(BY_SOFTWARE)
                return
            if self._pc & 0xFFFFFF00 == 0xFFFFFF00:
                self._leave()
            else:
                self._asleep = not self._stopped
        self._now, self._stall_cycles = self._now + self._stall_cycles, 0
        self._do_events()
        if self._pending & self._irqs:
            self._asleep = False  # whatever PRIMASK says
            if not self._frames:
                self._enter()

    def _block(self, uc: Uc, address: int, size: int, data: Any) -> None:
        self._now += size >> 1
        if self._now >= self._due or self._wanted:
            self._wanted = False
            self._stopped = True
            uc.emu_stop()

    def _enter(self) -> None:
        """Take an interrupt that waits. All have one priority: none within another, and none within an IT block."""
        values = self._uc.reg_read_batch(STACKED)
        if values[7] & 0x0600FC00 or self._uc.reg_read(arm.UC_ARM_REG_PRIMASK) & 1:
            return
        ready = self._pending & self._irqs
        irq = (ready & -ready).bit_length() - 1
        self._pending &= ~(1 << irq)
        sp = self._uc.reg_read(arm.UC_ARM_REG_SP)
        self._frames.append(sp)
        frame = (sp - 4 * FRAME_WORDS) & ~7
        words = (*values[:6], self._pc, values[7] | THUMB, *values[8:], 0)
        self._uc.mem_write(frame, struct.pack(f"<{FRAME_WORDS}I", *words))
        self._uc.reg_write(arm.UC_ARM_REG_SP, frame)
        self._uc.reg_write(arm.UC_ARM_REG_LR, EXC_RETURN)
        self._uc.reg_write(arm.UC_ARM_REG_XPSR, THUMB | irq + 16)
        self._pc = self.word(self._registers.get(SCS + 0xD08, 0) + 4 * (irq + 16))

    def _leave(self) -> None:
        frame = self._uc.reg_read(arm.UC_ARM_REG_SP)
        values = struct.unpack(f"<{FRAME_WORDS}I", self._uc.mem_read(frame, 4 * FRAME_WORDS))
        self._uc.reg_write(arm.UC_ARM_REG_XPSR, values[7])  # first: the handler's stack pointer is the thread's too
        self._uc.reg_write(arm.UC_ARM_REG_SP, self._frames.pop())
        kept = [*zip(STACKED, values, strict=False)]
        self._uc.reg_write_batch(kept[:6] + kept[8:])
        self._pc = values[6]
        self._look()

    # ---- time --------------------------------------------------------------------------------------------------

    def _at(self, cycles: int, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (self._now + cycles, self._order, what))
        self._due = min(self._due, self._now + cycles)

    def _do_events(self) -> None:
        """What has happened until now, each at its time."""
        now = self._now
        while self._events and self._events[0][0] <= now:
            self._now, _, what = heapq.heappop(self._events)
            what()
        self._now = now

    # ---- registers ---------------------------------------------------------------------------------------------

    def _read(self, uc: Uc, offset: int, size: int, base: int) -> int:
        address = base + offset
        if address == NVMC + 0x400:
            return 1  # READY: the core stands still while the flash is at work
        if address == RESETREAS:
            return self._reset_flags
        return self._registers.get(address, 0)

    def _write(self, uc: Uc, offset: int, size: int, value: int, base: int) -> None:
        address = base + offset
        try:
            if base == PERIPHERALS:
                self._peripheral(address & ~0xFFF, address & 0xFFF, value)
            elif base == SCS:
                self._system(offset, value)
        except Exception as error:
            self._fault = error  # Unicorn would go on
        if self._pending & self._irqs or self._fault or self._reset_wanted:
            self._wanted = True

    def _system(self, offset: int, value: int) -> None:
        if offset == 0x100:
            self._irqs |= value
            self._look()
        elif offset == 0x180:
            self._irqs &= ~value
        elif offset == 0x280:
            self._pending &= ~value
        elif 0x180 < offset < 0x300 or (not value and (0x400 <= offset < 0x500 or 0xD18 <= offset < 0xD24)):
            pass  # no interrupts beyond 31, all priorities the same
        elif offset == 0xD0C and value == 0x05FA0004:
            self._reset_wanted = True
        elif offset in (0x10, 0xD04):
            assert not value & 1, "SysTick is not modelled"
        elif offset in (0xD08, 0xD88):
            self._registers[SCS + offset] = value
        else:
            raise RuntimeError(f"the model has no {SCS + offset:#x}")

    def _peripheral(self, base: int, offset: int, value: int) -> None:
        if base not in (CLOCK, UARTE, *TIMERS, WDT, NVMC, PPI):
            raise RuntimeError(f"the model has no peripheral at {base:#x}")
        if base == NVMC:
            self._nvmc(offset, value)
        elif base + offset == RESETREAS:
            self._reset_flags &= ~value
        elif base + offset == WDT + 0x600:
            assert value == 0x6E524635 and self._registers.get(WDT + 0x508) == 1, "what does not feed the watchdog"
            self._feed()
        elif base == PPI and offset == 0x504:
            self._registers[PPI + 0x500] = self._registers.get(PPI + 0x500, 0) | value
        elif base == PPI or offset >= 0x400:
            clears = (base, offset) == (UARTE, 0x480)  # ERRORSRC
            self._registers[base + offset] = self._registers.get(base + offset, 0) & ~value if clears else value
            if base in self._timers and 0x540 <= offset < 0x558:
                self._compare(base, (offset - 0x540) // 4)
        elif offset < 0x100:
            if value & 1:
                self._task(base, offset)
        elif offset <= 0x200:  # an event, or SHORTS
            self._registers[base + offset] = value
        elif offset in (0x304, 0x308):
            had = self._enabled.get(base, 0)
            self._enabled[base] = had | value if offset == 0x304 else had & ~value
            self._look()
        else:
            raise RuntimeError(f"the model has no {base + offset:#x}")

    def _look(self) -> None:
        """What interrupts the peripherals want: an event that is set and enabled."""
        for base, enabled in self._enabled.items():
            bits = (n for n in range(32) if enabled >> n & 1)
            if any(self._registers.get(base + 0x100 + 4 * n) for n in bits):
                self._pending |= 1 << (base >> 12 & 0x3F)

    def _event(self, address: int) -> None:
        self._registers[address] = 1
        for channel in range(20):
            enabled = self._registers.get(PPI + 0x500, 0) >> channel & 1
            if enabled and self._registers.get(PPI + 0x510 + 8 * channel) == address:
                task = self._registers[PPI + 0x514 + 8 * channel]
                self._task(task & ~0xFFF, task & 0xFFF)
        self._look()

    def _task(self, base: int, offset: int) -> None:
        if base == CLOCK and offset == 0:
            self._at(400 * US, lambda: self._event(CLOCK + 0x100))
        elif base in self._timers:
            self._timer(base, offset)
        elif base == UARTE:
            self._uarte(offset)
        elif base == WDT and offset == 0:
            self._feed()
        else:
            raise RuntimeError(f"the model has no task {base + offset:#x}")

    # ---- peripherals -------------------------------------------------------------------------------------------

    def _timer(self, base: int, offset: int) -> None:
        timer = self._timers[base]
        if offset == 0:
            timer.begun = self._now
        elif offset == 8:
            timer.count += 1
        elif offset == 0xC:
            timer.count, timer.begun = 0, self._now
        elif 0x40 <= offset < 0x58:
            self._registers[base + 0x500 + offset] = self._counter(base)
        else:
            raise RuntimeError(f"the model has no timer's task {offset:#x}")

    def _counter(self, base: int) -> int:
        timer = self._timers[base]
        if self._registers.get(base + 0x504) == 1:
            return timer.count
        ticks = (self._now - timer.begun) >> 2 >> self._registers.get(base + 0x510, 4)  # of 16 MHz, divided
        return ticks & 0xFFFFFFFF

    def _compare(self, base: int, channel: int) -> None:
        wanted = self._registers[base + 0x540 + 4 * channel]
        ticks = (wanted - self._counter(base)) & 0xFFFFFFFF

        def reached() -> None:
            if self._registers.get(base + 0x540 + 4 * channel) == wanted:
                self._event(base + 0x140 + 4 * channel)

        self._at(max(1, ticks << 2 << self._registers.get(base + 0x510, 4)), reached)

    def _feed(self) -> None:
        """The watchdog begins anew; a reset by software leaves it running, as does a core that sleeps."""
        assert self._registers[WDT + 0x50C] & 1, "it would stand still while the core sleeps"
        self._starves = self._now + (self._registers[WDT + 0x504] + 1) * HZ // 32768
        if not any(what == self._starve for _, _, what in self._events):
            self._at(self._starves - self._now, self._starve)

    def _starve(self) -> None:
        if self._now < self._starves:
            self._at(self._starves - self._now, self._starve)
        else:
            self._reset(BY_WATCHDOG)

    def _nvmc(self, offset: int, value: int) -> None:
        if offset == 0x518:
            assert self._registers.get(NVMC + 0x504) == 2, "an erase without permission"
            part_ms = self._registers.get(NVMC + 0x51C, 10)
            self._now += part_ms * 1000 * US
            page, done_ms = self._registers.get(-1, 0), self._registers.get(-2, 0)
            done_ms = part_ms + (done_ms if page == value else 0)
            if done_ms >= 85:
                self._uc.mem_write(value, b"\xff" * 4096)
            self._registers[-1], self._registers[-2] = value, done_ms
        elif offset in (0x504, 0x51C, 0x540):
            self._registers[NVMC + offset] = value
        else:
            raise RuntimeError(f"the model has no NVMC register {offset:#x}")

    def _flash_write(self, uc: Uc, access: int, address: int, size: int, value: int, data: Any) -> None:
        value &= 0xFFFFFFFF
        if self._registers.get(NVMC + 0x504) != 1 or size != 4 or address % 4:
            self._fault = RuntimeError(f"a stray write of {size} bytes to {address:#x}")
        elif value & ~self.word(address):
            self._fault = RuntimeError(f"a write to {address:#x} that would set bits")
        self._wanted = self._wanted or self._fault is not None
        self._now += 41 * US
        self._registers[-1] = 0

    def _byte_cycles(self) -> int:
        return 10 * HZ * 2**32 // (16_000_000 * self._registers.get(UARTE + 0x524, 0x01D60000))

    def _uarte(self, offset: int) -> None:
        if offset == 0x00:
            self._start_block()
        elif offset == 0x04:
            self.receiver_stops += 1
            self._at(self._byte_cycles(), self._stopped_receiving)
        elif offset == 0x08:
            pointer, count = self._registers[UARTE + 0x544], self._registers[UARTE + 0x548]
            assert pointer >= RAM and pointer + count <= RAM + RAM_BYTES, "EasyDMA reads RAM only"
            self._at(count * self._byte_cycles(), lambda: self._transmitted(pointer, count))
        elif offset == 0x2C:
            self._uc.mem_write(self._registers[UARTE + 0x534], bytes(self._fifo))
            self._fifo.clear()
            self._event(UARTE + 0x110)
        else:
            raise RuntimeError(f"the model has no UARTE's task {offset:#x}")

    def _transmitted(self, pointer: int, count: int) -> None:
        self._sent += self._uc.mem_read(pointer, count)
        self._event(UARTE + 0x120)

    def _start_block(self) -> None:
        self._pointer, self._room = self._registers[UARTE + 0x534], self._registers[UARTE + 0x538]
        assert self._pointer >= RAM and self._pointer + self._room <= RAM + RAM_BYTES, "EasyDMA writes RAM only"
        self._dma = True
        self._event(UARTE + 0x14C)

    def _stopped_receiving(self) -> None:
        if self._dma:
            self._dma = False
            self._event(UARTE + 0x110)
        self._event(UARTE + 0x144)

    def _arrive(self) -> None:
        byte = self._received.pop(0)
        self.arrived += 1
        if self._received:
            self._at(self._byte_cycles(), self._arrive)
        self._stall_cycles += self._stalls.get(self.arrived, 0) * 1000 * US
        if not self._dma or self._registers.get(UARTE + 0x500) != 8:
            return
        framing = self.arrived in self._framing  # the byte is not stored
        if framing or len(self._fifo) == FIFO_BYTES:
            self._registers[UARTE + 0x480] = self._registers.get(UARTE + 0x480, 0) | (4 if framing else 1)
            self._event(UARTE + 0x124)
        else:
            self._fifo.append(byte)
            self._at(DMA_CYCLES, self._to_ram)
        self._event(UARTE + 0x108)

    def _to_ram(self) -> None:
        if not self._dma or not self._fifo:
            return
        self._uc.mem_write(self._pointer, bytes([self._fifo.pop(0)]))
        self._pointer += 1
        self._room -= 1
        if self._room == 0:
            self._dma = False
            self._event(UARTE + 0x110)
            if self._registers.get(UARTE + 0x200, 0) & 1 << 5:
                self._start_block()


class Timer:
    """Counts events, or from `begun` on."""

    def __init__(self) -> None:
        self.count = 0
        self.begun = 0


def watched(image: Path) -> list[tuple[int, int]]:
    """Where time passes: what lies between the base and the wire, and from main on. It halves the test's time."""
    listed = subprocess.run(["arm-none-eabi-nm", "-n", image], check=True, capture_output=True, text=True).stdout
    found = [(int(line.split()[0], 16), line.split()[2]) for line in listed.splitlines() if line.split()[1] in "tT"]
    names = [name for _, name in found]
    wire = next(n for n, name in enumerate(names) if name.startswith("tinyfed_wire_"))
    engine, main = names.index("tinyfed_hash64") + 1, names.index("main")
    assert engine < wire < main, "the image has another order"
    return [(found[engine][0], found[wire][0] - 1), (found[main][0], FLASH_BYTES - 1)]


def segments(elf: bytes) -> list[tuple[int, bytes]]:
    """What an ELF file puts where it is loaded: addresses and bytes."""
    (offset,) = struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 42)
    headers = [struct.unpack_from("<8I", elf, offset + n * size) for n in range(count)]
    return [(head[3], elf[head[1] : head[1] + head[4]]) for head in headers if head[0] == 1 and head[4]]
