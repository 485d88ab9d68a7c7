/* STM32L475 (RM0351): clock tree and flash. */
#ifndef TINYFED_STM32L4_H
#define TINYFED_STM32L4_H

#include "../stm32/stm32.h"

/* RM0351, 6.4 */
#define STM32L4_RCC 0x40021000u
#define STM32L4_RCC_CR (STM32L4_RCC + 0x00u)
#define STM32L4_RCC_CFGR (STM32L4_RCC + 0x08u)
#define STM32L4_RCC_PLLCFGR (STM32L4_RCC + 0x0Cu)
#define STM32L4_RCC_CIER (STM32L4_RCC + 0x18u)
#define STM32L4_RCC_CICR (STM32L4_RCC + 0x20u)
#define STM32L4_RCC_AHB1RSTR (STM32L4_RCC + 0x28u)
#define STM32L4_RCC_AHB1ENR (STM32L4_RCC + 0x48u)
#define STM32L4_RCC_AHB2ENR (STM32L4_RCC + 0x4Cu)
#define STM32L4_RCC_APB2ENR (STM32L4_RCC + 0x60u)
#define STM32L4_RCC_CCIPR (STM32L4_RCC + 0x88u)
#define STM32L4_RCC_CSR (STM32L4_RCC + 0x94u)

/* RM0351, 3.7 */
#define STM32L4_FLASH_ACR 0x40022000u
#define STM32L4_FLASH_KEYR 0x40022008u
#define STM32L4_FLASH_SR 0x40022010u
#define STM32L4_FLASH_CR 0x40022014u
#define STM32L4_FLASH_ECCR 0x40022018u

tinyfed_stm32_clock_t tinyfed_stm32l4_clock_start(bool emulated);

extern const tinyfed_flash_t tinyfed_stm32l4_flash;

#endif
