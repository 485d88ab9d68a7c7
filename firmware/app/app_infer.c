#include "app_parts.h"

#include <string.h>

/* Where an input comes and what the model makes of it is fetched: behind the model and the work area of inference, so
 * that weights stay whole. *detail: the bytes that are short. */
static tinyfed_status_t place_of_input(const tinyfed_app_t *app, tinyfed_plan_t *plan, uint8_t **place,
                                       uint32_t *detail)
{
    const tinyfed_status_t status = tinyfed_plan(plan, &app->model, TINYFED_MODE_INFER);
    if (status != TINYFED_OK) return status;
    const uint32_t inputs = app->model.input_count, outputs = app->model.output_count;
    const uint64_t at = (uint64_t)app_work_at(app) + plan->work_bytes;
    const uint64_t end = at + (uint64_t)(inputs > outputs ? inputs : outputs) * sizeof(float);
    *place = app->config.arena + (end <= app->config.arena_bytes ? at : 0u);
    if (end <= app->config.arena_bytes) return TINYFED_OK;
    *detail = (uint32_t)(end - app->config.arena_bytes);
    return TINYFED_E_MEMORY;
}

/* Of a stream, a step behind its first. */
static bool goes_on(const tinyfed_link_event_t *event) { return event->value_count != 0 && event->first_value != 0; }

void app_infer_begin(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    tinyfed_plan_t plan;
    uint8_t *place = NULL;
    uint32_t detail = 0;
    /* Local layers stay: outputs would give them away. */
    tinyfed_status_t status = app->held == TINYFED_APP_WEIGHTS ? TINYFED_OK : TINYFED_E_STATE;
    if (event->base_hash != 0 && event->base_hash != app->weights_hash) status = TINYFED_E_STATE;
    if (goes_on(event) && event->first_value != app->steps) status = TINYFED_E_STATE;
    if (status == TINYFED_OK && event->encoding != TINYFED_WIRE_PLAIN) status = TINYFED_E_ARGUMENT;
    if (status == TINYFED_OK) {
        detail = app->model.input_count * (uint32_t)sizeof(float);
        if (event->structure_hash != app->structure_hash || event->total_bytes != detail) status = TINYFED_E_SHAPE;
        else status = place_of_input(app, &plan, &place, &detail);
    }
    app->answer = TINYFED_APP_NO_ANSWER; /* an update lies there too */
    if (status != TINYFED_OK) tinyfed_link_transfer_refuse(&app->link, (tinyfed_wire_status_t)status, detail);
    else (void)tinyfed_link_transfer_accept(&app->link, place, event->total_bytes, NULL, 0);
}

/* One sample takes less than a step of learning: it is run at once. */
tinyfed_status_t app_infer_run(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint32_t *detail)
{
    tinyfed_plan_t plan;
    uint8_t *place;
    const float *output;
    app->steps = 0;
    tinyfed_status_t status = place_of_input(app, &plan, &place, detail);
    if (status != TINYFED_OK) return status;
    status = tinyfed_engine_open(&app->engine, &app->model, app_parameters(app), TINYFED_MODE_INFER,
                                 app->config.arena + app_work_at(app), plan.work_bytes);
    const float *input = (const float *)(const void *)place;
    if (status == TINYFED_OK && goes_on(event)) status = tinyfed_infer_next(&app->engine, &output, input);
    else if (status == TINYFED_OK) status = tinyfed_infer(&app->engine, &output, input);
    if (status != TINYFED_OK) return status;
    memcpy(place, output, app->model.output_count * sizeof *output);
    app->answer = TINYFED_APP_OUTPUT;
    if (event->value_count != 0) app->steps = event->first_value + 1u;
    return TINYFED_OK;
}

void app_infer_upload(tinyfed_app_t *app)
{
    tinyfed_plan_t plan;
    uint8_t *place;
    uint32_t detail = 0;
    if (app->answer != TINYFED_APP_OUTPUT || place_of_input(app, &plan, &place, &detail) != TINYFED_OK)
        tinyfed_link_upload_refuse(&app->link, TINYFED_E_STATE, 0);
    else tinyfed_link_upload_accept(&app->link, place, app->model.output_count * (uint32_t)sizeof(float));
}
