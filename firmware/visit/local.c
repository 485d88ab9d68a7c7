/* Layers that stay on the device: which values are shared, how the others are rebuilt. Specified in docs/order.md. */
#include "model/image.h"
#include "model/layers.h"
#include "math/sqrt.h"
#include "tinyfed_visit.h"

#define SEED_OF_LOCAL 0x6C6F63616Cu /* so that the local layers' stream is none of the draw's */

static uint32_t parameters_from(const tinyfed_model_t *model, uint32_t layer)
{
    return layer < model->layer_count ? tinyfed_get32(tinyfed_record(model->image, layer) + TINYFED_IN_PARAMETERS)
                                      : model->parameter_count;
}

static bool has_parameters(const tinyfed_model_t *model, uint32_t layer)
{
    return parameters_from(model, layer + 1u) != parameters_from(model, layer);
}

/* The shared layers are [*begin, *end): what is left without so many with parameters at either end. */
static tinyfed_status_t shared_layers(uint32_t *begin, uint32_t *end, const tinyfed_order_t *order,
                                      const tinyfed_model_t *model)
{
    *begin = 0;
    *end = model->layer_count;
    for (uint32_t left = order->local_first; left > 0 && *begin < *end; (*begin)++)
        left -= has_parameters(model, *begin);
    for (uint32_t left = order->local_last; left > 0 && *begin < *end; (*end)--)
        left -= has_parameters(model, *end - 1u);
    return parameters_from(model, *begin) < parameters_from(model, *end) ? TINYFED_OK : TINYFED_E_SHAPE;
}

tinyfed_status_t tinyfed_shared_part(uint32_t *first, uint32_t *count, const tinyfed_order_t *order,
                                     const tinyfed_model_t *model)
{
    uint32_t begin, end;
    *first = 0;
    *count = model->parameter_count;
    if ((order->local_first | order->local_last) == 0) return TINYFED_OK;
    tinyfed_status_t status = shared_layers(&begin, &end, order, model);
    if (status != TINYFED_OK) return status;
    *first = parameters_from(model, begin);
    *count = parameters_from(model, end) - *first;
    return TINYFED_OK;
}

/* Uniform within the limit of Glorot and Bengio (2010), counted by output channel; biases 0, scales 1. */
static void first_values(float *parameters, const tinyfed_model_t *model, uint32_t layer, tinyfed_random_t *random,
                         bool zero)
{
    const uint8_t *record = tinyfed_record(model->image, layer);
    uint32_t from = parameters_from(model, layer), count = parameters_from(model, layer + 1u) - from;
    uint32_t weights = tinyfed_layer_weight_count(model->image, layer),
             channels = tinyfed_get32(record + TINYFED_IN_SHAPE + 4);
    float limit = tinyfed_sqrt(6.0f / (float)(weights / channels + channels));
    for (uint32_t i = 0; i < count; i++) {
        float value = 0.0f;
        if (i < weights && tinyfed_kind_of(record) == TINYFED_KIND_SCALE) value = 1.0f;
        else if (i < weights && !zero) value = (2.0f * tinyfed_random_unit(random) - 1.0f) * limit;
        parameters[from + i] = value;
    }
}

tinyfed_status_t tinyfed_check_kept(const tinyfed_order_t *order, const tinyfed_model_t *model, uint32_t kept_first,
                                    uint32_t kept_count)
{
    uint32_t first, count;
    const tinyfed_status_t status = tinyfed_shared_part(&first, &count, order, model);
    if (status != TINYFED_OK) return status;
    return first >= kept_first && first + count <= kept_first + kept_count ? TINYFED_OK : TINYFED_E_STATE;
}

tinyfed_status_t tinyfed_local_begin(tinyfed_visit_t *visit)
{
    const tinyfed_model_t *model = visit->engine->model;
    const tinyfed_order_t *order = &visit->order;
    uint32_t begin, end;
    if ((order->local_first | order->local_last) == 0) return TINYFED_OK;
    tinyfed_status_t status = shared_layers(&begin, &end, order, model);
    if (status != TINYFED_OK) return status;
    tinyfed_random_t random = {order->seed ^ SEED_OF_LOCAL};
    bool zero = (order->flags & TINYFED_ORDER_ZERO_LOCAL) != 0;
    for (uint32_t layer = 0; layer < model->layer_count; layer++) {
        if (layer >= begin && layer < end) visit->shared_layers |= (uint64_t)1 << layer;
        else if (has_parameters(model, layer)) first_values(visit->engine->parameters, model, layer, &random, zero);
    }
    return TINYFED_OK;
}

void tinyfed_local_hold(tinyfed_visit_t *visit)
{
    if (visit->shared_layers == 0) return;
    bool rebuilds = visit->position < (uint32_t)visit->order.reconstruct * visit->order.ways;
    uint64_t kept = (visit->order.flags & TINYFED_ORDER_KEEP_LOCAL) ? ~visit->shared_layers : 0;
    visit->engine->held = rebuilds ? visit->shared_layers : kept;
}
