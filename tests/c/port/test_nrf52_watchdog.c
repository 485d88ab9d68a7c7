/* Why an nRF52840 started, by its flags, and what its watchdog is told before it starts: then it takes no more. */
#include "nrf52/registers.h"
#include "nrf52/watchdog.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t flags, crv, rren, config, fed;
static bool runs;

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

uint32_t tinyfed_nrf52_read(uint32_t address)
{
    check(address == NRF52_RESETREAS, "a register that is not modelled was read");
    return flags;
}

void tinyfed_nrf52_write(uint32_t address, uint32_t value)
{
    if (address == NRF52_RESETREAS) flags &= ~value;
    if (address == NRF52_WDT_START) runs = value == 1u;
    if (address == NRF52_WDT_CRV && !runs) crv = value;
    if (address == NRF52_WDT_RREN && !runs) rren = value;
    if (address == NRF52_WDT_CONFIG && !runs) config = value;
    if (address == NRF52_WDT_RR0 && runs && (rren & 1u) != 0u && value == 0x6E524635u) fed++;
}

uint32_t tinyfed_nrf52_dma(const void *place) { return place == NULL; }

void tinyfed_nrf52_barrier(void) {}

int main(void)
{
    static const struct {
        uint32_t flags;
        tinyfed_reset_cause_t noted, cause;
    } starts[] = {
        {0u, TINYFED_CAUSE_UNKNOWN, TINYFED_CAUSE_POWER},
        {1u, TINYFED_CAUSE_PIN, TINYFED_CAUSE_PIN},
        {1u | 2u | 4u, TINYFED_CAUSE_SOFTWARE, TINYFED_CAUSE_PIN}, /* anomaly 136 */
        {2u, TINYFED_CAUSE_PIN, TINYFED_CAUSE_WATCHDOG},
        {2u, TINYFED_CAUSE_FAULT, TINYFED_CAUSE_WATCHDOG}, /* the word of a fault from before */
        {4u, TINYFED_CAUSE_SOFTWARE, TINYFED_CAUSE_SOFTWARE},
        {4u, TINYFED_CAUSE_FAULT, TINYFED_CAUSE_FAULT},
        {8u, TINYFED_CAUSE_PIN, TINYFED_CAUSE_FAULT},
        {1u << 18, TINYFED_CAUSE_PIN, TINYFED_CAUSE_PIN},
        {1u << 16, TINYFED_CAUSE_PIN, TINYFED_CAUSE_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        flags = starts[i].flags;
        check(tinyfed_nrf52_reset_cause(starts[i].noted) == starts[i].cause, "another cause");
        check(flags == 0u, "the next start would hear of this one's cause");
    }
    tinyfed_nrf52_watchdog_start();
    check(runs && rren == 1u && config == 1u && fed == 1u, "it stands still, also while the core sleeps");
    check((crv + 1u) * 1000u / 32768u == TINYFED_WATCHDOG_MS, "another time");
    tinyfed_nrf52_watchdog_feed();
    check(fed == 2u, "it starves");
    tinyfed_nrf52_watchdog_start(); /* after a reset by software it runs still */
    check(fed == 3u, "a watchdog that ran before starves");
    return 0;
}
