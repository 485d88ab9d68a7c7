#include "layout.h"

tinyfed_status_t tinyfed_plan(tinyfed_plan_t *plan, const tinyfed_model_t *model, tinyfed_mode_t mode)
{
    tinyfed_slot_t slots[TINYFED_LAYERS_MAX];
    if (plan == NULL || model == NULL || (mode != TINYFED_MODE_INFER && mode != TINYFED_MODE_ONLINE))
        return TINYFED_E_ARGUMENT;
    plan->mode = mode;
    plan->work_bytes = tinyfed_layout(slots, model->image, mode);
    plan->arena_bytes = ((model->image_bytes + TINYFED_ALIGNMENT - 1u) & ~(TINYFED_ALIGNMENT - 1u)) + plan->work_bytes;
    return TINYFED_OK;
}
