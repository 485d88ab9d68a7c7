/* What the families' flash controllers have in common (RM0090, 3.9; RM0351, 3.7). */
#include "stm32.h"

#define KEY1 0x45670123u
#define KEY2 0xCDEF89ABu
#define BUSY (1u << 16)
#define LOCK (1u << 31)
#define CACHES (3u << 9)
#define CACHES_RESET (3u << 11)

/* Turns of at least 8 cycles at 168 MHz: 5 s. A sector of 128 KB takes 2 s at most. */
#define PATIENCE 100000000u

bool tinyfed_stm32_flash_done(const tinyfed_stm32_controller_t *controller)
{
    return tinyfed_stm32_becomes(controller->status, BUSY, 0u, PATIENCE);
}

bool tinyfed_stm32_flash_open(const tinyfed_stm32_controller_t *controller)
{
    if (!tinyfed_stm32_flash_done(controller)) return false;
    if ((tinyfed_stm32_read(controller->control) & LOCK) != 0u) {
        tinyfed_stm32_write(controller->keys, KEY1);
        tinyfed_stm32_write(controller->keys, KEY2);
    }
    tinyfed_stm32_write(controller->status, controller->errors); /* cleared by writing ones */
    return (tinyfed_stm32_read(controller->control) & LOCK) == 0u;
}

tinyfed_flash_state_t tinyfed_stm32_flash_close(const tinyfed_stm32_controller_t *controller, bool good)
{
    good = good && (tinyfed_stm32_read(controller->status) & (controller->errors & ~1u)) == 0u;
    tinyfed_stm32_write(controller->control, LOCK);
    return good ? TINYFED_FLASH_DONE : TINYFED_FLASH_FAILED;
}

/* What they hold of a sector is not what is in it any more. They may be emptied only while they are off. */
void tinyfed_stm32_flash_empty_caches(const tinyfed_stm32_controller_t *controller)
{
    const uint32_t access = tinyfed_stm32_read(controller->access);
    tinyfed_stm32_write(controller->access, access & ~CACHES);
    tinyfed_stm32_write(controller->access, (access & ~CACHES) | CACHES_RESET);
    tinyfed_stm32_write(controller->access, access & ~(CACHES | CACHES_RESET));
    tinyfed_stm32_write(controller->access, access);
}
