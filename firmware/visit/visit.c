#include "tinyfed_visit.h"
#include "visit_bytes.h"

enum { PHASE_TRAIN, PHASE_EVALUATE, PHASE_DONE, PHASE_FAILED };

tinyfed_status_t tinyfed_visit_scratch_bytes(uint32_t *scratch_bytes, const tinyfed_order_t *order,
                                             const tinyfed_shard_t *shard, uint32_t input_count)
{
    tinyfed_status_t status = tinyfed_order_check(order);
    *scratch_bytes = 0;
    if (status != TINYFED_OK || order->source != TINYFED_SOURCE_SHARD) return status;
    if (shard == NULL) return TINYFED_E_SOURCE;
    if (shard->feature_count != input_count) return TINYFED_E_SHAPE;
    uint32_t indices = (uint32_t)order->ways * (2u + order->shots + order->queries);
    *scratch_bytes = (2u * indices + TINYFED_ALIGNMENT - 1u) & ~(TINYFED_ALIGNMENT - 1u);
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_visit_begin(tinyfed_visit_t *visit, tinyfed_engine_t *engine, const tinyfed_order_t *order,
                                     const tinyfed_shard_t *shard, void *scratch, uint32_t scratch_bytes)
{
    uint32_t needed;
    memset(visit, 0, sizeof *visit);
    visit->phase = PHASE_FAILED;
    tinyfed_status_t status = tinyfed_visit_scratch_bytes(&needed, order, shard, engine->model->input_count);
    if (status != TINYFED_OK) return status;
    if (engine->mode != TINYFED_MODE_ONLINE) return TINYFED_E_STATE;
    if (scratch_bytes < needed) return TINYFED_E_MEMORY;
    if (((uintptr_t)scratch & 1u) != 0) return TINYFED_E_ALIGNMENT;
    visit->engine = engine;
    visit->shard = shard;
    visit->order = *order;
    visit->random.state = order->seed;
    visit->total = (uint32_t)order->ways * order->shots * order->passes;
    visit->loss_window = order->ways > 1 ? order->ways : visit->total < 4 ? 1 : visit->total / 4;
    if (order->source == TINYFED_SOURCE_SHARD) {
        visit->classes = scratch;
        visit->round = visit->classes + order->ways;
        visit->stream = visit->round + order->ways;
        visit->queries = visit->stream + (uint32_t)order->ways * order->shots;
        status = tinyfed_source_shard_begin(visit);
    } else {
        status = tinyfed_source_sine_begin(visit);
    }
    if (status == TINYFED_OK) visit->phase = PHASE_TRAIN;
    return status;
}

static bool checkpoint_due(const tinyfed_visit_t *visit)
{
    const tinyfed_order_t *order = &visit->order;
    return visit->checkpoint < order->checkpoint_count &&
           (uint32_t)order->checkpoints[visit->checkpoint] * order->ways == visit->position;
}

static bool next_query(tinyfed_visit_t *visit, tinyfed_sample_t *sample)
{
    return visit->order.source == TINYFED_SOURCE_SHARD ? tinyfed_source_shard_query(visit, sample)
                                                       : tinyfed_source_sine_query(visit, sample);
}

static tinyfed_status_t train_one(tinyfed_visit_t *visit)
{
    tinyfed_sample_t sample;
    tinyfed_score_t score;
    if (visit->order.source == TINYFED_SOURCE_SHARD) {
        tinyfed_source_shard_train(visit, &sample);
    } else {
        tinyfed_source_sine_train(visit, &sample);
    }
    tinyfed_status_t status =
        tinyfed_train_online(visit->engine, &score, sample.input, &sample.target, visit->order.learning_rate);
    if (status != TINYFED_OK) return status;
    if (!visit_is_finite(score.loss)) return TINYFED_E_NUMERIC;
    if (visit->position < visit->loss_window) visit->sum_first += score.loss;
    if (visit->position >= visit->total - visit->loss_window) visit->sum_last += score.loss;
    visit->position++;
    /* A sum of finite losses can overflow too. */
    return visit_is_finite(visit->sum_first) && visit_is_finite(visit->sum_last) ? TINYFED_OK : TINYFED_E_NUMERIC;
}

/* One query; the checkpoint is closed once there are no more. */
static tinyfed_status_t evaluate_one(tinyfed_visit_t *visit)
{
    tinyfed_sample_t sample;
    tinyfed_score_t score;
    tinyfed_checkpoint_t *point = &visit->result.checkpoints[visit->checkpoint];
    if (next_query(visit, &sample)) {
        tinyfed_status_t status = tinyfed_evaluate(visit->engine, &score, sample.input, &sample.target);
        if (status != TINYFED_OK) return status;
        visit->sum_evaluation += score.loss;
        if (!visit_is_finite(visit->sum_evaluation)) return TINYFED_E_NUMERIC;
        point->count++;
        point->correct += score.correct;
        return TINYFED_OK;
    }
    point->shots = visit->order.checkpoints[visit->checkpoint];
    point->loss = visit->sum_evaluation / (float)point->count;
    visit->checkpoint++;
    visit->phase = PHASE_TRAIN;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_visit_step(tinyfed_visit_t *visit, bool *done)
{
    *done = false;
    if (visit->phase == PHASE_DONE || visit->phase == PHASE_FAILED) return TINYFED_E_STATE;
    if (visit->phase == PHASE_TRAIN && checkpoint_due(visit)) {
        visit->phase = PHASE_EVALUATE;
        visit->query_label = 0;
        visit->query_index = 0;
        visit->sum_evaluation = 0.0f;
    }
    tinyfed_status_t status = visit->phase == PHASE_EVALUATE ? evaluate_one(visit) : train_one(visit);
    if (status != TINYFED_OK) {
        visit->phase = PHASE_FAILED;
        return status;
    }
    if (visit->phase == PHASE_TRAIN && visit->position == visit->total && !checkpoint_due(visit)) {
        visit->phase = PHASE_DONE;
        *done = true;
    }
    return TINYFED_OK;
}

void tinyfed_visit_result(const tinyfed_visit_t *visit, tinyfed_result_t *result)
{
    *result = visit->result;
    result->samples = visit->position;
    result->checkpoint_count = visit->checkpoint;
    result->loss_first = visit->sum_first / (float)visit->loss_window;
    result->loss_last = visit->sum_last / (float)visit->loss_window;
}
