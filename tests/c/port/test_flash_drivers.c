/* The nRF52840's flash driver against a model of its controller, which holds to the manual: a page is erased after 85
 * ms of parts. */
#include "nrf52/nvmc.h"
#include "nrf52/registers.h"
#include "nrf52/uarte.h"
#include "nrf52/uicr.h"

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

static uint32_t word_at(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void clear_bits(uint8_t *p, uint32_t value)
{
    for (uint32_t i = 0; i < 4u; i++) p[i] &= (uint8_t)(value >> (8u * i));
}

/* ---- nRF52840 --------------------------------------------------------------------------------------- */

#define PAGE_ADDRESS 0x40000u
#define NEXT_ADDRESS (PAGE_ADDRESS + TINYFED_NRF52_NVMC_PAGE_BYTES)

static struct {
    uint8_t bytes[TINYFED_NRF52_NVMC_PAGE_BYTES];
    uint32_t config, part_ms, erased_ms, parts_of_next;
    uint32_t part, variant, approtect_disable; /* FICR; the debug port's other lock */
    uint32_t uicr[3];                          /* PSELRESET twice, APPROTECT */
    bool stuck, buffered;                      /* buffered: a write is on its way to the flash */
} nvmc;

static bool is_uicr(uint32_t address) { return address >= NRF52_UICR_PSELRESET(0u) && address <= NRF52_UICR_APPROTECT; }

uint32_t tinyfed_nrf52_read(uint32_t address)
{
    if (address == NRF52_FICR_PART) return nvmc.part;
    if (address == NRF52_FICR_VARIANT) return nvmc.variant;
    if (is_uicr(address)) return nvmc.uicr[(address - NRF52_UICR_PSELRESET(0u)) / 4u];
    check(address == NRF52_NVMC_READY, "a register that is not modelled was read");
    check(!nvmc.buffered, "READY is asked before the write has left the processor's buffer");
    return nvmc.stuck ? 0u : 1u;
}

void tinyfed_nrf52_barrier(void) { nvmc.buffered = false; }

void tinyfed_nrf52_write(uint32_t address, uint32_t value)
{
    if (address == NRF52_NVMC_CONFIG) {
        check(!nvmc.buffered, "the mode is changed before the write is through");
        nvmc.config = value;
    } else if (address == NRF52_APPROTECT_DISABLE) {
        nvmc.approtect_disable = value;
    } else if (is_uicr(address)) {
        check(nvmc.config == 1u, "UICR is written without permission");
        nvmc.buffered = true;
        if (!nvmc.stuck) nvmc.uicr[(address - NRF52_UICR_PSELRESET(0u)) / 4u] &= value;
    } else if (address == NRF52_NVMC_ERASEPAGEPARTIALCFG) {
        nvmc.part_ms = value;
    } else if (address == NRF52_NVMC_ERASEPAGEPARTIAL) {
        check(nvmc.config == 2u && (value == PAGE_ADDRESS || value == NEXT_ADDRESS),
              "an erase without permission, or elsewhere");
        nvmc.buffered = true;
        if (value == NEXT_ADDRESS) {
            nvmc.parts_of_next++;
            return;
        }
        nvmc.erased_ms += nvmc.part_ms;
        if (nvmc.erased_ms >= 85u) memset(nvmc.bytes, 0xFF, sizeof nvmc.bytes);
    } else {
        check(nvmc.config == 1u && address >= PAGE_ADDRESS && address < PAGE_ADDRESS + sizeof nvmc.bytes,
              "a stray write");
        nvmc.buffered = true;
        clear_bits(nvmc.bytes + (address - PAGE_ADDRESS), value);
    }
}

uint32_t tinyfed_nrf52_dma(const void *place) { return place == NULL; }

static void nrf52(void)
{
    const uint8_t text[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (int page = 0; page < 2; page++) {
        int calls = 1;
        nvmc.erased_ms = 0;
        memset(nvmc.bytes, 0x55, sizeof nvmc.bytes);
        while (tinyfed_nrf52_nvmc_erase(PAGE_ADDRESS) == TINYFED_FLASH_AGAIN)
            check(calls++ < 120, "an erase without end");
        check(nvmc.bytes[77] == 0xFFu && nvmc.config == 0u, "the page is not erased, or stays open");
        /* The processor stands still for a part and a tenth; bytes at TINYFED_BAUD come meanwhile. */
        check(nvmc.part_ms * 11u * (TINYFED_BAUD / 1000u) / 100u < TINYFED_NRF52_UARTE_BLOCK_BYTES,
              "a part is longer than a block of the line");
    }
    check(tinyfed_nrf52_nvmc_write(PAGE_ADDRESS + 16u, text, sizeof text) == TINYFED_FLASH_DONE, "it does not write");
    check(word_at(nvmc.bytes + 20) == 0x08070605u && nvmc.bytes[24] == 0xFFu && nvmc.config == 0u,
          "it writes something else");
    (void)tinyfed_nrf52_nvmc_erase(PAGE_ADDRESS); /* given up after a part: the next page begins anew */
    check(tinyfed_nrf52_nvmc_write(PAGE_ADDRESS + 32u, text, 4u) == TINYFED_FLASH_DONE, "it does not write");
    nvmc.erased_ms = 0;
    while (tinyfed_nrf52_nvmc_erase(PAGE_ADDRESS) == TINYFED_FLASH_AGAIN) {
    }
    check(nvmc.erased_ms >= 85u, "a page counts as erased too early");
    /* A save is cancelled in the middle of a page, and the next one begins with another. */
    for (int part = 0; part < 30; part++) (void)tinyfed_nrf52_nvmc_erase(NEXT_ADDRESS);
    check(nvmc.parts_of_next == 30u, "the next page is not erased");
    nvmc.erased_ms = 0;
    while (tinyfed_nrf52_nvmc_erase(PAGE_ADDRESS) == TINYFED_FLASH_AGAIN) {
    }
    check(nvmc.erased_ms >= 85u, "parts of a page that was given up count for another");
    nvmc.stuck = true;
    check(tinyfed_nrf52_nvmc_erase(PAGE_ADDRESS) == TINYFED_FLASH_FAILED,
          "a controller that hangs is waited for for ever");
    check(tinyfed_nrf52_nvmc_write(PAGE_ADDRESS, text, 4u) == TINYFED_FLASH_FAILED, "the same while writing");
}

static bool restored(uint32_t variant, uint32_t psel0, uint32_t psel1, uint32_t approtect)
{
    memset(&nvmc, 0, sizeof nvmc);
    nvmc.part = 8u;
    nvmc.variant = variant;
    nvmc.uicr[0] = psel0;
    nvmc.uicr[1] = psel1;
    nvmc.uicr[2] = approtect;
    return tinyfed_nrf52_uicr_restore();
}

static bool uicr_is(uint32_t psel0, uint32_t psel1, uint32_t approtect)
{
    return nvmc.uicr[0] == psel0 && nvmc.uicr[1] == psel1 && nvmc.uicr[2] == approtect;
}

static void nrf52_uicr(void)
{
    const uint32_t erased = 0xFFFFFFFFu, open = 0xFFFFFF5Au, pin = 18u;
    check(restored(5u, erased, erased, erased) && uicr_is(pin, pin, open), "a full erase is not made good");
    check(nvmc.approtect_disable == 0x5Au && nvmc.config == 0u, "the debug port stays locked, or UICR open");
    check(!restored(5u, pin, pin, open) && nvmc.approtect_disable == 0x5Au, "each start opens, and writes nothing");
    check(restored(4u, erased, erased, erased) && uicr_is(pin, pin, erased) && nvmc.approtect_disable == 0u,
          "before build F0 that word would be a lock");
    check(!restored(5u, pin, pin, 0xFFFFFF00u) && uicr_is(pin, pin, 0xFFFFFF00u), "a lock that somebody wants");
    check(!restored(5u, 21u, 21u, open) && uicr_is(21u, 21u, open), "another reset pin stays");
    check(!restored(5u, 21u, erased, open) && uicr_is(21u, erased, open), "half of another one too");
    check(restored(5u, pin, erased, open) && uicr_is(pin, pin, open), "a power cut between the two words");
    memset(&nvmc, 0, sizeof nvmc);
    nvmc.stuck = true;
    nvmc.part = 8u;
    nvmc.variant = 5u;
    memset(nvmc.uicr, 0xFF, sizeof nvmc.uicr);
    check(!tinyfed_nrf52_uicr_restore(), "a UICR that takes nothing would be a reset without end");
}

int main(void)
{
    nrf52();
    nrf52_uicr();
    return 0;
}
