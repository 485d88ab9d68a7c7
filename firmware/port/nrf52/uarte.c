#include "uarte.h"

#include "registers.h"

#include <string.h>

static uint8_t ring[TINYFED_NRF52_UARTE_RING_BYTES], sending[TINYFED_NRF52_UARTE_SEND_BYTES];
static volatile uint32_t next_block; /* whose address DMA gets when it starts on the one after the present */
static uint32_t taken;               /* bytes handed out since start, modulo 2^32, as the timer counts */
static bool on_its_way;

static void offer_block(uint32_t block)
{
    tinyfed_nrf52_write(NRF52_UARTE_RXD_PTR, tinyfed_nrf52_dma(ring + block * TINYFED_NRF52_UARTE_BLOCK_BYTES));
}

void tinyfed_nrf52_uarte_start(uint32_t baud_register, uint32_t txd_pin, uint32_t rxd_pin)
{
    next_block = 1u;
    taken = 0u;
    on_its_way = false;

    /* TIMER1 counts received bytes: RXDRDY -> COUNT through PPI channel 0, without the CPU. */
    tinyfed_nrf52_write(NRF52_TIMER1 + NRF52_TIMER_MODE, 1u);
    tinyfed_nrf52_write(NRF52_TIMER1 + NRF52_TIMER_BITMODE, 3u);
    tinyfed_nrf52_write(NRF52_TIMER1 + NRF52_TIMER_START, 1u);
    tinyfed_nrf52_write(NRF52_PPI_EEP0, NRF52_UARTE_RXDRDY);
    tinyfed_nrf52_write(NRF52_PPI_TEP0, NRF52_TIMER1 + NRF52_TIMER_COUNT);
    tinyfed_nrf52_write(NRF52_PPI_CHENSET, 1u);

    tinyfed_nrf52_write(NRF52_UARTE_PSEL_TXD, txd_pin);
    tinyfed_nrf52_write(NRF52_UARTE_PSEL_RXD, rxd_pin);
    tinyfed_nrf52_write(NRF52_UARTE_BAUDRATE, baud_register);
    tinyfed_nrf52_write(NRF52_UARTE_ENABLE, 8u);
    tinyfed_nrf52_write(NRF52_UARTE_SHORTS, NRF52_UARTE_SHORT_ENDRX_STARTRX);
    tinyfed_nrf52_write(NRF52_UARTE_INTENSET, NRF52_UARTE_INT_RXSTARTED | NRF52_UARTE_INT_ERROR);
    tinyfed_nrf52_write(NRF52_UARTE_RXD_MAXCNT, TINYFED_NRF52_UARTE_BLOCK_BYTES);
    offer_block(0u);
    tinyfed_nrf52_write(NRF52_UARTE_STARTRX, 1u);
}

void tinyfed_nrf52_uarte_interrupt(void)
{
    if (tinyfed_nrf52_read(NRF52_UARTE_RXSTARTED) != 0u) {
        /* DMA has latched its block; it may be told the one after it. */
        tinyfed_nrf52_write(NRF52_UARTE_RXSTARTED, 0u);
        offer_block(next_block);
        next_block = (next_block + 1u) % TINYFED_NRF52_UARTE_BLOCKS;
    }
    if (tinyfed_nrf52_read(NRF52_UARTE_RXDRDY) != 0u) tinyfed_nrf52_write(NRF52_UARTE_INTENCLR, NRF52_UARTE_INT_RXDRDY);
    if (tinyfed_nrf52_read(NRF52_UARTE_ENDTX) != 0u) tinyfed_nrf52_write(NRF52_UARTE_INTENCLR, NRF52_UARTE_INT_ENDTX);
    if (tinyfed_nrf52_read(NRF52_UARTE_ERROR) != 0u) {
        tinyfed_nrf52_write(NRF52_UARTE_ERROR, 0u);
        tinyfed_nrf52_write(NRF52_UARTE_ERRORSRC, tinyfed_nrf52_read(NRF52_UARTE_ERRORSRC));
    }
}

size_t tinyfed_nrf52_uarte_available(void)
{
    tinyfed_nrf52_write(NRF52_TIMER1 + NRF52_TIMER_CAPTURE(0u), 1u);
    const uint32_t received = tinyfed_nrf52_read(NRF52_TIMER1 + NRF52_TIMER_CC(0u));
    if (received - taken > TINYFED_NRF52_UARTE_RING_BYTES) taken = received;
    return received - taken;
}

size_t tinyfed_nrf52_uarte_read(uint8_t *bytes, size_t capacity)
{
    size_t count = tinyfed_nrf52_uarte_available();
    if (count > capacity) count = capacity;
    for (size_t i = 0; i < count; i++) bytes[i] = ((volatile uint8_t *)ring)[taken++ % TINYFED_NRF52_UARTE_RING_BYTES];
    return count;
}

size_t tinyfed_nrf52_uarte_write(const uint8_t *bytes, size_t byte_count)
{
    if (on_its_way && tinyfed_nrf52_read(NRF52_UARTE_ENDTX) == 0u) return 0;
    if (byte_count > TINYFED_NRF52_UARTE_SEND_BYTES) byte_count = TINYFED_NRF52_UARTE_SEND_BYTES;
    if (byte_count == 0u) return 0;
    memcpy(sending, bytes, byte_count); /* DMA reads RAM only, and the caller's bytes may change */
    tinyfed_nrf52_write(NRF52_UARTE_ENDTX, 0u);
    tinyfed_nrf52_write(NRF52_UARTE_TXD_PTR, tinyfed_nrf52_dma(sending));
    tinyfed_nrf52_write(NRF52_UARTE_TXD_MAXCNT, (uint32_t)byte_count);
    tinyfed_nrf52_write(NRF52_UARTE_INTENSET, NRF52_UARTE_INT_ENDTX);
    tinyfed_nrf52_write(NRF52_UARTE_STARTTX, 1u);
    on_its_way = true;
    return byte_count;
}

bool tinyfed_nrf52_uarte_arm_wake(void)
{
    tinyfed_nrf52_write(NRF52_UARTE_RXDRDY, 0u);
    tinyfed_nrf52_write(NRF52_UARTE_INTENSET, NRF52_UARTE_INT_RXDRDY);
    return tinyfed_nrf52_uarte_available() == 0u; /* after arming: a byte in between is seen by one of the two */
}
