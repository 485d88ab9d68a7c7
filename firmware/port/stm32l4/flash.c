/* The flash controller: a page erased, double words written (RM0351, 3.3). The store lies in the second bank: the
 * processor runs from the first one meanwhile, and the line is served. */
#include "stm32l4.h"
#include "tinyfed_bytes.h"

/* Operation, programming, write protection, alignment, size, sequence, data miss, fast programming, read protection,
 * option validity; and end of operation */
#define ERRORS 0xC3FBu
#define CR_PROGRAM (1u << 0)
#define CR_PAGE_ERASE (1u << 1)
#define CR_SECOND_BANK (1u << 11)
#define CR_START (1u << 16)
#define ACR_DATA_CACHE (1u << 10)
#define ECCR_SECOND_BANK (1u << 19)
#define ECCR_SYSTEM (1u << 20)   /* memory of the ROM loader */
#define ECCR_DETECTED (1u << 31) /* two wrong bits, which cannot be mended */

#define BANK2 0x08080000u
#define PAGE_BYTES 2048u
#define SLOT_BYTES (TINYFED_STORE_BYTES / 2u)
_Static_assert(TINYFED_STORE_ADDRESS % PAGE_BYTES == 0u && SLOT_BYTES % PAGE_BYTES == 0u && TINYFED_STORE_BYTES > 0u &&
                   TINYFED_STORE_ADDRESS >= BANK2 && TINYFED_STORE_ADDRESS + TINYFED_STORE_BYTES <= 0x08100000u,
               "memory.store in the manifest must be two slots of whole pages of 2 KB in the second bank, from "
               "0x08080000 to 0x080fffff");

static const tinyfed_stm32_controller_t controller = {STM32L4_FLASH_ACR, STM32L4_FLASH_KEYR, STM32L4_FLASH_SR,
                                                      STM32L4_FLASH_CR, ERRORS};

/* The data cache may be corrupted while one bank is written and the other one read (errata sheet ES0250, flash
 * read-while-write): it is off meanwhile, and empty when it is on again. */
static bool begin(void)
{
    if (!tinyfed_stm32_flash_open(&controller)) return false;
    tinyfed_stm32_change(STM32L4_FLASH_ACR, ACR_DATA_CACHE, 0u);
    return true;
}

static tinyfed_flash_state_t end(bool good)
{
    tinyfed_stm32_flash_empty_caches(&controller);
    tinyfed_stm32_change(STM32L4_FLASH_ACR, 0u, ACR_DATA_CACHE);
    return tinyfed_stm32_flash_close(&controller, good);
}

/* A power cut while a double word is written, or a page erased, leaves what the flash's ECC does not accept. Whoever
 * reads it gets this interrupt, again and again until its flag is cleared: the store is read at each start, so the
 * device would never come up. What is read there is checked by its CRC. In the program's bank nothing helps. */
void tinyfed_cortexm_nmi(void)
{
    const uint32_t found = tinyfed_stm32_read(STM32L4_FLASH_ECCR);
    if ((found & ECCR_DETECTED) == 0u) return;
    tinyfed_stm32_write(STM32L4_FLASH_ECCR, found);
    if ((found & (ECCR_SECOND_BANK | ECCR_SYSTEM)) != ECCR_SECOND_BANK) tinyfed_cortexm_reset(TINYFED_CAUSE_FAULT);
}

static tinyfed_flash_state_t erase(uint32_t offset)
{
    const uint32_t page = (TINYFED_STORE_ADDRESS - BANK2 + offset) / PAGE_BYTES;
    const uint32_t order = CR_PAGE_ERASE | CR_SECOND_BANK | page << 3;
    if (!begin()) return TINYFED_FLASH_FAILED;
    tinyfed_stm32_write(STM32L4_FLASH_CR, order);
    tinyfed_stm32_write(STM32L4_FLASH_CR, order | CR_START);
    return end(tinyfed_stm32_flash_done(&controller));
}

/* A double word is written at once, or not at all; behind an odd last word the flash stays as erased. */
static tinyfed_flash_state_t write(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    if (!begin()) return TINYFED_FLASH_FAILED;
    bool good = true;
    tinyfed_stm32_write(STM32L4_FLASH_CR, CR_PROGRAM);
    for (uint32_t i = 0; good && i < byte_count; i += 8u) {
        const uint32_t address = TINYFED_STORE_ADDRESS + offset + i;
        tinyfed_stm32_write(address, tinyfed_get32(bytes + i));
        tinyfed_stm32_write(address + 4u, i + 4u < byte_count ? tinyfed_get32(bytes + i + 4u) : 0xFFFFFFFFu);
        good = tinyfed_stm32_flash_done(&controller);
    }
    return end(good);
}

const tinyfed_flash_t tinyfed_stm32l4_flash = {
    .base = (const uint8_t *)(uintptr_t)TINYFED_STORE_ADDRESS,
    .slot_bytes = SLOT_BYTES,
    .block_bytes = PAGE_BYTES,
    .write_bytes = 256u, /* 32 double words of 90 us */
    .quiet_ms = 0u,      /* a page takes 25 ms, of the line's 89 at 115200 baud */
    .erase = erase,
    .write = write,
};
