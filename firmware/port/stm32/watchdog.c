/* The independent watchdog, which counts LSI's ticks whatever the core does, and why the chip started. Registers are at
 * the same places in both families (RM0090, 21.4, 38.16.4; RM0351, 36.4, 48.6.8); QEMU has none of them, and reads 0.
 */
#include "stm32.h"

#define IWDG_KR 0x40003000u
#define IWDG_PR 0x40003004u
#define IWDG_RLR 0x40003008u
#define IWDG_SR 0x4000300Cu
#define KR_START 0xCCCCu
#define KR_UNLOCK 0x5555u
#define KR_FEED 0xAAAAu
#define PR_64 4u

/* LSI by 64: 32 kHz, 17 to 47 from chip to chip, so that 8 s may be 5.4 to 15. */
#define TICKS_PER_S (32000u / 64u)
#define TICKS (TINYFED_WATCHDOG_MS * TICKS_PER_S / 1000u)
_Static_assert(TICKS <= 4096u, "RLR has 12 bits");

/* Turns of at least 6 cycles at 168 MHz: 0.1 s, of the 0.3 that the watchdog gives until then. LSI's domain takes what
 * is written within 6 of its ticks, by 256 at most: 48 ms. */
#define PATIENCE 3000000u

#define DBGMCU_APB1_FZ 0xE0042008u
#define STOPS_WITH_THE_CORE (1u << 12) /* of a debugger */

/* Flags of RCC_CSR; each reset but that of power pulls the pin as well. */
#define PIN (1u << 26)
#define POWER (1u << 27) /* of an L4 a brown-out too */
#define SOFTWARE (1u << 28)
#define WATCHDOGS (3u << 29)

void tinyfed_stm32_watchdog_start(void)
{
    tinyfed_stm32_change(DBGMCU_APB1_FZ, 0u, STOPS_WITH_THE_CORE);
    tinyfed_stm32_write(IWDG_KR, KR_START);
    tinyfed_stm32_write(IWDG_KR, KR_UNLOCK);
    tinyfed_stm32_write(IWDG_PR, PR_64);
    tinyfed_stm32_write(IWDG_RLR, TICKS - 1u);
    (void)tinyfed_stm32_becomes(IWDG_SR, 3u, 0u, PATIENCE);
    tinyfed_stm32_watchdog_feed();
}

void tinyfed_stm32_watchdog_feed(void) { tinyfed_stm32_write(IWDG_KR, KR_FEED); }

tinyfed_reset_cause_t tinyfed_stm32_reset_cause(tinyfed_reset_cause_t noted)
{
    const uint32_t flags = tinyfed_stm32_read(tinyfed_stm32_family.reset.flags);
    tinyfed_stm32_write(tinyfed_stm32_family.reset.flags, flags | tinyfed_stm32_family.reset.forget);
    if ((flags & WATCHDOGS) != 0u) return TINYFED_CAUSE_WATCHDOG;
    if ((flags & SOFTWARE) != 0u) return noted == TINYFED_CAUSE_FAULT ? noted : TINYFED_CAUSE_SOFTWARE;
    if ((flags & POWER) != 0u) return TINYFED_CAUSE_POWER;
    if ((flags & tinyfed_stm32_family.reset.brown_out) != 0u) return TINYFED_CAUSE_BROWN_OUT;
    return (flags & PIN) != 0u ? TINYFED_CAUSE_PIN : TINYFED_CAUSE_UNKNOWN;
}
