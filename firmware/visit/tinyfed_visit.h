/* What a device does when the coordinator visits it: draw a task from its own data by the order's seed,
 * train online in one pass, evaluate itself at checkpoints. Depends on core only. Bytes of the order and of
 * the result, and the draw itself, are specified in docs/order.md. */
#ifndef TINYFED_VISIT_H
#define TINYFED_VISIT_H

#include "tinyfed_core.h"

#define TINYFED_ORDER_VERSION 1u
#define TINYFED_ORDER_BYTES 40u
#define TINYFED_RESULT_VERSION 1u
#define TINYFED_CHECKPOINTS_MAX 8u
#define TINYFED_WAYS_MAX 32u
#define TINYFED_RESULT_BYTES (32u + 16u * TINYFED_CHECKPOINTS_MAX)

typedef enum tinyfed_source_kind {
    TINYFED_SOURCE_SHARD = 1, /* ways classes of the shard in data flash, drawn and ordered by the seed */
    TINYFED_SOURCE_SINE = 2   /* amplitude and phase drawn by the seed, samples made on the device */
} tinyfed_source_kind_t;

typedef struct tinyfed_order {
    uint8_t source;           /* tinyfed_source_kind_t */
    uint8_t ways;             /* classes drawn; 1 for regression */
    uint8_t passes;           /* times the stream is gone through; 1 is online learning */
    uint8_t checkpoint_count;
    uint16_t shots;           /* training samples a class */
    uint16_t queries;         /* evaluation samples a class; 0: all that the stream does not use */
    uint64_t seed;
    float learning_rate;
    uint16_t checkpoints[TINYFED_CHECKPOINTS_MAX]; /* evaluate after this many samples a class; ascending, 0 = before training */
} tinyfed_order_t;

typedef struct tinyfed_checkpoint {
    uint32_t shots;
    uint32_t count;   /* evaluation samples */
    uint32_t correct; /* 0 for regression */
    float loss;       /* mean over the evaluation samples */
} tinyfed_checkpoint_t;

typedef struct tinyfed_result {
    uint32_t samples;   /* training steps done */
    float loss_first;   /* mean training loss of the first `ways` samples (regression: first quarter) */
    float loss_last;    /* the same of the last ones */
    uint32_t train_us;  /* filled by the app from the port's clock; 0 in-process */
    uint32_t train_instructions; /* filled by the app where the port can count; else 0 */
    uint32_t stack_bytes;        /* stack high-water mark, filled by the app; else 0 */
    uint8_t checkpoint_count;
    tinyfed_checkpoint_t checkpoints[TINYFED_CHECKPOINTS_MAX];
} tinyfed_result_t;

/* A shard: samples sorted by class, as docs/shard.md lays them out; validated once. */
typedef struct tinyfed_shard {
    const uint8_t *bytes;
    uint32_t feature_count;
    uint32_t class_count;
    uint32_t sample_count;
} tinyfed_shard_t;

tinyfed_status_t tinyfed_shard_open(tinyfed_shard_t *shard, const uint8_t *bytes, uint32_t byte_count) TINYFED_MUST_USE;

tinyfed_status_t tinyfed_order_decode(tinyfed_order_t *order, const uint8_t *bytes, uint32_t byte_count) TINYFED_MUST_USE;
uint32_t tinyfed_result_encode(uint8_t bytes[TINYFED_RESULT_BYTES], const tinyfed_result_t *result);

/* A visit under way. The struct holds everything but the engine's arena and the scratch. */
typedef struct tinyfed_visit tinyfed_visit_t;

/* Scratch the visit needs beside the plan's work area, for this order and source: the drawn indices, one
 * generated sample. A multiple of TINYFED_ALIGNMENT. shard is NULL for sources without one. */
tinyfed_status_t tinyfed_visit_scratch_bytes(uint32_t *scratch_bytes, const tinyfed_order_t *order,
                                             const tinyfed_shard_t *shard, uint32_t input_count) TINYFED_MUST_USE;

/* Draw the task. The order is checked against model and source: E_SHAPE when features or classes do not fit
 * the model, E_SOURCE when the shard has too few classes or samples. */
tinyfed_status_t tinyfed_visit_begin(tinyfed_visit_t *visit, tinyfed_engine_t *engine, const tinyfed_order_t *order,
                                     const tinyfed_shard_t *shard, void *scratch, uint32_t scratch_bytes) TINYFED_MUST_USE;

/* One bounded piece of work: one training sample or one evaluation sample. *done when the visit is over;
 * E_NUMERIC when the loss is no longer finite. */
tinyfed_status_t tinyfed_visit_step(tinyfed_visit_t *visit, bool *done) TINYFED_MUST_USE;
void tinyfed_visit_result(const tinyfed_visit_t *visit, tinyfed_result_t *result);

/* PRNG of the draw (SplitMix64, Steele, Lea, Flood 2014): the same stream in Python. */
typedef struct tinyfed_random { uint64_t state; } tinyfed_random_t;
uint64_t tinyfed_random_next(tinyfed_random_t *random);
uint32_t tinyfed_random_below(tinyfed_random_t *random, uint32_t bound); /* unbiased, bound >= 1 */
float tinyfed_random_unit(tinyfed_random_t *random); /* [0, 1), 24 bits */

/* The struct is public only so that callers can place it. */
struct tinyfed_visit {
    tinyfed_engine_t *engine;
    const tinyfed_shard_t *shard;
    tinyfed_order_t order;
    tinyfed_random_t random;
    uint16_t *indices;
    float *sample;
    float sine_amplitude, sine_phase;
    uint32_t position;  /* training samples done */
    uint32_t evaluated; /* samples of the running evaluation */
    uint8_t phase;
    tinyfed_result_t result;
};

#endif
