#include "nvmc.h"

#include "registers.h"
#include "tinyfed_bytes.h"
#include "uarte.h"

#include <stdbool.h>

/* Half of what a block of the UARTE's ring lasts: the processor stands still meanwhile (Product Specification 1.7,
 * NVMC, Partial erase), and the interrupt for the next block must not come a block late. */
#define HALF_BLOCK_MS (TINYFED_NRF52_UARTE_BLOCK_BYTES * 10u * 500u / TINYFED_BAUD)
#define PART_MS (HALF_BLOCK_MS < 10u ? HALF_BLOCK_MS : 10u)
#define PARTS ((100u + PART_MS - 1u) / PART_MS) /* 85 ms, and more for the parts' own inaccuracy */
_Static_assert(HALF_BLOCK_MS > 0u && PARTS < 256u, "a part lasts a millisecond or more");

/* Turns of at least 10 cycles at 64 MHz: 150 ms. */
#define PATIENCE 1000000u

static uint32_t page; /* that is being erased */
static uint8_t parts; /* done of it */

static bool rest(void)
{
    tinyfed_nrf52_barrier(); /* READY is that of before while the write is in the processor's buffer */
    for (uint32_t turn = 0; turn < PATIENCE; turn++) {
        if ((tinyfed_nrf52_read(NRF52_NVMC_READY) & 1u) != 0u) return true;
    }
    return false;
}

tinyfed_flash_state_t tinyfed_nrf52_nvmc_erase(uint32_t address)
{
    if (address != page) parts = 0; /* another one was given up half erased */
    page = address;
    tinyfed_nrf52_write(NRF52_NVMC_ERASEPAGEPARTIALCFG, PART_MS);
    tinyfed_nrf52_write(NRF52_NVMC_CONFIG, 2u);
    tinyfed_nrf52_write(NRF52_NVMC_ERASEPAGEPARTIAL, address);
    const bool good = rest();
    tinyfed_nrf52_write(NRF52_NVMC_CONFIG, 0u);
    parts = (uint8_t)(good ? (parts + 1u) % PARTS : 0u);
    if (!good) return TINYFED_FLASH_FAILED;
    return parts == 0u ? TINYFED_FLASH_DONE : TINYFED_FLASH_AGAIN;
}

tinyfed_flash_state_t tinyfed_nrf52_nvmc_write(uint32_t address, const uint8_t *bytes, uint32_t byte_count)
{
    bool good = true;
    parts = 0;
    tinyfed_nrf52_write(NRF52_NVMC_CONFIG, 1u);
    for (uint32_t i = 0; good && i < byte_count; i += 4u) {
        tinyfed_nrf52_write(address + i, tinyfed_get32(bytes + i));
        good = rest();
    }
    tinyfed_nrf52_write(NRF52_NVMC_CONFIG, 0u);
    return good ? TINYFED_FLASH_DONE : TINYFED_FLASH_FAILED;
}
