#include "tinyfed_visit.h"
#include "tinyfed_bytes.h"
#include "tinyfed_float.h"

enum { PHASE_TRAIN, PHASE_EVALUATE, PHASE_META_GRADIENT, PHASE_CHOOSE, PHASE_DONE, PHASE_FAILED };

static uint32_t weight_copy_bytes(const tinyfed_order_t *order, const tinyfed_model_t *model)
{
    return tinyfed_bits(order->proximal) ? tinyfed_align_up(4u * model->parameter_count) : 0;
}

tinyfed_status_t tinyfed_visit_scratch_bytes(uint32_t *scratch_bytes, const tinyfed_order_t *order,
                                             const tinyfed_shard_t *shard, const tinyfed_model_t *model)
{
    *scratch_bytes = 0;
    tinyfed_status_t status = tinyfed_order_check(order);
    if (status != TINYFED_OK) return status;
    uint32_t first, shared;
    status = tinyfed_shared_part(&first, &shared, order, model);
    if (status != TINYFED_OK) return status;
    *scratch_bytes = weight_copy_bytes(order, model) + tinyfed_align_up(tinyfed_update_bytes(order, model, shared));
    if (order->source != TINYFED_SOURCE_SHARD) return TINYFED_OK;
    if (shard == NULL) return TINYFED_E_SOURCE;
    if (shard->feature_count != model->input_count) return TINYFED_E_SHAPE;
    *scratch_bytes += tinyfed_align_up(2u * order->ways * (2u + order->shots + order->queries));
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_visit_begin(tinyfed_visit_t *visit, tinyfed_engine_t *engine, const tinyfed_order_t *order,
                                     const tinyfed_shard_t *shard, void *scratch, uint32_t scratch_bytes)
{
    uint32_t needed;
    memset(visit, 0, sizeof *visit);
    visit->phase = PHASE_FAILED;
    tinyfed_status_t status = tinyfed_visit_scratch_bytes(&needed, order, shard, engine->model);
    if (status != TINYFED_OK) return status;
    if (engine->mode != tinyfed_order_mode(order)) return TINYFED_E_STATE;
    if (scratch_bytes < needed) return TINYFED_E_MEMORY;
    if (((uintptr_t)scratch & 3u) != 0) return TINYFED_E_ALIGNMENT;
    visit->engine = engine;
    visit->shard = shard;
    visit->order = *order;
    visit->random.state = order->seed;
    visit->total = (uint32_t)order->ways * order->shots * order->passes;
    visit->loss_window = order->ways > 1 ? order->ways : visit->total < 4 ? 1 : visit->total / 4;
    status = tinyfed_shared_part(&visit->shared_first, &visit->shared_count, order, engine->model);
    if (status != TINYFED_OK) return status;
    uint32_t copy_bytes = weight_copy_bytes(order, engine->model);
    uint32_t update_bytes = tinyfed_align_up(tinyfed_update_bytes(order, engine->model, visit->shared_count));
    if (order->source == TINYFED_SOURCE_SHARD) {
        visit->classes = (uint16_t *)(void *)((uint8_t *)scratch + copy_bytes + update_bytes);
        visit->round = visit->classes + order->ways;
        visit->stream = visit->round + order->ways;
        visit->queries = visit->stream + (uint32_t)order->ways * order->shots;
        status = tinyfed_source_shard_begin(visit);
    } else {
        status = tinyfed_source_sine_begin(visit);
    }
    if (status == TINYFED_OK && engine->mode != TINYFED_MODE_ONLINE) status = tinyfed_batch_begin(engine);
    if (status == TINYFED_OK) status = tinyfed_local_begin(visit); /* no order is refused once a weight is another */
    if (status != TINYFED_OK) return status;
    if (copy_bytes) {
        visit->first_weights = scratch;
        memcpy(scratch, engine->parameters, 4u * (size_t)engine->model->parameter_count);
    }
    if (update_bytes) {
        visit->update = (uint8_t *)scratch + copy_bytes;
        tinyfed_update_begin(visit);
    }
    visit->phase = PHASE_TRAIN;
    return TINYFED_OK;
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

/* FedProx's pull back to the weights the visit began with (Li et al. 2020), as a step of its own after an update. */
static void pull_back(tinyfed_visit_t *visit)
{
    if (visit->first_weights == NULL) return;
    float *weights = visit->engine->parameters;
    float step = visit->order.learning_rate * visit->order.proximal;
    for (uint32_t i = 0; i < visit->engine->model->parameter_count; i++) {
        weights[i] -= step * (weights[i] - visit->first_weights[i]);
    }
}

static tinyfed_status_t batch_step(tinyfed_visit_t *visit, float learning_rate)
{
    tinyfed_optimizer_t optimizer = {learning_rate, 0.9f, 0.9f, 0.999f, 1e-8f, 0.0f, 0.0f};
    return tinyfed_batch_step(visit->engine, &optimizer);
}

/* One sample of the stream; in batches, the update too once the batch or the pass is full. */
static tinyfed_status_t learn(tinyfed_visit_t *visit, tinyfed_score_t *score, const tinyfed_sample_t *sample)
{
    const tinyfed_order_t *order = &visit->order;
    tinyfed_status_t status;
    if (order->update == TINYFED_UPDATE_ONLINE) {
        status = tinyfed_train_online(visit->engine, score, sample->input, &sample->target, order->learning_rate);
    } else {
        uint32_t pass = (uint32_t)order->ways * order->shots, seen = visit->position % pass + 1;
        status = tinyfed_batch_add(visit->engine, score, sample->input, &sample->target);
        if (status != TINYFED_OK || (seen != pass && (order->batch == 0 || seen % order->batch != 0))) return status;
        status = batch_step(visit, order->learning_rate);
    }
    if (status == TINYFED_OK) pull_back(visit);
    return status;
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
    tinyfed_local_hold(visit);
    tinyfed_status_t status = learn(visit, &score, &sample);
    if (status != TINYFED_OK) return status;
    if (!tinyfed_is_finite(score.loss)) return TINYFED_E_NUMERIC;
    if (visit->position < visit->loss_window) visit->sum_first += score.loss;
    if (visit->position >= visit->total - visit->loss_window) visit->sum_last += score.loss;
    visit->position++;
    /* A sum of finite losses can overflow too. */
    return tinyfed_is_finite(visit->sum_first) && tinyfed_is_finite(visit->sum_last) ? TINYFED_OK : TINYFED_E_NUMERIC;
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
        if (!tinyfed_is_finite(visit->sum_evaluation)) return TINYFED_E_NUMERIC;
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

/* First-order MAML's gradient of the queries at the trained weights. It is left where the weights were, with a minus
 * sign: zero weights take a step of rate 1. So it costs no memory beside the batch's gradient buffer. */
static tinyfed_status_t meta_gradient_one(tinyfed_visit_t *visit, bool *complete)
{
    tinyfed_sample_t sample;
    tinyfed_score_t score;
    *complete = !next_query(visit, &sample);
    tinyfed_local_hold(visit);
    if (!*complete) {
        tinyfed_status_t status = tinyfed_batch_add(visit->engine, &score, sample.input, &sample.target);
        return status != TINYFED_OK || tinyfed_is_finite(score.loss) ? status : TINYFED_E_NUMERIC;
    }
    memset(visit->engine->parameters, 0, 4u * (size_t)visit->engine->model->parameter_count);
    return batch_step(visit, 1.0f);
}

static void start_queries(tinyfed_visit_t *visit, uint8_t phase)
{
    visit->phase = phase;
    visit->query_label = 0;
    visit->query_index = 0;
    visit->sum_evaluation = 0.0f;
}

tinyfed_status_t tinyfed_visit_step(tinyfed_visit_t *visit, bool *done)
{
    *done = false;
    if (visit->phase == PHASE_DONE || visit->phase == PHASE_FAILED) return TINYFED_E_STATE;
    if (visit->phase == PHASE_TRAIN && checkpoint_due(visit)) start_queries(visit, PHASE_EVALUATE);
    tinyfed_status_t status = TINYFED_OK;
    bool complete = false;
    visit->evaluated = visit->phase == PHASE_EVALUATE;
    switch (visit->phase) {
    case PHASE_EVALUATE: status = evaluate_one(visit); break;
    case PHASE_META_GRADIENT: status = meta_gradient_one(visit, &complete); break;
    case PHASE_CHOOSE: status = tinyfed_update_step(visit, &complete); break;
    default: status = train_one(visit); break;
    }
    if (status != TINYFED_OK) {
        visit->phase = PHASE_FAILED;
        return status;
    }
    if (visit->phase == PHASE_TRAIN && visit->position == visit->total && !checkpoint_due(visit)) {
        complete = (visit->order.flags & TINYFED_ORDER_META_GRADIENT) == 0;
        if (!complete) start_queries(visit, PHASE_META_GRADIENT);
    }
    if (complete && visit->phase != PHASE_CHOOSE && visit->update != NULL) {
        visit->phase = PHASE_CHOOSE;
        tinyfed_update_start(visit);
        complete = false;
    }
    if (complete) {
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
