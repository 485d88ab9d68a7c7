/* USART1, a byte an interrupt. Bits are at the same places in both families (RM0090, 30.6; RM0351, 40.8), but for the
 * one that switches it on. */
#include "stm32.h"

#define ORE (1u << 3)
#define RXNE (1u << 5)
#define TXE (1u << 7)
#define CONTROL_RUN (1u << 3 | 1u << 2) /* TE, RE */
#define CONTROL_RXNEIE (1u << 5)        /* an overrun interrupts too */
#define CONTROL_TXEIE (1u << 7)

void tinyfed_stm32_line_start(uint32_t usart_hz, uint32_t baud)
{
    tinyfed_stm32_write(tinyfed_stm32_family.usart1.baud, (usart_hz + baud / 2u) / baud);
    tinyfed_stm32_write(tinyfed_stm32_family.usart1.control,
                        tinyfed_stm32_family.usart1.enable | CONTROL_RUN | CONTROL_RXNEIE);
}

/* An overrun can come between reading the status and the data, and asks for the interrupt then without any data: it
 * must be seen to as well, or the interrupt would never end. Reading the status and then the data clears it in an F4.
 */
static void receive(tinyfed_ring_t *received)
{
    for (;;) {
        const uint32_t status = tinyfed_stm32_read(tinyfed_stm32_family.usart1.status);
        if ((status & (RXNE | ORE)) == 0u || tinyfed_ring_full(received)) return;
        const uint8_t byte = (uint8_t)tinyfed_stm32_read(tinyfed_stm32_family.usart1.receive);
        if ((status & RXNE) != 0u) tinyfed_ring_put(received, byte);
        if ((status & ORE) != 0u && tinyfed_stm32_family.usart1.clear != 0u)
            tinyfed_stm32_write(tinyfed_stm32_family.usart1.clear, ORE);
    }
}

void tinyfed_stm32_line_work(tinyfed_stm32_line_t *line)
{
    receive(&line->received);
    while (!tinyfed_ring_empty(&line->sending) && (tinyfed_stm32_read(tinyfed_stm32_family.usart1.status) & TXE) != 0u)
        tinyfed_stm32_write(tinyfed_stm32_family.usart1.transmit, tinyfed_ring_get(&line->sending));
    tinyfed_stm32_write(tinyfed_stm32_family.usart1.control,
                        tinyfed_stm32_family.usart1.enable | CONTROL_RUN |
                            (tinyfed_ring_full(&line->received) ? 0u : CONTROL_RXNEIE) |
                            (tinyfed_ring_empty(&line->sending) ? 0u : CONTROL_TXEIE));
}
