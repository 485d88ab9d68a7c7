#include "frozen.h"
#include "layout.h"

uint32_t tinyfed_batch_arrays(tinyfed_mode_t mode)
{
    static const uint8_t arrays[] = {
        [TINYFED_MODE_INFER] = 0,          [TINYFED_MODE_ONLINE] = 0,     [TINYFED_MODE_BATCH_SGD] = 1,
        [TINYFED_MODE_BATCH_MOMENTUM] = 2, [TINYFED_MODE_BATCH_ADAM] = 3, [TINYFED_MODE_BATCH_ADAM_SECOND] = 2};
    return (uint32_t)mode < sizeof arrays ? arrays[mode] : 0u;
}

uint32_t tinyfed_learning_before(const uint8_t *image, uint32_t layer)
{
    uint32_t count = 0, skipped;
    for (uint32_t k = 0; k < layer; k++) count += tinyfed_layer_learning(&skipped, image, k);
    return count;
}

uint64_t tinyfed_batch_bytes(const uint8_t *image, tinyfed_mode_t mode)
{
    const uint32_t arrays = tinyfed_batch_arrays(mode);
    if (arrays == 0) return 0;
    const uint32_t learning = tinyfed_learning_before(image, tinyfed_get16(image + TINYFED_AT_LAYER_COUNT));
    return sizeof(tinyfed_batch_state_t) + arrays * (uint64_t)tinyfed_align_up(learning * (uint32_t)sizeof(float));
}

tinyfed_status_t tinyfed_plan(tinyfed_plan_t *plan, const tinyfed_model_t *model, tinyfed_mode_t mode)
{
    tinyfed_slot_t slots[TINYFED_LAYERS_MAX];
    if (plan == NULL || model == NULL || (uint32_t)mode > TINYFED_MODE_BATCH_ADAM_SECOND) return TINYFED_E_ARGUMENT;
    plan->mode = mode;
    const uint64_t work = (uint64_t)tinyfed_layout(slots, model->image, mode) + tinyfed_frozen_bytes(model->image) +
                          tinyfed_batch_bytes(model->image, mode);
    const uint64_t arena = tinyfed_align_up(model->image_bytes) + work;
    if (arena > UINT32_MAX) return TINYFED_E_MEMORY;
    plan->work_bytes = (uint32_t)work;
    plan->arena_bytes = (uint32_t)arena;
    return TINYFED_OK;
}
