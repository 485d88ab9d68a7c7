/* What the bare-metal Cortex-M4 ports share: start-up, byte rings, registers of the core; and of tinyfed_port.h the
 * arena, the shard, the painted stack and the reset. */
#ifndef TINYFED_CORTEXM_H
#define TINYFED_CORTEXM_H

#include "tinyfed_port.h"

/* A memory-mapped 32-bit register. */
#define TINYFED_REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define TINYFED_SYST_CSR TINYFED_REG(0xE000E010u)
#define TINYFED_SYST_RVR TINYFED_REG(0xE000E014u)
#define TINYFED_SYST_CVR TINYFED_REG(0xE000E018u)
#define TINYFED_SYST_MAX 0x00FFFFFFu

static inline void tinyfed_interrupts_off(void) { __asm volatile("cpsid i" ::: "memory"); }
static inline void tinyfed_interrupts_on(void) { __asm volatile("cpsie i\n isb" ::: "memory"); }

static inline void tinyfed_irq_enable(uint32_t irq) { TINYFED_REG(0xE000E100u + 4u * (irq / 32u)) = 1u << (irq % 32u); }

/* An interrupt that is masked here stays pending, so nothing is lost while a ring is full. */
static inline void tinyfed_irq_disable(uint32_t irq)
{
    TINYFED_REG(0xE000E180u + 4u * (irq / 32u)) = 1u << (irq % 32u);
    __asm volatile("dsb\n isb" ::: "memory");
}

/* Called from the vector table for every device interrupt; the port defines it. */
void tinyfed_cortexm_interrupt(uint32_t irq);

/* SysTick's interrupt; a port that keeps time with it defines it. */
void tinyfed_cortexm_tick(void);

/* The non-maskable interrupt; a port whose watchdog raises it defines it. */
void tinyfed_cortexm_nmi(void);

/* Where a word is left before a reset, for the start after it: memory that a reset does not touch. A port whose
 * emulator fills .noinit anew gives a place of its own. */
extern volatile uint32_t *const tinyfed_cortexm_note;

/* Leave word of the cause and start anew. */
void tinyfed_cortexm_reset(tinyfed_reset_cause_t cause);

/* Which word was left: SOFTWARE or FAULT, or what else the port has said; PIN: none since the last start;
 * UNKNOWN: the memory has lost its content. Ask once a start. A chip with reset flags believes it of FAULT alone, and
 * only where they say that software has reset it. */
tinyfed_reset_cause_t tinyfed_cortexm_noted(void);

/* Sleep until an interrupt or for at most timeout_ms, unless `awake` says there is work already. The check
 * happens with interrupts off, so that a byte that comes between the check and the sleep still wakes the
 * core: WFI returns on a pending interrupt even when PRIMASK holds it back. */
void tinyfed_cortexm_idle(uint32_t timeout_ms, uint32_t core_hz, bool (*awake)(void));

/* ---- a ring of bytes: one writer and one reader, either may be an interrupt ----------------------- */

/* A power of two. At 115200 baud it holds 89 ms of line, several times the longest piece of work. */
#define TINYFED_RING_BYTES 1024u

typedef struct tinyfed_ring {
    volatile uint32_t head; /* bytes ever written; only the writer changes it */
    volatile uint32_t tail; /* bytes ever read; only the reader changes it */
    uint8_t bytes[TINYFED_RING_BYTES];
} tinyfed_ring_t;

static inline bool tinyfed_ring_empty(const tinyfed_ring_t *ring) { return ring->head == ring->tail; }
static inline bool tinyfed_ring_full(const tinyfed_ring_t *ring)
{
    return ring->head - ring->tail == TINYFED_RING_BYTES;
}

/* The ring must not be full. */
static inline void tinyfed_ring_put(tinyfed_ring_t *ring, uint8_t byte)
{
    const uint32_t head = ring->head;
    ring->bytes[head % TINYFED_RING_BYTES] = byte;
    __asm volatile("" ::: "memory"); /* the byte is there before the count says so */
    ring->head = head + 1u;
}

/* The ring must not be empty. */
static inline uint8_t tinyfed_ring_get(tinyfed_ring_t *ring)
{
    const uint32_t tail = ring->tail;
    const uint8_t byte = ring->bytes[tail % TINYFED_RING_BYTES];
    __asm volatile("" ::: "memory"); /* the byte is read before its place is given back */
    ring->tail = tail + 1u;
    return byte;
}

/* As tinyfed_port_read and tinyfed_port_write. */
static inline size_t tinyfed_ring_read(tinyfed_ring_t *ring, uint8_t *bytes, size_t capacity)
{
    size_t count = 0;
    while (count < capacity && !tinyfed_ring_empty(ring)) bytes[count++] = tinyfed_ring_get(ring);
    return count;
}
static inline size_t tinyfed_ring_write(tinyfed_ring_t *ring, const uint8_t *bytes, size_t byte_count)
{
    size_t count = 0;
    while (count < byte_count && !tinyfed_ring_full(ring)) tinyfed_ring_put(ring, bytes[count++]);
    return count;
}

#endif
