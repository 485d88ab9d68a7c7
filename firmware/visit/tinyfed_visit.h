/* What a device does when the coordinator visits it: draw a task from its own data by the order's seed,
 * train on it, online or in batches, evaluate itself at checkpoints. Depends on core only. Bytes of the order and of
 * the result, and the draw itself, are specified in docs/order.md. */
#ifndef TINYFED_VISIT_H
#define TINYFED_VISIT_H

#include "tinyfed_core.h"

#define TINYFED_ORDER_VERSION 4u /* newest; 1 to 3 are understood too */
#define TINYFED_ORDER_BYTES_V1 40u
#define TINYFED_ORDER_BYTES_V3 56u /* and of version 2 */
#define TINYFED_ORDER_BYTES 60u
#define TINYFED_RESULT_VERSION 1u
#define TINYFED_CHECKPOINTS_MAX 8u
#define TINYFED_WAYS_MAX 32u
#define TINYFED_SHOTS_MAX 1024u /* also of queries */
#define TINYFED_RESULT_BYTES (32u + 16u * TINYFED_CHECKPOINTS_MAX)

typedef enum tinyfed_source_kind {
    TINYFED_SOURCE_SHARD = 1, /* ways classes of the shard in data flash, drawn and ordered by the seed */
    TINYFED_SOURCE_SINE = 2   /* amplitude and phase drawn by the seed, samples made on the device */
} tinyfed_source_kind_t;

/* How the stream changes the weights. */
typedef enum tinyfed_update {
    TINYFED_UPDATE_ONLINE = 0,     /* each sample by itself, fused with the backward pass */
    TINYFED_UPDATE_SGD = 1,        /* the mean gradient of a batch */
    TINYFED_UPDATE_MOMENTUM = 2,   /* the same with momentum 0.9 */
    TINYFED_UPDATE_ADAM = 3,       /* beta1 0.9, beta2 0.999, epsilon 1e-8 */
    TINYFED_UPDATE_ADAM_SECOND = 4 /* the same with beta1 0 */
} tinyfed_update_t;

#define TINYFED_ORDER_TRUE_LABELS 1u   /* label k is class k of the shard; ways is its number of classes */
#define TINYFED_ORDER_IN_TIME 2u       /* the stream is the first samples of each class, evaluation is on later ones */
#define TINYFED_ORDER_META_GRADIENT 4u /* after training, the weights become minus the mean gradient on the queries */
#define TINYFED_ORDER_KEEP_LOCAL                                                                                       \
    8u /* once rebuilt the local layers stay; without, they go on learning with the others */
#define TINYFED_ORDER_ZERO_LOCAL 16u /* local layers are rebuilt from zeros instead of random values */
#define TINYFED_ORDER_FLAGS_V2 7u
#define TINYFED_ORDER_FLAGS 31u
#define TINYFED_TOP_ALL 10000u

/* How the values go back; 0: as float32. */
#define TINYFED_ANSWER_FLOAT16 1u
#define TINYFED_ANSWER_INT8 2u
#define TINYFED_ANSWER_DELTA 0x80u /* with one of them: the difference to what the visit began with */

typedef struct tinyfed_order {
    uint8_t source; /* tinyfed_source_kind_t */
    uint8_t ways;   /* classes drawn; 1 for regression */
    uint8_t passes; /* times the stream is gone through; 1 is online learning */
    uint8_t checkpoint_count;
    uint16_t shots;   /* training samples a class */
    uint16_t queries; /* evaluation samples a class; 0: all that the stream does not use */
    uint64_t seed;
    float learning_rate;
    uint16_t checkpoints[TINYFED_CHECKPOINTS_MAX]; /* evaluate after this many samples a class, all passes counted;
                                                    * strictly ascending, 0 = before training */
    uint8_t update;                                /* tinyfed_update_t; from here on version 2 */
    uint8_t flags;                                 /* TINYFED_ORDER_... */
    uint16_t batch;       /* samples of an update; 0: all of a pass. Not with TINYFED_UPDATE_ONLINE */
    float proximal;       /* FedProx's mu: after each update w -= learning_rate * mu * (w - first w) */
    uint8_t local_first;  /* so many of the first layers with parameters are local; from here on version 3 */
    uint8_t local_last;   /* and so many of the last */
    uint16_t reconstruct; /* the first samples a class teach the local layers alone */
    uint16_t top;         /* hundredths of a percent of the shared values that go back; 0: all of them */
    uint8_t answer;       /* TINYFED_ANSWER_...; not with top */
    uint32_t start;       /* with TINYFED_ORDER_IN_TIME: the stream begins at this sample of each class, modulo its
                           * samples; from here on version 4 */
} tinyfed_order_t;

typedef struct tinyfed_checkpoint {
    uint32_t shots;
    uint32_t count;   /* evaluation samples */
    uint32_t correct; /* 0 for regression */
    float loss;       /* mean over the evaluation samples */
} tinyfed_checkpoint_t;

typedef struct tinyfed_result {
    uint32_t samples;            /* training steps done */
    float loss_first;            /* mean training loss of the first `ways` samples (regression: first quarter) */
    float loss_last;             /* the same of the last ones */
    uint32_t train_us;           /* filled by the app from the port's clock; 0 in-process */
    uint32_t train_instructions; /* filled by the app where the port can count; else 0 */
    uint32_t stack_bytes;        /* stack high-water mark, filled by the app; else 0 */
    uint32_t arena_bytes;        /* of the arena in use: model, work area and scratch; filled by the caller */
    uint8_t checkpoint_count;
    tinyfed_checkpoint_t checkpoints[TINYFED_CHECKPOINTS_MAX];
} tinyfed_result_t;

/* A shard: samples sorted by class, as docs/shard.md lays them out and tinyfed_shard_open checks, or as the device has
 * recorded them (tinyfed_record.h), or in order of time, each with its targets. What it points to must outlive what
 * uses it. */
typedef struct tinyfed_shard {
    const uint8_t *ends;  /* class table: 4 bytes a class */
    const float *samples; /* sample_count rows of feature_count + target_count, classes in order */
    uint32_t feature_count;
    uint32_t target_count; /* 0: a sample's class is its target; else there is one class */
    uint32_t class_count;
    uint32_t sample_count;
} tinyfed_shard_t;

/* Validate a shard at bytes, which are aligned to TINYFED_ALIGNMENT; byte_count may be more than the shard's (the whole
 * data flash). E_MAGIC: there is none. Reads nothing outside. */
tinyfed_status_t tinyfed_shard_open(tinyfed_shard_t *shard, const uint8_t *bytes, uint32_t byte_count) TINYFED_MUST_USE;
/* Samples first .. first + count of a class, label < class_count. */
void tinyfed_shard_class(const tinyfed_shard_t *shard, uint32_t *first, uint32_t *count, uint32_t label);

tinyfed_status_t tinyfed_order_decode(tinyfed_order_t *order, const uint8_t *bytes,
                                      uint32_t byte_count) TINYFED_MUST_USE;
/* Every value in its range; decode calls it, and so does begin for an order built by hand. */
tinyfed_status_t tinyfed_order_check(const tinyfed_order_t *order) TINYFED_MUST_USE;
/* The mode to plan for and to open the engine in. */
tinyfed_mode_t tinyfed_order_mode(const tinyfed_order_t *order);
/* The bytes written: 32 + 16 for each checkpoint. */
uint32_t tinyfed_result_encode(uint8_t bytes[TINYFED_RESULT_BYTES], const tinyfed_result_t *result);

/* A visit under way. The struct holds everything but the engine's arena and the scratch. */
typedef struct tinyfed_visit tinyfed_visit_t;

/* The values that an order shares: all but those of its local layers. E_SHAPE when it leaves no layer. */
tinyfed_status_t tinyfed_shared_part(uint32_t *first, uint32_t *count, const tinyfed_order_t *order,
                                     const tinyfed_model_t *model) TINYFED_MUST_USE;

/* Whether an order gives back none of the values that an earlier one kept, those outside [kept_first, kept_first +
 * kept_count). E_STATE: it would. */
tinyfed_status_t tinyfed_check_kept(const tinyfed_order_t *order, const tinyfed_model_t *model, uint32_t kept_first,
                                    uint32_t kept_count) TINYFED_MUST_USE;

/* Scratch the visit needs beside the plan's work area, for this order and source: the drawn indices, 2 bytes each, a
 * copy of the weights for a proximal term, what the choice of the largest updates needs (a copy of the shared weights
 * and a bit each), and what is written shorter than float32. A multiple of TINYFED_ALIGNMENT. shard is NULL for sources
 * without one. */
tinyfed_status_t tinyfed_visit_scratch_bytes(uint32_t *scratch_bytes, const tinyfed_order_t *order,
                                             const tinyfed_shard_t *shard,
                                             const tinyfed_model_t *model) TINYFED_MUST_USE;

/* Draw the task. The engine is open in the order's mode, scratch is aligned to 4 bytes, and both, with the shard,
 * outlive the visit. The order is checked against model and source: E_SHAPE when features, classes or loss do not fit
 * the model, E_SOURCE when there is no shard or it has too few classes, or any class too few samples. */
tinyfed_status_t tinyfed_visit_begin(tinyfed_visit_t *visit, tinyfed_engine_t *engine, const tinyfed_order_t *order,
                                     const tinyfed_shard_t *shard, void *scratch,
                                     uint32_t scratch_bytes) TINYFED_MUST_USE;

/* One bounded piece of work: one training sample or one evaluation sample. *done when the visit is over;
 * E_NUMERIC when the loss is no longer finite, and E_STATE from then on, or after *done. */
tinyfed_status_t tinyfed_visit_step(tinyfed_visit_t *visit, bool *done) TINYFED_MUST_USE;
void tinyfed_visit_result(const tinyfed_visit_t *visit, tinyfed_result_t *result);
/* What goes back of a visit that is over: the shared values, written as `answer` says, or with `top` the update of
 * docs/order.md. It lies in the engine's parameters or the scratch. */
void tinyfed_visit_update(const tinyfed_visit_t *visit, const uint8_t **bytes, uint32_t *byte_count);

/* PRNG of the draw (SplitMix64, Steele, Lea, Flood 2014): the same stream in Python. The n-th number depends on
 * seed + n * TINYFED_RANDOM_GAMMA alone, so a stream is gone through again without storing it. */
#define TINYFED_RANDOM_GAMMA 0x9E3779B97F4A7C15u
typedef struct tinyfed_random {
    uint64_t state;
} tinyfed_random_t;
uint64_t tinyfed_random_next(tinyfed_random_t *random);
uint32_t tinyfed_random_below(tinyfed_random_t *random, uint32_t bound); /* unbiased, bound >= 1 */
float tinyfed_random_unit(tinyfed_random_t *random);                     /* [0, 1), 24 bits */
/* sequence[length]: distinct numbers below bound in random order, length <= bound <= 65536. Time length squared. */
void tinyfed_random_sequence(tinyfed_random_t *random, uint16_t *sequence, uint32_t length, uint32_t bound);

/* ---- below: for firmware/visit itself. The struct is public only so that callers can place it. ---- */

struct tinyfed_visit {
    tinyfed_engine_t *engine;
    const tinyfed_shard_t *shard;
    tinyfed_order_t order;
    tinyfed_random_t random; /* of the classes' order in each round */
    uint16_t *classes;       /* [ways] the shard's class that label k stands for */
    uint16_t *round;         /* [ways] the labels in this round's order */
    uint16_t *stream;        /* [ways][shots] indices within the class */
    uint16_t *queries;       /* [ways][queries] */
    float *first_weights;    /* [parameter_count] for the proximal term, or NULL */
    uint8_t *update; /* of top: head, [shared_count] shared weights the visit began with, then histogram or bitmap;
                      * of answer: heads and, for a difference, those weights; or NULL */
    uint32_t shared_first, shared_count;
    uint64_t shared_layers; /* bit k: the model's layer k is shared */
    struct {
        uint32_t wanted;    /* values that go back, at most */
        uint32_t ties;      /* how many of those at the threshold go too */
        uint32_t threshold; /* bits of the smallest magnitude chosen, as far as they are known */
        uint32_t shift;     /* bits below that are not known yet */
        uint32_t bytes;     /* of the update */
    } choice;
    float sine_amplitude, sine_phase;
    float sine_x, sine_y; /* the sample being looked at */
    float sum_first, sum_last, sum_evaluation;
    uint32_t total;                    /* training samples of the visit */
    uint32_t loss_window;              /* samples in loss_first and in loss_last */
    uint32_t position;                 /* training samples done */
    uint32_t query_label, query_index; /* next evaluation sample; index counts the class's samples when queries is 0 */
    uint8_t phase;
    bool evaluated;     /* the last step was an evaluation's: of no use to the weights */
    uint8_t checkpoint; /* next one */
    tinyfed_result_t result;
};

/* What a source gives: a sample and its target, valid until the next call. */
typedef struct tinyfed_sample {
    const float *input;
    tinyfed_target_t target;
} tinyfed_sample_t;

/* Layers that stay on the device: give the local ones their first values, say who learns now. */
tinyfed_status_t tinyfed_local_begin(tinyfed_visit_t *visit) TINYFED_MUST_USE;
void tinyfed_local_hold(tinyfed_visit_t *visit);

/* What goes back other than the weights as they are: bytes it needs; remember the weights; then one pass over them a
 * step: to choose the largest updates, or to write all values shorter (E_NUMERIC: one cannot be). */
uint32_t tinyfed_update_bytes(const tinyfed_order_t *order, const tinyfed_model_t *model, uint32_t shared_count);
void tinyfed_update_begin(tinyfed_visit_t *visit);
void tinyfed_update_start(tinyfed_visit_t *visit);
tinyfed_status_t tinyfed_update_step(tinyfed_visit_t *visit, bool *complete) TINYFED_MUST_USE;

uint32_t tinyfed_answer_bytes(const tinyfed_order_t *order, const tinyfed_model_t *model, uint32_t shared_count);
void tinyfed_answer_begin(tinyfed_visit_t *visit);
tinyfed_status_t tinyfed_answer_pack(tinyfed_visit_t *visit) TINYFED_MUST_USE;

tinyfed_status_t tinyfed_source_shard_begin(tinyfed_visit_t *visit) TINYFED_MUST_USE;
void tinyfed_source_shard_train(tinyfed_visit_t *visit, tinyfed_sample_t *sample);
bool tinyfed_source_shard_query(tinyfed_visit_t *visit, tinyfed_sample_t *sample); /* false: no more */

tinyfed_status_t tinyfed_source_sine_begin(tinyfed_visit_t *visit) TINYFED_MUST_USE;
void tinyfed_source_sine_train(tinyfed_visit_t *visit, tinyfed_sample_t *sample);
bool tinyfed_source_sine_query(tinyfed_visit_t *visit, tinyfed_sample_t *sample);

#endif
