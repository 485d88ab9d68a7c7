/* A stand-in for mbed's driver of the flash, with the rules of the nRF52840's: an erase is of whole pages, a write of
 * whole words that are erased, and clears bits. It holds the store and the samples, at their addresses, in the file
 * that STAND_IN_FLASH in the environment names. STAND_IN_CUT=n cuts the power in its n-th erase or write, half of which
 * is done. */
#ifndef STAND_IN_FLASHIAP_H
#define STAND_IN_FLASHIAP_H

#include <stdint.h>

namespace mbed
{
class FlashIAP
{
  public:
    int init();
    int erase(uint32_t address, uint32_t byte_count);
    int program(const void *bytes, uint32_t address, uint32_t byte_count);
    uint32_t get_sector_size(uint32_t address) const;
    uint32_t get_page_size() const;
};
} // namespace mbed

#endif
