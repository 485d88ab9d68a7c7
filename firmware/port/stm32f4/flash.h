/* The STM32F4's flash controller: a sector erased, words written (RM0090, 3.6). All access goes through four
 * functions, so that tests on a PC can put a model behind them. */
#ifndef TINYFED_STM32F4_FLASH_H
#define TINYFED_STM32F4_FLASH_H

#include "tinyfed_flash.h"

#include <stdbool.h>

#define STM32_FLASH_ACR 0x40023C00u
#define STM32_FLASH_KEYR 0x40023C04u
#define STM32_FLASH_SR 0x40023C0Cu
#define STM32_FLASH_CR 0x40023C10u

#ifdef TINYFED_STM32F4_MODEL
uint32_t tinyfed_stm32f4_read(uint32_t address);
void tinyfed_stm32f4_write(uint32_t address, uint32_t value);
#else
static inline uint32_t tinyfed_stm32f4_read(uint32_t address) { return *(volatile uint32_t *)address; }
static inline void tinyfed_stm32f4_write(uint32_t address, uint32_t value) { *(volatile uint32_t *)address = value; }
#endif

/* Both wait for the controller, at most some seconds. The processor stands still meanwhile: it runs from that flash. */
tinyfed_flash_state_t tinyfed_stm32f4_erase(uint32_t sector);
tinyfed_flash_state_t tinyfed_stm32f4_program(uint32_t address, const uint8_t *bytes, uint32_t byte_count);

#endif
