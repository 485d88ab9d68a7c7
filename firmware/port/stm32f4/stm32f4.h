/* STM32F405 (RM0090): clock tree and flash. */
#ifndef TINYFED_STM32F4_H
#define TINYFED_STM32F4_H

#include "../stm32/stm32.h"

/* RM0090, 7.3 */
#define STM32F4_RCC 0x40023800u
#define STM32F4_RCC_CR (STM32F4_RCC + 0x00u)
#define STM32F4_RCC_PLLCFGR (STM32F4_RCC + 0x04u)
#define STM32F4_RCC_CFGR (STM32F4_RCC + 0x08u)
#define STM32F4_RCC_CIR (STM32F4_RCC + 0x0Cu)
#define STM32F4_RCC_AHB1RSTR (STM32F4_RCC + 0x10u)
#define STM32F4_RCC_AHB1ENR (STM32F4_RCC + 0x30u)
#define STM32F4_RCC_APB2ENR (STM32F4_RCC + 0x44u)
#define STM32F4_RCC_CSR (STM32F4_RCC + 0x74u)

/* RM0090, 3.9 */
#define STM32F4_FLASH_ACR 0x40023C00u
#define STM32F4_FLASH_KEYR 0x40023C04u
#define STM32F4_FLASH_SR 0x40023C0Cu
#define STM32F4_FLASH_CR 0x40023C10u

tinyfed_stm32_clock_t tinyfed_stm32f4_clock_start(bool emulated);

extern const tinyfed_flash_t tinyfed_stm32f4_flash;

#endif
