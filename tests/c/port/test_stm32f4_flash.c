/* The STM32F4's flash driver against a model of the controller, which holds to the manual: nothing happens while it is
 * locked, keys come in their order, caches are emptied only while they are off. */
#include "stm32f4/stm32f4.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void clear_bits(uint8_t *p, uint32_t value)
{
    for (uint32_t i = 0; i < 4u; i++) p[i] &= (uint8_t)(value >> (8u * i));
}

#define OFFSET 131072u /* the second slot's */
#define SECTOR_ADDRESS (TINYFED_STORE_ADDRESS + OFFSET)
#define SECTOR (SECTOR_ADDRESS == 0x080A0000u ? 9u : 7u) /* RM0090, 3.3: sector 5 begins at 0x08020000 */
#define SECTOR_BYTES 1024u                               /* as much of it as is modelled */

static struct {
    uint8_t bytes[SECTOR_BYTES];
    uint32_t cr, sr, acr, keys, busy, emptied;
    uint32_t fail_sr; /* error bits of the next operation */
    bool stuck;
} stm;

uint32_t tinyfed_stm32_read(uint32_t address)
{
    if (address == STM32F4_FLASH_CR) return stm.cr;
    if (address == STM32F4_FLASH_ACR) return stm.acr;
    check(address == STM32F4_FLASH_SR, "a register that is not modelled was read");
    if (stm.busy > 0u && !stm.stuck) stm.busy--;
    return stm.sr | (stm.busy > 0u ? 1u << 16 : 0u);
}

static void begin_operation(void)
{
    check(stm.busy == 0u, "an operation while one runs");
    stm.busy = 5u;
    stm.sr |= stm.fail_sr;
    stm.fail_sr = 0;
}

void tinyfed_stm32_write(uint32_t address, uint32_t value)
{
    const bool locked = (stm.cr & 1u << 31) != 0u;
    if (address == STM32F4_FLASH_KEYR) {
        const uint32_t wanted = stm.keys == 0u ? 0x45670123u : 0xCDEF89ABu;
        check(locked && value == wanted, "a wrong key locks the controller until the next reset");
        if (++stm.keys == 2u) stm.cr &= ~(1u << 31);
    } else if (address == STM32F4_FLASH_SR) {
        stm.sr &= ~value;
    } else if (address == STM32F4_FLASH_ACR) {
        if ((value & 3u << 11) != 0u) {
            check((value & 3u << 9) == 0u, "caches are emptied while they are on");
            stm.emptied++;
        }
        stm.acr = value;
    } else if (address == STM32F4_FLASH_CR) {
        check(!locked, "the locked control register was written");
        check(stm.busy == 0u || stm.stuck, "the control register was written while the flash is busy");
        stm.cr = value & ~(1u << 16);
        if ((value & 1u << 31) != 0u) stm.keys = 0;
        if ((value & 1u << 16) == 0u) return;
        check((value & 2u) != 0u && (value & 3u << 8) == 2u << 8 && (value >> 3 & 15u) == SECTOR, "another sector");
        begin_operation();
        if (stm.sr == 0u) memset(stm.bytes, 0xFF, sizeof stm.bytes);
    } else {
        check(!locked && (stm.cr & 3u) == 1u && (stm.cr & 3u << 8) == 2u << 8, "a write without programming");
        check(address >= SECTOR_ADDRESS && address < SECTOR_ADDRESS + SECTOR_BYTES && address % 4u == 0u, "elsewhere");
        begin_operation();
        if (stm.sr == 0u) clear_bits(stm.bytes + (address - SECTOR_ADDRESS), value);
    }
}

static void start_stm(void)
{
    memset(&stm, 0, sizeof stm);
    stm.cr = 1u << 31;
    stm.acr = 5u | 7u << 8;
}

int main(void)
{
    uint8_t text[64];
    for (uint32_t i = 0; i < sizeof text; i++) text[i] = (uint8_t)(i * 7u + 1u);
    start_stm();
    check(tinyfed_stm32f4_flash.erase(OFFSET) == TINYFED_FLASH_DONE && stm.bytes[5] == 0xFFu, "it does not erase");
    check(stm.emptied == 1u && stm.acr == (5u | 7u << 8), "the caches keep what was there, or stay off");
    check(tinyfed_stm32f4_flash.write(OFFSET + 128u, text, sizeof text) == TINYFED_FLASH_DONE, "it does not write");
    check(memcmp(stm.bytes + 128, text, sizeof text) == 0, "it writes something else");
    check(stm.cr == 1u << 31, "the controller stays open");
    for (uint32_t bit = 1u; bit <= 7u; bit++) {
        if (bit == 2u || bit == 3u) continue; /* reserved */
        stm.fail_sr = 1u << bit;
        check(tinyfed_stm32f4_flash.write(OFFSET, text, 16u) == TINYFED_FLASH_FAILED, "a failed write passes");
        check(stm.cr == 1u << 31, "the controller stays open after an error");
        stm.fail_sr = 1u << bit;
        check(tinyfed_stm32f4_flash.erase(OFFSET) == TINYFED_FLASH_FAILED, "a failed erase passes");
        check(tinyfed_stm32f4_flash.erase(OFFSET) == TINYFED_FLASH_DONE, "an error of before stops it");
    }
    return 0;
}
