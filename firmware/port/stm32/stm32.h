/* What the ports of STM32 families share: the line (usart.c) and tinyfed_port.h (port.c) are one, clock, flash and the
 * addresses are each family's own. All access goes through two functions, so that tests on a PC can put a model behind
 * them. */
#ifndef TINYFED_STM32_H
#define TINYFED_STM32_H

#include "../cortexm/cortexm.h"

#ifdef TINYFED_STM32_MODEL
uint32_t tinyfed_stm32_read(uint32_t address);
void tinyfed_stm32_write(uint32_t address, uint32_t value);
#else
static inline uint32_t tinyfed_stm32_read(uint32_t address) { return TINYFED_REG(address); }
static inline void tinyfed_stm32_write(uint32_t address, uint32_t value) { TINYFED_REG(address) = value; }
#endif

static inline void tinyfed_stm32_change(uint32_t address, uint32_t clear, uint32_t set)
{
    tinyfed_stm32_write(address, (tinyfed_stm32_read(address) & ~clear) | set);
}

/* Whether the bits become `value` within some turns of at least 4 cycles. Every wait is bounded: a crystal can be
 * missing or broken. */
static inline bool tinyfed_stm32_becomes(uint32_t address, uint32_t mask, uint32_t value, uint32_t turns)
{
    for (; turns > 0u; turns--) {
        if ((tinyfed_stm32_read(address) & mask) == value) return true;
    }
    return false;
}

/* Peripherals as after a reset. `count` registers, one a bus, reset them: AHB1 (of which those in `ahb1`), AHB2, AHB3,
 * a reserved one, APB1 and its second, APB2; `apart` bytes behind them lie those that switch them on. */
static inline void tinyfed_stm32_reset_buses(uint32_t first, uint32_t count, uint32_t apart, uint32_t ahb1,
                                             uint32_t ahb1_on)
{
    for (uint32_t bus = 0; bus < count; bus++) {
        if (bus == 3u) continue;
        const uint32_t address = first + 4u * bus;
        tinyfed_stm32_write(address, bus == 0u ? ahb1 : 0xFFFFFFFFu);
        tinyfed_stm32_write(address, 0u);
        tinyfed_stm32_write(address + apart, bus == 0u ? ahb1_on : 0u);
    }
}

typedef enum tinyfed_stm32_clock_source {
    TINYFED_STM32_CLOCK_CRYSTAL = 1,  /* HSE through the PLL */
    TINYFED_STM32_CLOCK_INTERNAL = 2, /* HSI through the PLL: there is no crystal, or it did not start */
    TINYFED_STM32_CLOCK_SLOW = 3      /* HSI as it is: the PLL did not lock */
} tinyfed_stm32_clock_source_t;

typedef struct tinyfed_stm32_clock {
    tinyfed_stm32_clock_source_t source;
    uint32_t core_hz;
    uint32_t usart_hz; /* of USART1 */
} tinyfed_stm32_clock_t;

/* A family: GPIOB and USART1 on PB6 (transmit) and PB7 (receive), which the boards of both families bring out. */
typedef struct tinyfed_stm32_family {
    /* From whatever a boot loader left to full speed; peripherals are reset. */
    tinyfed_stm32_clock_t (*clock_start)(bool emulated);
    struct {
        uint32_t address, bit;
    } gpiob_clock, usart1_clock; /* where they are switched on */
    uint32_t gpiob;
    struct {
        uint32_t status, receive, transmit, clear, baud, control; /* addresses; clear 0: reading does it */
        uint32_t enable;                                          /* UE in control */
    } usart1;
    struct {
        uint32_t flags, forget, brown_out; /* RCC_CSR, its RMVF and its BORRSTF, 0 without one */
    } reset;
    uint32_t unique_id;
    const tinyfed_flash_t *flash;
} tinyfed_stm32_family_t;

/* That of the board. */
extern const tinyfed_stm32_family_t tinyfed_stm32_family;

/* ---- the flash controller ------------------------------------------------------------------------- */

typedef struct tinyfed_stm32_controller {
    uint32_t access, keys, status, control; /* addresses */
    uint32_t errors;                        /* of status, and the end of an operation in bit 0 */
} tinyfed_stm32_controller_t;

/* All wait for it, at most some seconds. Open it and forget errors of before; what it does becomes done, and whether it
 * is; close it; empty the caches, after an erase. */
bool tinyfed_stm32_flash_open(const tinyfed_stm32_controller_t *controller);
bool tinyfed_stm32_flash_done(const tinyfed_stm32_controller_t *controller);
tinyfed_flash_state_t tinyfed_stm32_flash_close(const tinyfed_stm32_controller_t *controller, bool good);
void tinyfed_stm32_flash_empty_caches(const tinyfed_stm32_controller_t *controller);

/* ---- the line ------------------------------------------------------------------------------------- */

typedef struct tinyfed_stm32_line {
    tinyfed_ring_t received, sending;
} tinyfed_stm32_line_t;

void tinyfed_stm32_line_start(uint32_t usart_hz, uint32_t baud);

/* USART1's interrupt; and what the main loop calls, with interrupts off, after it took bytes or gave some. */
void tinyfed_stm32_line_work(tinyfed_stm32_line_t *line);

/* ---- the watchdog, and what it did ---------------------------------------------------------------- */

void tinyfed_stm32_watchdog_start(void);
void tinyfed_stm32_watchdog_feed(void);

/* By the chip's flags, which are forgotten, so ask once; of what software reset, `noted` (tinyfed_cortexm_noted) tells
 * which. */
tinyfed_reset_cause_t tinyfed_stm32_reset_cause(tinyfed_reset_cause_t noted);

/* ---- time ----------------------------------------------------------------------------------------- */

/* Time kept by a counter that counts down from period - 1 and whose interrupt counts how often it was at 0. */
typedef struct tinyfed_stm32_ticks {
    uint32_t period; /* in ticks */
    uint64_t latest; /* that was told */
} tinyfed_stm32_ticks_t;

/* Ticks since the start; never less than was told before. `value` may be that of a wrap whose interrupt has yet to
 * come, as when the counter was read between the two, and under QEMU, whose counter stays at 0 until its interrupt is
 * there: time stands still then. */
static inline uint64_t tinyfed_stm32_ticks(tinyfed_stm32_ticks_t *ticks, uint32_t wraps, uint32_t value)
{
    const uint64_t now = (uint64_t)wraps * ticks->period + (value == 0u ? 0u : ticks->period - value);
    if (now > ticks->latest) ticks->latest = now;
    return ticks->latest;
}

#endif
