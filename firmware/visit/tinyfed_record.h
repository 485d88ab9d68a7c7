/* Samples that the device records itself: a sensor's readings become windows, windows become features as the host
 * prepares them, and features are kept in order of class, so that they are drawn from as a shard is. Depends on core
 * only; the same bits on every target, double precision throughout. docs/howto-sensor.md tells the whole. */
#ifndef TINYFED_RECORD_H
#define TINYFED_RECORD_H

#include "tinyfed_visit.h"

#define TINYFED_RECORD_CHANNELS_MAX 16u
#define TINYFED_RECORD_CLASSES TINYFED_WAYS_MAX
#define TINYFED_RECORDER_BYTES 384u /* what the struct takes of the memory; the ring and the samples follow */

/* How readings become one sample: `steps` steps in a window, each the mean of `group` readings, each channel
 * standardized; a new window begins every `stride` steps. A sample is [steps][channels] float32. */
typedef struct tinyfed_window_form {
    uint32_t channels;              /* 1..TINYFED_RECORD_CHANNELS_MAX */
    uint32_t rate_hz;               /* readings a second */
    uint32_t group, steps, stride;  /* at least 1 */
    const double *mean, *deviation; /* [channels], in the sensor's unit; deviation above 0 */
} tinyfed_window_form_t;

/* What a wrist does, as the watch task has it: accelerometer in g, gyroscope in rad/s, x y z each, 50 Hz. Windows of 2
 * s, one begun each second, 20 steps of 6 channels. */
extern const tinyfed_window_form_t tinyfed_motion_form;

/* The recorder and what it has recorded: the struct stands at the begin of the memory it was given. */
typedef struct tinyfed_recorder {
    const tinyfed_window_form_t *form;
    uint32_t feature_count;
    uint32_t capacity;    /* samples there is room for */
    uint32_t count;       /* samples stored */
    uint32_t class_count; /* the highest class with a sample, plus 1 */
    uint32_t label;       /* of the windows from now on */
    uint32_t readings;    /* in the step that is not complete */
    uint32_t steps;       /* complete ones since the last begin or gap */
    double sum[TINYFED_RECORD_CHANNELS_MAX];
    uint8_t ends[4u * TINYFED_RECORD_CLASSES]; /* the class table of docs/shard.md */
    float *ring;                               /* [form->steps][channels]: the newest steps */
    float *samples;                            /* [capacity][feature_count], class after class */
} tinyfed_recorder_t;

/* Samples that fit into memory_bytes; 0: not even one. The same on every target. */
uint32_t tinyfed_recorder_capacity(const tinyfed_window_form_t *form, uint32_t memory_bytes);
/* A recorder in memory[0..memory_bytes), aligned to TINYFED_ALIGNMENT; NULL when not even one sample fits. */
tinyfed_recorder_t *tinyfed_recorder_open(const tinyfed_window_form_t *form, void *memory, uint32_t memory_bytes);
/* From here on it is `label`, below TINYFED_RECORD_CLASSES. A window that was begun before is dropped. */
void tinyfed_recorder_begin(tinyfed_recorder_t *recorder, uint32_t label);
/* Readings were lost: the windows that would span them are dropped. */
void tinyfed_recorder_gap(tinyfed_recorder_t *recorder);
/* One reading, [channels]. True when it completed a window that is stored now. A full store takes no more. A reading
 * that is not finite counts as lost. */
bool tinyfed_recorder_add(tinyfed_recorder_t *recorder, const double *reading);
/* What is stored, to be drawn from; valid until the next add. */
void tinyfed_recorder_shard(const tinyfed_recorder_t *recorder, tinyfed_shard_t *shard);

#endif
