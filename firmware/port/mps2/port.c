/* Arm MPS2 with the AN386 image: a Cortex-M4F at 25 MHz, as QEMU's machine mps2-an386 models it. */
#include "../cortexm/cortexm.h"
#include "../cortexm/emulator.h"
#include "../played/played.h"

#include <string.h>

#define CLOCK_HZ 25000000u

#define MPS2_TIMER0 0x40000000u
#define MPS2_TIMER0_CTRL TINYFED_REG(MPS2_TIMER0 + 0x0u)
#define MPS2_TIMER0_VALUE TINYFED_REG(MPS2_TIMER0 + 0x4u) /* counts down */
#define MPS2_TIMER0_RELOAD TINYFED_REG(MPS2_TIMER0 + 0x8u)

#define MPS2_UART0 0x40004000u
#define MPS2_UART0_DATA TINYFED_REG(MPS2_UART0 + 0x0u)
#define MPS2_UART0_STATE TINYFED_REG(MPS2_UART0 + 0x4u) /* bit 0: transmit buffer full, bit 1: receive buffer full */
#define MPS2_UART0_CTRL TINYFED_REG(MPS2_UART0 + 0x8u)
#define MPS2_UART0_INTCLEAR TINYFED_REG(MPS2_UART0 + 0xCu) /* bit 0: transmit, bit 1: receive */
#define MPS2_UART0_BAUDDIV TINYFED_REG(MPS2_UART0 + 0x10u)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define IRQ_RX 0u
#define IRQ_TX 1u

/* CMSDK APB watchdog (Cortex-M System Design Kit TRM, ARM DDI0479C, "APB watchdog"): it counts down from LOAD, raises
 * the NMI at 0, counts again, and resets the board when nobody has cleared the interrupt by then. */
#define MPS2_WATCHDOG 0x40008000u
#define MPS2_WATCHDOG_LOAD TINYFED_REG(MPS2_WATCHDOG + 0x0u)
#define MPS2_WATCHDOG_CONTROL TINYFED_REG(MPS2_WATCHDOG + 0x8u) /* bit 0: interrupt and count, bit 1: reset */
#define MPS2_WATCHDOG_INTCLR TINYFED_REG(MPS2_WATCHDOG + 0xCu)  /* counts from LOAD again */
#define MPS2_WATCHDOG_LOCK TINYFED_REG(MPS2_WATCHDOG + 0xC00u)
#define WATCHDOG_UNLOCK 0x1ACCE551u

#define STORE_BLOCK_BYTES 4096u
_Static_assert(TINYFED_STORE_BYTES % (2u * STORE_BLOCK_BYTES) == 0u,
               "memory.store in the manifest must be two slots of whole blocks of 4 KB");

/* Behind the identity: memory that is zero when the emulator starts and that a reset leaves alone. The board has no
 * register that says why it was reset. */
volatile uint32_t *const tinyfed_cortexm_note =
    (volatile uint32_t *)(TINYFED_IDENTITY_ADDRESS + TINYFED_IDENTITY_BYTES);

static tinyfed_ring_t received, sending;
static tinyfed_reset_cause_t reset_cause;
static uint32_t ticks_seen, now_us, now_rest; /* now_rest: ticks that do not fill a microsecond */
static uint64_t ticks_total;

static tinyfed_memory_line_t *line(void) { return (tinyfed_memory_line_t *)(uintptr_t)TINYFED_LINE_ADDRESS; }

static bool in_memory(void) { return tinyfed_identity()->in_memory == 1u; }

static void barrier(void) { __asm volatile("dmb" ::: "memory"); }

static size_t read_memory(uint8_t *bytes, size_t capacity)
{
    const uint32_t from = line()->down_taken, waiting = line()->down_written - from;
    const size_t count = waiting < capacity ? waiting : capacity;
    barrier(); /* the bytes are read after the count that promised them, and before their room is given back */
    for (size_t i = 0; i < count; i++) bytes[i] = line()->down[(from + i) % TINYFED_MEMORY_LINE_BYTES];
    barrier();
    line()->down_taken = from + (uint32_t)count;
    return count;
}

static size_t write_memory(const uint8_t *bytes, size_t byte_count)
{
    const uint32_t to = line()->up_written, room = TINYFED_MEMORY_LINE_BYTES - (to - line()->up_taken);
    const size_t count = byte_count < room ? byte_count : room;
    for (size_t i = 0; i < count; i++) line()->up[(to + i) % TINYFED_MEMORY_LINE_BYTES] = bytes[i];
    barrier();
    line()->up_written = to + (uint32_t)count;
    barrier();
    /* A host that had not taken all before looks again before it waits. */
    if (count > 0u && line()->up_taken == to) MPS2_UART0_DATA = 0u;
    return count;
}

static void receive(void)
{
    for (;;) {
        if (tinyfed_ring_full(&received)) {
            tinyfed_irq_disable(IRQ_RX); /* the sender waits until tinyfed_port_read has made room */
            return;
        }
        MPS2_UART0_INTCLEAR = 2u; /* before STATE and DATA, so that the interrupt of a byte that comes now stays */
        if ((MPS2_UART0_STATE & STATE_RX_FULL) == 0u) return;
        const uint8_t byte = (uint8_t)MPS2_UART0_DATA;
        if (!in_memory()) tinyfed_ring_put(&received, byte);
    }
}

static void transmit(void)
{
    MPS2_UART0_INTCLEAR = 1u;
    while (!tinyfed_ring_empty(&sending) && (MPS2_UART0_STATE & STATE_TX_FULL) == 0u)
        MPS2_UART0_DATA = tinyfed_ring_get(&sending);
}

void tinyfed_cortexm_interrupt(uint32_t irq)
{
    if (irq == IRQ_RX) receive();
    if (irq == IRQ_TX) transmit();
}

/* The watchdog's time is over. Where nobody can leave word any more it resets the board itself, after as long again. */
void tinyfed_cortexm_nmi(void) { tinyfed_cortexm_reset(TINYFED_CAUSE_WATCHDOG); }

int tinyfed_port_start(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    reset_cause = tinyfed_cortexm_noted();
    if (reset_cause == TINYFED_CAUSE_UNKNOWN) reset_cause = TINYFED_CAUSE_POWER;
    MPS2_TIMER0_RELOAD = 0xFFFFFFFFu;
    MPS2_TIMER0_VALUE = 0xFFFFFFFFu;
    MPS2_TIMER0_CTRL = 1u;
    MPS2_UART0_BAUDDIV = 16u; /* as fast as it goes; QEMU does not pace */
    MPS2_UART0_CTRL = 0xFu;   /* transmit and receive, each with its interrupt */
    tinyfed_irq_enable(IRQ_RX);
    tinyfed_irq_enable(IRQ_TX);
    MPS2_WATCHDOG_LOCK = WATCHDOG_UNLOCK;
    MPS2_WATCHDOG_LOAD = TINYFED_WATCHDOG_MS * (CLOCK_HZ / 1000u);
    MPS2_WATCHDOG_CONTROL = 3u;
    return 0;
}

tinyfed_reset_cause_t tinyfed_port_reset_cause(void) { return reset_cause; }

void tinyfed_port_feed(void) { MPS2_WATCHDOG_INTCLR = 1u; }

size_t tinyfed_port_read(uint8_t *bytes, size_t capacity)
{
    if (in_memory()) return read_memory(bytes, capacity);
    const size_t count = tinyfed_ring_read(&received, bytes, capacity);
    if (count > 0u) tinyfed_irq_enable(IRQ_RX);
    return count;
}

size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count)
{
    if (in_memory()) return write_memory(bytes, byte_count);
    const size_t count = tinyfed_ring_write(&sending, bytes, byte_count);
    tinyfed_interrupts_off();
    transmit();
    tinyfed_interrupts_on();
    return count;
}

static bool awake(void)
{
    return !tinyfed_ring_empty(&received) || (in_memory() && line()->down_written != line()->down_taken);
}

void tinyfed_port_idle(uint32_t timeout_ms) { tinyfed_cortexm_idle(timeout_ms, CLOCK_HZ, awake); }

/* Fold the timer's 32 bits into the totals; it wraps after 171 s. */
static void update_clock(void)
{
    const uint32_t ticks = 0xFFFFFFFFu - MPS2_TIMER0_VALUE;
    const uint32_t passed = ticks - ticks_seen;
    ticks_seen = ticks;
    ticks_total += passed;
    now_us += passed / (CLOCK_HZ / 1000000u);
    now_rest += passed % (CLOCK_HZ / 1000000u);
    if (now_rest >= CLOCK_HZ / 1000000u) {
        now_rest -= CLOCK_HZ / 1000000u;
        now_us++;
    }
}

uint32_t tinyfed_port_now_us(void)
{
    update_clock();
    return now_us;
}

uint32_t tinyfed_port_instructions(void)
{
    if (tinyfed_identity()->counted != 1u) return 0u;
    update_clock();
    /* 128 ns an instruction and 40 ns a tick: 3.2 ticks an instruction, rounded to the nearest. */
    return (uint32_t)((ticks_total * 5u + 8u) / 16u);
}

/* The board's PSRAM, which the emulator keeps in a file, as a flash: see boards/mps2_an386.json. */
static uint8_t *store(void) { return (uint8_t *)(uintptr_t)TINYFED_STORE_ADDRESS; }

static tinyfed_flash_state_t erase(uint32_t offset)
{
    memset(store() + offset, 0xFF, STORE_BLOCK_BYTES);
    return TINYFED_FLASH_DONE;
}

static tinyfed_flash_state_t write(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    for (uint32_t i = 0; i < byte_count; i++) store()[offset + i] &= bytes[i];
    return TINYFED_FLASH_DONE;
}

const tinyfed_flash_t *tinyfed_port_flash(void)
{
    static const tinyfed_flash_t flash = {
        .base = (const uint8_t *)(uintptr_t)TINYFED_STORE_ADDRESS,
        .slot_bytes = TINYFED_STORE_BYTES / 2u,
        .block_bytes = STORE_BLOCK_BYTES,
        .write_bytes = 1024u,
        .erase = erase,
        .write = write,
    };
    return &flash;
}

void tinyfed_port_unique_id(uint8_t id[TINYFED_PORT_UNIQUE_ID_BYTES])
{
    for (size_t i = 0; i < TINYFED_PORT_UNIQUE_ID_BYTES; i++) id[i] = tinyfed_identity()->unique_id[i];
}

const tinyfed_sensor_t *tinyfed_port_sensor(void)
{
    return tinyfed_played_sensor((const uint8_t *)(uintptr_t)TINYFED_RECORDING_ADDRESS, TINYFED_RECORDING_BYTES,
                                 tinyfed_port_now_us);
}
