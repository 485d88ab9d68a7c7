#include "nvmc.h"

#include "registers.h"
#include "tinyfed_bytes.h"

#include <stdbool.h>

#define PART_MS 10u
#define PARTS 10u /* 85 ms, and a tenth more for the parts' own inaccuracy */

/* Turns of at least 10 cycles at 64 MHz: 150 ms. */
#define PATIENCE 1000000u

static uint8_t parts; /* done of the page that is being erased */

static bool rest(void)
{
    for (uint32_t turn = 0; turn < PATIENCE; turn++) {
        if ((tinyfed_nrf52_read(NRF52_NVMC_READY) & 1u) != 0u) return true;
    }
    return false;
}

tinyfed_flash_state_t tinyfed_nrf52_nvmc_erase(uint32_t address)
{
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
