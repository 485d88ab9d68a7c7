/* Registers of the STM32F405 that the port uses (RM0090). All access but the clock tree's goes through two functions,
 * so that tests on a PC can put a model behind them. */
#ifndef TINYFED_STM32F4_REGISTERS_H
#define TINYFED_STM32F4_REGISTERS_H

#include <stdint.h>

#ifdef TINYFED_STM32F4_MODEL
uint32_t tinyfed_stm32f4_read(uint32_t address);
void tinyfed_stm32f4_write(uint32_t address, uint32_t value);
#else
static inline uint32_t tinyfed_stm32f4_read(uint32_t address) { return *(volatile uint32_t *)address; }
static inline void tinyfed_stm32f4_write(uint32_t address, uint32_t value) { *(volatile uint32_t *)address = value; }
#endif

#define STM32F4_RCC 0x40023800u
#define STM32F4_RCC_AHB1ENR (STM32F4_RCC + 0x30u)
#define STM32F4_RCC_APB2ENR (STM32F4_RCC + 0x44u)

#define STM32F4_FLASH_ACR 0x40023C00u
#define STM32F4_FLASH_KEYR 0x40023C04u
#define STM32F4_FLASH_SR 0x40023C0Cu
#define STM32F4_FLASH_CR 0x40023C10u

#define STM32F4_GPIOB_MODER 0x40020400u
#define STM32F4_GPIOB_PUPDR 0x4002040Cu
#define STM32F4_GPIOB_AFRL 0x40020420u

#define STM32F4_USART1_SR 0x40011000u
#define STM32F4_USART1_DR 0x40011004u
#define STM32F4_USART1_BRR 0x40011008u
#define STM32F4_USART1_CR1 0x4001100Cu

#define STM32F4_UNIQUE_ID 0x1FFF7A10u

#endif
