#include "engine.h"

#include "kernels/dense.h"
#include "model/frozen.h"
#include "math/sqrt.h"

static tinyfed_batch_state_t *state_of(const tinyfed_engine_t *engine)
{
    const uint32_t bytes = (uint32_t)tinyfed_batch_bytes(engine->model->image, engine->mode);
    return (tinyfed_batch_state_t *)(void *)(engine->work + (engine->work_bytes - bytes));
}

/* The arrays behind the state; each starts on the alignment. */
static uint32_t array_values(uint32_t learning)
{
    return tinyfed_align_up(learning * (uint32_t)sizeof(float)) / (uint32_t)sizeof(float);
}

static float *gradients_of(tinyfed_batch_state_t *state) { return (float *)(void *)(state + 1); }

tinyfed_status_t tinyfed_batch_begin(tinyfed_engine_t *engine)
{
    if (engine == NULL) return TINYFED_E_ARGUMENT;
    if (tinyfed_batch_arrays(engine->mode) == 0) return TINYFED_E_STATE;
    tinyfed_batch_state_t *state = state_of(engine);
    memset(state, 0, (size_t)tinyfed_batch_bytes(engine->model->image, engine->mode));
    state->beta1_power = state->beta2_power = 1.0f;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_batch_add(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                   const tinyfed_target_t *target)
{
    if (engine == NULL || input == NULL) return TINYFED_E_ARGUMENT;
    if (tinyfed_batch_arrays(engine->mode) == 0) return TINYFED_E_STATE;
    input = tinyfed_frozen_features(engine, input);
    const tinyfed_status_t status = tinyfed_forward_and_loss(engine, score, input, target, true);
    if (status != TINYFED_OK) return status;
    tinyfed_batch_state_t *state = state_of(engine);
    const tinyfed_change_t change = {gradients_of(state), 1.0f};
    tinyfed_backward(engine, input, &change);
    state->samples++;
    return TINYFED_OK;
}

static void multiply(float *values, uint32_t count, float by)
{
    for (uint32_t k = 0; k < count; k++) values[k] *= by;
}

/* The gradient array becomes the mean over the samples, scaled down to the norm where it is longer. */
static void finish_gradient(float *gradient, uint32_t count, uint32_t samples, float clip_norm)
{
    multiply(gradient, count, 1.0f / (float)samples);
    if (!(clip_norm > 0.0f)) return;
    float squares = 0.0f;
    tinyfed_dense_forward_f32(&squares, gradient, gradient, NULL, count, 1); /* one output: a reduction */
    const float norm = tinyfed_sqrt(squares);
    if (norm > clip_norm) multiply(gradient, count, clip_norm / norm);
}

static bool is_adam(tinyfed_mode_t mode)
{
    return mode == TINYFED_MODE_BATCH_ADAM || mode == TINYFED_MODE_BATCH_ADAM_SECOND;
}

/* Parameters that lie in a row, with their part of the arrays: the gradient, then the mode's moments, each `stride`
 * values behind the one before. */
static void change_run(float *weights, float *arrays, uint32_t stride, uint32_t count, const tinyfed_optimizer_t *o,
                       tinyfed_mode_t mode, float adam_rate)
{
    const float decay = o->learning_rate * o->weight_decay;
    for (; count != 0; count--, weights++, arrays++) {
        float gradient = arrays[0], weight = *weights;
        float *moment = arrays + stride;
        if (o->weight_decay != 0.0f) weight -= decay * weight;
        if (is_adam(mode)) {
            const float square = gradient * gradient;
            if (mode == TINYFED_MODE_BATCH_ADAM) {
                *moment += (gradient - *moment) * (1.0f - o->beta1);
                gradient = *moment;
                moment += stride;
            }
            *moment += (square - *moment) * (1.0f - o->beta2);
            weight -= (gradient * adam_rate) / (tinyfed_sqrt(*moment) + o->epsilon);
        } else if (mode == TINYFED_MODE_BATCH_MOMENTUM) {
            *moment = o->momentum * *moment - o->learning_rate * gradient;
            weight += *moment;
        } else {
            weight -= o->learning_rate * gradient;
        }
        *weights = weight;
    }
}

static bool is_share(float value) { return value >= 0.0f && value < 1.0f; }

static tinyfed_status_t check_optimizer(const tinyfed_optimizer_t *o, tinyfed_mode_t mode)
{
    if (!tinyfed_is_finite(o->learning_rate) || !tinyfed_is_finite(o->weight_decay) || !tinyfed_is_finite(o->clip_norm))
        return TINYFED_E_NUMERIC;
    bool good = mode != TINYFED_MODE_BATCH_MOMENTUM || is_share(o->momentum);
    if (mode == TINYFED_MODE_BATCH_ADAM) good = is_share(o->beta1);
    if (is_adam(mode)) good = good && is_share(o->beta2) && o->epsilon > 0.0f;
    return good ? TINYFED_OK : TINYFED_E_ARGUMENT;
}

/* The Adams' learning rate with the moments' bias taken out (Kingma and Ba 2015, end of section 2). */
static float adam_rate(tinyfed_batch_state_t *state, const tinyfed_optimizer_t *o, tinyfed_mode_t mode)
{
    if (!is_adam(mode)) return 0.0f;
    state->beta1_power *= o->beta1;
    state->beta2_power *= o->beta2;
    const float rate = o->learning_rate * tinyfed_sqrt(1.0f - state->beta2_power);
    return mode == TINYFED_MODE_BATCH_ADAM ? rate / (1.0f - state->beta1_power) : rate;
}

tinyfed_status_t tinyfed_batch_step(tinyfed_engine_t *engine, const tinyfed_optimizer_t *optimizer)
{
    if (engine == NULL || optimizer == NULL) return TINYFED_E_ARGUMENT;
    const tinyfed_mode_t mode = engine->mode;
    tinyfed_batch_state_t *state = state_of(engine);
    if (tinyfed_batch_arrays(mode) == 0 || state->samples == 0) return TINYFED_E_STATE;
    const tinyfed_status_t status = check_optimizer(optimizer, mode);
    if (status != TINYFED_OK) return status;
    const uint8_t *image = engine->model->image;
    const uint32_t layers = engine->model->layer_count, learning = tinyfed_learning_before(image, layers);
    float *const gradients = gradients_of(state);
    finish_gradient(gradients, learning, state->samples, optimizer->clip_norm);
    const float rate = adam_rate(state, optimizer, mode);
    float *arrays = gradients;
    for (uint32_t layer = 0; layer < layers; layer++) {
        uint32_t skipped;
        const uint32_t count = tinyfed_layer_learning(&skipped, image, layer);
        float *weights =
            engine->parameters + tinyfed_get32(tinyfed_record(image, layer) + TINYFED_IN_PARAMETERS) + skipped;
        change_run(weights, arrays, array_values(learning), count, optimizer, mode, rate);
        arrays += count;
    }
    memset(gradients, 0, learning * sizeof(float));
    state->samples = 0;
    return TINYFED_OK;
}
