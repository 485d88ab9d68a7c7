#include "app_parts.h"
#include "tinyfed_checksum.h"

/* Everything that can be wrong with an order, before a weight is touched. */
static tinyfed_status_t prepare_visit(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint32_t *detail)
{
    tinyfed_order_t order;
    uint32_t scratch_bytes;
    *detail = 0;
    if (app->state != TINYFED_APP_READY || app->record.running) return TINYFED_E_BUSY;
    if (app->held < TINYFED_APP_WEIGHTS) return TINYFED_E_STATE;
    if (event->weights_hash != 0u && event->weights_hash != app->weights_hash) return TINYFED_E_CHECKSUM;
    tinyfed_status_t status = tinyfed_order_decode(&order, event->order, event->order_bytes);
    if (status != TINYFED_OK) return status;
    if (order.source == TINYFED_SOURCE_SHARD && app->samples == NULL) return TINYFED_E_SOURCE;
    if (app->held == TINYFED_APP_PERSONAL) {
        status = tinyfed_check_kept(&order, &app->model, app->shared_first, app->shared_count);
        if (status != TINYFED_OK) return status;
    }
    status = tinyfed_visit_scratch_bytes(&scratch_bytes, &order, app->samples, &app->model);
    if (status != TINYFED_OK) return status;
    status = tinyfed_plan(&app->plan, &app->model, tinyfed_order_mode(&order));
    if (status != TINYFED_OK) return status;
    if (app_arena_needed(app) + scratch_bytes > app->config.arena_bytes) {
        *detail = (uint32_t)(app_arena_needed(app) + scratch_bytes - app->config.arena_bytes);
        return TINYFED_E_MEMORY;
    }
    status = tinyfed_engine_open(&app->engine, &app->model, app_parameters(app), app->plan.mode,
                                 app->config.arena + app_work_at(app), app->plan.work_bytes);
    if (status != TINYFED_OK) return status;
    app->visit_samples = (uint32_t)order.ways * order.shots * order.passes;
    status = tinyfed_visit_begin(&app->visit, &app->engine, &order, app->samples,
                                 app->config.arena + app_arena_needed(app), scratch_bytes);
    app->visit.result.arena_bytes = (uint32_t)app_arena_needed(app) + scratch_bytes;
    return status;
}

void app_visit_begin(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    uint32_t detail;
    const tinyfed_status_t status = prepare_visit(app, event, &detail);
    if (status != TINYFED_OK) {
        tinyfed_link_visit_refuse(&app->link, (tinyfed_wire_status_t)status, detail);
        return;
    }
    app->state = TINYFED_APP_VISITING;
    app->train_us = 0;
    app->train_instructions = 0;
    app_drop_weights(app);
    tinyfed_link_visit_begin(&app->link);
    tinyfed_link_visit_progress(&app->link, 0, app->visit_samples);
}

void app_visit_abandon(tinyfed_app_t *app, tinyfed_status_t status)
{
    app->state = TINYFED_APP_READY;
    tinyfed_link_visit_end(&app->link, (tinyfed_wire_status_t)status, 0, NULL, 0, 0);
}

static void finish_visit(tinyfed_app_t *app)
{
    tinyfed_result_t result;
    uint32_t detail = 0;
    const tinyfed_status_t status = app_accept_weights(app, &detail);
    if (status != TINYFED_OK) {
        app_visit_abandon(app, status);
        return;
    }
    app->state = TINYFED_APP_READY;
    app->answer = TINYFED_APP_UPDATE;
    if ((app->visit.order.local_first | app->visit.order.local_last) != 0)
        app_keep_local(app, app->visit.shared_first, app->visit.shared_count);
    tinyfed_visit_result(&app->visit, &result);
    result.train_us = app->train_us;
    result.train_instructions = app->train_instructions;
    result.stack_bytes = app->config.stack_bytes != NULL ? app->config.stack_bytes() : 0u;
    const uint32_t byte_count = tinyfed_result_encode(app->result, &result);
    const uint8_t *update;
    uint32_t update_bytes;
    tinyfed_visit_update(&app->visit, &update, &update_bytes);
    tinyfed_link_visit_end(&app->link, TINYFED_OK, 0, app->result, byte_count,
                           tinyfed_hash64(TINYFED_HASH_START, update, update_bytes));
}

void app_visit_step(tinyfed_app_t *app)
{
    bool done = false;
    const uint32_t instructions = app->config.instructions != NULL ? app->config.instructions() : 0u;
    const uint32_t start_us = app->config.now_us != NULL ? app->config.now_us() : 0u;
    const tinyfed_status_t status = tinyfed_visit_step(&app->visit, &done);
    if (!app->visit.evaluated) {
        if (app->config.now_us != NULL) app->train_us += app->config.now_us() - start_us;
        if (app->config.instructions != NULL) app->train_instructions += app->config.instructions() - instructions;
    }
    tinyfed_link_visit_progress(&app->link, app->visit.position, app->visit_samples);
    if (status != TINYFED_OK) app_visit_abandon(app, status);
    else if (done) finish_visit(app);
}
