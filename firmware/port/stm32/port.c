/* STM32F405 (Feather STM32F405, Netduino Plus 2, Olimex H405) and STM32L475 (B-L475E-IOT01A). The image that is flashed
 * runs under QEMU too. */
#include "stm32.h"

#include "../cortexm/emulator.h"

#define USART1_IRQ 37u

/* Device id in DBGMCU_IDCODE, which software may read (RM0090, 38.6.1; RM0351, 48.6.1): never 0 in a chip. QEMU has no
 * such register, and 0 there. */
#define IDCODE 0xE0042000u
#define IDCODE_DEVICE 0xFFFu

#ifndef TINYFED_STORE_ADDRESS
#error "memory.store is missing in the manifest: two slots for saved models"
#endif

#define FLASH_END 0x08100000u
_Static_assert(TINYFED_FLASH_ADDRESS >= 0x08000000u && TINYFED_FLASH_ADDRESS + TINYFED_FLASH_BYTES <= FLASH_END &&
                   TINYFED_DATA_FLASH_ADDRESS >= 0x08000000u &&
                   TINYFED_DATA_FLASH_ADDRESS + TINYFED_DATA_FLASH_BYTES <= FLASH_END,
               "memory.flash and memory.data_flash in the manifest must lie in the chip's 0x08000000..0x080fffff");
_Static_assert(TINYFED_FLASH_ADDRESS % 512u == 0u,
               "memory.flash in the manifest must begin as a vector table may, at a "
               "multiple of 512");
_Static_assert(TINYFED_RAM_ADDRESS >= 0x20000000u && TINYFED_RAM_ADDRESS + TINYFED_RAM_BYTES <= 0x20020000u,
               "memory.ram in the manifest must lie in 0x20000000..0x2001ffff");

#define GPIO_MODER 0x00u
#define GPIO_PUPDR 0x0Cu
#define GPIO_AFRL 0x20u

/* SysTick runs on for ever and interrupts when it wraps; it also ends the longest sleep. */
#define WRAP_MS 10u

static tinyfed_stm32_line_t line;
static tinyfed_stm32_clock_t clock;
static tinyfed_stm32_ticks_t ticks_seen;
static tinyfed_reset_cause_t reset_cause;
static volatile uint32_t wraps;
static bool emulated;

void tinyfed_cortexm_interrupt(uint32_t irq)
{
    if (irq == USART1_IRQ) tinyfed_stm32_line_work(&line);
}

void tinyfed_cortexm_tick(void) { wraps++; }

int tinyfed_port_start(int argc, char **argv)
{
    const tinyfed_stm32_family_t *const family = &tinyfed_stm32_family;
    (void)argc;
    (void)argv;
    emulated = (tinyfed_stm32_read(IDCODE) & IDCODE_DEVICE) == 0u;
    reset_cause = tinyfed_cortexm_noted();
    if (!emulated) reset_cause = tinyfed_stm32_reset_cause(reset_cause); /* QEMU's flags are the same after any */
    clock = family->clock_start(emulated);

    ticks_seen.period = clock.core_hz / 1000u * WRAP_MS;
    TINYFED_SYST_RVR = ticks_seen.period - 1u;
    TINYFED_SYST_CVR = 0u;
    TINYFED_SYST_CSR = 7u;

    tinyfed_stm32_change(family->gpiob_clock.address, 0u, family->gpiob_clock.bit);
    tinyfed_stm32_change(family->usart1_clock.address, 0u, family->usart1_clock.bit);
    (void)tinyfed_stm32_read(family->usart1_clock.address); /* the peripheral takes two cycles to wake */
    tinyfed_stm32_change(family->gpiob + GPIO_AFRL, 0xFFu << 24, 0x77u << 24); /* 7: USART1 */
    tinyfed_stm32_change(family->gpiob + GPIO_PUPDR, 0xFu << 12, 1u << 14);    /* an open receive line is silent */
    tinyfed_stm32_change(family->gpiob + GPIO_MODER, 0xFu << 12, 0xAu << 12);  /* PB6, PB7: alternate function */
    tinyfed_stm32_line_start(clock.usart_hz, TINYFED_BAUD);
    tinyfed_irq_enable(USART1_IRQ);
    tinyfed_stm32_watchdog_start();
    return 0;
}

/* After the main loop has made room in the rings, or filled one. */
static void work(void)
{
    tinyfed_interrupts_off();
    tinyfed_stm32_line_work(&line);
    tinyfed_interrupts_on();
}

size_t tinyfed_port_read(uint8_t *bytes, size_t capacity)
{
    const size_t count = tinyfed_ring_read(&line.received, bytes, capacity);
    if (count > 0u) work();
    return count;
}

size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count)
{
    const size_t count = tinyfed_ring_write(&line.sending, bytes, byte_count);
    work();
    return count;
}

/* SysTick ends it after WRAP_MS at the latest. */
void tinyfed_port_idle(uint32_t timeout_ms)
{
    if (timeout_ms == 0u) return;
    tinyfed_interrupts_off();
    if (tinyfed_ring_empty(&line.received)) __asm volatile("dsb\n wfi" ::: "memory");
    tinyfed_interrupts_on();
}

/* Core clock ticks since start. */
static uint64_t ticks(void)
{
    uint32_t before, value;
    do { /* again when SysTick wrapped in between */
        before = wraps;
        value = TINYFED_SYST_CVR;
    } while (before != wraps);
    return tinyfed_stm32_ticks(&ticks_seen, before, value);
}

uint32_t tinyfed_port_now_us(void) { return (uint32_t)(ticks() / (clock.core_hz / 1000000u)); }

uint32_t tinyfed_port_instructions(void)
{
    if (!emulated || tinyfed_identity()->counted != 1u) return 0u;
    /* 128 ns an instruction, rounded to the nearest. */
    const uint32_t mhz = clock.core_hz / 1000000u;
    return (uint32_t)((ticks() * 125u + 8u * mhz) / (16u * mhz));
}

/* QEMU has no flash controller and ignores what is written to flash: there, a saved model is only read. */
const tinyfed_flash_t *tinyfed_port_flash(void)
{
    static const tinyfed_flash_t readable = {
        .base = (const uint8_t *)(uintptr_t)TINYFED_STORE_ADDRESS,
        .slot_bytes = TINYFED_STORE_BYTES / 2u,
    };
    return emulated ? &readable : tinyfed_stm32_family.flash;
}

/* QEMU has no unique id: its loader's record stands for it. */
void tinyfed_port_unique_id(uint8_t id[TINYFED_PORT_UNIQUE_ID_BYTES])
{
    const volatile uint8_t *from =
        emulated ? tinyfed_identity()->unique_id : (const volatile uint8_t *)(uintptr_t)tinyfed_stm32_family.unique_id;
    for (size_t i = 0; i < TINYFED_PORT_UNIQUE_ID_BYTES; i++) id[i] = from[i];
}

tinyfed_reset_cause_t tinyfed_port_reset_cause(void) { return reset_cause; }

void tinyfed_port_feed(void)
{
    if (!emulated) tinyfed_stm32_watchdog_feed(); /* each access to a register costs QEMU a microsecond */
}

const tinyfed_sensor_t *tinyfed_port_sensor(void) { return NULL; }
