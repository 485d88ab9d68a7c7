#include "uarte.h"

#include "registers.h"

#include <string.h>

/* RXDRDY says received, not yet in RAM (Product Specification 1.7, UARTE, Registers). EasyDMA's way there is bounded
 * nowhere, but it keeps up with a byte each 10 us at 1,000,000 baud. */
#define SETTLE_US 10u

/* FLUSHRX empties a FIFO of a few bytes into a buffer that must be larger than 4 (UARTE, Reception). */
#define FLUSH_BYTES 16u

/* The receiver stops within 5 bytes, 0.5 ms at 115200 baud (UARTE, Reception); what has not is switched off and on. */
#define STOP_US 10000u

/* Capture registers of TIMER1. */
enum { CC_READER, CC_INTERRUPT, CC_BLOCK_END };

static uint8_t ring[TINYFED_NRF52_UARTE_RING_BYTES], sending[TINYFED_NRF52_UARTE_SEND_BYTES], flushed[FLUSH_BYTES];
static enum { RECEIVING, STOPPING, FLUSHING } state;
static volatile uint32_t started;     /* blocks that DMA has begun */
static volatile bool slipped;         /* the count is not DMA's */
static uint32_t taken, settled, seen; /* counts of bytes, modulo 2^32: handed out; in RAM; received at seen_us */
static uint32_t seen_us, stopping_us;
static bool on_its_way, room_wanted;

static uint32_t now(void) { return tinyfed_nrf52_capture(NRF52_TIMER0, 2u); }

static uint32_t counted(uint32_t channel) { return tinyfed_nrf52_capture(NRF52_TIMER1, channel); }

static void offer(uint8_t *bytes, uint32_t byte_count)
{
    tinyfed_nrf52_write(NRF52_UARTE_RXD_PTR, tinyfed_nrf52_dma(bytes));
    tinyfed_nrf52_write(NRF52_UARTE_RXD_MAXCNT, byte_count);
}

static void offer_block(uint32_t block)
{
    offer(ring + block % TINYFED_NRF52_UARTE_BLOCKS * TINYFED_NRF52_UARTE_BLOCK_BYTES, TINYFED_NRF52_UARTE_BLOCK_BYTES);
}

static void receive(void)
{
    tinyfed_nrf52_write(NRF52_UARTE_RXSTARTED, 0u); /* before `started`: an interrupt of the sender looks at both */
    tinyfed_nrf52_write(NRF52_TIMER1 + NRF52_TIMER_CLEAR, 1u);
    started = taken = settled = seen = 0u;
    slipped = false;
    state = RECEIVING;
    tinyfed_nrf52_write(NRF52_UARTE_ERROR, 0u);
    tinyfed_nrf52_write(NRF52_UARTE_ERRORSRC, tinyfed_nrf52_read(NRF52_UARTE_ERRORSRC));
    tinyfed_nrf52_write(NRF52_UARTE_SHORTS, NRF52_UARTE_SHORT_ENDRX_STARTRX);
    offer_block(0u);
    tinyfed_nrf52_write(NRF52_UARTE_STARTRX, 1u);
    tinyfed_nrf52_write(NRF52_UARTE_INTENSET, NRF52_UARTE_INT_RXSTARTED);
}

static void stop(void)
{
    tinyfed_nrf52_write(NRF52_UARTE_INTENCLR, NRF52_UARTE_INT_RXSTARTED);
    tinyfed_nrf52_write(NRF52_UARTE_SHORTS, 0u); /* STOPRX ends the block, which would begin another */
    tinyfed_nrf52_write(NRF52_UARTE_RXTO, 0u);
    tinyfed_nrf52_write(NRF52_UARTE_STOPRX, 1u);
    state = STOPPING;
    stopping_us = now();
}

/* What is left in the FIFO would lie before the next block's bytes, uncounted. */
static void go_on_stopping(void)
{
    if (state == STOPPING && tinyfed_nrf52_read(NRF52_UARTE_RXTO) != 0u) {
        offer(flushed, FLUSH_BYTES);
        tinyfed_nrf52_write(NRF52_UARTE_ENDRX, 0u);
        tinyfed_nrf52_write(NRF52_UARTE_FLUSHRX, 1u);
        state = FLUSHING;
    }
    if (state == FLUSHING && tinyfed_nrf52_read(NRF52_UARTE_ENDRX) != 0u) {
        receive();
    } else if (now() - stopping_us > STOP_US) {
        tinyfed_nrf52_write(NRF52_UARTE_ENABLE, 0u);
        tinyfed_nrf52_write(NRF52_UARTE_ENABLE, 8u);
        on_its_way = false;
        receive();
    }
}

void tinyfed_nrf52_uarte_start(uint32_t baud_register, uint32_t txd_pin, uint32_t rxd_pin)
{
    on_its_way = room_wanted = false;

    /* TIMER1 counts received bytes without the CPU, and keeps what it had come to when DMA ended a block. */
    tinyfed_nrf52_write(NRF52_TIMER1 + NRF52_TIMER_MODE, 1u);
    tinyfed_nrf52_write(NRF52_TIMER1 + NRF52_TIMER_BITMODE, 3u);
    tinyfed_nrf52_write(NRF52_TIMER1 + NRF52_TIMER_START, 1u);
    tinyfed_nrf52_write(NRF52_PPI_EEP(0u), NRF52_UARTE_RXDRDY);
    tinyfed_nrf52_write(NRF52_PPI_TEP(0u), NRF52_TIMER1 + NRF52_TIMER_COUNT);
    tinyfed_nrf52_write(NRF52_PPI_EEP(1u), NRF52_UARTE_ENDRX);
    tinyfed_nrf52_write(NRF52_PPI_TEP(1u), NRF52_TIMER1 + NRF52_TIMER_CAPTURE(CC_BLOCK_END));
    tinyfed_nrf52_write(NRF52_PPI_CHENSET, 3u);

    tinyfed_nrf52_write(NRF52_UARTE_PSEL_TXD, txd_pin);
    tinyfed_nrf52_write(NRF52_UARTE_PSEL_RXD, rxd_pin);
    tinyfed_nrf52_write(NRF52_UARTE_BAUDRATE, baud_register);
    tinyfed_nrf52_write(NRF52_UARTE_ENABLE, 8u);
    receive();
}

void tinyfed_nrf52_uarte_interrupt(void)
{
    if (tinyfed_nrf52_read(NRF52_UARTE_RXSTARTED) != 0u) {
        tinyfed_nrf52_write(NRF52_UARTE_RXSTARTED, 0u);
        const uint32_t begun = started * TINYFED_NRF52_UARTE_BLOCK_BYTES; /* bytes before the block */
        if (started > 0u && tinyfed_nrf52_read(NRF52_TIMER1 + NRF52_TIMER_CC(CC_BLOCK_END)) != begun) slipped = true;
        /* DMA has latched its block, and may be told the one after it; too late when that one has begun. */
        offer_block(++started);
        if (counted(CC_INTERRUPT) - begun >= TINYFED_NRF52_UARTE_BLOCK_BYTES) slipped = true;
    }
    if (tinyfed_nrf52_read(NRF52_UARTE_RXDRDY) != 0u || tinyfed_nrf52_read(NRF52_UARTE_ERROR) != 0u)
        tinyfed_nrf52_write(NRF52_UARTE_INTENCLR, NRF52_UARTE_INT_RXDRDY | NRF52_UARTE_INT_ERROR);
    if (tinyfed_nrf52_read(NRF52_UARTE_ENDTX) != 0u) tinyfed_nrf52_write(NRF52_UARTE_INTENCLR, NRF52_UARTE_INT_ENDTX);
}

size_t tinyfed_nrf52_uarte_available(void)
{
    if (state != RECEIVING) {
        go_on_stopping();
        return 0;
    }
    const uint32_t received = counted(CC_READER);
    if (slipped || tinyfed_nrf52_read(NRF52_UARTE_ERROR) != 0u) { /* asked after counting: the count was right */
        stop();
        return 0;
    }
    if (received - taken > TINYFED_NRF52_UARTE_RING_BYTES) taken = settled = seen = received;
    const uint32_t now_us = now();
    if (now_us - seen_us >= SETTLE_US) {
        settled = seen;
        seen = received;
        seen_us = now_us;
    }
    return settled - taken;
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
    room_wanted = byte_count > 0u;
    if (byte_count == 0u || (on_its_way && tinyfed_nrf52_read(NRF52_UARTE_ENDTX) == 0u)) return 0;
    room_wanted = byte_count > TINYFED_NRF52_UARTE_SEND_BYTES;
    if (room_wanted) byte_count = TINYFED_NRF52_UARTE_SEND_BYTES;
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
    tinyfed_nrf52_write(NRF52_UARTE_INTENSET, NRF52_UARTE_INT_RXDRDY | NRF52_UARTE_INT_ERROR);
    /* After arming: what comes in between is seen by one of the two. */
    if (state != RECEIVING || slipped || tinyfed_nrf52_read(NRF52_UARTE_ERROR) != 0u) return false;
    if (room_wanted && tinyfed_nrf52_read(NRF52_UARTE_ENDTX) != 0u) return false;
    return counted(CC_READER) == taken;
}
