/* The flash controller: a sector erased, words written (RM0090, 3.6). Both wait for it, at most some seconds; the
 * processor stands still meanwhile, since it runs from that flash. */
#include "stm32f4.h"
#include "tinyfed_bytes.h"

#define KEY1 0x45670123u
#define KEY2 0xCDEF89ABu
#define SR_BUSY (1u << 16)
#define SR_ERRORS 0xF3u /* operation, write protection, alignment, parallelism, sequence; and end of operation */
#define CR_PROGRAM (1u << 0)
#define CR_SECTOR_ERASE (1u << 1)
#define CR_WORDS (2u << 8) /* 32 bits at once: 2.7 V and more */
#define CR_START (1u << 16)
#define CR_LOCK (1u << 31)
#define ACR_CACHES (3u << 9)
#define ACR_CACHES_RESET (3u << 11)

/* Turns of at least 8 cycles at 168 MHz: 5 s. A sector of 128 KB takes 2 s at most. */
#define PATIENCE 100000000u

/* Sectors of 128 KB are 5 to 11, behind four of 16 and one of 64 (RM0090, 3.3); what lies before has the program. */
#define SECTOR_BYTES 131072u
#define SECTOR_OF(address) (4u + ((address) - 0x08000000u) / SECTOR_BYTES)
#define SLOT_BYTES (TINYFED_STORE_BYTES / 2u)
_Static_assert(TINYFED_STORE_ADDRESS % SECTOR_BYTES == 0u && SLOT_BYTES % SECTOR_BYTES == 0u &&
                   TINYFED_STORE_ADDRESS > 0x08000000u && TINYFED_STORE_BYTES > 0u &&
                   TINYFED_STORE_ADDRESS + TINYFED_STORE_BYTES <= 0x08100000u,
               "memory.store of the board's manifest must be two slots of whole sectors of 128 KB, from 0x08020000 to "
               "0x080fffff");

static bool rest(void) { return tinyfed_stm32_becomes(STM32F4_FLASH_SR, SR_BUSY, 0u, PATIENCE); }

static bool unlock(void)
{
    if (!rest()) return false;
    if ((tinyfed_stm32_read(STM32F4_FLASH_CR) & CR_LOCK) != 0u) {
        tinyfed_stm32_write(STM32F4_FLASH_KEYR, KEY1);
        tinyfed_stm32_write(STM32F4_FLASH_KEYR, KEY2);
    }
    tinyfed_stm32_write(STM32F4_FLASH_SR, SR_ERRORS); /* of before: cleared by writing ones */
    return (tinyfed_stm32_read(STM32F4_FLASH_CR) & CR_LOCK) == 0u;
}

static tinyfed_flash_state_t finish(bool good)
{
    good = good && (tinyfed_stm32_read(STM32F4_FLASH_SR) & (SR_ERRORS & ~1u)) == 0u;
    tinyfed_stm32_write(STM32F4_FLASH_CR, CR_LOCK);
    return good ? TINYFED_FLASH_DONE : TINYFED_FLASH_FAILED;
}

/* What the caches hold of a sector is not what is in it any more. They may be emptied only while they are off. */
static void empty_caches(void)
{
    const uint32_t acr = tinyfed_stm32_read(STM32F4_FLASH_ACR);
    tinyfed_stm32_write(STM32F4_FLASH_ACR, acr & ~ACR_CACHES);
    tinyfed_stm32_write(STM32F4_FLASH_ACR, (acr & ~ACR_CACHES) | ACR_CACHES_RESET);
    tinyfed_stm32_write(STM32F4_FLASH_ACR, acr & ~(ACR_CACHES | ACR_CACHES_RESET));
    tinyfed_stm32_write(STM32F4_FLASH_ACR, acr);
}

static tinyfed_flash_state_t erase(uint32_t offset)
{
    const uint32_t order = CR_SECTOR_ERASE | CR_WORDS | SECTOR_OF(TINYFED_STORE_ADDRESS + offset) << 3;
    if (!unlock()) return TINYFED_FLASH_FAILED;
    tinyfed_stm32_write(STM32F4_FLASH_CR, order);
    tinyfed_stm32_write(STM32F4_FLASH_CR, order | CR_START);
    const bool good = rest();
    empty_caches();
    return finish(good);
}

static tinyfed_flash_state_t write(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    if (!unlock()) return TINYFED_FLASH_FAILED;
    bool good = true;
    tinyfed_stm32_write(STM32F4_FLASH_CR, CR_PROGRAM | CR_WORDS);
    for (uint32_t i = 0; good && i < byte_count; i += 4u) {
        tinyfed_stm32_write(TINYFED_STORE_ADDRESS + offset + i, tinyfed_get32(bytes + i));
        good = rest();
    }
    return finish(good);
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
