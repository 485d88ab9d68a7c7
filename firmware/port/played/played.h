/* A sensor whose readings were recorded before: it plays a file of docs/recording.md in the board's own time. */
#ifndef TINYFED_PLAYED_H
#define TINYFED_PLAYED_H

#include <stddef.h>
#include <stdint.h>

#include "tinyfed_sensor.h"

/* The sensor that plays bytes[0..byte_count), aligned to 8 and staying there, or NULL when that is no recording. Each
 * start plays the next take from its first reading on; after the last one, the first again. now_us is the clock; with
 * NULL a reading is there whenever it is asked for. One at a time: another call ends what was played before. */
const tinyfed_sensor_t *tinyfed_played_sensor(const uint8_t *bytes, size_t byte_count, uint32_t (*now_us)(void));

#endif
