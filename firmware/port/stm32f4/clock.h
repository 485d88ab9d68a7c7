/* Clock tree of an STM32F405: 168 MHz from the crystal, else from the internal oscillator. */
#ifndef TINYFED_STM32F4_CLOCK_H
#define TINYFED_STM32F4_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef enum tinyfed_stm32f4_clock_source {
    TINYFED_STM32F4_CLOCK_CRYSTAL = 1,  /* HSE through the PLL */
    TINYFED_STM32F4_CLOCK_INTERNAL = 2, /* HSI through the PLL: the crystal did not start */
    TINYFED_STM32F4_CLOCK_SLOW = 3,     /* HSI as it is: the PLL did not lock */
    TINYFED_STM32F4_CLOCK_EMULATED = 4  /* no clock controller answers, as under QEMU, whose core runs at 168 MHz */
} tinyfed_stm32f4_clock_source_t;

typedef struct tinyfed_stm32f4_clock {
    tinyfed_stm32f4_clock_source_t source;
    uint32_t core_hz;
    uint32_t apb2_hz; /* of USART1 */
} tinyfed_stm32f4_clock_t;

/* The registers as the clock's code sees them; tests give their own. */
typedef struct tinyfed_stm32f4_clock_registers {
    volatile uint32_t *rcc;   /* word offsets: 0 CR, 1 PLLCFGR, 2 CFGR */
    volatile uint32_t *flash; /* word offset 0: ACR */
} tinyfed_stm32f4_clock_registers_t;

/* Every wait is bounded: a crystal can be missing or broken. hse_hz is a multiple of 1 MHz, 4 to 26 MHz. */
tinyfed_stm32f4_clock_t tinyfed_stm32f4_clock_start(const tinyfed_stm32f4_clock_registers_t *registers,
                                                    uint32_t hse_hz);

/* Time kept by a counter that counts down from period - 1 and whose interrupt counts how often it was at 0. */
typedef struct tinyfed_stm32f4_ticks {
    uint32_t period; /* in ticks */
    uint64_t latest; /* that was told */
} tinyfed_stm32f4_ticks_t;

/* Ticks since the start; never less than was told before. `value` may be that of a wrap whose interrupt has yet to
 * come, as when the counter was read between the two, and under QEMU, whose counter stays at 0 until its interrupt is
 * there: time stands still then. */
uint64_t tinyfed_stm32f4_ticks(tinyfed_stm32f4_ticks_t *ticks, uint32_t wraps, uint32_t value);

#endif
