/* The tinyfed engine: inference and training of small networks in one arena.
 *
 * Everything works on memory the caller gives; there is no heap, no recursion and no global state.
 * Argument order: context, outputs, inputs; a length follows its array. All sizes are in bytes unless
 * a name says otherwise. The arithmetic, and so every bit of the result, is specified in
 * docs/architecture.md. */
#ifndef TINYFED_CORE_H
#define TINYFED_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/operands.h"
#include "tinyfed_align.h"
#include "tinyfed_checksum.h"
#include "tinyfed_status.h"

/* ---- model image -------------------------------------------------------------------------------- */

/* A validated view of an int8 program (tinyfed_int8.h), which must outlive it. */
typedef struct tinyfed_int8 {
    const uint8_t *program;
    uint32_t program_bytes;
    uint32_t work_bytes; /* of its work area, aligned to TINYFED_ALIGNMENT */
    uint32_t ports_at;   /* inputs, then outputs */
    uint32_t states_at;
    uint16_t operator_count;
    uint16_t state_count; /* of a network that keeps something from one run to the next */
    uint8_t input_count;
    uint8_t output_count;
    uint8_t kernels; /* tinyfed_int8_kernels_t; may be lowered by the caller */
} tinyfed_int8_t;

/* A validated view of a model image. The image must outlive it and, when the model is trained in
 * place, be writable from parameters_offset on. */
typedef struct tinyfed_model {
    const uint8_t *image;
    uint32_t image_bytes;
    uint32_t parameters_offset; /* from the start of the image; a multiple of TINYFED_ALIGNMENT */
    uint32_t parameter_count;   /* float32 values */
    uint32_t input_count;       /* float32 values of one sample */
    uint32_t output_count;
    uint16_t layer_count;
    uint8_t loss;          /* tinyfed_loss_t */
    tinyfed_int8_t frozen; /* int8 network before the first layer; program is NULL when there is none */
} tinyfed_model_t;

typedef enum tinyfed_loss {
    TINYFED_LOSS_MSE = 1,                   /* mean over outputs of (y - t)^2 */
    TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY = 2, /* with an integer label */
    TINYFED_LOSS_BINARY_CROSS_ENTROPY = 3   /* logits, mean over outputs, targets 0..1 */
} tinyfed_loss_t;

/* Validate everything about image[0..image_bytes) and fill model. On error *error_offset (may be NULL)
 * is the offset of the first byte that is wrong. Reads nothing outside; bounded time. Does not check
 * that the weights are finite. */
tinyfed_status_t tinyfed_model_open(tinyfed_model_t *model, uint32_t *error_offset, const uint8_t *image,
                                    uint32_t image_bytes) TINYFED_MUST_USE;

/* Hash of everything that is not a weight (header fields and layer table): equal for images that can
 * exchange weights. */
uint64_t tinyfed_model_structure_hash(const tinyfed_model_t *model);
/* Hash of parameter_count float32 values, little-endian. */
uint64_t tinyfed_weights_hash(const float *parameters, uint32_t parameter_count);

/* ---- plan --------------------------------------------------------------------------------------- */

/* What the work area has to hold. A batch needs a gradient buffer for the parameters that learn, and what its
 * optimizer remembers of each: nothing, a velocity, two moments, the second moment alone. */
typedef enum tinyfed_mode {
    TINYFED_MODE_INFER = 0,
    TINYFED_MODE_ONLINE = 1,
    TINYFED_MODE_BATCH_SGD = 2,
    TINYFED_MODE_BATCH_MOMENTUM = 3,
    TINYFED_MODE_BATCH_ADAM = 4,
    TINYFED_MODE_BATCH_ADAM_SECOND = 5 /* Adam without its first moment (beta1 = 0), as Reptile uses it */
} tinyfed_mode_t;

typedef struct tinyfed_plan {
    tinyfed_mode_t mode;
    uint32_t work_bytes;  /* activations, gradients, optimizer; a multiple of TINYFED_ALIGNMENT */
    uint32_t arena_bytes; /* image_bytes rounded up to the alignment + work_bytes */
} tinyfed_plan_t;

tinyfed_status_t tinyfed_plan(tinyfed_plan_t *plan, const tinyfed_model_t *model, tinyfed_mode_t mode) TINYFED_MUST_USE;

/* ---- engine ------------------------------------------------------------------------------------- */

typedef struct tinyfed_engine {
    const tinyfed_model_t *model;
    float *parameters; /* parameter_count values, written by training */
    uint8_t *work;
    uint32_t work_bytes;
    tinyfed_mode_t mode;
    uint32_t frozen_at; /* in work: features, then the int8 network's own area */
    uint64_t held;      /* bit k: layer k does not learn for now, whatever the image says. Online only; opened as 0 */
#if TINYFED_KEPT_LAYERS > 0
    /* Of the first layers, found when the engine is opened. NULL for what lies in the network's input; backward is for
     * online steps that hold no layer, with a factor of 0. */
    tinyfed_forward_operands_t forward[TINYFED_KEPT_LAYERS];
    tinyfed_dense_step_t backward[TINYFED_KEPT_LAYERS];
#endif
} tinyfed_engine_t;

/* What a sample should give: values for MSE and binary cross-entropy, label for softmax. */
typedef struct tinyfed_target {
    const float *values; /* output_count values, or NULL */
    int32_t label;       /* 0 <= label < output_count, or ignored */
} tinyfed_target_t;

typedef struct tinyfed_score {
    float loss;
    bool correct; /* classification: the largest output (the first on a tie) is the label; MSE: false */
} tinyfed_score_t;

/* parameters and work are aligned to TINYFED_ALIGNMENT; work has at least the plan's work_bytes for
 * the mode. Nothing is initialized but the engine itself. */
tinyfed_status_t tinyfed_engine_open(tinyfed_engine_t *engine, const tinyfed_model_t *model, float *parameters,
                                     tinyfed_mode_t mode, void *work, uint32_t work_bytes) TINYFED_MUST_USE;

/* Run the network on input[input_count]; a frozen one with several inputs has them there one after the other. *output
 * points to output_count values inside the work area, valid until the next call: logits where the loss is a
 * cross-entropy. */
tinyfed_status_t tinyfed_infer(tinyfed_engine_t *engine, const float **output, const float *input) TINYFED_MUST_USE;

/* The same for the next step of a stream: a frozen network goes on from the states that tinyfed_infer, which begins a
 * stream, or this left. */
tinyfed_status_t tinyfed_infer_next(tinyfed_engine_t *engine, const float **output,
                                    const float *input) TINYFED_MUST_USE;

/* One step of online SGD: forward, loss, backward fused with the update. score (may be NULL) is of the
 * weights before the update. input is not written. */
tinyfed_status_t tinyfed_train_online(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                      const tinyfed_target_t *target, float learning_rate) TINYFED_MUST_USE;

/* Forward and loss only. */
tinyfed_status_t tinyfed_evaluate(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                  const tinyfed_target_t *target) TINYFED_MUST_USE;

/* ---- batches ------------------------------------------------------------------------------------ */

typedef struct tinyfed_optimizer {
    float learning_rate;
    float momentum;     /* BATCH_MOMENTUM: 0 <= momentum < 1 */
    float beta1, beta2; /* the Adams: 0 <= beta < 1; beta1 is not used without the first moment */
    float epsilon;      /* the Adams */
    float weight_decay; /* decoupled: w -= learning_rate * weight_decay * w first; 0: none */
    float clip_norm;    /* the mean gradient is scaled down to this norm; 0: not */
} tinyfed_optimizer_t;

/* Forget the gradients and what the optimizer remembers. Once after tinyfed_engine_open in a batch mode. */
tinyfed_status_t tinyfed_batch_begin(tinyfed_engine_t *engine) TINYFED_MUST_USE;

/* Forward, loss and backward of one sample; the weights stay. score may be NULL. */
tinyfed_status_t tinyfed_batch_add(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                   const tinyfed_target_t *target) TINYFED_MUST_USE;

/* Change the weights by the mean gradient of the samples since the last step, which it then forgets. E_STATE
 * without a sample. */
tinyfed_status_t tinyfed_batch_step(tinyfed_engine_t *engine, const tinyfed_optimizer_t *optimizer) TINYFED_MUST_USE;

/* ---- arithmetic --------------------------------------------------------------------------------- */

/* Correct to the bound stated in docs/numerics.md, the same bits on every target. */
float tinyfed_exp_f32(float x);
float tinyfed_log_f32(float x);
float tinyfed_tanh_f32(float x);
float tinyfed_sin_f32(float x); /* |x| <= 8192 */

#endif
