/* firmware/port/nrf52/uarte.c against a model of the UARTE, EasyDMA, PPI and the counting timer, as the nRF52840
 * Product Specification describes them. Bytes arrive and interrupts are served at random times. */
#include "registers.h"
#include "uarte.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIFO_BYTES 6u
#define BYTE_US 10u /* a byte at 1,000,000 baud */

static struct {
    const uint8_t *base; /* what DMA address 0x20000000 stands for */
    uint8_t *rx_pointer, *rx_latched;
    uint32_t rx_maxcnt, rx_max_latched, rx_amount;
    uint8_t fifo[FIFO_BYTES];
    uint32_t fifo_count, dma_us; /* received, not in RAM; how long DMA takes */
    const uint8_t *tx_pointer;
    uint32_t tx_maxcnt, tx_left;
    uint32_t rxstarted, rxdrdy, endrx, endtx, rxto, error, errorsrc, shorts, inten, enabled, ppi;
    uint32_t counter, now_us, captured, captured_by_interrupt, captured_at_end, captured_us;
    uint32_t meanwhile; /* bytes that come while an interrupt is at its work */
    bool receiving, dma_on, counting, line_low, rxto_is_lost;
} uarte;

static uint8_t sent[1 << 20];
static size_t sent_count;
static int failures;

static void check(bool good, const char *what)
{
    if (good) return;
    failures++;
    printf("wrong: %s\n", what);
}

/* DMA addresses are 32 bits, pointers here are not: offsets from the first place that was asked for. */
uint32_t tinyfed_nrf52_dma(const void *place)
{
    if (uarte.base == NULL) uarte.base = (const uint8_t *)place - (1 << 16);
    return 0x20000000u + (uint32_t)((const uint8_t *)place - uarte.base);
}

static uint8_t *undo_dma(uint32_t address) { return (uint8_t *)(uintptr_t)uarte.base + (address - 0x20000000u); }

static void end_block(void)
{
    uarte.dma_on = false;
    uarte.endrx = 1;
    if (uarte.ppi & 2u) uarte.captured_at_end = uarte.counter;
}

static void start_block(void)
{
    uarte.rx_latched = uarte.rx_pointer;
    uarte.rx_max_latched = uarte.rx_maxcnt;
    uarte.rx_amount = 0;
    uarte.receiving = uarte.dma_on = true;
    uarte.rxstarted = 1;
}

static void move_to_ram(void)
{
    uint32_t moved = 0;
    while (moved < uarte.fifo_count && uarte.dma_on) {
        uarte.rx_latched[uarte.rx_amount++] = uarte.fifo[moved++];
        if (uarte.rx_amount < uarte.rx_max_latched) continue;
        end_block();
        if (uarte.shorts & NRF52_UARTE_SHORT_ENDRX_STARTRX) start_block();
    }
    uarte.fifo_count -= moved;
    memmove(uarte.fifo, uarte.fifo + moved, uarte.fifo_count);
}

static void flush(void)
{
    check(!uarte.receiving && uarte.rx_maxcnt > 4u, "a flush of a receiver that runs, or into too little");
    memcpy(uarte.rx_pointer, uarte.fifo, uarte.fifo_count);
    uarte.fifo_count = 0;
    uarte.endrx = 1;
}

static void set_error(uint32_t source)
{
    uarte.error = 1;
    uarte.errorsrc |= source;
}

static void arrive(uint8_t byte);

void tinyfed_nrf52_write(uint32_t address, uint32_t value)
{
    if (address == NRF52_UARTE_RXD_PTR)
        for (; uarte.meanwhile > 0u; uarte.meanwhile--) arrive(0xBB);
    switch (address) {
    case NRF52_UARTE_STARTRX: start_block(); break;
    case NRF52_UARTE_STOPRX: uarte.receiving = false; break;
    case NRF52_UARTE_FLUSHRX: flush(); break;
    case NRF52_UARTE_STARTTX: uarte.tx_left = uarte.tx_maxcnt; break;
    case NRF52_UARTE_RXDRDY: uarte.rxdrdy = value; break;
    case NRF52_UARTE_ENDRX: uarte.endrx = value; break;
    case NRF52_UARTE_ENDTX: uarte.endtx = value; break;
    case NRF52_UARTE_RXTO: uarte.rxto = value; break;
    case NRF52_UARTE_ERROR: uarte.error = value; break;
    case NRF52_UARTE_RXSTARTED: uarte.rxstarted = value; break;
    case NRF52_UARTE_SHORTS: uarte.shorts = value; break;
    case NRF52_UARTE_INTENSET: uarte.inten |= value; break;
    case NRF52_UARTE_INTENCLR: uarte.inten &= ~value; break;
    case NRF52_UARTE_ERRORSRC: uarte.errorsrc &= ~value; break;
    case NRF52_UARTE_ENABLE:
        uarte.enabled = value;
        if (value == 0u) uarte.receiving = uarte.dma_on = false;
        break;
    case NRF52_UARTE_RXD_PTR: uarte.rx_pointer = undo_dma(value); break;
    case NRF52_UARTE_RXD_MAXCNT: uarte.rx_maxcnt = value; break;
    case NRF52_UARTE_TXD_PTR: uarte.tx_pointer = undo_dma(value); break;
    case NRF52_UARTE_TXD_MAXCNT: uarte.tx_maxcnt = value; break;
    case NRF52_TIMER0 + NRF52_TIMER_CAPTURE(2u): uarte.captured_us = uarte.now_us; break;
    case NRF52_TIMER1 + NRF52_TIMER_MODE: uarte.counting = value == 1u; break;
    case NRF52_TIMER1 + NRF52_TIMER_CLEAR: uarte.counter = 0; break;
    case NRF52_TIMER1 + NRF52_TIMER_CAPTURE(0u): uarte.captured = uarte.counter; break;
    case NRF52_TIMER1 + NRF52_TIMER_CAPTURE(1u): uarte.captured_by_interrupt = uarte.counter; break;
    case NRF52_PPI_CHENSET: uarte.ppi |= value; break;
    case NRF52_PPI_EEP(0u): check(value == NRF52_UARTE_RXDRDY, "PPI's event"); break;
    case NRF52_PPI_TEP(0u): check(value == NRF52_TIMER1 + NRF52_TIMER_COUNT, "PPI's task"); break;
    case NRF52_PPI_EEP(1u): check(value == NRF52_UARTE_ENDRX, "PPI's second event"); break;
    case NRF52_PPI_TEP(1u): check(value == NRF52_TIMER1 + NRF52_TIMER_CAPTURE(2u), "PPI's second task"); break;
    default: break;
    }
}

uint32_t tinyfed_nrf52_read(uint32_t address)
{
    switch (address) {
    case NRF52_UARTE_RXDRDY: return uarte.rxdrdy;
    case NRF52_UARTE_ENDRX: return uarte.endrx;
    case NRF52_UARTE_ENDTX: return uarte.endtx;
    case NRF52_UARTE_RXTO: return uarte.rxto;
    case NRF52_UARTE_ERROR: return uarte.error;
    case NRF52_UARTE_RXSTARTED: return uarte.rxstarted;
    case NRF52_UARTE_ERRORSRC: return uarte.errorsrc;
    case NRF52_TIMER0 + NRF52_TIMER_CC(2u): return uarte.captured_us;
    case NRF52_TIMER1 + NRF52_TIMER_CC(0u): return uarte.captured;
    case NRF52_TIMER1 + NRF52_TIMER_CC(1u): return uarte.captured_by_interrupt;
    case NRF52_TIMER1 + NRF52_TIMER_CC(2u): return uarte.captured_at_end;
    default: check(false, "read of a register the model has not"); return 0;
    }
}

static bool interrupt_wanted(void)
{
    return (uarte.rxstarted && (uarte.inten & NRF52_UARTE_INT_RXSTARTED)) ||
           (uarte.rxdrdy && (uarte.inten & NRF52_UARTE_INT_RXDRDY)) ||
           (uarte.endtx && (uarte.inten & NRF52_UARTE_INT_ENDTX)) ||
           (uarte.error && (uarte.inten & NRF52_UARTE_INT_ERROR));
}

static void serve(void)
{
    for (int turn = 0; interrupt_wanted(); turn++) {
        check(turn < 4, "an interrupt that is never quiet");
        if (turn >= 4) return;
        tinyfed_nrf52_uarte_interrupt();
    }
}

static void count_one(void)
{
    uarte.rxdrdy = 1;
    if (uarte.counting && (uarte.ppi & 1u)) uarte.counter++;
}

/* Time passes on the line; DMA has moved what was received before `dma_us`. */
static void pass(uint32_t us)
{
    uarte.now_us += us;
    if (us >= uarte.dma_us) move_to_ram();
    if (!uarte.receiving && uarte.dma_on && uarte.enabled == 8u) { /* after STOPRX */
        check((uarte.shorts & NRF52_UARTE_SHORT_ENDRX_STARTRX) == 0u, "the block that STOPRX ends begins another");
        end_block();
        uarte.rxto = !uarte.rxto_is_lost;
    }
    if (uarte.line_low && uarte.receiving) {
        set_error(4u | 8u);
        count_one();
    }
}

/* A byte comes, and is in RAM when the next one does, or time passes. */
static void arrive(uint8_t byte)
{
    if (!uarte.dma_on || uarte.enabled != 8u) return; /* a receiver that is being started anew loses it */
    pass(BYTE_US);
    if (uarte.fifo_count == FIFO_BYTES) {
        set_error(1u);
        return;
    }
    uarte.fifo[uarte.fifo_count++] = byte;
    count_one();
    if (uarte.dma_us == 0u) move_to_ram();
}

static void transmit_one(void)
{
    if (uarte.tx_left == 0u) return;
    sent[sent_count++] = uarte.tx_pointer[uarte.tx_maxcnt - uarte.tx_left];
    if (--uarte.tx_left == 0u) uarte.endtx = 1;
}

static uint32_t state = 1;

static uint32_t draw(uint32_t bound)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % bound;
}

static void power_on(void)
{
    memset(&uarte, 0, sizeof uarte);
    uarte.now_us = 12345;
    sent_count = 0;
    tinyfed_nrf52_uarte_start(0x01D60000u, 6u, 8u);
    serve();
}

static void check_receive(uint32_t seed, uint32_t late_by)
{
    uint8_t bytes[300];
    uint8_t written = 0, wanted = 0;
    uint32_t waiting = 0, since_wanted = 0;
    state = seed;
    power_on();
    for (uint32_t turn = 0; turn < 20000u; turn++) {
        uarte.dma_us = draw(BYTE_US);
        if (waiting < TINYFED_NRF52_UARTE_RING_BYTES && draw(3) != 0u) {
            arrive(written++);
            waiting++;
        }
        since_wanted = interrupt_wanted() ? since_wanted + 1u : 0u;
        if (since_wanted > late_by || draw(20) == 0u) {
            serve();
            since_wanted = 0;
        }
        if (draw(100) == 0u || waiting == TINYFED_NRF52_UARTE_RING_BYTES) {
            if (draw(2) == 0u) pass(50);
            const size_t count = tinyfed_nrf52_uarte_read(bytes, draw(sizeof bytes));
            for (size_t i = 0; i < count; i++) {
                if (bytes[i] != wanted) {
                    check(false, "bytes in order, none lost, none twice");
                    return;
                }
                wanted++;
            }
            waiting -= (uint32_t)count;
        }
    }
    check(uarte.counter > 5000u && uarte.counter - waiting > 5000u, "the test moves bytes");
}

/* The main loop goes round for a while, and takes what is there. */
static size_t poll(uint8_t *bytes, size_t capacity)
{
    size_t count = 0;
    for (int turn = 0; turn < 8; turn++) {
        pass(30);
        serve();
        count += tinyfed_nrf52_uarte_read(bytes + count, capacity - count);
    }
    return count;
}

/* Whatever was before: bytes that come after a pause come whole. */
static void check_whole(const char *what)
{
    uint8_t bytes[2 * TINYFED_NRF52_UARTE_RING_BYTES];
    (void)poll(bytes, sizeof bytes);
    for (uint32_t frame = 0; frame < 8u; frame++) {
        for (uint32_t i = 0; i < 200u; i++) {
            arrive((uint8_t)(i * 3u + frame));
            serve();
        }
        const size_t count = poll(bytes, sizeof bytes);
        bool good = count == 200u;
        for (uint32_t i = 0; good && i < 200u; i++) good = bytes[i] == (uint8_t)(i * 3u + frame);
        if (good) continue;
        check(false, what);
        return;
    }
}

static void check_faults(void)
{
    uint8_t bytes[2 * TINYFED_NRF52_UARTE_RING_BYTES];

    /* An interrupt that is late: up to a block nothing is lost, and 520 bytes do not make the receiver deaf. */
    for (uint32_t before = 0; before < 600u; before += 37u) {
        for (uint32_t late = 200u; late < 1400u; late += 40u) {
            power_on();
            for (uint32_t i = 0; i < before; i++) {
                arrive(0xAA);
                serve();
            }
            (void)poll(bytes, sizeof bytes);
            for (uint32_t i = 0; i < late; i++) arrive((uint8_t)i);
            check_whole("after a late interrupt");
        }
    }

    /* The same within the interrupt: the block ends before DMA is told the next one. */
    power_on();
    for (uint32_t i = 0; i < TINYFED_NRF52_UARTE_BLOCK_BYTES + 250u; i++) {
        arrive(0xAA);
        if (i < TINYFED_NRF52_UARTE_BLOCK_BYTES - 1u) serve();
    }
    uarte.meanwhile = 10u;
    check_whole("after an interrupt that took long");

    /* A framing error: the byte is not stored; whether RXDRDY tells of it the Specification does not say. */
    for (uint32_t at = 0; at < 600u; at += 50u) {
        for (int told = 0; told < 2; told++) {
            power_on();
            for (uint32_t i = 0; i < 600u; i++) {
                if (i == at && told) count_one();
                if (i == at) set_error(4u);
                if (i != at) arrive((uint8_t)i);
                serve();
                if (i % 100u == 0u) (void)tinyfed_nrf52_uarte_read(bytes, sizeof bytes);
            }
            check_whole("after a framing error");
            check(uarte.error == 0 && uarte.errorsrc == 0, "errors are cleared");
        }
    }

    /* Counted though not stored, and no error says so: the end of the block does. */
    power_on();
    count_one();
    for (uint32_t i = 0; i < 600u; i++) {
        arrive((uint8_t)i);
        serve();
    }
    check_whole("after a count without a byte");

    /* A line that is low when the power comes, as while the USB chip beside it starts. */
    memset(&uarte, 0, sizeof uarte);
    uarte.line_low = true;
    tinyfed_nrf52_uarte_start(0x01D60000u, 6u, 8u);
    for (int turn = 0; turn < 20; turn++) {
        (void)poll(bytes, sizeof bytes);
        if (!tinyfed_nrf52_uarte_arm_wake()) continue;
        pass(10);
        check(interrupt_wanted(), "the break wakes");
    }
    uarte.line_low = false;
    check_whole("after a break");

    /* Bytes in the FIFO of a receiver that stops are not those of the next block. */
    power_on();
    set_error(4u);
    (void)tinyfed_nrf52_uarte_available();
    uarte.dma_us = 100;
    for (uint32_t i = 0; i < 3u; i++) arrive(0x55);
    pass(50);
    uarte.dma_us = 0;
    check_whole("after bytes in the FIFO");

    /* A receiver that never says that it has stopped is switched off. */
    power_on();
    set_error(4u);
    uarte.rxto_is_lost = true;
    for (int turn = 0; turn < 50; turn++) (void)poll(bytes, sizeof bytes);
    check_whole("without RXTO");

    /* RXDRDY comes before the byte is in RAM: what is handed out was there. */
    power_on();
    uarte.dma_us = 9;
    for (uint32_t i = 1; i <= 50u; i++) {
        arrive((uint8_t)i);
        if (i % 3u == 0u) (void)tinyfed_nrf52_uarte_available();
    }
    size_t count = tinyfed_nrf52_uarte_read(bytes, sizeof bytes);
    count += tinyfed_nrf52_uarte_read(bytes + count, sizeof bytes - count);
    check(count < 50u, "the last byte is not in RAM yet");
    count += poll(bytes + count, sizeof bytes - count);
    for (uint32_t i = 0; i < 50u; i++) check(count == 50u && bytes[i] == i + 1u, "a byte was handed out from RAM");
}

int main(void)
{
    for (uint32_t seed = 1; seed <= 20u; seed++) check_receive(seed, draw(TINYFED_NRF52_UARTE_BLOCK_BYTES - 8u));

    check_faults();

    /* An overflow drops what is there, and the bytes after it come whole. */
    uint8_t bytes[300];
    power_on();
    for (uint32_t i = 0; i < TINYFED_NRF52_UARTE_RING_BYTES + 5u; i++) {
        arrive((uint8_t)i);
        serve();
    }
    check(tinyfed_nrf52_uarte_available() == 0, "an overflown ring is empty");
    for (uint32_t i = 0; i < 10u; i++) arrive((uint8_t)(100u + i));
    check(poll(bytes, sizeof bytes) == 10u && bytes[0] == 100u && bytes[9] == 109u, "after an overflow");

    /* Sending: nothing is taken while bytes are on their way, and those do not change. */
    power_on();
    uint8_t message[400];
    for (uint32_t i = 0; i < sizeof message; i++) message[i] = (uint8_t)(i * 7u);
    size_t handed = 0;
    for (uint32_t turn = 0; turn < 5000u && (handed < sizeof message || uarte.tx_left > 0u); turn++) {
        if (draw(4) == 0u && handed < sizeof message) {
            const size_t count = tinyfed_nrf52_uarte_write(message + handed, sizeof message - handed);
            check(count == 0u || uarte.tx_left == count, "one transfer at a time");
            memset(message + handed, 0xEE, count); /* the caller's buffer is its own again */
            handed += count;
        }
        transmit_one();
        if (draw(5) == 0u) serve();
    }
    check(handed == sizeof message && sent_count == sizeof message, "everything was sent");
    for (uint32_t i = 0; i < sent_count; i++) {
        if (sent[i] != (uint8_t)(i * 7u)) {
            check(false, "what was sent");
            break;
        }
    }

    /* Waking: armed without bytes, the first one interrupts, once; with bytes waiting it is not to sleep. */
    power_on();
    check(tinyfed_nrf52_uarte_arm_wake(), "nothing there: sleep");
    check(!interrupt_wanted(), "quiet");
    arrive(1);
    check(interrupt_wanted(), "a byte wakes");
    serve();
    arrive(2);
    check(!interrupt_wanted(), "the next one does not");
    check(!tinyfed_nrf52_uarte_arm_wake(), "bytes are there: no sleep");

    (void)poll(bytes, sizeof bytes);
    check(tinyfed_nrf52_uarte_arm_wake(), "all taken: sleep");
    set_error(4u);
    check(interrupt_wanted(), "an error wakes");

    /* The transmitter has done after write gave 0, and its interrupt is over before the core sleeps. */
    power_on();
    check(tinyfed_nrf52_uarte_write(message, 10) == 10u && tinyfed_nrf52_uarte_arm_wake(), "all is handed over: sleep");
    check(tinyfed_nrf52_uarte_write(message, 10) == 0u && tinyfed_nrf52_uarte_arm_wake(), "the end will wake");
    while (uarte.tx_left > 0u) transmit_one();
    serve();
    check(!tinyfed_nrf52_uarte_arm_wake(), "there is room again: no sleep");
    return failures == 0 ? 0 : 1;
}
