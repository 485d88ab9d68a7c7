/* firmware/port/nrf52/uarte.c against a model of the UARTE, EasyDMA, PPI and the counting timer, as the nRF52840
 * Product Specification describes them. Bytes arrive and interrupts are served at random times. */
#include "registers.h"
#include "uarte.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const uint8_t *base; /* what DMA address 0x20000000 stands for */
    uint8_t *rx_pointer, *rx_latched;
    uint32_t rx_maxcnt, rx_max_latched, rx_amount;
    const uint8_t *tx_pointer;
    uint32_t tx_maxcnt, tx_left;
    uint32_t rxstarted, rxdrdy, endtx, error, errorsrc, shorts, inten, enabled, counter, captured, ppi;
    bool receiving, counting;
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

static void start_receiving(void)
{
    uarte.rx_latched = uarte.rx_pointer;
    uarte.rx_max_latched = uarte.rx_maxcnt;
    uarte.rx_amount = 0;
    uarte.receiving = true;
    uarte.rxstarted = 1;
}

void tinyfed_nrf52_write(uint32_t address, uint32_t value)
{
    switch (address) {
    case NRF52_UARTE_STARTRX: start_receiving(); break;
    case NRF52_UARTE_STARTTX: uarte.tx_left = uarte.tx_maxcnt; break;
    case NRF52_UARTE_RXDRDY: uarte.rxdrdy = value; break;
    case NRF52_UARTE_ENDTX: uarte.endtx = value; break;
    case NRF52_UARTE_ERROR: uarte.error = value; break;
    case NRF52_UARTE_RXSTARTED: uarte.rxstarted = value; break;
    case NRF52_UARTE_SHORTS: uarte.shorts = value; break;
    case NRF52_UARTE_INTENSET: uarte.inten |= value; break;
    case NRF52_UARTE_INTENCLR: uarte.inten &= ~value; break;
    case NRF52_UARTE_ERRORSRC: uarte.errorsrc &= ~value; break;
    case NRF52_UARTE_ENABLE: uarte.enabled = value; break;
    case NRF52_UARTE_RXD_PTR: uarte.rx_pointer = undo_dma(value); break;
    case NRF52_UARTE_RXD_MAXCNT: uarte.rx_maxcnt = value; break;
    case NRF52_UARTE_TXD_PTR: uarte.tx_pointer = undo_dma(value); break;
    case NRF52_UARTE_TXD_MAXCNT: uarte.tx_maxcnt = value; break;
    case NRF52_TIMER1 + NRF52_TIMER_MODE: uarte.counting = value == 1u; break;
    case NRF52_TIMER1 + NRF52_TIMER_CAPTURE(0u): uarte.captured = uarte.counter; break;
    case NRF52_PPI_CHENSET: uarte.ppi |= value; break;
    case NRF52_PPI_EEP0: check(value == NRF52_UARTE_RXDRDY, "PPI's event"); break;
    case NRF52_PPI_TEP0: check(value == NRF52_TIMER1 + NRF52_TIMER_COUNT, "PPI's task"); break;
    default: break;
    }
}

uint32_t tinyfed_nrf52_read(uint32_t address)
{
    switch (address) {
    case NRF52_UARTE_RXDRDY: return uarte.rxdrdy;
    case NRF52_UARTE_ENDTX: return uarte.endtx;
    case NRF52_UARTE_ERROR: return uarte.error;
    case NRF52_UARTE_RXSTARTED: return uarte.rxstarted;
    case NRF52_UARTE_ERRORSRC: return uarte.errorsrc;
    case NRF52_TIMER1 + NRF52_TIMER_CC(0u): return uarte.captured;
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

static void arrive(uint8_t byte)
{
    if (!uarte.receiving || uarte.enabled != 8u) {
        check(false, "a byte met a receiver that is off");
        return;
    }
    uarte.rx_latched[uarte.rx_amount++] = byte;
    uarte.rxdrdy = 1;
    if (uarte.counting && (uarte.ppi & 1u)) uarte.counter++;
    if (uarte.rx_amount == uarte.rx_max_latched) {
        uarte.receiving = false;
        if (uarte.shorts & NRF52_UARTE_SHORT_ENDRX_STARTRX) start_receiving();
    }
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

static void power_on(uint32_t first_count)
{
    memset(&uarte, 0, sizeof uarte);
    sent_count = 0;
    tinyfed_nrf52_uarte_start(0x01D60000u, 6u, 8u);
    uarte.counter = first_count;
    serve();
}

static void check_receive(uint32_t seed, uint32_t late_by)
{
    uint8_t bytes[300];
    uint8_t written = 0, wanted = 0;
    uint32_t waiting = 0, since_wanted = 0;
    state = seed;
    power_on(0);
    for (uint32_t turn = 0; turn < 20000u; turn++) {
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
    check(written != 0 || wanted != 0, "the test moves bytes");
}

int main(void)
{
    for (uint32_t seed = 1; seed <= 20u; seed++) check_receive(seed, draw(TINYFED_NRF52_UARTE_BLOCK_BYTES - 8u));

    /* An overflow drops what is there, and the bytes after it come whole. */
    uint8_t bytes[300];
    power_on(0);
    for (uint32_t i = 0; i < TINYFED_NRF52_UARTE_RING_BYTES + 5u; i++) {
        arrive((uint8_t)i);
        serve();
    }
    check(tinyfed_nrf52_uarte_available() == 0, "an overflown ring is empty");
    for (uint32_t i = 0; i < 10u; i++) arrive((uint8_t)(100u + i));
    check(tinyfed_nrf52_uarte_read(bytes, sizeof bytes) == 10u && bytes[0] == 100u && bytes[9] == 109u,
          "after an overflow");

    /* Sending: nothing is taken while bytes are on their way, and those do not change. */
    power_on(0);
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
    power_on(0);
    check(tinyfed_nrf52_uarte_arm_wake(), "nothing there: sleep");
    check(!interrupt_wanted(), "quiet");
    arrive(1);
    check(interrupt_wanted(), "a byte wakes");
    serve();
    arrive(2);
    check(!interrupt_wanted(), "the next one does not");
    check(!tinyfed_nrf52_uarte_arm_wake(), "bytes are there: no sleep");

    /* A framing error is cleared. */
    uarte.error = 1;
    uarte.errorsrc = 4;
    serve();
    check(uarte.error == 0 && uarte.errorsrc == 0, "errors are cleared");
    return failures == 0 ? 0 : 1;
}
