#include "uicr.h"

#include "nvmc.h"
#include "registers.h"
#include "tinyfed_bytes.h"

#define ERASED 0xFFFFFFFFu

/* Chips from build code F0 on are locked at each reset until UICR and the firmware both say 0x5A (Product Specification
 * 1.7, Debug and trace, Access port protection). Before, any byte but 0xFF in UICR.APPROTECT is a lock. As Nordic's MDK
 * (configuration 249) they are told apart by two words of FICR: 8 is the nRF52840, 5 its build F0.
 */
#define OPEN 0x5Au
#define PART 8u
#define VARIANT_F0 5u

static bool put(uint32_t address, uint32_t value)
{
    uint8_t bytes[4];
    tinyfed_put32(bytes, value);
    return tinyfed_nrf52_nvmc_write(address, bytes, sizeof bytes) == TINYFED_FLASH_DONE &&
           tinyfed_nrf52_read(address) == value;
}

static bool is_free(uint32_t address, uint32_t value)
{
    const uint32_t held = tinyfed_nrf52_read(address);
    return held == ERASED || held == value;
}

bool tinyfed_nrf52_uicr_restore(void)
{
    bool changed = false;
    if (tinyfed_nrf52_read(NRF52_FICR_PART) == PART && tinyfed_nrf52_read(NRF52_FICR_VARIANT) >= VARIANT_F0) {
        tinyfed_nrf52_write(NRF52_APPROTECT_DISABLE, OPEN);
        if (tinyfed_nrf52_read(NRF52_UICR_APPROTECT) == ERASED) changed = put(NRF52_UICR_APPROTECT, 0xFFFFFF00u | OPEN);
    }
#ifdef TINYFED_RESET_PIN
    /* Both words must name the pin (UICR, PSELRESET). */
    if (is_free(NRF52_UICR_PSELRESET(0u), TINYFED_RESET_PIN) && is_free(NRF52_UICR_PSELRESET(1u), TINYFED_RESET_PIN)) {
        for (uint32_t i = 0; i < 2u; i++)
            if (tinyfed_nrf52_read(NRF52_UICR_PSELRESET(i)) == ERASED)
                changed |= put(NRF52_UICR_PSELRESET(i), TINYFED_RESET_PIN);
    }
#endif
    return changed;
}
