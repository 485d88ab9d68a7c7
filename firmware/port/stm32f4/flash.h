/* The STM32F4's flash controller: a sector erased, words written (RM0090, 3.6). */
#ifndef TINYFED_STM32F4_FLASH_H
#define TINYFED_STM32F4_FLASH_H

#include "tinyfed_flash.h"

/* Both wait for the controller, at most some seconds. The processor stands still meanwhile: it runs from that flash. */
tinyfed_flash_state_t tinyfed_stm32f4_flash_erase(uint32_t sector);
tinyfed_flash_state_t tinyfed_stm32f4_flash_write(uint32_t address, const uint8_t *bytes, uint32_t byte_count);

#endif
