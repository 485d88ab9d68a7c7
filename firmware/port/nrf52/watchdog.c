#include "watchdog.h"

#include "registers.h"

/* Product Specification 1.7, WDT, Registers. The watchdog has the 32.768 kHz RC oscillator started by itself. */
#define TICKS (TINYFED_WATCHDOG_MS * 32768u / 1000u)
#define GOES_ON_ASLEEP 1u /* and pauses while a debugger holds the core */
#define RELOAD 0x6E524635u

/* Flags of RESETREAS (POWER, Registers). None: power came, or came back. */
#define PIN (1u << 0)
#define WATCHDOG (1u << 1)
#define SOFTWARE (1u << 2)
#define LOCKUP (1u << 3)
#define DEBUGGER (1u << 18)

void tinyfed_nrf52_watchdog_start(void)
{
    tinyfed_nrf52_write(NRF52_WDT_CONFIG, GOES_ON_ASLEEP);
    tinyfed_nrf52_write(NRF52_WDT_CRV, TICKS - 1u);
    tinyfed_nrf52_write(NRF52_WDT_RREN, 1u);
    tinyfed_nrf52_write(NRF52_WDT_START, 1u);
    tinyfed_nrf52_watchdog_feed(); /* one that ran already */
}

void tinyfed_nrf52_watchdog_feed(void) { tinyfed_nrf52_write(NRF52_WDT_RR0, RELOAD); }

tinyfed_reset_cause_t tinyfed_nrf52_reset_cause(tinyfed_reset_cause_t noted)
{
    const uint32_t flags = tinyfed_nrf52_read(NRF52_RESETREAS);
    tinyfed_nrf52_write(NRF52_RESETREAS, flags);
    if ((flags & PIN) != 0u) return TINYFED_CAUSE_PIN; /* the others may be set beside it (errata, anomaly 136) */
    if ((flags & WATCHDOG) != 0u) return TINYFED_CAUSE_WATCHDOG;
    if ((flags & LOCKUP) != 0u) return TINYFED_CAUSE_FAULT;
    if ((flags & SOFTWARE) != 0u) return noted == TINYFED_CAUSE_FAULT ? noted : TINYFED_CAUSE_SOFTWARE;
    if ((flags & DEBUGGER) != 0u) return TINYFED_CAUSE_PIN;
    return flags == 0u ? TINYFED_CAUSE_POWER : TINYFED_CAUSE_UNKNOWN;
}
