/* What a board gives to the firmware. A port is these functions and a start-up; see port/template.
 * All are called from the main loop, never from an interrupt, and none of them blocks but idle. */
#ifndef TINYFED_PORT_H
#define TINYFED_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tinyfed_flash.h"
#include "tinyfed_sensor.h"

#define TINYFED_PORT_UNIQUE_ID_BYTES 12u

/* Why a device started. Values are part of the wire format (HELLO): never renumber. */
typedef enum tinyfed_reset_cause {
    TINYFED_CAUSE_UNKNOWN = 0,
    TINYFED_CAUSE_POWER = 1, /* power came */
    TINYFED_CAUSE_PIN = 2,   /* the reset button, or a debugger */
    TINYFED_CAUSE_SOFTWARE = 3,
    TINYFED_CAUSE_WATCHDOG = 4, /* the main loop did not come round in time */
    TINYFED_CAUSE_BROWN_OUT = 5,
    TINYFED_CAUSE_FAULT = 6 /* the processor met a fault, or locked up */
} tinyfed_reset_cause_t;

/* A watchdog resets a board whose main loop has not come round for so long. Between two rounds lies at most one piece
 * of work and one erasure of flash: 4 s for the largest sector of an STM32F405 (datasheet, table "Flash memory
 * programming"). Less than the 10 s of silence after which a host gives up (docs/wire.md), so that it hears of the
 * reset. Clocks of watchdogs may be wrong by half. */
#define TINYFED_WATCHDOG_MS 8000u

/* Set up clocks, the serial line and the timer, and last, where the board has one, the watchdog. argc and argv are 0
 * and NULL on a bare board. Returns 0; anything else ends the firmware: it is the exit code of ports that have a
 * process to end. */
int tinyfed_port_start(int argc, char **argv);

/* Take up to capacity received bytes without waiting; returns how many. */
size_t tinyfed_port_read(uint8_t *bytes, size_t capacity);

/* Send as many bytes as fit without waiting; returns how many were taken. */
size_t tinyfed_port_write(const uint8_t *bytes, size_t byte_count);

/* Sleep until something was received or (when the last write took less than it was given) there is room to
 * send again, at most timeout_ms (a port whose clock is coarser may take 10 ms). Returning early is allowed. */
void tinyfed_port_idle(uint32_t timeout_ms);

/* Free-running time in microseconds; wraps, and never goes back otherwise. Called at least every 60 seconds. */
uint32_t tinyfed_port_now_us(void);

/* Instructions executed so far where the board can count them (wraps), else 0. */
uint32_t tinyfed_port_instructions(void);

/* The arena: aligned to 16 bytes, the same on every call. */
uint8_t *tinyfed_port_arena(size_t *byte_count);

/* The data flash with this device's shard, or NULL. */
const uint8_t *tinyfed_port_shard(size_t *byte_count);

/* Where models are kept through a power cut, the same on every call; NULL: nowhere. */
const tinyfed_flash_t *tinyfed_port_flash(void);

/* The same for ever on one device, different on every other. */
void tinyfed_port_unique_id(uint8_t id[TINYFED_PORT_UNIQUE_ID_BYTES]);

/* Deepest stack since start, in bytes; 0 where it cannot be known. */
uint32_t tinyfed_port_stack_bytes(void);

/* The sensor, or NULL: there is none on this very board. Called once, at start, where the manifest has record_bytes. */
const tinyfed_sensor_t *tinyfed_port_sensor(void);

/* Why the firmware started: the same on every call. */
tinyfed_reset_cause_t tinyfed_port_reset_cause(void);

/* The main loop has come round: the only place that feeds the watchdog. Nothing to do on a board without one. */
void tinyfed_port_feed(void);

/* Start anew, as after power-on. Returns where that is impossible; the firmware then starts its own state anew. */
void tinyfed_port_reset(void);

#endif
