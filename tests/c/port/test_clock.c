/* The STM32F405's clock tree against a model of its registers that holds to the manual (RM0090, 7.3): PLLCFGR is deaf
 * while the PLL runs, nothing is switched off that the core runs on, and the core never outruns its flash. It starts as
 * after a reset, and as boot loaders leave it. */
#include "stm32f4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MHZ 1000000u

static struct {
    bool has_crystal, locks, switches, keeps_wait_states; /* what works */
    uint32_t cr, pllcfgr, cfgr, cir, acr, enabled[6], held[6];
    unsigned int released; /* resets of the peripherals' buses, a bit each */
    const char *story;
} chip;

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s: %s\n", chip.story, what);
    exit(1);
}

static bool on(uint32_t bit) { return (chip.cr >> bit & 1u) != 0u; }

static void settle(void)
{
    const uint32_t ready = 1u << 1 | 1u << 17 | 1u << 25;
    const bool input = (chip.pllcfgr >> 22 & 1u) != 0u ? on(16) && chip.has_crystal : on(0);
    chip.cr = (chip.cr & ~ready) | (on(0) ? 1u << 1 : 0u) | (on(16) && chip.has_crystal ? 1u << 17 : 0u) |
              (on(24) && input && chip.locks ? 1u << 25 : 0u);
    const uint32_t wanted = chip.cfgr & 3u;
    const uint32_t ready_of[] = {1u, 17u, 25u};
    if (wanted < 3u && on(ready_of[wanted]) && (wanted != 2u || chip.switches))
        chip.cfgr = (chip.cfgr & ~(3u << 2)) | wanted << 2;
}

/* Hz of the PLL's first output, of the core, and of APB2. */
static uint32_t pll_hz(uint32_t crystal_hz)
{
    const uint32_t m = chip.pllcfgr & 63u, n = chip.pllcfgr >> 6 & 511u, p = (chip.pllcfgr >> 16 & 3u) * 2u + 2u;
    const uint32_t in = ((chip.pllcfgr >> 22 & 1u) != 0u ? crystal_hz : 16u * MHZ) / m;
    check(in >= MHZ && in <= 2u * MHZ, "1 to 2 MHz into the VCO");
    check(in * (uint64_t)n >= 100u * MHZ && in * (uint64_t)n <= 432u * MHZ, "100 to 432 MHz out of the VCO");
    check(in * n / (chip.pllcfgr >> 24 & 15u) == 48u * MHZ, "48 MHz for USB");
    return in * n / p;
}

static uint32_t core_hz(void)
{
    const uint32_t source = chip.cfgr >> 2 & 3u;
    return source == 0u ? 16u * MHZ : source == 1u ? TINYFED_HSE_HZ : pll_hz(TINYFED_HSE_HZ);
}

static uint32_t apb2_hz(void)
{
    const uint32_t code = chip.cfgr >> 13 & 7u;
    check((chip.cfgr >> 4 & 15u) == 0u, "AHB is not divided");
    return code < 4u ? core_hz() : core_hz() >> (code - 3u);
}

uint32_t tinyfed_stm32_read(uint32_t address)
{
    switch (address) {
    case STM32F4_RCC_CR: return chip.cr;
    case STM32F4_RCC_CFGR: return chip.cfgr;
    case STM32F4_FLASH_ACR: return chip.acr;
    default: check(false, "a register that is not modelled was read"); return 0;
    }
}

void tinyfed_stm32_write(uint32_t address, uint32_t value)
{
    const uint32_t source = chip.cfgr >> 2 & 3u;
    if (address == STM32F4_RCC_CR) {
        const uint32_t before = chip.cr;
        chip.cr = value;
        const uint32_t kept = source == 0u ? 1u << 0 : source == 1u ? 1u << 16 : 1u << 24;
        chip.cr |= before & kept; /* what the core runs on stays on */
        if ((before >> 16 & 1u) != 0u) chip.cr = (chip.cr & ~(1u << 18)) | (before & 1u << 18);
    } else if (address == STM32F4_RCC_PLLCFGR) {
        if (!on(24)) chip.pllcfgr = value;
    } else if (address == STM32F4_RCC_CFGR) {
        chip.cfgr = (value & ~(3u << 2)) | source << 2;
    } else if (address == STM32F4_RCC_CIR) {
        chip.cir = (value & 0x7F00u) | (chip.cir & ~(value >> 16) & 0xFFu);
    } else if (address == STM32F4_FLASH_ACR) {
        if (chip.keeps_wait_states) chip.acr = value;
    } else if (address >= STM32F4_RCC_AHB1RSTR && address <= STM32F4_RCC_AHB1RSTR + 0x14u) {
        const uint32_t bus = (address - STM32F4_RCC_AHB1RSTR) / 4u;
        if (chip.held[bus] != 0u && value == 0u) chip.released |= 1u << bus;
        chip.held[bus] = value;
    } else {
        check(address >= STM32F4_RCC_AHB1ENR && address <= STM32F4_RCC_AHB1ENR + 0x14u, "a stray write");
        chip.enabled[(address - STM32F4_RCC_AHB1ENR) / 4u] = value;
    }
    settle();
    if (core_hz() > 30u * MHZ) check((chip.acr & 7u) >= (core_hz() - 1u) / (30u * MHZ), "the core outruns its flash");
}

static void power_on(const char *story)
{
    memset(&chip, 0, sizeof chip);
    chip.story = story;
    chip.has_crystal = chip.locks = chip.switches = chip.keeps_wait_states = true;
    chip.cr = 0x83u;
    chip.pllcfgr = 0x24003010u;
    chip.enabled[0] = 1u << 20;
}

/* The ROM loader after `dfu-util ... :leave`: 48 MHz for USB by a PLL that runs on `crystal` or HSI, buses divided, a
 * ready interrupt enabled and one pending, USB and a UART on. */
static void leave_rom(bool crystal, const char *story)
{
    power_on(story);
    chip.acr = 5u;
    chip.cr |= 1u << 24 | (crystal ? 1u << 16 | 1u << 19 : 0u);
    chip.pllcfgr = (crystal ? TINYFED_HSE_HZ / MHZ | 1u << 22 : 16u) | 192u << 6 | 1u << 16 | 4u << 24;
    chip.cfgr = 2u | 2u << 2 | 5u << 10 | 5u << 13;
    chip.cir = 0x1F00u | 0x10u;
    chip.enabled[1] = 1u << 7;
    chip.enabled[5] = 1u << 4;
    settle();
}

static void starts(tinyfed_stm32_clock_source_t source, uint32_t hz)
{
    const tinyfed_stm32_clock_t clock = tinyfed_stm32f4_clock_start(false);
    check(clock.source == source, "another source");
    check(clock.core_hz == hz && core_hz() == hz, "another core clock than is told");
    check(clock.usart_hz == apb2_hz(), "another clock of USART1 than is told: the baud would be wrong");
}

static void is_clean(void)
{
    check(chip.cir == 0u, "the clock's interrupts are left as they were");
    check(chip.released == 0x37u && chip.held[0] == 0u, "peripherals keep what a boot loader set");
    check(chip.enabled[0] == 1u << 20 && chip.enabled[1] == 0u && chip.enabled[5] == 0u, "peripherals stay on");
    check((chip.cr & 1u << 19) == 0u, "the clock security system stays on");
}

int main(void)
{
    for (int from = 0; from < 3; from++) {
        for (int broken = 0; broken < 5; broken++) {
            static const char *const stories[] = {"after power-on", "the ROM loader on HSI", "the ROM loader on HSE"};
            if (from == 0) power_on(stories[from]);
            else leave_rom(from == 2, stories[from]);
            if (broken == 1) chip.has_crystal = from == 2; /* which has seen it */
            if (broken == 2) chip.locks = false;
            if (broken == 3) chip.switches = false;
            if (broken == 4) chip.keeps_wait_states = false, chip.acr = 0;
            if (from > 0 && broken >= 2) chip.cfgr &= ~15u; /* it ran without the part that is broken */
            settle();
            if (broken >= 2) starts(TINYFED_STM32_CLOCK_SLOW, 16u * MHZ);
            else starts(chip.has_crystal ? TINYFED_STM32_CLOCK_CRYSTAL : TINYFED_STM32_CLOCK_INTERNAL, 168u * MHZ);
            is_clean();
            check(broken < 2 || (chip.cr & (1u << 16 | 1u << 24)) == 0u, "what is not used stays on");
        }
    }

    /* A counter of 100 ticks: read in the middle; at 0 and reloaded before the interrupt of its wrap; after that. */
    static const struct {
        uint32_t wraps, value, ticks;
    } reads[] = {{0, 0, 0}, {0, 99, 1}, {0, 1, 99}, {0, 0, 99}, {0, 98, 99}, {1, 98, 102}, {1, 0, 102}, {2, 0, 200}};
    tinyfed_stm32_ticks_t ticks = {100, 0};
    chip.story = "ticks";
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++)
        check(tinyfed_stm32_ticks(&ticks, reads[i].wraps, reads[i].value) == reads[i].ticks, "time goes wrong");
    return 0;
}
