/* A sensor whose readings were recorded before: it plays a file of docs/recording.md in the board's own time. */
#ifndef TINYFED_PLAYED_H
#define TINYFED_PLAYED_H

#include <stddef.h>
#include <stdint.h>

#include "tinyfed_sensor.h"

/* Channels of the recording in bytes[0..byte_count), aligned to 8 and staying there; 0: there is none. Sets the
 * readings a second. */
uint32_t tinyfed_played_open(const uint8_t *bytes, size_t byte_count, uint32_t *rate_hz);
/* Play the next take from its first reading on; after the last one, the first again. */
void tinyfed_played_start(uint32_t now_us);
/* As tinyfed_sensor_t.read; OVER: the take is. */
tinyfed_sensor_got_t tinyfed_played_read(double *reading, uint32_t now_us);

#endif
