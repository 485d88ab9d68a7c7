/* The STM32F405's clock tree against registers whose flags a scenario decides. The registers are ordinary memory: a
 * flag that "becomes ready" is simply set before. */
#include "clock.h"

#include <stdio.h>
#include <string.h>

#define HSIRDY (1u << 1)
#define HSEON (1u << 16)
#define HSERDY (1u << 17)
#define PLLON (1u << 24)
#define PLLRDY (1u << 25)

static int failures;

static void check(const char *what, unsigned long long got, unsigned long long wanted)
{
    if (got == wanted) return;
    failures++;
    printf("%s: 0x%llx, wanted 0x%llx\n", what, got, wanted);
}

static tinyfed_stm32f4_clock_t start(uint32_t rcc[3], uint32_t flash[1], uint32_t hse_hz)
{
    const tinyfed_stm32f4_clock_registers_t registers = {rcc, flash};
    return tinyfed_stm32f4_clock_start(&registers, hse_hz);
}

int main(void)
{
    uint32_t flash[1] = {0};

    /* Nothing answers: QEMU. Nothing may be waited for or written. */
    uint32_t silent[3] = {0, 0, 0};
    tinyfed_stm32f4_clock_t clock = start(silent, flash, 12000000u);
    check("emulated: source", clock.source, TINYFED_STM32F4_CLOCK_EMULATED);
    check("emulated: core", clock.core_hz, 168000000u);
    check("emulated: CR", silent[0], 0);

    /* The crystal is missing and the PLL does not lock: the chip's own 16 MHz, everything switched off again. */
    uint32_t broken[3] = {HSIRDY, 0, 0};
    clock = start(broken, flash, 12000000u);
    check("slow: source", clock.source, TINYFED_STM32F4_CLOCK_SLOW);
    check("slow: core", clock.core_hz, 16000000u);
    check("slow: APB2", clock.apb2_hz, 16000000u);
    check("slow: CR", broken[0], HSIRDY);
    check("slow: flash wait states", flash[0], 0);

    /* No crystal, but the PLL locks on HSI and the switch never shows: back to 16 MHz. */
    uint32_t stuck[3] = {HSIRDY | PLLRDY, 0, 0};
    clock = start(stuck, flash, 12000000u);
    check("stuck: source", clock.source, TINYFED_STM32F4_CLOCK_SLOW);
    check("stuck: HSE off", stuck[0] & HSEON, 0);
    check("stuck: CFGR", stuck[2], 0);
    /* M = 16, N = 336, P = 2 (0), source HSI, Q = 7 */
    check("stuck: PLL from HSI", stuck[1], 16u | 336u << 6 | 7u << 24);

    /* Crystals of the three boards. M makes 1 MHz of each. */
    static const uint32_t crystals[] = {8u, 12u, 25u};
    for (int i = 0; i < 3; i++) {
        uint32_t rcc[3] = {HSIRDY | HSERDY | PLLRDY, 0, 0};
        clock = start(rcc, flash, crystals[i] * 1000000u);
        check("crystal: PLL", rcc[1], crystals[i] | 336u << 6 | 1u << 22 | 7u << 24);
        check("crystal: on", rcc[0] & (HSEON | PLLON), HSEON | PLLON);
        check("crystal: five wait states first", flash[0] & 7u, 5u);
    }

    /* A counter of 100 ticks: read in the middle; at 0 and reloaded before the interrupt of its wrap; after that. */
    static const struct {
        uint32_t wraps, value, ticks;
    } reads[] = {{0, 0, 0}, {0, 99, 1}, {0, 1, 99}, {0, 0, 99}, {0, 98, 99}, {1, 98, 102}, {1, 0, 102}, {2, 0, 200}};
    tinyfed_stm32f4_ticks_t ticks = {100, 0};
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++)
        check("ticks", tinyfed_stm32f4_ticks(&ticks, reads[i].wraps, reads[i].value), reads[i].ticks);
    return failures == 0 ? 0 : 1;
}
