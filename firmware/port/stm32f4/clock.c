#include "clock.h"

#define CR 0u
#define PLLCFGR 1u
#define CFGR 2u

#define CR_HSIRDY (1u << 1)
#define CR_HSEON (1u << 16)
#define CR_HSERDY (1u << 17)
#define CR_PLLON (1u << 24)
#define CR_PLLRDY (1u << 25)
#define PLLCFGR_HSE (1u << 22)
#define CFGR_SW_PLL 2u
#define CFGR_SWS_MASK (3u << 2)
#define CFGR_SWS_PLL (2u << 2)
#define CFGR_APB1_DIV4 (5u << 10)
#define CFGR_APB2_DIV2 (4u << 13)
/* Five wait states at 168 MHz and 3.3 V; prefetch, instruction and data cache. */
#define ACR_168MHZ (5u | 1u << 8 | 1u << 9 | 1u << 10)

#define HSI_HZ 16000000u
#define FULL_HZ 168000000u

/* Turns of a loop of at least 4 cycles at 16 MHz: 25 ms. A crystal starts in 2 ms, the PLL locks in 0.3. */
#define PATIENCE 100000u

static bool becomes(volatile uint32_t *word, uint32_t mask, uint32_t value)
{
    for (uint32_t turn = 0; turn < PATIENCE; turn++) {
        if ((*word & mask) == value) return true;
    }
    return false;
}

tinyfed_stm32f4_clock_t tinyfed_stm32f4_clock_start(const tinyfed_stm32f4_clock_registers_t *registers, uint32_t hse_hz)
{
    volatile uint32_t *const rcc = registers->rcc;
    /* The chip comes up on HSI and says so; QEMU's model reads as zero. */
    if ((rcc[CR] & CR_HSIRDY) == 0u)
        return (tinyfed_stm32f4_clock_t){TINYFED_STM32F4_CLOCK_EMULATED, FULL_HZ, FULL_HZ / 2u};

    rcc[CR] |= CR_HSEON;
    const bool crystal = becomes(&rcc[CR], CR_HSERDY, CR_HSERDY);
    if (!crystal) rcc[CR] &= ~CR_HSEON;
    /* The PLL's input is 1 MHz; times 336 by 2 is 168 MHz, by 7 is USB's 48 MHz. */
    const uint32_t divider = (crystal ? hse_hz : HSI_HZ) / 1000000u;
    rcc[PLLCFGR] = divider | 336u << 6 | 0u << 16 | (crystal ? PLLCFGR_HSE : 0u) | 7u << 24;
    rcc[CR] |= CR_PLLON;
    if (!becomes(&rcc[CR], CR_PLLRDY, CR_PLLRDY)) {
        rcc[CR] &= ~CR_PLLON;
        return (tinyfed_stm32f4_clock_t){TINYFED_STM32F4_CLOCK_SLOW, HSI_HZ, HSI_HZ};
    }
    registers->flash[0] = ACR_168MHZ; /* before the clock rises */
    rcc[CFGR] = CFGR_APB1_DIV4 | CFGR_APB2_DIV2 | CFGR_SW_PLL;
    if (!becomes(&rcc[CFGR], CFGR_SWS_MASK, CFGR_SWS_PLL)) {
        rcc[CFGR] = 0;
        return (tinyfed_stm32f4_clock_t){TINYFED_STM32F4_CLOCK_SLOW, HSI_HZ, HSI_HZ};
    }
    return (tinyfed_stm32f4_clock_t){crystal ? TINYFED_STM32F4_CLOCK_CRYSTAL : TINYFED_STM32F4_CLOCK_INTERNAL, FULL_HZ,
                                     FULL_HZ / 2u};
}

uint64_t tinyfed_stm32f4_ticks(tinyfed_stm32f4_ticks_t *ticks, uint32_t wraps, uint32_t value)
{
    const uint64_t now = (uint64_t)wraps * ticks->period + (value == 0u ? 0u : ticks->period - value);
    if (now > ticks->latest) ticks->latest = now;
    return ticks->latest;
}
