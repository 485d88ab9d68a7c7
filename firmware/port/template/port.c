/* A port to copy: it compiles, and each function says what to put in its place. A device made of this answers
 * nobody, because its line carries nothing. docs/howto-board.md goes through it step by step. */
#include "tinyfed_port.h"

#include <string.h>

static uint8_t arena[TINYFED_ARENA_BYTES] __attribute__((aligned(16)));

int tinyfed_port_start(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    /* Start the clocks (bound every wait for a ready flag: a crystal can be missing), then a free-running timer,
     * then the UART with its receive interrupt. Let the interrupt put bytes into a ring, as mps2/port.c does: while
     * a device trains, nobody else looks at the line for the length of one sample. */
    return 0;
}

size_t tinyfed_port_read(uint8_t *bytes, size_t capacity)
{
    /* Take what the ring holds. When the ring was full and its interrupt masked, unmask it now. */
    (void)bytes;
    (void)capacity;
    return 0;
}

size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count)
{
    /* Put as much as fits into the transmit ring (or DMA buffer) and start it; never wait for the line. */
    (void)bytes;
    return byte_count;
}

void tinyfed_port_idle(uint32_t timeout_ms)
{
    /* With interrupts off, look whether something was received; if not, WFI, with a timer to end it after timeout_ms.
     * tinyfed_cortexm_idle does that for a Cortex-M. Doing nothing here is right too, only wasteful. */
    (void)timeout_ms;
}

uint32_t tinyfed_port_now_us(void)
{
    /* Used for timeouts and for the training time that is reported; milliseconds times 1,000 are good enough. */
    return 0;
}

uint32_t tinyfed_port_instructions(void)
{
    /* 0: not counted. A cycle counter is not an instruction counter; leave it out. */
    return 0;
}

uint8_t *tinyfed_port_arena(size_t *byte_count)
{
    *byte_count = sizeof arena;
    return arena;
}

const uint8_t *tinyfed_port_shard(size_t *byte_count)
{
    /* Address and size of the flash region that holds this device's samples, from the manifest's memory.data_flash:
     * TINYFED_DATA_FLASH_ADDRESS and TINYFED_DATA_FLASH_BYTES. What lies there is checked before it is used. */
    *byte_count = 0;
    return NULL;
}

const tinyfed_flash_t *tinyfed_port_flash(void)
{
    /* Flash that neither the program nor the samples use, for two slots: see tinyfed_flash.h, and stm32f4/flash.c. */
    return NULL;
}

void tinyfed_port_unique_id(uint8_t id[TINYFED_PORT_UNIQUE_ID_BYTES])
{
    /* Most microcontrollers have one in their factory registers; pad a shorter one with zeros. */
    memset(id, 0, TINYFED_PORT_UNIQUE_ID_BYTES);
}

uint32_t tinyfed_port_stack_bytes(void)
{
    /* A Cortex-M has it from cortexm/, whose start-up paints the stack: leave this, arena, shard and reset away then.
     */
    return 0;
}

const tinyfed_sensor_t *tinyfed_port_sensor(void)
{
    /* A sensor whose readings are to be recorded, such as an IMU's: docs/howto-sensor.md. */
    return NULL;
}

tinyfed_reset_cause_t tinyfed_port_reset_cause(void)
{
    /* Most microcontrollers have a register of reset flags. Read it in tinyfed_port_start and clear it there: flags add
     * up over resets. A Cortex-M's fault looks like a reset by software: tinyfed_cortexm_noted tells them apart. */
    return TINYFED_CAUSE_UNKNOWN;
}

void tinyfed_port_feed(void)
{
    /* Have the watchdog count TINYFED_WATCHDOG_MS anew. Start it at the end of tinyfed_port_start, also while the
     * processor sleeps; let it stand still only while a debugger holds the processor. */
}

void tinyfed_port_reset(void) {}
