/* The STM32L475's clock tree and flash against a model of their registers that holds to the manual (RM0351, 3.3, 6.4):
 * PLLCFGR is deaf while the PLL runs, nothing is switched off that the core runs on, the core never outruns its flash;
 * pages of the second bank are erased, and double words written once, by a controller that keys open. */
#include "stm32l4.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MHZ 1000000u
#define BUSY (1u << 16)
#define LOCK (1u << 31)
#define DATA_CACHE (1u << 10)

static struct {
    bool locks, switches, keeps_wait_states; /* what works */
    uint32_t cr, pllcfgr, cfgr, cier, cicr, ccipr, acr, enabled[7];
    unsigned int released; /* resets of the peripherals' buses, a bit each */
    uint32_t held[7];
    uint32_t control, status, keys, emptied, fail, eccr; /* of the flash */
    uint32_t first_word, page;
    bool half; /* of a double word was written */
    uint8_t bytes[2 * 2048];
    const char *story;
} chip;

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s: %s\n", chip.story, what);
    exit(1);
}

static int fault_resets;

void tinyfed_cortexm_reset(tinyfed_reset_cause_t cause) { fault_resets += cause == TINYFED_CAUSE_FAULT; }

static bool on(uint32_t bit) { return (chip.cr >> bit & 1u) != 0u; }

static void settle(void)
{
    const uint32_t ready = 1u << 1 | 1u << 10 | 1u << 25;
    const uint32_t source = chip.pllcfgr & 3u;
    const bool input = source == 2u ? on(8) : source == 1u && on(0);
    chip.cr = (chip.cr & ~ready) | (on(0) ? 1u << 1 : 0u) | (on(8) ? 1u << 10 : 0u) |
              (on(24) && input && chip.locks ? 1u << 25 : 0u);
    const uint32_t wanted = chip.cfgr & 3u;
    const uint32_t ready_of[] = {1u, 10u, 17u, 25u};
    if (on(ready_of[wanted]) && (wanted != 3u || chip.switches)) chip.cfgr = (chip.cfgr & ~(3u << 2)) | wanted << 2;
}

static uint32_t core_hz(void)
{
    const uint32_t source = chip.cfgr >> 2 & 3u;
    if (source < 2u) return source == 0u ? 4u * MHZ : 16u * MHZ;
    const uint32_t in = ((chip.pllcfgr & 3u) == 2u ? 16u : 4u) * MHZ / ((chip.pllcfgr >> 4 & 7u) + 1u);
    const uint32_t vco = in * (chip.pllcfgr >> 8 & 127u);
    check(in >= 4u * MHZ && in <= 16u * MHZ && vco >= 64u * MHZ && vco <= 344u * MHZ, "the VCO's limits");
    check((chip.pllcfgr >> 24 & 1u) != 0u, "the PLL's output for the core is on");
    return vco / ((chip.pllcfgr >> 25 & 3u) * 2u + 2u);
}

uint32_t tinyfed_stm32_read(uint32_t address)
{
    switch (address) {
    case STM32L4_RCC_CR: return chip.cr;
    case STM32L4_RCC_CFGR: return chip.cfgr;
    case STM32L4_FLASH_ACR: return chip.acr;
    case STM32L4_FLASH_CR: return chip.control;
    case STM32L4_FLASH_ECCR: return chip.eccr;
    case STM32L4_FLASH_SR: {
        const uint32_t status = chip.status;
        chip.status &= ~BUSY; /* it takes a turn */
        return status;
    }
    default: check(false, "a register that is not modelled was read"); return 0;
    }
}

static void control_flash(uint32_t value)
{
    check((chip.control & LOCK) == 0u && (chip.status & BUSY) == 0u, "the controller is locked or busy");
    chip.control = value & ~BUSY; /* STRT has that place */
    if ((value & LOCK) != 0u) chip.keys = 0;
    if ((value & 1u << 16) == 0u) return;
    check((value & (1u << 1 | 1u << 11)) == (1u << 1 | 1u << 11), "a page of the second bank is erased, nothing else");
    check((chip.acr & DATA_CACHE) == 0u, "the data cache is on while a page is erased");
    chip.status |= BUSY | chip.fail;
    const uint32_t page = (value >> 3 & 255u) - chip.page;
    check(page < 2u, "another page");
    if (chip.fail == 0u) memset(chip.bytes + 2048u * page, 0xFF, 2048);
    chip.fail = 0;
}

static void program(uint32_t address, uint32_t value)
{
    const uint32_t at = address - 0x08080000u - 2048u * chip.page;
    check((chip.control & (LOCK | 3u)) == 1u && (chip.status & BUSY) == 0u, "a write without programming");
    check(at < sizeof chip.bytes && at % 4u == 0u, "a stray write");
    check((chip.acr & DATA_CACHE) == 0u, "the data cache is on while a double word is written");
    check(chip.half == (at % 8u == 4u), "half a double word");
    chip.half = !chip.half;
    if (chip.half) {
        chip.first_word = value;
        return;
    }
    for (uint32_t i = 0; i < 8u; i++) check(chip.bytes[at - 4u + i] == 0xFFu, "a double word is written once");
    chip.status |= BUSY | chip.fail;
    if (chip.fail == 0u) {
        memcpy(chip.bytes + at - 4u, &chip.first_word, 4);
        memcpy(chip.bytes + at, &value, 4);
    }
    chip.fail = 0;
}

void tinyfed_stm32_write(uint32_t address, uint32_t value)
{
    const uint32_t source = chip.cfgr >> 2 & 3u;
    if (address == STM32L4_RCC_CR) {
        const uint32_t kept[] = {1u << 0, 1u << 8, 1u << 16, 1u << 24};
        chip.cr = value | (chip.cr & kept[source]); /* what the core runs on stays on */
    } else if (address == STM32L4_RCC_PLLCFGR) {
        if (!on(24)) chip.pllcfgr = value;
    } else if (address == STM32L4_RCC_CFGR) {
        chip.cfgr = (value & ~(3u << 2)) | source << 2;
    } else if (address == STM32L4_RCC_CIER) {
        chip.cier = value;
    } else if (address == STM32L4_RCC_CICR) {
        chip.cicr = value;
    } else if (address == STM32L4_RCC_CCIPR) {
        chip.ccipr = value;
    } else if (address == STM32L4_FLASH_ACR) {
        if ((value & 3u << 11) != 0u) {
            check((value & 3u << 9) == 0u, "caches are emptied while they are on");
            chip.emptied++;
        }
        if (chip.keeps_wait_states) chip.acr = value;
    } else if (address == STM32L4_FLASH_KEYR) {
        check((chip.control & LOCK) != 0u && value == (chip.keys == 0u ? 0x45670123u : 0xCDEF89ABu), "a wrong key");
        if (++chip.keys == 2u) chip.control &= ~LOCK;
    } else if (address == STM32L4_FLASH_SR) {
        chip.status &= ~value;
    } else if (address == STM32L4_FLASH_ECCR) {
        chip.eccr &= ~(value & 3u << 30); /* the flags are cleared by writing ones */
    } else if (address == STM32L4_FLASH_CR) {
        control_flash(value);
    } else if (address >= STM32L4_RCC_AHB1RSTR && address <= STM32L4_RCC_AHB1RSTR + 0x18u) {
        const uint32_t bus = (address - STM32L4_RCC_AHB1RSTR) / 4u;
        check(bus != 0u || (value & 1u << 8) == 0u, "the flash is reset under the program");
        if (chip.held[bus] != 0u && value == 0u) chip.released |= 1u << bus;
        chip.held[bus] = value;
    } else if (address >= STM32L4_RCC_AHB1ENR && address <= STM32L4_RCC_AHB1ENR + 0x18u) {
        chip.enabled[(address - STM32L4_RCC_AHB1ENR) / 4u] = value;
    } else {
        program(address, value);
    }
    settle();
    if (core_hz() > 16u * MHZ) check((chip.acr & 7u) >= (core_hz() - 1u) / (16u * MHZ), "the core outruns its flash");
}

static void power_on(const char *story)
{
    memset(&chip, 0, sizeof chip);
    chip.story = story;
    chip.locks = chip.switches = chip.keeps_wait_states = true;
    chip.cr = 0x63u;
    chip.pllcfgr = 0x1000u;
    chip.enabled[0] = 1u << 8;
    chip.control = LOCK;
}

/* The ROM loader: 72 MHz by a PLL that runs on HSI, USART1 on HSI, ready interrupts enabled. */
static void leave_rom(void)
{
    power_on("the ROM loader");
    chip.acr = 4u;
    chip.cr |= 1u << 8 | 1u << 24;
    chip.pllcfgr = 2u | 1u << 4 | 18u << 8 | 1u << 24;
    chip.cfgr = 3u | 3u << 2 | 4u << 8 | 4u << 11;
    chip.cier = 0x3Fu;
    chip.ccipr = 2u;
    chip.enabled[6] = 1u << 14;
    settle();
}

static void clocks(void)
{
    for (int broken = 0; broken < 4; broken++) {
        for (int from = 0; from < 2; from++) {
            if (from == 0) power_on("after power-on");
            else leave_rom();
            chip.locks = broken != 1;
            chip.switches = broken != 2;
            if (broken == 3) chip.keeps_wait_states = false, chip.acr = 0;
            if (from == 1 && broken > 0) chip.cfgr = 1u | 1u << 2; /* it ran without the part that is broken */
            settle();
            const tinyfed_stm32_clock_t clock = tinyfed_stm32l4_clock_start(false);
            check(clock.core_hz == core_hz() && clock.core_hz == (broken == 0 ? 80u : 16u) * MHZ, "another clock");
            check(clock.usart_hz == core_hz() && (chip.cfgr >> 4 & 0x3Fu) == 0u && chip.ccipr == 0u,
                  "the baud is wrong");
            check(chip.cier == 0u && chip.cicr == 0x3FFu, "the clock's interrupts are left as they were");
            check(chip.released == 0x77u && chip.enabled[0] == 1u << 8 && chip.enabled[6] == 0u,
                  "peripherals keep what a boot loader set");
            check(broken == 0 || !on(24), "what is not used stays on");
        }
    }
}

static void flash(void)
{
    static const uint32_t errors[] = {1u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 14u, 15u};
    const uint32_t offset = TINYFED_STORE_BYTES / 2u; /* the second slot's first page */
    uint8_t text[64];
    for (uint32_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)(i * 7u + 1u);
    power_on("flash");
    chip.page = (TINYFED_STORE_ADDRESS - 0x08080000u + offset) / 2048u;
    chip.acr = 4u | 7u << 8;
    check(tinyfed_stm32l4_flash.erase(offset + 2048u) == TINYFED_FLASH_DONE && chip.bytes[2048] == 0xFFu &&
              chip.bytes[0] == 0u,
          "it does not erase");
    check(chip.emptied == 1u && chip.acr == (4u | 7u << 8), "the caches keep what was there, or stay off");
    chip.fail = 1u << 15; /* that the option bytes set at power-on */
    check(tinyfed_stm32l4_flash.erase(offset) == TINYFED_FLASH_FAILED, "a failed erase passes");
    check(tinyfed_stm32l4_flash.erase(offset) == TINYFED_FLASH_DONE, "an error of before stops it");
    check(tinyfed_stm32l4_flash.write(offset + 128u, text, 60u) == TINYFED_FLASH_DONE, "it does not write");
    check(memcmp(chip.bytes + 128, text, 60) == 0 && chip.bytes[188] == 0xFFu, "it writes something else");
    check(chip.control == LOCK, "the controller stays open");
    check(chip.emptied == 4u && chip.acr == (4u | 7u << 8), "the data cache is not empty when it is on again");
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        chip.fail = 1u << errors[i];
        check(tinyfed_stm32l4_flash.write(offset, text, 8u) == TINYFED_FLASH_FAILED, "a failed write passes");
        check(chip.control == LOCK, "the controller stays open after an error");
    }
}

/* What a power cut has left half written or half erased raises the NMI for as long as its flag stands. */
static void half_written(void)
{
    static const struct {
        uint32_t eccr;
        int resets;
        const char *what;
    } cases[] = {
        {1u << 31 | 1u << 19 | 0x1000u, 0, "the store, in the second bank: its CRC tells"},
        {1u << 31 | 0x1000u, 1, "the program"},
        {1u << 31 | 1u << 20 | 1u << 19, 1, "the ROM loader's memory"},
        {1u << 30 | 1u << 19, 0, "a bit that was mended is no NMI"},
    };
    power_on("ECC");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fault_resets = 0;
        chip.eccr = cases[i].eccr;
        tinyfed_cortexm_nmi();
        check((chip.eccr & 1u << 31) == 0u, "the NMI comes for ever");
        check(fault_resets == cases[i].resets, cases[i].what);
    }
}

int main(void)
{
    clocks();
    flash();
    half_written();
    return 0;
}
