#include "dense.h"
#include "layout.h"
#include "loss.h"

static const tinyfed_slot_t *slot_of(const tinyfed_engine_t *engine, uint32_t tensor)
{
    return (const tinyfed_slot_t *)(const void *)engine->work + (tensor - 1u);
}

static float *at(const tinyfed_engine_t *engine, uint32_t offset)
{
    return (float *)(void *)(engine->work + offset);
}

/* Values of a tensor. The caller's input is only read: nothing is ever placed over it. */
static float *values_of(const tinyfed_engine_t *engine, const float *input, uint32_t tensor)
{
    if (tensor != 0 && slot_of(engine, tensor)->activation != TINYFED_NOWHERE)
        return at(engine, slot_of(engine, tensor)->activation);
    return (float *)(uintptr_t)input;
}

static float alpha_of(const uint8_t *record)
{
    float alpha;
    memcpy(&alpha, record + TINYFED_IN_ALPHA, sizeof alpha);
    return alpha;
}

/* Slope of the activation that made a tensor, through the reshapes that handed it on. */
static float slope_of(const uint8_t *image, uint32_t tensor)
{
    const uint8_t *record = tinyfed_record(image, tensor - 1u);
    while (record[TINYFED_IN_KIND] == TINYFED_KIND_RESHAPE && tinyfed_u16(record + TINYFED_IN_INPUT) != 0)
        record = tinyfed_record(image, tinyfed_u16(record + TINYFED_IN_INPUT) - 1u);
    return alpha_of(record);
}

tinyfed_status_t tinyfed_engine_open(tinyfed_engine_t *engine, const tinyfed_model_t *model, float *parameters,
                                     tinyfed_mode_t mode, void *work, uint32_t work_bytes)
{
    if (engine == NULL || model == NULL || work == NULL || (parameters == NULL && model->parameter_count != 0))
        return TINYFED_E_ARGUMENT;
    if (mode != TINYFED_MODE_INFER && mode != TINYFED_MODE_ONLINE) return TINYFED_E_ARGUMENT;
    if ((uintptr_t)parameters % TINYFED_ALIGNMENT != 0 || (uintptr_t)work % TINYFED_ALIGNMENT != 0)
        return TINYFED_E_ALIGNMENT;
    if (work_bytes < model->layer_count * sizeof(tinyfed_slot_t)) return TINYFED_E_MEMORY;
    if (work_bytes < tinyfed_layout(work, model->image, mode)) return TINYFED_E_MEMORY;
    engine->model = model;
    engine->parameters = parameters;
    engine->work = work;
    engine->work_bytes = work_bytes;
    engine->mode = mode;
    return TINYFED_OK;
}

static void forward_layer(const tinyfed_engine_t *engine, const float *input, uint32_t layer)
{
    const uint8_t *image = engine->model->image, *record = tinyfed_record(image, layer);
    const uint32_t from = tinyfed_u16(record + TINYFED_IN_INPUT);
    const float *x = values_of(engine, input, from);
    float *y = values_of(engine, input, layer + 1u);
    const uint32_t inputs = tinyfed_tensor_count(image, from), outputs = tinyfed_shape_count(record + TINYFED_IN_SHAPE);
    const float *weights = engine->parameters + tinyfed_u32(record + TINYFED_IN_PARAMETERS);
    if (record[TINYFED_IN_KIND] == TINYFED_KIND_DENSE) {
        const bool has_bias = (record[TINYFED_IN_FLAGS] & TINYFED_HAS_BIAS) != 0;
        tinyfed_dense_forward_f32(y, x, weights, has_bias ? weights + inputs * outputs : NULL, inputs, outputs);
    } else if (x != y) {
        memcpy(y, x, outputs * sizeof *y);
    }
    const uint8_t activation = record[TINYFED_IN_ACTIVATION];
    if (activation != TINYFED_LINEAR) tinyfed_activate_f32(y, outputs, activation, alpha_of(record));
}

static float *forward(const tinyfed_engine_t *engine, const float *input)
{
    const uint32_t layers = engine->model->layer_count;
    for (uint32_t layer = 0; layer < layers; layer++) forward_layer(engine, input, layer);
    return values_of(engine, input, layers);
}

tinyfed_status_t tinyfed_infer(tinyfed_engine_t *engine, const float **output, const float *input)
{
    if (engine == NULL || output == NULL || input == NULL) return TINYFED_E_ARGUMENT;
    *output = forward(engine, input);
    return TINYFED_OK;
}

static tinyfed_status_t check_target(const tinyfed_model_t *model, const tinyfed_target_t *target)
{
    if (target == NULL) return TINYFED_E_ARGUMENT;
    if (model->loss != TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY) return target->values != NULL ? TINYFED_OK : TINYFED_E_ARGUMENT;
    return target->label >= 0 && (uint32_t)target->label < model->output_count ? TINYFED_OK : TINYFED_E_ARGUMENT;
}

tinyfed_status_t tinyfed_evaluate(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                  const tinyfed_target_t *target)
{
    if (engine == NULL || score == NULL || input == NULL) return TINYFED_E_ARGUMENT;
    const tinyfed_status_t status = check_target(engine->model, target);
    if (status != TINYFED_OK) return status;
    float *y = forward(engine, input);
    tinyfed_loss_f32(score, y, engine->model->output_count, engine->model->loss, target, false, TINYFED_LINEAR, 0.0f);
    return TINYFED_OK;
}

/* What a layer's backward step does with the gradient of one of its inputs. */
typedef struct input_gradient {
    float *d_x;         /* NULL: not needed */
    uint8_t derivative; /* to finish it with; linear while other consumers are still to come */
    bool adds;
    float alpha;
} input_gradient_t;

static input_gradient_t gradient_of_input(const tinyfed_engine_t *engine, uint32_t layer, uint32_t tensor)
{
    input_gradient_t result = {NULL, TINYFED_LINEAR, false, 0.0f};
    if (tensor == 0 || slot_of(engine, tensor)->gradient == TINYFED_NOWHERE) return result;
    const tinyfed_slot_t *slot = slot_of(engine, tensor);
    result.d_x = at(engine, slot->gradient);
    result.adds = slot->last != layer;
    if (slot->first == layer) result.derivative = slot->derivative;
    if (result.derivative == TINYFED_LEAKY_RELU) result.alpha = slope_of(engine->model->image, tensor);
    return result;
}

static void backward_dense(const tinyfed_engine_t *engine, const float *input, uint32_t layer, float rate)
{
    const uint8_t *image = engine->model->image, *record = tinyfed_record(image, layer);
    const uint32_t from = tinyfed_u16(record + TINYFED_IN_INPUT);
    const uint8_t flags = record[TINYFED_IN_FLAGS];
    const input_gradient_t gradient = gradient_of_input(engine, layer, from);
    tinyfed_dense_step_t step;
    step.d_x = gradient.d_x;
    step.derivative = gradient.derivative;
    step.adds = gradient.adds;
    step.alpha = gradient.alpha;
    step.inputs = tinyfed_tensor_count(image, from);
    step.outputs = tinyfed_u32(record + TINYFED_IN_SHAPE + 4);
    step.weights = engine->parameters + tinyfed_u32(record + TINYFED_IN_PARAMETERS);
    step.bias = (flags & TINYFED_TRAIN_BIAS) != 0 ? step.weights + step.inputs * step.outputs : NULL;
    step.x = values_of(engine, input, from);
    step.d_y = at(engine, slot_of(engine, layer + 1u)->gradient);
    step.rate = rate;
    step.trains = (flags & TINYFED_TRAIN_WEIGHTS) != 0;
    tinyfed_dense_backward_f32(&step);
}

/* Layers whose gradient passes through value by value: d_x = d_y. */
static void backward_through(const tinyfed_engine_t *engine, const float *input, uint32_t layer, uint32_t from)
{
    const input_gradient_t gradient = gradient_of_input(engine, layer, from);
    if (gradient.d_x == NULL) return;
    const float *d_y = at(engine, slot_of(engine, layer + 1u)->gradient);
    const bool reshapes = tinyfed_record(engine->model->image, layer)[TINYFED_IN_KIND] == TINYFED_KIND_RESHAPE;
    if (reshapes && gradient.d_x == d_y) return; /* finished by the consumers of the reshaped tensor */
    const float *x = values_of(engine, input, from);
    const uint32_t count = tinyfed_tensor_count(engine->model->image, from);
    for (uint32_t k = 0; k < count; k++) {
        const float sum = gradient.adds ? gradient.d_x[k] + d_y[k] : d_y[k];
        gradient.d_x[k] = tinyfed_derive(gradient.derivative, gradient.alpha, x[k], sum);
    }
}

static void backward_layer(const tinyfed_engine_t *engine, const float *input, uint32_t layer, float rate)
{
    const uint8_t *record = tinyfed_record(engine->model->image, layer);
    switch (record[TINYFED_IN_KIND]) {
    case TINYFED_KIND_DENSE:
        backward_dense(engine, input, layer, rate);
        break;
    default:
        backward_through(engine, input, layer, tinyfed_u16(record + TINYFED_IN_INPUT));
        break;
    }
}

tinyfed_status_t tinyfed_train_online(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                      const tinyfed_target_t *target, float learning_rate)
{
    tinyfed_score_t unused;
    if (engine == NULL || input == NULL) return TINYFED_E_ARGUMENT;
    if (engine->mode == TINYFED_MODE_INFER) return TINYFED_E_STATE;
    if (!(learning_rate - learning_rate == 0.0f)) return TINYFED_E_NUMERIC;
    const tinyfed_model_t *model = engine->model;
    const tinyfed_status_t status = check_target(model, target);
    if (status != TINYFED_OK) return status;
    const uint32_t layers = model->layer_count;
    float *y = forward(engine, input);
    const tinyfed_slot_t *last = slot_of(engine, layers);
    const bool trains = last->gradient != TINYFED_NOWHERE;
    const float alpha = last->derivative == TINYFED_LEAKY_RELU ? slope_of(model->image, layers) : 0.0f;
    tinyfed_loss_f32(score != NULL ? score : &unused, y, model->output_count, model->loss, target, trains, last->derivative,
                     alpha);
    for (uint32_t layer = layers; layer-- > 0 && slot_of(engine, layer + 1u)->gradient != TINYFED_NOWHERE;)
        backward_layer(engine, input, layer, learning_rate);
    return TINYFED_OK;
}
