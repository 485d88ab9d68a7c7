#include "app_parts.h"

#include <string.h>

/* The largest chunk: as large as the wire allows, so that headers are a small share of the line. */
#define CHUNK_BYTES 1024u

/* So far a clock may go back, as some do for a moment where a counter wraps: time stands still meanwhile. */
#define BACK_US 1000000u

static uint32_t to_ms(tinyfed_app_t *app, uint32_t now_us)
{
    const uint32_t passed_us = now_us - app->clock_us;
    if (passed_us > UINT32_MAX - BACK_US) return app->clock_ms;
    app->clock_rest_us += passed_us;
    app->clock_us = now_us;
    app->clock_ms += app->clock_rest_us / 1000u;
    app->clock_rest_us %= 1000u;
    return app->clock_ms;
}

static void answer_hello(tinyfed_app_t *app)
{
    tinyfed_link_info_t info = {
        .board = app->config.board,
        .firmware_build = app->config.firmware_build,
        .reset_cause = app->config.reset_cause,
        .arena_bytes = app->config.arena_bytes,
        .capabilities = TINYFED_CAPABILITY_TRAIN | TINYFED_CAPABILITY_SINE | TINYFED_CAPABILITY_RESET |
                        TINYFED_CAPABILITY_FLOAT16 | TINYFED_CAPABILITY_INT8 | TINYFED_CAPABILITY_DELTA |
                        TINYFED_CAPABILITY_SPARSE | TINYFED_CAPABILITY_PARTIAL | TINYFED_CAPABILITY_ANSWERS |
                        TINYFED_CAPABILITY_INFER,
        .structure_hash = app->structure_hash,
        .weights_hash = app->weights_hash,
    };
    if (app_record_possible(app)) info.capabilities |= TINYFED_CAPABILITY_SENSOR;
#if defined(TINYFED_INT8)
    info.capabilities |= TINYFED_CAPABILITY_FROZEN | TINYFED_CAPABILITY_STEPS;
#endif
    memcpy(info.unique_id, app->config.unique_id, sizeof info.unique_id);
    if (app->config.flash != NULL && app->config.flash->erase != NULL) info.capabilities |= TINYFED_CAPABILITY_SAVE;
    if (app->samples != NULL) {
        info.capabilities |= TINYFED_CAPABILITY_SHARD;
        info.feature_count = app->samples->feature_count;
        info.class_count = (uint16_t)app->samples->class_count;
    }
    tinyfed_link_hello(&app->link, &info);
}

static void stop_all(tinyfed_app_t *app)
{
    if (app->state == TINYFED_APP_VISITING) app_visit_abandon(app, TINYFED_E_CANCELLED);
    if (app->state == TINYFED_APP_SAVING) app_save_end(app, TINYFED_E_CANCELLED);
    app_record_cancel(app);
}

static void answer(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    switch (event->kind) {
    case TINYFED_LINK_HELLO: answer_hello(app); break;
    case TINYFED_LINK_TRANSFER_BEGIN: app_transfer_begin(app, event); break;
    case TINYFED_LINK_TRANSFER_COMPLETE: app_transfer_complete(app, event); break;
    case TINYFED_LINK_ORDER: app_visit_begin(app, event); break;
    case TINYFED_LINK_UPLOAD: app_upload(app, event); break;
    case TINYFED_LINK_CANCEL:
    case TINYFED_LINK_HOST_GONE: stop_all(app); break;
    case TINYFED_LINK_RESET: app->state = TINYFED_APP_LEAVING; break;
    case TINYFED_LINK_SAVE: app_save_begin(app, event); break;
    case TINYFED_LINK_LABEL: app_record_answer(app, event); break;
    }
}

static void answer_all(tinyfed_app_t *app, uint32_t now_ms)
{
    tinyfed_link_event_t event;
    while (tinyfed_link_event(&app->link, &event, now_ms)) answer(app, &event);
}

void tinyfed_app_init(tinyfed_app_t *app, const tinyfed_app_config_t *config)
{
    const tinyfed_link_config_t link_config = {.chunk_bytes_max = CHUNK_BYTES, .watchdog_ms = config->watchdog_ms};
    memset(app, 0, sizeof *app);
    app->config = *config;
    tinyfed_link_init(&app->link, &link_config);
    app_record_offer(app);
    app_open_first(app);
}

void tinyfed_app_receive(tinyfed_app_t *app, const uint8_t *bytes, size_t byte_count, uint32_t now_us)
{
    const uint32_t now_ms = to_ms(app, now_us);
    /* What came behind a request to restart is for the device after it: the host will ask again. */
    for (size_t used = 0; used < byte_count && app->state != TINYFED_APP_LEAVING;) {
        used += tinyfed_link_receive(&app->link, bytes + used, byte_count - used, now_ms);
        answer_all(app, now_ms);
    }
}

size_t tinyfed_app_transmit(tinyfed_app_t *app, uint8_t *bytes, size_t capacity, uint32_t now_us)
{
    return tinyfed_link_transmit(&app->link, bytes, capacity, to_ms(app, now_us));
}

void tinyfed_app_work(tinyfed_app_t *app, uint32_t now_us)
{
    answer_all(app, to_ms(app, now_us));
    if (app->state == TINYFED_APP_VISITING) app_visit_step(app);
    if (app->state == TINYFED_APP_SAVING) app_save_step(app);
    app_record_work(app);
}

uint32_t tinyfed_app_idle_ms(tinyfed_app_t *app, uint32_t now_us)
{
    const bool works = app->state == TINYFED_APP_VISITING || app->state == TINYFED_APP_SAVING;
    return app_record_idle_ms(app, works ? 0u : tinyfed_link_idle_ms(&app->link, to_ms(app, now_us)));
}

bool tinyfed_app_reset_wanted(const tinyfed_app_t *app) { return app->state == TINYFED_APP_LEAVING; }
