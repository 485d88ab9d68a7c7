/* 168 MHz from the crystal, else from the internal oscillator. */
#include "stm32f4.h"

/* Bits of RCC_CR, RCC_PLLCFGR, RCC_CFGR, RCC_CIR */
#define HSION (1u << 0)
#define HSIRDY (1u << 1)
#define HSEON (1u << 16)
#define HSERDY (1u << 17)
#define HSEBYP (1u << 18)
#define CSSON (1u << 19)
#define PLLON (1u << 24)
#define PLLRDY (1u << 25)
#define PLLI2SON (1u << 26)
#define PLL_HSE (1u << 22)
#define SW_PLL 2u
#define SWS (3u << 2)
#define SWS_PLL (2u << 2)
#define APB1_DIV4 (5u << 10)
#define APB2_DIV2 (4u << 13)
#define CIR_CLEAR 0x009F0000u /* every flag, and no interrupt */
#define AHB1ENR_RESET (1u << 20)

/* Five wait states at 168 MHz and 3.3 V; prefetch, instruction and data cache (RM0090, 3.5.1). */
#define ACR_168MHZ (5u | 1u << 8 | 1u << 9 | 1u << 10)

#define HSI_HZ 16000000u

/* Turns of at least 4 cycles at 16 MHz: 25 ms. A crystal starts in 2 ms, the PLL locks in 0.3. */
#define PATIENCE 100000u

/* A VCO's input of 1 to 2 MHz, its output of 100 to 432 (RM0090, 7.3.2): here 1 and 336, by 2 the core's 168 MHz, by 7
 * USB's 48. */
#if TINYFED_HSE_HZ < 4000000 || TINYFED_HSE_HZ > 26000000 || TINYFED_HSE_HZ % 1000000 != 0
#error "TINYFED_HSE_HZ in the manifest: the PLL makes 168 MHz of a crystal of 4 to 26 MHz, a whole number of MHz"
#endif
#define PLL(input_hz) ((input_hz) / 1000000u | 336u << 6 | 0u << 16 | 7u << 24)

static const tinyfed_stm32_clock_t slow = {TINYFED_STM32_CLOCK_SLOW, HSI_HZ, HSI_HZ};

static bool becomes(uint32_t address, uint32_t mask, uint32_t value)
{
    return tinyfed_stm32_becomes(address, mask, value, PATIENCE);
}

/* On HSI, as after a reset: a boot loader may have left the PLL running, and what is written to PLLCFGR then is
 * ignored. */
static bool reset(void)
{
    tinyfed_stm32_change(STM32F4_RCC_CR, 0u, HSION);
    if (!becomes(STM32F4_RCC_CR, HSIRDY, HSIRDY)) return false;
    tinyfed_stm32_write(STM32F4_RCC_CFGR, 0u);
    if (!becomes(STM32F4_RCC_CFGR, SWS, 0u)) return false;
    tinyfed_stm32_change(STM32F4_RCC_CR, HSEON | CSSON | PLLON | PLLI2SON, 0u);
    if (!becomes(STM32F4_RCC_CR, PLLRDY | HSERDY, 0u)) return false;
    tinyfed_stm32_change(STM32F4_RCC_CR, HSEBYP, 0u); /* which can be written while HSE is off */
    tinyfed_stm32_write(STM32F4_RCC_CIR, CIR_CLEAR);
    tinyfed_stm32_reset_buses(STM32F4_RCC_AHB1RSTR, 6u, 0x20u, 0xFFFFFFFFu, AHB1ENR_RESET);
    return true;
}

tinyfed_stm32_clock_t tinyfed_stm32f4_clock_start(bool emulated)
{
    tinyfed_stm32_clock_t clock = {TINYFED_STM32_CLOCK_CRYSTAL, 168000000u, 84000000u};
    if (emulated) return clock; /* QEMU's core runs at 168 MHz, and has no or little of this controller */
    if (!reset()) return slow;
    tinyfed_stm32_change(STM32F4_RCC_CR, 0u, HSEON);
    const bool crystal = becomes(STM32F4_RCC_CR, HSERDY, HSERDY);
    if (!crystal) tinyfed_stm32_change(STM32F4_RCC_CR, HSEON, 0u);
    tinyfed_stm32_write(STM32F4_RCC_PLLCFGR, crystal ? PLL(TINYFED_HSE_HZ) | PLL_HSE : PLL(HSI_HZ));
    tinyfed_stm32_change(STM32F4_RCC_CR, 0u, PLLON);
    tinyfed_stm32_write(STM32F4_FLASH_ACR, ACR_168MHZ); /* before the clock rises, and it is read back */
    if (becomes(STM32F4_RCC_CR, PLLRDY, PLLRDY) && becomes(STM32F4_FLASH_ACR, ACR_168MHZ, ACR_168MHZ)) {
        tinyfed_stm32_write(STM32F4_RCC_CFGR, APB1_DIV4 | APB2_DIV2 | SW_PLL);
        if (becomes(STM32F4_RCC_CFGR, SWS, SWS_PLL)) {
            if (!crystal) clock.source = TINYFED_STM32_CLOCK_INTERNAL;
            return clock;
        }
        tinyfed_stm32_write(STM32F4_RCC_CFGR, 0u);
    }
    tinyfed_stm32_change(STM32F4_RCC_CR, HSEON | PLLON, 0u);
    return slow;
}

const tinyfed_stm32_family_t tinyfed_stm32_family = {
    .clock_start = tinyfed_stm32f4_clock_start,
    .gpiob_clock = {STM32F4_RCC_AHB1ENR, 1u << 1},
    .usart1_clock = {STM32F4_RCC_APB2ENR, 1u << 4},
    .gpiob = 0x40020400u,
    .usart1 = {.status = 0x40011000u,
               .receive = 0x40011004u,
               .transmit = 0x40011004u,
               .baud = 0x40011008u,
               .control = 0x4001100Cu,
               .enable = 1u << 13},
    .reset = {STM32F4_RCC_CSR, 1u << 24, 1u << 25},
    .unique_id = 0x1FFF7A10u, /* RM0090, 39.1 */
    .flash = &tinyfed_stm32f4_flash,
};
