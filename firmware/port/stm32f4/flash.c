#include "flash.h"

#include "registers.h"
#include "tinyfed_bytes.h"

#include <stdbool.h>

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

static bool rest(void)
{
    for (uint32_t turn = 0; turn < PATIENCE; turn++) {
        if ((tinyfed_stm32f4_read(STM32F4_FLASH_SR) & SR_BUSY) == 0u) return true;
    }
    return false;
}

static bool unlock(void)
{
    if (!rest()) return false;
    if ((tinyfed_stm32f4_read(STM32F4_FLASH_CR) & CR_LOCK) != 0u) {
        tinyfed_stm32f4_write(STM32F4_FLASH_KEYR, KEY1);
        tinyfed_stm32f4_write(STM32F4_FLASH_KEYR, KEY2);
    }
    tinyfed_stm32f4_write(STM32F4_FLASH_SR, SR_ERRORS); /* of before: cleared by writing ones */
    return (tinyfed_stm32f4_read(STM32F4_FLASH_CR) & CR_LOCK) == 0u;
}

static tinyfed_flash_state_t finish(bool good)
{
    good = good && (tinyfed_stm32f4_read(STM32F4_FLASH_SR) & (SR_ERRORS & ~1u)) == 0u;
    tinyfed_stm32f4_write(STM32F4_FLASH_CR, CR_LOCK);
    return good ? TINYFED_FLASH_DONE : TINYFED_FLASH_FAILED;
}

/* What the caches hold of a sector is not what is in it any more. They may be emptied only while they are off. */
static void empty_caches(void)
{
    const uint32_t acr = tinyfed_stm32f4_read(STM32F4_FLASH_ACR);
    tinyfed_stm32f4_write(STM32F4_FLASH_ACR, acr & ~ACR_CACHES);
    tinyfed_stm32f4_write(STM32F4_FLASH_ACR, (acr & ~ACR_CACHES) | ACR_CACHES_RESET);
    tinyfed_stm32f4_write(STM32F4_FLASH_ACR, acr & ~(ACR_CACHES | ACR_CACHES_RESET));
    tinyfed_stm32f4_write(STM32F4_FLASH_ACR, acr);
}

tinyfed_flash_state_t tinyfed_stm32f4_flash_erase(uint32_t sector)
{
    if (!unlock()) return TINYFED_FLASH_FAILED;
    tinyfed_stm32f4_write(STM32F4_FLASH_CR, CR_SECTOR_ERASE | CR_WORDS | sector << 3);
    tinyfed_stm32f4_write(STM32F4_FLASH_CR, CR_SECTOR_ERASE | CR_WORDS | sector << 3 | CR_START);
    const bool good = rest();
    empty_caches();
    return finish(good);
}

tinyfed_flash_state_t tinyfed_stm32f4_flash_write(uint32_t address, const uint8_t *bytes, uint32_t byte_count)
{
    if (!unlock()) return TINYFED_FLASH_FAILED;
    bool good = true;
    tinyfed_stm32f4_write(STM32F4_FLASH_CR, CR_PROGRAM | CR_WORDS);
    for (uint32_t i = 0; good && i < byte_count; i += 4u) {
        tinyfed_stm32f4_write(address + i, tinyfed_get32(bytes + i));
        good = rest();
    }
    return finish(good);
}
