/* Shared by the engine's files: where the values of a step lie, and the passes over the layers. */
#ifndef TINYFED_TRAINING_ENGINE_H
#define TINYFED_TRAINING_ENGINE_H

#include "kernels/input_gradient.h"
#include "model/layout.h"
#include "tinyfed_float.h"
#include "kernels/window.h"

#if defined(__GNUC__)
#define TINYFED_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define TINYFED_ALWAYS_INLINE inline
#endif

static inline const tinyfed_slot_t *tinyfed_slot_of(const tinyfed_engine_t *engine, uint32_t tensor)
{
    return (const tinyfed_slot_t *)(const void *)engine->work + (tensor - 1u);
}

static inline float *tinyfed_work_at(const tinyfed_engine_t *engine, uint32_t offset)
{
    return (float *)(void *)(engine->work + offset);
}

/* Values of a tensor. The caller's input is only read: nothing is ever placed over it. */
static inline float *tinyfed_values_of(const tinyfed_engine_t *engine, const float *input, uint32_t tensor)
{
    if (tensor != 0 && tinyfed_slot_of(engine, tensor)->activation != TINYFED_NOWHERE)
        return tinyfed_work_at(engine, tinyfed_slot_of(engine, tensor)->activation);
    return (float *)(uintptr_t)input;
}

static inline float tinyfed_alpha_of(const uint8_t *record)
{
    return tinyfed_float(tinyfed_get32(record + TINYFED_IN_ALPHA));
}

/* Slope of the leaky ReLU that made a tensor, through the reshapes that handed it on. */
float tinyfed_slope_of(const uint8_t *image, uint32_t tensor);

/* The window of a convolution, pool or global average. */
void tinyfed_window_of(tinyfed_window_t *window, const uint8_t *image, uint32_t layer);

/* Take a sample that is learned from into the running statistics of the input. */
#if defined(TINYFED_INT8)
void tinyfed_observe(const tinyfed_engine_t *engine, const float *input);
#else
static inline void tinyfed_observe(const tinyfed_engine_t *engine, const float *input)
{
    (void)engine;
    (void)input;
}
#endif

#if TINYFED_KEPT_LAYERS > 0
/* Find the places of the layers that the engine keeps. */
void tinyfed_keep_forward(tinyfed_engine_t *engine);
void tinyfed_keep_backward(tinyfed_engine_t *engine);
#endif

/* Run all layers; returns the output's values. */
float *tinyfed_forward(const tinyfed_engine_t *engine, const float *input);

/* What a backward pass changes: `parameters` themselves by factor = -rate times the gradient, or, in a batch, an array
 * of the learning parameters' gradients by 1 times it. */
typedef struct tinyfed_change {
    float *gradients; /* NULL: online */
    float factor;
} tinyfed_change_t;

/* From the gradient of the output, which the loss has left in its place, back to the first layer that learns. */
void tinyfed_backward(tinyfed_engine_t *engine, const float *input, const tinyfed_change_t *change);

/* Forward and loss; the gradient of the output is left in its place when the engine trains and `trains`. */
tinyfed_status_t tinyfed_forward_and_loss(const tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                          const tinyfed_target_t *target, bool trains) TINYFED_MUST_USE;

#endif
