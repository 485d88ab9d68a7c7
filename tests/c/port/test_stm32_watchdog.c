/* The STM32s' watchdog against a model of it: what is written counts only when it is unlocked, and only from the next
 * feeding on when LSI's domain has taken it; and which cause the flags of a chip tell, of either family. */
#include "stm32.h"

#include <stdio.h>
#include <stdlib.h>

#define CSR 0x100u
#define FORGET (1u << 24)
#define BROWN_OUT (1u << 25)
#define PIN (1u << 26)
#define POWER (1u << 27)
#define SOFTWARE (1u << 28)
#define IWDG (1u << 29)
#define WWDG (1u << 30)

static struct {
    bool runs, open, stuck, stops_with_the_core;
    uint32_t prescaler, reload, counts_by, counts_from, busy, flags;
} chip;

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

const tinyfed_stm32_family_t tinyfed_stm32_family = {.reset = {CSR, FORGET, TINYFED_TEST_BROWN_OUT}};

uint32_t tinyfed_stm32_read(uint32_t address)
{
    if (address == CSR) return chip.flags;
    if (address == 0xE0042008u) return 0u;
    check(address == 0x4000300Cu, "a register that is not modelled was read");
    if (chip.busy > 0u && !chip.stuck) chip.busy--;
    return chip.busy > 0u ? 3u : 0u;
}

void tinyfed_stm32_write(uint32_t address, uint32_t value)
{
    switch (address) {
    case CSR:
        check((value & FORGET) != 0u, "the next start would hear of this one's cause");
        chip.flags = 0;
        return;
    case 0xE0042008u: chip.stops_with_the_core = value == 1u << 12; return;
    case 0x40003000u:
        chip.open = value == 0x5555u;
        if (value == 0xCCCCu) chip.runs = true;
        if (value == 0xAAAAu && chip.busy == 0u) {
            chip.counts_by = 4u << chip.prescaler;
            chip.counts_from = chip.reload + 1u;
        }
        return;
    case 0x40003004u:
    case 0x40003008u:
        check(chip.open, "what is written to a locked register is ignored");
        check(value <= (address == 0x40003004u ? 7u : 4095u), "more bits than there are");
        *(address == 0x40003004u ? &chip.prescaler : &chip.reload) = value;
        chip.busy = 1000u;
        return;
    default: check(false, "a stray write");
    }
}

int main(void)
{
    static const struct {
        uint32_t flags;
        tinyfed_reset_cause_t noted, cause;
    } starts[] = {
        {POWER | BROWN_OUT | PIN, TINYFED_CAUSE_UNKNOWN, TINYFED_CAUSE_POWER},
        {BROWN_OUT | PIN, TINYFED_CAUSE_PIN, TINYFED_TEST_BROWN_OUT ? TINYFED_CAUSE_BROWN_OUT : TINYFED_CAUSE_PIN},
        {PIN, TINYFED_CAUSE_PIN, TINYFED_CAUSE_PIN},
        {PIN, TINYFED_CAUSE_FAULT, TINYFED_CAUSE_PIN},
        {SOFTWARE | PIN, TINYFED_CAUSE_SOFTWARE, TINYFED_CAUSE_SOFTWARE},
        {SOFTWARE | PIN, TINYFED_CAUSE_FAULT, TINYFED_CAUSE_FAULT},
        {SOFTWARE | PIN, TINYFED_CAUSE_UNKNOWN, TINYFED_CAUSE_SOFTWARE}, /* a flasher's */
        {IWDG | PIN, TINYFED_CAUSE_PIN, TINYFED_CAUSE_WATCHDOG},
        {WWDG | PIN, TINYFED_CAUSE_PIN, TINYFED_CAUSE_WATCHDOG},
        {0u, TINYFED_CAUSE_PIN, TINYFED_CAUSE_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        chip.flags = starts[i].flags;
        check(tinyfed_stm32_reset_cause(starts[i].noted) == starts[i].cause, "another cause");
        check(chip.flags == 0u, "the flags are kept");
    }
    tinyfed_stm32_watchdog_start();
    check(chip.runs, "it does not run");
    check(chip.stops_with_the_core, "it resets a core that a debugger halts");
    /* LSI: 17 to 47 kHz, data sheet of the STM32F405. Its longest erasure takes 4 s, the host waits for 10 of silence.
     */
    const uint32_t lsi_ticks = chip.counts_by * chip.counts_from;
    check(lsi_ticks / 47000u >= 5u && lsi_ticks / 17000u <= 16u && lsi_ticks == 32u * TINYFED_WATCHDOG_MS, "its time");
    chip.stuck = true;
    tinyfed_stm32_watchdog_start(); /* and comes back */
    return 0;
}
