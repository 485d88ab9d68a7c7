/* y = a sin(x + p), made on the device. The draw is specified in docs/order.md. */
#include "tinyfed_visit.h"

static float at(uint64_t seed, uint32_t number)
{
    tinyfed_random_t random = {seed + (uint64_t)number * TINYFED_RANDOM_GAMMA};
    return tinyfed_random_unit(&random);
}

tinyfed_status_t tinyfed_source_sine_begin(tinyfed_visit_t *visit)
{
    const tinyfed_order_t *order = &visit->order;
    const tinyfed_model_t *model = visit->engine->model;
    if (model->input_count != 1 || model->output_count != 1 || model->loss != TINYFED_LOSS_MSE) return TINYFED_E_SHAPE;
    if (order->ways != 1) return TINYFED_E_SHAPE;
    bool judges = order->checkpoint_count != 0 || (order->flags & TINYFED_ORDER_META_GRADIENT) != 0;
    if (judges && !order->queries) return TINYFED_E_SOURCE;
    visit->sine_amplitude = 0.1f + 4.9f * at(order->seed, 0);
    visit->sine_phase = 6.2831855f * at(order->seed, 1);
    return TINYFED_OK;
}

static void sample_at(tinyfed_visit_t *visit, tinyfed_sample_t *sample, uint32_t number)
{
    visit->sine_x = 10.0f * at(visit->order.seed, 2 + number) - 5.0f;
    visit->sine_y = visit->sine_amplitude * tinyfed_sin_f32(visit->sine_x + visit->sine_phase);
    sample->input = &visit->sine_x;
    sample->target.values = &visit->sine_y;
    sample->target.label = 0;
}

void tinyfed_source_sine_train(tinyfed_visit_t *visit, tinyfed_sample_t *sample)
{
    sample_at(visit, sample, visit->position % visit->order.shots);
}

bool tinyfed_source_sine_query(tinyfed_visit_t *visit, tinyfed_sample_t *sample)
{
    if (visit->query_index >= visit->order.queries) return false;
    sample_at(visit, sample, visit->order.shots + visit->query_index++);
    return true;
}
