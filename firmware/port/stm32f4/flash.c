/* The flash controller: a sector erased, words written (RM0090, 3.6). Both wait for it, at most some seconds; the
 * processor stands still meanwhile, since it runs from that flash. */
#include "stm32f4.h"
#include "tinyfed_bytes.h"

#define ERRORS 0xF3u /* operation, write protection, alignment, parallelism, sequence; and end of operation */
#define CR_PROGRAM (1u << 0)
#define CR_SECTOR_ERASE (1u << 1)
#define CR_WORDS (2u << 8) /* 32 bits at once: 2.7 V and more */
#define CR_START (1u << 16)

/* Sectors of 128 KB are 5 to 11, behind four of 16 and one of 64 (RM0090, 3.3); what lies before has the program. */
#define SECTOR_BYTES 131072u
#define SECTOR_OF(address) (4u + ((address) - 0x08000000u) / SECTOR_BYTES)
#define SLOT_BYTES (TINYFED_STORE_BYTES / 2u)
_Static_assert(TINYFED_STORE_ADDRESS % SECTOR_BYTES == 0u && SLOT_BYTES % SECTOR_BYTES == 0u &&
                   TINYFED_STORE_ADDRESS > 0x08000000u && TINYFED_STORE_BYTES > 0u &&
                   TINYFED_STORE_ADDRESS + TINYFED_STORE_BYTES <= 0x08100000u,
               "memory.store in the manifest must be two slots of whole sectors of 128 KB, from 0x08020000 to "
               "0x080fffff");

static const tinyfed_stm32_controller_t controller = {STM32F4_FLASH_ACR, STM32F4_FLASH_KEYR, STM32F4_FLASH_SR,
                                                      STM32F4_FLASH_CR, ERRORS};

static tinyfed_flash_state_t erase(uint32_t offset)
{
    const uint32_t order = CR_SECTOR_ERASE | CR_WORDS | SECTOR_OF(TINYFED_STORE_ADDRESS + offset) << 3;
    if (!tinyfed_stm32_flash_open(&controller)) return TINYFED_FLASH_FAILED;
    tinyfed_stm32_write(STM32F4_FLASH_CR, order);
    tinyfed_stm32_write(STM32F4_FLASH_CR, order | CR_START);
    const bool good = tinyfed_stm32_flash_done(&controller);
    tinyfed_stm32_flash_empty_caches(&controller);
    return tinyfed_stm32_flash_close(&controller, good);
}

static tinyfed_flash_state_t write(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    if (!tinyfed_stm32_flash_open(&controller)) return TINYFED_FLASH_FAILED;
    bool good = true;
    tinyfed_stm32_write(STM32F4_FLASH_CR, CR_PROGRAM | CR_WORDS);
    for (uint32_t i = 0; good && i < byte_count; i += 4u) {
        tinyfed_stm32_write(TINYFED_STORE_ADDRESS + offset + i, tinyfed_get32(bytes + i));
        good = tinyfed_stm32_flash_done(&controller);
    }
    return tinyfed_stm32_flash_close(&controller, good);
}

const tinyfed_flash_t tinyfed_stm32f4_flash = {
    .base = (const uint8_t *)(uintptr_t)TINYFED_STORE_ADDRESS,
    .slot_bytes = SLOT_BYTES,
    .block_bytes = SECTOR_BYTES,
    .write_bytes = 256u, /* 64 words of 16 us */
    .quiet_ms = 2000u,   /* a sector of 128 KB takes 1 s, at most 2 */
    .erase = erase,
    .write = write,
};
