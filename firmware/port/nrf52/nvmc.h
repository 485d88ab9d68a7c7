/* The nRF52840's flash controller: a page erased in parts, words written. */
#ifndef TINYFED_NRF52_NVMC_H
#define TINYFED_NRF52_NVMC_H

#include "tinyfed_flash.h"

#define TINYFED_NRF52_NVMC_PAGE_BYTES 4096u

/* A part of the 85 ms that a page takes: less than a block of the UARTE's ring lasts, so the line loses nothing. Call
 * it with the same page until it is DONE. */
tinyfed_flash_state_t tinyfed_nrf52_nvmc_erase(uint32_t address);
tinyfed_flash_state_t tinyfed_nrf52_nvmc_write(uint32_t address, const uint8_t *bytes, uint32_t byte_count);

#endif
