/* STM32F405 (Feather STM32F405, Netduino Plus 2, Olimex H405): USART1 on PB6 (transmit) and PB7 (receive). The same
 * image runs on QEMU's netduinoplus2. */
#include "../cortexm/cortexm.h"
#include "../cortexm/emulator.h"
#include "clock.h"
#include "flash.h"
#include "registers.h"

#include <string.h>

#define SR_RXNE (1u << 5)
#define SR_TXE (1u << 7)
#define CR1_RUN (1u << 13 | 1u << 5 | 1u << 3 | 1u << 2) /* UE, RXNEIE, TE, RE */
#define CR1_TXEIE (1u << 7)
#define USART1_IRQ 37u

/* SysTick runs on for ever and interrupts when it wraps; it also ends the longest sleep. */
#define WRAP_MS 10u

static tinyfed_ring_t received, sending;
static tinyfed_stm32f4_clock_t clock;
static tinyfed_stm32f4_ticks_t ticks_seen;
static volatile uint32_t wraps;

static void receive(void)
{
    while ((tinyfed_stm32f4_read(STM32F4_USART1_SR) & SR_RXNE) != 0u) {
        if (tinyfed_ring_full(&received)) {
            tinyfed_irq_disable(USART1_IRQ);
            return;
        }
        tinyfed_ring_put(&received, (uint8_t)tinyfed_stm32f4_read(
                                        STM32F4_USART1_DR)); /* reading SR, then DR, clears an overrun too */
    }
}

static void transmit(void)
{
    while (!tinyfed_ring_empty(&sending) && (tinyfed_stm32f4_read(STM32F4_USART1_SR) & SR_TXE) != 0u)
        tinyfed_stm32f4_write(STM32F4_USART1_DR, tinyfed_ring_get(&sending));
    tinyfed_stm32f4_write(STM32F4_USART1_CR1, tinyfed_ring_empty(&sending) ? CR1_RUN : CR1_RUN | CR1_TXEIE);
}

void tinyfed_cortexm_interrupt(uint32_t irq)
{
    if (irq != USART1_IRQ) return;
    receive();
    transmit();
}

void tinyfed_cortexm_tick(void) { wraps++; }

static void change(uint32_t address, uint32_t clear, uint32_t set)
{
    tinyfed_stm32f4_write(address, (tinyfed_stm32f4_read(address) & ~clear) | set);
}

int tinyfed_port_start(int argc, char **argv)
{
    const tinyfed_stm32f4_clock_registers_t registers = {(volatile uint32_t *)STM32F4_RCC,
                                                         (volatile uint32_t *)STM32F4_FLASH_ACR};
    (void)argc;
    (void)argv;
    clock = tinyfed_stm32f4_clock_start(&registers, TINYFED_HSE_HZ);

    ticks_seen.period = clock.core_hz / 1000u * WRAP_MS;
    TINYFED_SYST_RVR = ticks_seen.period - 1u;
    TINYFED_SYST_CVR = 0u;
    TINYFED_SYST_CSR = 7u;

    change(STM32F4_RCC_AHB1ENR, 0u, 1u << 1);
    change(STM32F4_RCC_APB2ENR, 0u, 1u << 4);
    (void)tinyfed_stm32f4_read(STM32F4_RCC_APB2ENR);      /* the peripheral takes two cycles to wake */
    change(STM32F4_GPIOB_MODER, 0xFu << 12, 0xAu << 12);  /* PB6, PB7: alternate function */
    change(STM32F4_GPIOB_AFRL, 0xFFu << 24, 0x77u << 24); /* 7: USART1 */
    change(STM32F4_GPIOB_PUPDR, 3u << 14, 1u << 14);      /* an open receive line is silent */
    tinyfed_stm32f4_write(STM32F4_USART1_BRR, (clock.apb2_hz + TINYFED_BAUD / 2u) / TINYFED_BAUD);
    tinyfed_stm32f4_write(STM32F4_USART1_CR1, CR1_RUN);
    tinyfed_irq_enable(USART1_IRQ);
    return 0;
}

size_t tinyfed_port_read(uint8_t *bytes, size_t capacity)
{
    const size_t count = tinyfed_ring_read(&received, bytes, capacity);
    if (count > 0u) tinyfed_irq_enable(USART1_IRQ);
    return count;
}

size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count)
{
    const size_t count = tinyfed_ring_write(&sending, bytes, byte_count);
    tinyfed_interrupts_off();
    transmit();
    tinyfed_interrupts_on();
    return count;
}

/* SysTick ends it after WRAP_MS at the latest. */
void tinyfed_port_idle(uint32_t timeout_ms)
{
    if (timeout_ms == 0u) return;
    tinyfed_interrupts_off();
    if (tinyfed_ring_empty(&received)) __asm volatile("dsb\n wfi" ::: "memory");
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
    return tinyfed_stm32f4_ticks(&ticks_seen, before, value);
}

uint32_t tinyfed_port_now_us(void) { return (uint32_t)(ticks() / (clock.core_hz / 1000000u)); }

uint32_t tinyfed_port_instructions(void)
{
    if (clock.source != TINYFED_STM32F4_CLOCK_EMULATED || tinyfed_identity()->counted != 1u) return 0u;
    /* 128 ns an instruction at 168 MHz: 21.504 ticks, rounded to the nearest. */
    return (uint32_t)((ticks() * 125u + 1344u) / 2688u);
}

/* Sectors 6 and 7, a slot each: 128 KB are erased in 1 s, at most 2. */
#define STORE_SECTOR 6u

static tinyfed_flash_state_t erase(uint32_t offset)
{
    return tinyfed_stm32f4_flash_erase(STORE_SECTOR + offset / (TINYFED_STORE_BYTES / 2u));
}

static tinyfed_flash_state_t write(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    return tinyfed_stm32f4_flash_write(TINYFED_STORE_ADDRESS + offset, bytes, byte_count);
}

/* QEMU has no flash controller and ignores what is written to flash: there, a saved model is only read. */
const tinyfed_flash_t *tinyfed_port_flash(void)
{
    static const tinyfed_flash_t flash = {
        .base = (const uint8_t *)(uintptr_t)TINYFED_STORE_ADDRESS,
        .slot_bytes = TINYFED_STORE_BYTES / 2u,
        .block_bytes = TINYFED_STORE_BYTES / 2u,
        .write_bytes = 256u, /* 64 words of 16 us */
        .quiet_ms = 2000u,
        .erase = erase,
        .write = write,
    };
    static const tinyfed_flash_t readable = {
        .base = (const uint8_t *)(uintptr_t)TINYFED_STORE_ADDRESS,
        .slot_bytes = TINYFED_STORE_BYTES / 2u,
    };
    return clock.source == TINYFED_STM32F4_CLOCK_EMULATED ? &readable : &flash;
}

/* QEMU has no unique id: its loader's record stands for it. */
void tinyfed_port_unique_id(uint8_t id[TINYFED_PORT_UNIQUE_ID_BYTES])
{
    const volatile uint8_t *from = clock.source == TINYFED_STM32F4_CLOCK_EMULATED
                                       ? tinyfed_identity()->unique_id
                                       : (const volatile uint8_t *)STM32F4_UNIQUE_ID;
    for (size_t i = 0; i < TINYFED_PORT_UNIQUE_ID_BYTES; i++) id[i] = from[i];
}

const tinyfed_sensor_t *tinyfed_port_sensor(void) { return NULL; }
