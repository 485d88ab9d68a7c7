/* nRF52840, bare metal (nRF52840 DK): UARTE through EasyDMA, time from TIMER0. */
#include "../cortexm/cortexm.h"
#include "nvmc.h"
#include "registers.h"
#include "uarte.h"
#include "uicr.h"
#include "watchdog.h"

#define IRQ_UARTE 2u
#define IRQ_TIMER0 8u
#define PATIENCE 100000u /* turns; the crystal takes 0.4 ms, this is at least 6 ms */
#define IDLE_MS_MAX 1000u

/* The Product Specification's values for BAUDRATE. */
#if TINYFED_BAUD == 115200u
#define BAUD_REGISTER 0x01D60000u
#elif TINYFED_BAUD == 230400u
#define BAUD_REGISTER 0x03B00000u
#elif TINYFED_BAUD == 460800u
#define BAUD_REGISTER 0x07400000u
#elif TINYFED_BAUD == 1000000u
#define BAUD_REGISTER 0x10000000u
#else
#error "the board's manifest asks for a baud that is not in the Product Specification's table"
#endif

static tinyfed_reset_cause_t reset_cause;

void tinyfed_cortexm_interrupt(uint32_t irq)
{
    if (irq == IRQ_UARTE) tinyfed_nrf52_uarte_interrupt();
    if (irq == IRQ_TIMER0) tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_COMPARE(1u), 0u);
}

int tinyfed_port_start(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (tinyfed_nrf52_uicr_restore()) tinyfed_port_reset();
    reset_cause = tinyfed_nrf52_reset_cause(tinyfed_cortexm_noted());
    tinyfed_nrf52_write(NRF52_NVMC_ICACHECNF, 1u);
    /* The crystal keeps the baud rate; without it the internal oscillator's 1.5 % still does for a UART. */
    tinyfed_nrf52_write(NRF52_CLOCK_HFCLKSTART, 1u);
    for (uint32_t turn = 0; turn < PATIENCE && tinyfed_nrf52_read(NRF52_CLOCK_HFCLKSTARTED) == 0u; turn++) {
    }

    tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_MODE, 0u);
    tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_BITMODE, 3u);
    tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_PRESCALER, 4u); /* 16 MHz / 2^4 */
    tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_START, 1u);

    tinyfed_nrf52_write(NRF52_P0_OUTSET, 1u << TINYFED_TXD_PIN);     /* idle level before it becomes an output */
    tinyfed_nrf52_write(NRF52_P0_PIN_CNF(TINYFED_TXD_PIN), 1u);      /* output */
    tinyfed_nrf52_write(NRF52_P0_PIN_CNF(TINYFED_RXD_PIN), 3u << 2); /* input with pull-up */
    tinyfed_irq_enable(IRQ_UARTE);
    tinyfed_irq_enable(IRQ_TIMER0);
    tinyfed_nrf52_uarte_start(BAUD_REGISTER, TINYFED_TXD_PIN, TINYFED_RXD_PIN);
    tinyfed_nrf52_watchdog_start();
    return 0;
}

size_t tinyfed_port_read(uint8_t *bytes, size_t capacity) { return tinyfed_nrf52_uarte_read(bytes, capacity); }

size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count)
{
    return tinyfed_nrf52_uarte_write(bytes, byte_count);
}

uint32_t tinyfed_port_now_us(void) { return tinyfed_nrf52_capture(NRF52_TIMER0, 0u); }

void tinyfed_port_idle(uint32_t timeout_ms)
{
    if (timeout_ms == 0u) return;
    if (timeout_ms > IDLE_MS_MAX) timeout_ms = IDLE_MS_MAX;
    tinyfed_interrupts_off();
    if (tinyfed_nrf52_uarte_arm_wake()) {
        tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_COMPARE(1u), 0u);
        tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_CC(1u), tinyfed_port_now_us() + timeout_ms * 1000u);
        tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_INTENSET, NRF52_TIMER_INT_COMPARE(1u));
        __asm volatile("dsb\n wfi" ::: "memory");
        tinyfed_nrf52_write(NRF52_TIMER0 + NRF52_TIMER_INTENCLR, NRF52_TIMER_INT_COMPARE(1u));
    }
    tinyfed_interrupts_on();
}

uint32_t tinyfed_port_instructions(void) { return 0; }

#ifndef TINYFED_STORE_ADDRESS
#error "memory.store is missing in the manifest: two slots for saved models"
#endif

#define FLASH_BYTES 0x100000u
_Static_assert(TINYFED_STORE_ADDRESS % TINYFED_NRF52_NVMC_PAGE_BYTES == 0u &&
                   TINYFED_STORE_BYTES % (2u * TINYFED_NRF52_NVMC_PAGE_BYTES) == 0u &&
                   TINYFED_STORE_ADDRESS + TINYFED_STORE_BYTES <= FLASH_BYTES,
               "memory.store in the manifest must be two slots of whole pages of 4 KB below 0x00100000");
_Static_assert(TINYFED_FLASH_ADDRESS + TINYFED_FLASH_BYTES <= FLASH_BYTES &&
                   TINYFED_DATA_FLASH_ADDRESS + TINYFED_DATA_FLASH_BYTES <= FLASH_BYTES,
               "memory.flash and memory.data_flash in the manifest must lie below 0x00100000");
_Static_assert(TINYFED_FLASH_ADDRESS % 512u == 0u,
               "memory.flash in the manifest must begin as a vector table may, at a "
               "multiple of 512");
_Static_assert(TINYFED_RAM_ADDRESS >= 0x20000000u && TINYFED_RAM_ADDRESS + TINYFED_RAM_BYTES <= 0x20040000u,
               "memory.ram in the manifest must lie in 0x20000000..0x2003ffff");

static tinyfed_flash_state_t erase(uint32_t offset) { return tinyfed_nrf52_nvmc_erase(TINYFED_STORE_ADDRESS + offset); }

static tinyfed_flash_state_t write(uint32_t offset, const uint8_t *bytes, uint32_t byte_count)
{
    return tinyfed_nrf52_nvmc_write(TINYFED_STORE_ADDRESS + offset, bytes, byte_count);
}

const tinyfed_flash_t *tinyfed_port_flash(void)
{
    static const tinyfed_flash_t flash = {
        .base = (const uint8_t *)(uintptr_t)TINYFED_STORE_ADDRESS,
        .slot_bytes = TINYFED_STORE_BYTES / 2u,
        .block_bytes = TINYFED_NRF52_NVMC_PAGE_BYTES,
        .write_bytes = 256u, /* 64 words of 41 us */
        .erase = erase,
        .write = write,
    };
    return &flash;
}

/* FICR has 64 bits; the rest is zero. */
void tinyfed_port_unique_id(uint8_t id[TINYFED_PORT_UNIQUE_ID_BYTES])
{
    for (uint32_t i = 0; i < TINYFED_PORT_UNIQUE_ID_BYTES; i++) {
        const uint32_t word = i < 8u ? tinyfed_nrf52_read(NRF52_FICR_DEVICEID + (i & ~3u)) : 0u;
        id[i] = (uint8_t)(word >> (8u * (i % 4u)));
    }
}

tinyfed_reset_cause_t tinyfed_port_reset_cause(void) { return reset_cause; }

void tinyfed_port_feed(void) { tinyfed_nrf52_watchdog_feed(); }

const tinyfed_sensor_t *tinyfed_port_sensor(void) { return NULL; }
