/* A float32 head that learns on a frozen int8 network: the base stays in flash, its last features are normalized
 * by their running mean and variance, and a small float32 model (docs/head.md) is trained on them online.
 *
 * One file holds both: the int8 program of tinyfed_int8.h and the head's model image of tinyfed_core.h. */
#ifndef TINYFED_HEAD_H
#define TINYFED_HEAD_H

#include "tinyfed_int8.h"

/* A validated view of the file, which must outlive it. */
typedef struct tinyfed_head {
    tinyfed_int8_t base;
    const uint8_t *image; /* the head's: copied to RAM, where it is trained */
    uint32_t image_bytes;
    uint32_t feature_count;
} tinyfed_head_t;

/* Validate everything about bytes[0..byte_count), aligned to TINYFED_ALIGNMENT, and fill head: both parts, that the
 * base has one input and one output of feature_count values, and that the head begins with a frozen scale and shift of
 * them. On error *error_offset (may be NULL) is the offset of the first byte that is wrong. */
tinyfed_status_t tinyfed_head_open(tinyfed_head_t *head, uint32_t *error_offset, const uint8_t *bytes,
                                   uint32_t byte_count) TINYFED_MUST_USE;

/* Run the base on the int8 input that lies in work at tinyfed_int8_input(&head->base, 0).offset; features
 * [feature_count] are its output as real values. */
tinyfed_status_t tinyfed_head_features(const tinyfed_head_t *head, float *features, void *work,
                                       uint32_t work_bytes) TINYFED_MUST_USE;

/* Running mean and sum of squared deviations of each feature (Welford 1962). The caller clears mean and deviation
 * [feature_count] and sample_count before the first sample. */
typedef struct tinyfed_normalizer {
    float *mean;
    float *deviation;
    uint32_t feature_count;
    uint32_t sample_count; /* stays at 2^24, where float32 stops counting */
    float epsilon;         /* added to the variance; > 0. The square of the base's output scale suits */
} tinyfed_normalizer_t;

void tinyfed_normalizer_add(tinyfed_normalizer_t *normalizer, const float *features);

/* The head's first layer, parameters[0..2 feature_count): scale = 1 / sqrt(variance + epsilon), shift = -mean scale. */
void tinyfed_normalizer_write(const tinyfed_normalizer_t *normalizer, float *parameters);

#endif
