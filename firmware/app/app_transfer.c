#include "app_parts.h"

#include <string.h>

static void begin_image(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    if (event->encoding != TINYFED_WIRE_PLAIN) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_ARGUMENT, 0);
    } else if (event->total_bytes > app->config.arena_bytes) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_MEMORY, event->total_bytes - app->config.arena_bytes);
    } else {
        app_drop_model(app);
        (void)tinyfed_link_transfer_accept(&app->link, app->config.arena, app->config.arena_bytes, NULL, 0);
    }
}

static void begin_weights(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    const bool plain = event->encoding == TINYFED_WIRE_PLAIN, part = event->value_count != 0;
    const uint32_t all = app->held != TINYFED_APP_NOTHING ? app->model.parameter_count : 0u;
    const uint32_t first = part ? event->first_value : 0u, count = part ? event->value_count : all;
    if (app->held == TINYFED_APP_NOTHING) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_STATE, 0);
    } else if (event->structure_hash != app->structure_hash) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_SHAPE, 0);
    } else if (first > all || count > all - first || (plain && event->total_bytes != 4u * count)) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_SHAPE, app_parameter_bytes(app));
    } else if (part && (event->encoding & TINYFED_WIRE_DELTA) != 0) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_ARGUMENT, 0);
    } else if ((event->encoding & TINYFED_WIRE_DELTA) != 0 &&
               (app->held != TINYFED_APP_WEIGHTS || event->base_hash != app->weights_hash)) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_STATE, 0);
    } else {
        app_drop_weights(app);
        /* The engine's work area lies idle between visits: room for chunks of encoded weights. */
        const uint32_t work = app_work_at(app);
        float *values = app_parameters(app);
        memset(values, 0, first * sizeof *values); /* what is not sent is 0: both ends know what is held */
        memset(values + first + count, 0, (all - first - count) * sizeof *values);
        (void)tinyfed_link_transfer_accept(&app->link, (uint8_t *)(values + first), 4u * count,
                                           plain ? NULL : app->config.arena + work,
                                           plain ? 0u : app->config.arena_bytes - work);
    }
}

void app_transfer_begin(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    if (app->state != TINYFED_APP_READY) tinyfed_link_transfer_refuse(&app->link, TINYFED_E_BUSY, 0);
    else if (event->transfer_kind == TINYFED_WIRE_IMAGE) begin_image(app, event);
    else if (event->transfer_kind == TINYFED_WIRE_INPUT) app_infer_begin(app, event);
    else begin_weights(app, event);
}

void app_transfer_complete(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    uint32_t detail = 0;
    tinyfed_status_t status;
    if (event->transfer_kind == TINYFED_WIRE_IMAGE) {
        status = app_open_image(app, event->total_bytes, &detail);
        if (status != TINYFED_OK) app_drop_model(app);
    } else if (event->transfer_kind == TINYFED_WIRE_INPUT) {
        status = app_infer_run(app, event, &detail);
    } else {
        status = app_accept_weights(app, &detail);
    }
    tinyfed_link_transfer_end(&app->link, (tinyfed_wire_status_t)status, detail);
}

void app_upload(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    const uint8_t *update;
    uint32_t byte_count;
    if (app->state != TINYFED_APP_READY) {
        tinyfed_link_upload_refuse(&app->link, TINYFED_E_BUSY, 0);
    } else if (event->input_hash != 0) {
        app_infer_upload(app);
    } else if (event->visit != 0 ? app->answer != TINYFED_APP_UPDATE : app->held != TINYFED_APP_WEIGHTS) {
        tinyfed_link_upload_refuse(&app->link, TINYFED_E_STATE, 0);
    } else if (event->visit != 0) {
        tinyfed_visit_update(&app->visit, &update, &byte_count);
        tinyfed_link_upload_accept(&app->link, update, byte_count);
    } else tinyfed_link_upload_accept(&app->link, (const uint8_t *)app_parameters(app), app_parameter_bytes(app));
}
