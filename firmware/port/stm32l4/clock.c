/* 80 MHz from the internal oscillator of 16 MHz (1 %): the board has no other crystal than the clock's. */
#include "stm32l4.h"

/* Bits of RCC_CR, RCC_PLLCFGR, RCC_CFGR */
#define MSION (1u << 0)
#define MSIPLLEN (1u << 2)
#define HSION (1u << 8)
#define HSIRDY (1u << 10)
#define HSEON (1u << 16)
#define HSEBYP (1u << 18)
#define CSSON (1u << 19)
#define PLLON (1u << 24)
#define PLLRDY (1u << 25)
#define PLLSAI1ON (1u << 26)
#define PLLSAI2ON (1u << 28)
#define SW_HSI 1u
#define SW_PLL 3u
#define SWS (3u << 2)
#define SWS_HSI (1u << 2)
#define SWS_PLL (3u << 2)

/* 16 MHz by M = 2 into the VCO, which takes 4 to 16; times N = 20 is 160 MHz of 64 to 344, by R = 2 is 80
 * (RM0351, 6.4.4; the data sheet's limits). */
#define PLL (2u | 1u << 4 | 20u << 8 | 1u << 24)

#define CICR_CLEAR 0x3FFu
#define AHB1RSTR_FLASH (1u << 8) /* only while it is powered down */
#define AHB1ENR_RESET (1u << 8)

/* Four wait states at 80 MHz in voltage range 1; prefetch, instruction and data cache (RM0351, 3.3.3). */
#define ACR_80MHZ (4u | 1u << 8 | 1u << 9 | 1u << 10)

#define HSI_HZ 16000000u

/* Turns of at least 4 cycles at 4 MHz, MSI's after a reset: 20 ms. HSI starts in 4 us, the PLL locks in 40. */
#define PATIENCE 20000u

static const tinyfed_stm32_clock_t slow = {TINYFED_STM32_CLOCK_SLOW, HSI_HZ, HSI_HZ};

static bool becomes(uint32_t address, uint32_t mask, uint32_t value)
{
    return tinyfed_stm32_becomes(address, mask, value, PATIENCE);
}

/* On HSI with all else off: a boot loader may have left the PLL running, whose PLLCFGR is deaf then, or MSI at another
 * speed. Resetting PWR gives voltage range 1. */
static bool reset(void)
{
    tinyfed_stm32_change(STM32L4_RCC_CR, 0u, HSION);
    if (!becomes(STM32L4_RCC_CR, HSIRDY, HSIRDY)) return false;
    tinyfed_stm32_write(STM32L4_RCC_CFGR, SW_HSI);
    if (!becomes(STM32L4_RCC_CFGR, SWS, SWS_HSI)) return false;
    tinyfed_stm32_change(STM32L4_RCC_CR, MSION | MSIPLLEN | HSEON | CSSON | PLLON | PLLSAI1ON | PLLSAI2ON, 0u);
    if (!becomes(STM32L4_RCC_CR, PLLRDY, 0u)) return false;
    tinyfed_stm32_change(STM32L4_RCC_CR, HSEBYP, 0u); /* which can be written while HSE is off */
    tinyfed_stm32_write(STM32L4_RCC_CIER, 0u);
    tinyfed_stm32_write(STM32L4_RCC_CICR, CICR_CLEAR);
    tinyfed_stm32_write(STM32L4_RCC_CCIPR, 0u);
    tinyfed_stm32_reset_buses(STM32L4_RCC_AHB1RSTR, 7u, 0x20u, ~AHB1RSTR_FLASH, AHB1ENR_RESET);
    return true;
}

tinyfed_stm32_clock_t tinyfed_stm32l4_clock_start(bool emulated)
{
    if (!reset()) return slow;
    tinyfed_stm32_write(STM32L4_RCC_PLLCFGR, PLL);
    tinyfed_stm32_change(STM32L4_RCC_CR, 0u, PLLON);
    tinyfed_stm32_write(STM32L4_FLASH_ACR, ACR_80MHZ); /* before the clock rises, and it is read back: QEMU has none */
    if (becomes(STM32L4_RCC_CR, PLLRDY, PLLRDY) && (emulated || becomes(STM32L4_FLASH_ACR, ACR_80MHZ, ACR_80MHZ))) {
        tinyfed_stm32_write(STM32L4_RCC_CFGR, SW_PLL);
        if (becomes(STM32L4_RCC_CFGR, SWS, SWS_PLL))
            return (tinyfed_stm32_clock_t){TINYFED_STM32_CLOCK_INTERNAL, 80000000u, 80000000u};
        tinyfed_stm32_write(STM32L4_RCC_CFGR, SW_HSI);
    }
    tinyfed_stm32_change(STM32L4_RCC_CR, PLLON, 0u);
    return slow;
}

const tinyfed_stm32_family_t tinyfed_stm32_family = {
    .clock_start = tinyfed_stm32l4_clock_start,
    .gpiob_clock = {STM32L4_RCC_AHB2ENR, 1u << 1},
    .usart1_clock = {STM32L4_RCC_APB2ENR, 1u << 14},
    .gpiob = 0x48000400u,
    .usart1 = {.status = 0x4001381Cu,
               .receive = 0x40013824u,
               .transmit = 0x40013828u,
               .clear = 0x40013820u,
               .baud = 0x4001380Cu,
               .control = 0x40013800u,
               .enable = 1u << 0},
    .reset = {STM32L4_RCC_CSR, 1u << 23, 0u},
    .unique_id = 0x1FFF7590u, /* RM0351, 49.1 */
    .flash = &tinyfed_stm32l4_flash,
};
