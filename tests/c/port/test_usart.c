/* The STM32s' line on a model of USART1, of either family: reading the status and then the data clears an overrun in an
 * F4, writing ICR in an L4. Bytes arrive at any access, also between those two. */
#include "stm32.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS = 0x100, RECEIVE = 0x104, TRANSMIT = 0x108, CLEAR = 0x10C, BAUD = 0x110, CONTROL = 0x114 };
enum { ORE = 1 << 3, RXNE = 1 << 5, TXE = 1 << 7, ENABLE = 1 << 13 };

static struct {
    uint32_t status, control, baud;
    bool status_seen; /* with ORE: the next read of the data clears it */
    uint8_t data;
    uint32_t arrive_at, accesses; /* a byte comes at this access */
    uint8_t next, sent[4096];
    size_t sent_bytes;
} usart;

static void check(bool holds, const char *what)
{
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void arrive(void)
{
    const uint8_t byte = usart.next++;
    if ((usart.status & RXNE) != 0u) {
        usart.status |= ORE; /* the byte in the shift register is lost, that in the data register is not */
        return;
    }
    usart.data = byte;
    usart.status |= RXNE;
}

static void access(void)
{
    if (++usart.accesses == usart.arrive_at) arrive();
}

uint32_t tinyfed_stm32_read(uint32_t address)
{
    access();
    if (address == STATUS) {
        usart.status_seen = (usart.status & ORE) != 0u;
        return usart.status;
    }
    check(address == RECEIVE, "a register that is not modelled was read");
    if (usart.status_seen && tinyfed_stm32_family.usart1.clear == 0u) usart.status &= ~(uint32_t)ORE;
    usart.status_seen = false;
    usart.status &= ~(uint32_t)RXNE;
    return usart.data;
}

void tinyfed_stm32_write(uint32_t address, uint32_t value)
{
    access();
    if (address == TRANSMIT) {
        check((usart.status & TXE) != 0u, "a byte was written over one that is not sent");
        check(usart.sent_bytes < sizeof usart.sent, "more is sent than was given");
        usart.sent[usart.sent_bytes++] = (uint8_t)value;
        usart.status &= ~(uint32_t)TXE;
    } else if (address == CONTROL) {
        usart.control = value;
    } else if (address == BAUD) {
        usart.baud = value;
    } else {
        check(address == CLEAR && value == ORE && tinyfed_stm32_family.usart1.clear == CLEAR, "a stray write");
        usart.status &= ~value;
    }
}

static bool interrupts(void)
{
    return ((usart.status & (RXNE | ORE)) != 0u && (usart.control & RXNE) != 0u) ||
           (usart.status & TXE & usart.control) != 0u;
}

static tinyfed_stm32_line_t line;

static void serve(void)
{
    for (int turn = 0; interrupts(); turn++) {
        check(turn < 3, "an interrupt that never ends");
        tinyfed_stm32_line_work(&line);
    }
}

static void start(uint32_t arrive_at)
{
    memset(&usart, 0, sizeof usart);
    memset(&line, 0, sizeof line);
    usart.status = TXE;
    tinyfed_stm32_line_start(84000000u, 115200u);
    check(usart.baud == 729u, "84 MHz by 115200 is 729.2");
    check((usart.control & (ENABLE | 0x2Cu)) == (ENABLE | 0x2Cu), "it is not switched on");
    usart.accesses = 0;
    usart.arrive_at = arrive_at;
}

static void runs(void)
{
    uint8_t bytes[TINYFED_RING_BYTES + 8];
    /* A second byte comes at each of the accesses that the first one takes, and a third while both wait. */
    for (uint32_t at = 1; at < 8u; at++) {
        for (int late = 0; late < 2; late++) {
            start(at);
            arrive();
            if (late != 0) arrive();
            serve();
            const size_t count = tinyfed_ring_read(&line.received, bytes, sizeof bytes);
            check(count >= 1u && bytes[0] == 0u, "the first byte is lost");
            check((usart.status & (ORE | RXNE)) == 0u, "something is left");
            usart.arrive_at = 0;
            arrive();
            serve();
            check(tinyfed_ring_read(&line.received, bytes, sizeof bytes) == 1u &&
                      bytes[0] == (uint8_t)(usart.next - 1u),
                  "the line does not go on");
        }
    }
    /* A full ring masks the interrupt, the overrun's too, until the main loop takes bytes. */
    start(0);
    for (uint32_t i = 0; i < TINYFED_RING_BYTES + 3u; i++) {
        arrive();
        serve();
    }
    check(tinyfed_ring_full(&line.received) && !interrupts(), "a full ring is a storm");
    check(tinyfed_ring_read(&line.received, bytes, 100u) == 100u && bytes[99] == 99u, "bytes in order");
    tinyfed_stm32_line_work(&line);
    serve();
    check(tinyfed_ring_read(&line.received, bytes, sizeof bytes) == TINYFED_RING_BYTES - 100u + 1u,
          "the one that waited");
    /* Sending: each byte once, in order, and the interrupt ends with the last. */
    start(0);
    for (uint32_t i = 0; i < 200u; i++) bytes[i] = (uint8_t)(i * 7u);
    check(tinyfed_ring_write(&line.sending, bytes, 200u) == 200u, "there is room");
    tinyfed_stm32_line_work(&line);
    for (int i = 0; i < 200; i++) {
        usart.status |= TXE;
        serve();
    }
    check(usart.sent_bytes == 200u && memcmp(usart.sent, bytes, 200u) == 0, "what is sent is not what was given");
    usart.status |= TXE;
    check(!interrupts(), "an empty ring is a storm");
}

const tinyfed_stm32_family_t tinyfed_stm32_family = {
    .usart1 = {.status = STATUS,
               .receive = RECEIVE,
               .transmit = TRANSMIT,
               .clear = TINYFED_TEST_CLEAR,
               .baud = BAUD,
               .control = CONTROL,
               .enable = ENABLE},
};

int main(void)
{
    runs();
    return 0;
}
