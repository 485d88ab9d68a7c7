/* Samples out of the shard in data flash. The draw is specified in docs/order.md. */
#include "tinyfed_visit.h"

/* The rank-th index of a class, counted among those the stream does not hold. */
static uint16_t unused_index(const uint16_t *stream, uint32_t shots, uint32_t rank)
{
    uint32_t index = rank, before;
    do {
        before = index;
        index = rank;
        for (uint32_t i = 0; i < shots; i++) index += stream[i] <= before;
    } while (index != before);
    return (uint16_t)index;
}

static bool in_stream(const uint16_t *stream, uint32_t shots, uint32_t index)
{
    for (uint32_t i = 0; i < shots; i++) {
        if (stream[i] == index) return true;
    }
    return false;
}

tinyfed_status_t tinyfed_source_shard_begin(tinyfed_visit_t *visit)
{
    const tinyfed_order_t *order = &visit->order;
    const tinyfed_shard_t *shard = visit->shard;
    const tinyfed_model_t *model = visit->engine->model;
    uint32_t ways = order->ways, shots = order->shots, queries = order->queries, first, count;

    if (shard == NULL) return TINYFED_E_SOURCE;
    if (shard->feature_count != model->input_count) return TINYFED_E_SHAPE;
    const bool labels = model->loss == TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY;
    if (shard->target_count == 0 ? !labels || ways != model->output_count
                                 : ways != 1 || shard->target_count != (labels ? 1u : model->output_count)) {
        return TINYFED_E_SHAPE;
    }
    if (shard->class_count < ways) return TINYFED_E_SOURCE;
    if ((order->flags & TINYFED_ORDER_TRUE_LABELS) && shard->class_count != ways) return TINYFED_E_SHAPE;
    /* Every class must do, not only the drawn ones: a shard that is too small fails at once, not at some seed. */
    bool judges = order->checkpoint_count != 0 || (order->flags & TINYFED_ORDER_META_GRADIENT) != 0;
    uint32_t needed = shots + queries + (judges && !queries);
    for (uint32_t label = 0; label < shard->class_count; label++) {
        tinyfed_shard_class(shard, &first, &count, label);
        if (count < needed) return TINYFED_E_SOURCE;
    }

    if (order->flags & TINYFED_ORDER_TRUE_LABELS) {
        for (uint32_t k = 0; k < ways; k++) visit->classes[k] = (uint16_t)k;
    } else {
        tinyfed_random_sequence(&visit->random, visit->classes, ways, shard->class_count);
    }
    if (order->flags & TINYFED_ORDER_IN_TIME) {
        for (uint32_t k = 0; k < ways; k++) {
            tinyfed_shard_class(shard, &first, &count, visit->classes[k]);
            const uint32_t start = order->start % count; /* then on, behind the last comes the first */
            for (uint32_t i = 0; i < shots; i++) visit->stream[k * shots + i] = (uint16_t)((start + i) % count);
            for (uint32_t i = 0; i < queries; i++)
                visit->queries[k * queries + i] = (uint16_t)((start + shots + i) % count);
        }
        return TINYFED_OK;
    }
    for (uint32_t k = 0; k < ways; k++) {
        tinyfed_shard_class(shard, &first, &count, visit->classes[k]);
        tinyfed_random_sequence(&visit->random, visit->stream + k * shots, shots, count);
    }
    /* A generator of its own: what is evaluated does not change what is learned. */
    tinyfed_random_t random = {~order->seed};
    for (uint32_t k = 0; k < ways; k++) {
        tinyfed_shard_class(shard, &first, &count, visit->classes[k]);
        uint16_t *drawn = visit->queries + k * queries;
        tinyfed_random_sequence(&random, drawn, queries, count - shots);
        for (uint32_t q = 0; q < queries; q++) drawn[q] = unused_index(visit->stream + k * shots, shots, drawn[q]);
    }
    return TINYFED_OK;
}

static void sample_at(const tinyfed_visit_t *visit, tinyfed_sample_t *sample, uint32_t label, uint32_t index)
{
    uint32_t first, count;
    tinyfed_shard_class(visit->shard, &first, &count, visit->classes[label]);
    const tinyfed_shard_t *shard = visit->shard;
    sample->input = shard->samples + (size_t)(first + index) * (shard->feature_count + shard->target_count);
    sample->target.values = shard->target_count != 0 ? sample->input + shard->feature_count : NULL;
    sample->target.label = (int32_t)label;
    if (shard->target_count == 1) { /* where a class is asked for it is the target; no class: the engine refuses it */
        const float value = sample->target.values[0];
        const bool is_class = value >= 0.0f && value < (float)visit->engine->model->output_count;
        sample->target.label = is_class ? (int32_t)value : -1;
    }
}

void tinyfed_source_shard_train(tinyfed_visit_t *visit, tinyfed_sample_t *sample)
{
    uint32_t ways = visit->order.ways, shots = visit->order.shots;
    uint32_t turn = visit->position % ways, round = visit->position / ways % shots;
    if (turn == 0) tinyfed_random_sequence(&visit->random, visit->round, ways, ways);
    uint32_t label = visit->round[turn];
    sample_at(visit, sample, label, visit->stream[label * shots + round]);
}

bool tinyfed_source_shard_query(tinyfed_visit_t *visit, tinyfed_sample_t *sample)
{
    uint32_t queries = visit->order.queries, shots = visit->order.shots, first, count;
    while (visit->query_label < visit->order.ways) {
        uint32_t label = visit->query_label, index = visit->query_index++;
        tinyfed_shard_class(visit->shard, &first, &count, visit->classes[label]);
        if (index >= (queries ? queries : count)) {
            visit->query_label++;
            visit->query_index = 0;
        } else if (queries) {
            sample_at(visit, sample, label, visit->queries[label * queries + index]);
            return true;
        } else if (!in_stream(visit->stream + label * shots, shots, index)) {
            sample_at(visit, sample, label, index);
            return true;
        }
    }
    return false;
}
