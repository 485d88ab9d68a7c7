/* A sensor whose readings may be recorded: docs/howto-sensor.md. */
#ifndef TINYFED_SENSOR_H
#define TINYFED_SENSOR_H

#include <stdint.h>

typedef enum tinyfed_sensor_got {
    TINYFED_SENSOR_READING = 1,
    TINYFED_SENSOR_NOTHING = 0, /* none yet */
    TINYFED_SENSOR_GAP = -1,    /* some were lost before the next one */
    TINYFED_SENSOR_OVER = -2    /* no more until it is started again */
} tinyfed_sensor_got_t;

typedef struct tinyfed_sensor {
    uint32_t channels; /* of a reading */
    uint32_t rate_hz;  /* readings a second */
    /* Readings are wanted from now on; called at the begin of each recording. */
    void (*start)(void);
    /* The next reading, [channels], in the sensor's unit. Called at least every half reading's time; never waits. */
    tinyfed_sensor_got_t (*read)(double *reading);
} tinyfed_sensor_t;

#endif
