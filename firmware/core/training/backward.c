#include "kernels/conv2d.h"
#include "kernels/dense.h"
#include "kernels/depthwise.h"
#include "engine.h"
#include "kernels/pool.h"
#include "kernels/scale.h"

float tinyfed_slope_of(const uint8_t *image, uint32_t tensor)
{
    const uint8_t *record = tinyfed_record(image, tensor - 1u);
    while (record[TINYFED_IN_KIND] == TINYFED_KIND_RESHAPE && tinyfed_get16(record + TINYFED_IN_INPUT) != 0)
        record = tinyfed_record(image, tinyfed_get16(record + TINYFED_IN_INPUT) - 1u);
    return tinyfed_alpha_of(record);
}

static void gradient_of_input(tinyfed_input_gradient_t *to, const tinyfed_engine_t *engine, uint32_t layer,
                              uint32_t tensor)
{
    to->d_x = NULL;
    to->alpha = 0.0f;
    to->derivative = TINYFED_LINEAR;
    to->adds = false;
    if (tensor == 0) return;
    const tinyfed_slot_t *slot = tinyfed_slot_of(engine, tensor);
    if (slot->gradient == TINYFED_NOWHERE) return;
    to->d_x = tinyfed_work_at(engine, slot->gradient);
    to->adds = slot->last != layer;
    if (slot->first == layer) to->derivative = slot->derivative;
    if (to->derivative == TINYFED_LEAKY_RELU) to->alpha = tinyfed_slope_of(engine->model->image, tensor);
}

/* The backward step of one layer, as all kinds need it; inputs are the dense layer's own. */
typedef tinyfed_dense_step_t step_t;

/* Values pass through one by one: d_x = d_y. */
static void pass_through(const tinyfed_input_gradient_t *input, const float *x, const float *d_y, uint32_t count)
{
    if (input->d_x == NULL) return;
    for (uint32_t k = 0; k < count; k++) tinyfed_give_gradient(input, k, x[k], d_y[k]);
}

static void backward_add(const tinyfed_engine_t *engine, const float *input, const step_t *step, uint32_t layer,
                         uint32_t count)
{
    const uint8_t *record = tinyfed_record(engine->model->image, layer);
    const uint32_t a = tinyfed_get16(record + TINYFED_IN_INPUT), b = tinyfed_get16(record + TINYFED_IN_INPUT_B);
    tinyfed_input_gradient_t to_a = step->input, to_b;
    gradient_of_input(&to_b, engine, layer, b);
    if (a == b) {
        to_b.derivative = TINYFED_LINEAR;
        to_a.adds = true;
    }
    /* b first: the gradient of a may take d_y's place. */
    pass_through(&to_b, tinyfed_values_of(engine, input, b), step->d_y, count);
    pass_through(&to_a, step->x, step->d_y, count);
}

static void backward_window(const tinyfed_engine_t *engine, const step_t *step, uint32_t layer)
{
    tinyfed_window_t window;
    const bool gives = step->input.d_x != NULL;
    tinyfed_window_of(&window, engine->model->image, layer);
    switch (tinyfed_record(engine->model->image, layer)[TINYFED_IN_KIND]) {
    case TINYFED_KIND_CONV2D:
        if (gives) tinyfed_conv2d_input_gradient_f32(&step->input, step->x, step->weights, step->d_y, &window);
        tinyfed_conv2d_weight_gradient_f32(step->to_weights, step->to_bias, step->x, step->d_y, step->factor, &window);
        break;
    case TINYFED_KIND_DEPTHWISE:
        if (gives) tinyfed_depthwise_input_gradient_f32(&step->input, step->x, step->weights, step->d_y, &window);
        tinyfed_depthwise_weight_gradient_f32(step->to_weights, step->to_bias, step->x, step->d_y, step->factor,
                                              &window);
        break;
    case TINYFED_KIND_MAX_POOL:
        if (gives) tinyfed_max_pool_backward_f32(&step->input, step->x, step->d_y, &window);
        break;
    default:
        if (gives) tinyfed_average_pool_backward_f32(&step->input, step->x, step->d_y, &window);
        break;
    }
}

/* Halves of 32 bits: a board has no shift of 64. */
static inline bool is_held(const tinyfed_engine_t *engine, uint32_t layer)
{
    const uint32_t half = (uint32_t)(layer < 32u ? engine->held : engine->held >> 32);
    return (half >> (layer & 31u) & 1u) != 0;
}

/* The step of a layer, without the network's input (NULL) as far as it is known. */
static TINYFED_ALWAYS_INLINE void find_step(step_t *step, const tinyfed_engine_t *engine, const float *input,
                                            uint32_t layer, const tinyfed_change_t *change)
{
    const uint8_t *image = engine->model->image, *record = tinyfed_record(image, layer);
    const uint32_t from = tinyfed_input_of(record, layer);
    const uint8_t learns = is_held(engine, layer) ? 0 : record[TINYFED_IN_FLAGS];
    const uint32_t channels = tinyfed_get32(record + TINYFED_IN_SHAPE + 4);
    float *weights = engine->parameters + tinyfed_get32(record + TINYFED_IN_PARAMETERS);
    const bool weights_learn = (learns & TINYFED_TRAIN_WEIGHTS) != 0;
    const bool bias_learns = (learns & TINYFED_TRAIN_BIAS) != 0;
    gradient_of_input(&step->input, engine, layer, from);
    step->x = tinyfed_values_of(engine, input, from);
    step->d_y = tinyfed_work_at(engine, tinyfed_slot_of(engine, layer + 1u)->gradient);
    step->weights = weights;
    step->to_weights = weights_learn ? weights : NULL;
    step->to_bias = bias_learns ? engine->parameters + tinyfed_parameters_end(image, layer) - channels : NULL;
    step->inputs = tinyfed_tensor_count(image, from);
    step->outputs = channels;
    step->factor = change->factor;
    if (change->gradients != NULL) {
        float *gradients = change->gradients + tinyfed_learning_before(image, layer);
        if (weights_learn) step->to_weights = gradients;
        if (bias_learns) step->to_bias = gradients + (weights_learn ? tinyfed_layer_weight_count(image, layer) : 0u);
    }
}

static TINYFED_ALWAYS_INLINE void backward_layer(const tinyfed_engine_t *engine, const step_t *step, const float *input,
                                                 uint32_t layer)
{
    const uint8_t *record = tinyfed_record(engine->model->image, layer);
    const uint8_t kind = tinyfed_kind_of(record);
    if (kind == TINYFED_KIND_DENSE) {
        tinyfed_dense_backward_f32(step);
        return;
    }
    const uint32_t channels = step->outputs, count = tinyfed_shape_count(record + TINYFED_IN_SHAPE);
    switch (kind) {
    case TINYFED_KIND_RESHAPE:
        /* In one place, the gradient was finished before it reached the reshape. */
        if (step->input.d_x != step->d_y) pass_through(&step->input, step->x, step->d_y, count);
        break;
    case TINYFED_KIND_ACTIVATION: pass_through(&step->input, step->x, step->d_y, count); break;
    case TINYFED_KIND_ADD: backward_add(engine, input, step, layer, count); break;
    case TINYFED_KIND_SCALE:
        tinyfed_scale_backward_f32(&step->input, step->weights, step->to_weights, step->to_bias, step->x, step->d_y,
                                   step->factor, count / channels, channels);
        break;
    default: backward_window(engine, step, layer); break;
    }
}

#if TINYFED_KEPT_LAYERS > 0
void tinyfed_keep_backward(tinyfed_engine_t *engine)
{
    const tinyfed_change_t change = {NULL, 0.0f};
    for (uint32_t layer = 0; layer < engine->model->layer_count && layer < TINYFED_KEPT_LAYERS; layer++)
        if (tinyfed_slot_of(engine, layer + 1u)->gradient != TINYFED_NOWHERE)
            find_step(&engine->backward[layer], engine, NULL, layer, &change);
}
#endif

void tinyfed_backward(tinyfed_engine_t *engine, const float *input, const tinyfed_change_t *change)
{
    uint32_t lowest = 0; /* layers held before the first that learns need no gradient this time */
    while (lowest < engine->model->layer_count && is_held(engine, lowest)) lowest++;
    for (uint32_t layer = engine->model->layer_count; layer-- > lowest;) {
        /* A layer that neither learns nor leads to one that does has no gradient. */
        if (tinyfed_slot_of(engine, layer + 1u)->gradient == TINYFED_NOWHERE) continue;
#if TINYFED_KEPT_LAYERS > 0
        if (layer < TINYFED_KEPT_LAYERS && change->gradients == NULL && engine->held == 0) {
            step_t *kept = &engine->backward[layer];
            const float *x = kept->x;
            kept->factor = change->factor;
            if (x == NULL) kept->x = input;
            backward_layer(engine, kept, input, layer);
            kept->x = x;
            continue;
        }
#endif
        step_t step;
        find_step(&step, engine, input, layer, change);
        backward_layer(engine, &step, input, layer);
    }
}
