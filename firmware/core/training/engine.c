#include "engine.h"

#include "model/frozen.h"
#include "loss.h"

tinyfed_status_t tinyfed_engine_open(tinyfed_engine_t *engine, const tinyfed_model_t *model, float *parameters,
                                     tinyfed_mode_t mode, void *work, uint32_t work_bytes)
{
    if (engine == NULL || model == NULL || work == NULL || (parameters == NULL && model->parameter_count != 0))
        return TINYFED_E_ARGUMENT;
    if ((uint32_t)mode > TINYFED_MODE_BATCH_ADAM_SECOND) return TINYFED_E_ARGUMENT;
    if ((uintptr_t)parameters % TINYFED_ALIGNMENT != 0 || (uintptr_t)work % TINYFED_ALIGNMENT != 0)
        return TINYFED_E_ALIGNMENT;
    if (work_bytes < model->layer_count * sizeof(tinyfed_slot_t)) return TINYFED_E_MEMORY;
    const uint32_t frozen_at = tinyfed_layout(work, model->image, mode);
    const uint64_t needed =
        (uint64_t)frozen_at + tinyfed_frozen_bytes(model->image) + tinyfed_batch_bytes(model->image, mode);
    if (work_bytes < needed) return TINYFED_E_MEMORY;
    engine->model = model;
    engine->parameters = parameters;
    engine->work = work;
    engine->work_bytes = (uint32_t)needed; /* a batch's arrays are found from the end */
    engine->mode = mode;
    engine->frozen_at = frozen_at;
    engine->held = 0;
#if TINYFED_KEPT_LAYERS > 0
    tinyfed_keep_forward(engine);
    tinyfed_keep_backward(engine);
#endif
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_infer(tinyfed_engine_t *engine, const float **output, const float *input)
{
    if (engine == NULL || output == NULL || input == NULL) return TINYFED_E_ARGUMENT;
    *output = tinyfed_forward(engine, tinyfed_frozen_features(engine, input));
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_infer_next(tinyfed_engine_t *engine, const float **output, const float *input)
{
    if (engine == NULL || output == NULL || input == NULL) return TINYFED_E_ARGUMENT;
    *output = tinyfed_forward(engine, tinyfed_frozen_next(engine, input));
    return TINYFED_OK;
}

static tinyfed_status_t check_target(const tinyfed_model_t *model, const tinyfed_target_t *target)
{
    if (target == NULL) return TINYFED_E_ARGUMENT;
    if (model->loss != TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY)
        return target->values != NULL ? TINYFED_OK : TINYFED_E_ARGUMENT;
    return target->label >= 0 && (uint32_t)target->label < model->output_count ? TINYFED_OK : TINYFED_E_ARGUMENT;
}

tinyfed_status_t tinyfed_forward_and_loss(const tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                          const tinyfed_target_t *target, bool trains)
{
    tinyfed_score_t unused;
    const tinyfed_model_t *model = engine->model;
    const tinyfed_status_t status = check_target(model, target);
    if (status != TINYFED_OK) return status;
    if (trains) tinyfed_observe(engine, input);
    float *y = tinyfed_forward(engine, input);
    const tinyfed_slot_t *last = tinyfed_slot_of(engine, model->layer_count);
    const float alpha =
        last->derivative == TINYFED_LEAKY_RELU ? tinyfed_slope_of(model->image, model->layer_count) : 0.0f;
    tinyfed_loss_f32(score != NULL ? score : &unused, y, model->output_count, model->loss, target,
                     trains && last->gradient != TINYFED_NOWHERE, last->derivative, alpha);
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_evaluate(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                  const tinyfed_target_t *target)
{
    if (engine == NULL || score == NULL || input == NULL) return TINYFED_E_ARGUMENT;
    return tinyfed_forward_and_loss(engine, score, tinyfed_frozen_features(engine, input), target, false);
}

tinyfed_status_t tinyfed_train_online(tinyfed_engine_t *engine, tinyfed_score_t *score, const float *input,
                                      const tinyfed_target_t *target, float learning_rate)
{
    if (engine == NULL || input == NULL) return TINYFED_E_ARGUMENT;
    if (engine->mode == TINYFED_MODE_INFER) return TINYFED_E_STATE;
    if (!(learning_rate - learning_rate == 0.0f)) return TINYFED_E_NUMERIC;
    input = tinyfed_frozen_features(engine, input);
    const tinyfed_status_t status = tinyfed_forward_and_loss(engine, score, input, target, true);
    if (status != TINYFED_OK) return status;
    const tinyfed_change_t change = {NULL, -learning_rate};
    tinyfed_backward(engine, input, &change);
    return TINYFED_OK;
}
