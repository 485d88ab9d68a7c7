/* The nRF52's UART with EasyDMA as a line that never blocks. No interrupt for each byte: DMA fills a ring block by
 * block, and a timer counts the bytes. Where count and DMA may differ (a framing error, a break, an interrupt that came
 * a block late) the receiver is stopped, emptied and started anew: bytes are lost, the next frame is whole. */
#ifndef TINYFED_NRF52_UARTE_H
#define TINYFED_NRF52_UARTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DMA is told the next block while it fills one: the interrupt may be late by a block, 22 ms at 115200 baud and 2.6 ms
 * at 1,000,000. */
#define TINYFED_NRF52_UARTE_BLOCK_BYTES 256u
#define TINYFED_NRF52_UARTE_BLOCKS 4u
#define TINYFED_NRF52_UARTE_RING_BYTES (TINYFED_NRF52_UARTE_BLOCK_BYTES * TINYFED_NRF52_UARTE_BLOCKS)
#define TINYFED_NRF52_UARTE_SEND_BYTES 256u

/* baud_register as the Product Specification lists it, pins as PSEL takes them. */
void tinyfed_nrf52_uarte_start(uint32_t baud_register, uint32_t txd_pin, uint32_t rxd_pin);

/* Bytes received, certainly in RAM and not yet taken. When the ring has overflowed, what is in it is dropped: the
 * line's frames are checked, a gap is repaired there. A receiver that has to be started anew makes its next step here.
 */
size_t tinyfed_nrf52_uarte_available(void);
size_t tinyfed_nrf52_uarte_read(uint8_t *bytes, size_t capacity);

/* Takes nothing while the bytes before are on their way. */
size_t tinyfed_nrf52_uarte_write(const uint8_t *bytes, size_t byte_count);

/* Let the next byte or error raise an interrupt, once. Returns false when there is work already: bytes, a receiver to
 * be started anew, or room after a write that took less than it was given. */
bool tinyfed_nrf52_uarte_arm_wake(void);

void tinyfed_nrf52_uarte_interrupt(void);

#endif
