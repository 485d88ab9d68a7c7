#include "engine.h"

#include "bits.h"
#include "frozen.h"
#include "reduce.h"
#include "root.h"

static tinyfed_batch_state_t *state_of(const tinyfed_engine_t *engine)
{
    const uint32_t bytes = (uint32_t)tinyfed_batch_bytes(engine->model->image, engine->mode);
    return (tinyfed_batch_state_t *)(void *)(engine->work + (engine->work_bytes - bytes));
}

/* The arrays behind the state; each starts on the alignment. */
static float *array_of(const tinyfed_engine_t *engine, uint32_t index, uint32_t learning)
{
    const uint32_t mask = TINYFED_ALIGNMENT / (uint32_t)sizeof(float) - 1u;
    return (float *)(void *)(state_of(engine) + 1) + (size_t)index * ((learning + mask) & ~mask);
}

static uint32_t learning_of(const tinyfed_engine_t *engine)
{
    return tinyfed_learning_before(engine->model->image, engine->model->layer_count);
}

static bool is_finite(float value)
{
    return value - value == 0.0f;
}

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
    const tinyfed_change_t change = {array_of(engine, 0, learning_of(engine)), 1.0f};
    tinyfed_backward(engine, input, &change);
    state_of(engine)->samples++;
    return TINYFED_OK;
}

/* The gradient array becomes the mean over the samples, scaled down to the norm where it is longer. */
static void finish_gradient(float *gradient, uint32_t count, uint32_t samples, float clip_norm)
{
    const float share = 1.0f / (float)samples;
    for (uint32_t k = 0; k < count; k++) gradient[k] *= share;
    if (!(clip_norm > 0.0f)) return;
    const float norm = tinyfed_root(tinyfed_dot(gradient, gradient, count));
    if (!(norm > clip_norm)) return;
    const float scale = clip_norm / norm;
    for (uint32_t k = 0; k < count; k++) gradient[k] *= scale;
}

/* One run of parameters that lie in a row, with their part of the arrays. */
typedef struct run {
    float *weights;
    float *arrays[3]; /* gradient, then the moments of the mode */
    uint32_t count;
} run_t;

static void change_run(const run_t *run, const tinyfed_optimizer_t *o, tinyfed_mode_t mode, float adam_rate)
{
    for (uint32_t k = 0; k < run->count; k++) {
        const float gradient = run->arrays[0][k];
        float weight = run->weights[k];
        if (o->weight_decay != 0.0f) weight -= o->learning_rate * o->weight_decay * weight;
        switch (mode) {
        case TINYFED_MODE_BATCH_MOMENTUM: {
            float *velocity = &run->arrays[1][k];
            *velocity = o->momentum * *velocity - o->learning_rate * gradient;
            weight += *velocity;
            break;
        }
        case TINYFED_MODE_BATCH_ADAM: {
            float *first = &run->arrays[1][k], *second = &run->arrays[2][k];
            *first += (gradient - *first) * (1.0f - o->beta1);
            *second += (gradient * gradient - *second) * (1.0f - o->beta2);
            weight -= (*first * adam_rate) / (tinyfed_root(*second) + o->epsilon);
            break;
        }
        case TINYFED_MODE_BATCH_ADAM_SECOND: {
            float *second = &run->arrays[1][k];
            *second += (gradient * gradient - *second) * (1.0f - o->beta2);
            weight -= (gradient * adam_rate) / (tinyfed_root(*second) + o->epsilon);
            break;
        }
        default:
            weight -= o->learning_rate * gradient;
            break;
        }
        run->weights[k] = weight;
    }
}

static tinyfed_status_t check_optimizer(const tinyfed_optimizer_t *o, tinyfed_mode_t mode)
{
    if (!is_finite(o->learning_rate) || !is_finite(o->weight_decay) || !is_finite(o->clip_norm)) return TINYFED_E_NUMERIC;
    if (mode == TINYFED_MODE_BATCH_MOMENTUM && !(o->momentum >= 0.0f && o->momentum < 1.0f)) return TINYFED_E_ARGUMENT;
    if (mode == TINYFED_MODE_BATCH_ADAM && !(o->beta1 >= 0.0f && o->beta1 < 1.0f)) return TINYFED_E_ARGUMENT;
    if (mode == TINYFED_MODE_BATCH_ADAM || mode == TINYFED_MODE_BATCH_ADAM_SECOND)
        return o->beta2 >= 0.0f && o->beta2 < 1.0f && o->epsilon > 0.0f ? TINYFED_OK : TINYFED_E_ARGUMENT;
    return TINYFED_OK;
}

/* The Adams' learning rate with the moments' bias taken out (Kingma and Ba 2015, end of section 2). */
static float adam_rate(tinyfed_batch_state_t *state, const tinyfed_optimizer_t *o, tinyfed_mode_t mode)
{
    if (mode != TINYFED_MODE_BATCH_ADAM && mode != TINYFED_MODE_BATCH_ADAM_SECOND) return 0.0f;
    state->beta1_power *= o->beta1;
    state->beta2_power *= o->beta2;
    const float rate = o->learning_rate * tinyfed_root(1.0f - state->beta2_power);
    return mode == TINYFED_MODE_BATCH_ADAM ? rate / (1.0f - state->beta1_power) : rate;
}

tinyfed_status_t tinyfed_batch_step(tinyfed_engine_t *engine, const tinyfed_optimizer_t *optimizer)
{
    if (engine == NULL || optimizer == NULL) return TINYFED_E_ARGUMENT;
    const uint32_t arrays = tinyfed_batch_arrays(engine->mode);
    if (arrays == 0 || state_of(engine)->samples == 0) return TINYFED_E_STATE;
    const tinyfed_status_t status = check_optimizer(optimizer, engine->mode);
    if (status != TINYFED_OK) return status;
    tinyfed_batch_state_t *state = state_of(engine);
    const uint8_t *image = engine->model->image;
    const uint32_t learning = learning_of(engine);
    finish_gradient(array_of(engine, 0, learning), learning, state->samples, optimizer->clip_norm);
    const float rate = adam_rate(state, optimizer, engine->mode);
    run_t run;
    for (uint32_t index = 0; index < 3; index++) run.arrays[index] = index < arrays ? array_of(engine, index, learning) : NULL;
    for (uint32_t layer = 0; layer < engine->model->layer_count; layer++) {
        const uint8_t *record = tinyfed_record(image, layer);
        const uint32_t weights = tinyfed_layer_weight_count(image, layer);
        const uint32_t channels = tinyfed_u32(record + TINYFED_IN_SHAPE + 4);
        for (uint32_t part = 0; part < 2; part++) {
            if ((record[TINYFED_IN_FLAGS] & (part == 0 ? TINYFED_TRAIN_WEIGHTS : TINYFED_TRAIN_BIAS)) == 0) continue;
            run.weights = engine->parameters + tinyfed_u32(record + TINYFED_IN_PARAMETERS) + (part == 0 ? 0 : weights);
            run.count = part == 0 ? weights : channels;
            change_run(&run, optimizer, engine->mode, rate);
            for (uint32_t index = 0; index < arrays; index++) run.arrays[index] += run.count;
        }
    }
    memset(array_of(engine, 0, learning), 0, learning * sizeof(float));
    state->samples = 0;
    return TINYFED_OK;
}
