#include "app_record.h"

#ifdef TINYFED_SENSOR

/* Readings taken in one piece of work. */
#define READINGS_AT_ONCE 32u
/* What tinyfed_port_sensor_read says beside 1 and 0. */
#define SENSOR_GAP (-1)

static const tinyfed_window_form_t *const form = &tinyfed_motion_form;

bool app_record_possible(const tinyfed_app_t *app)
{
    const tinyfed_app_config_t *config = &app->config;
    return config->sensor_read != NULL && config->sensor_channels == form->channels &&
           config->sensor_rate_hz == form->rate_hz;
}

static void report(tinyfed_app_t *app)
{
    const tinyfed_recorder_t *recorder = app->recorder;
    app->record.capacity = recorder != NULL ? recorder->capacity : 0u;
    app->record.class_count = recorder != NULL ? (uint16_t)recorder->class_count : 0u;
    app->record.ends = recorder != NULL ? recorder->ends : NULL;
    tinyfed_link_recording(&app->link, &app->record);
}

void app_record_stop(tinyfed_app_t *app, tinyfed_status_t status)
{
    app->record.running = false;
    app->record.status = (tinyfed_wire_status_t)status;
    app->record.detail = 0;
    report(app);
}

/* What a visit draws from: what was recorded, once there is something, else the shard in data flash. */
static void offer_samples(tinyfed_app_t *app)
{
    if (app->recorder != NULL && app->recorder->count > 0u) {
        tinyfed_recorder_shard(app->recorder, &app->shard);
        app->has_shard = true;
    } else {
        app->has_shard = app->config.shard != NULL &&
                         tinyfed_shard_open(&app->shard, app->config.shard, app->config.shard_bytes) == TINYFED_OK;
    }
}

static void forget(tinyfed_app_t *app)
{
    if (app->recorder != NULL) app->config.arena_bytes += app->config.record_bytes;
    app->recorder = NULL;
    offer_samples(app);
    app->record.windows = 0;
    app_record_stop(app, TINYFED_OK);
}

static tinyfed_status_t open_recorder(tinyfed_app_t *app, uint64_t needed_bytes)
{
    const uint32_t record_bytes = app->config.record_bytes;
    if (app->recorder != NULL) return TINYFED_OK;
    if (needed_bytes + record_bytes > app->config.arena_bytes) {
        app->record.detail = (uint32_t)(needed_bytes + record_bytes - app->config.arena_bytes);
        return TINYFED_E_MEMORY;
    }
    /* The arena is the smaller from now on, for whatever asks. */
    uint8_t *memory = app->config.arena + (app->config.arena_bytes - record_bytes);
    app->recorder = tinyfed_recorder_open(form, memory, record_bytes);
    if (app->recorder == NULL) return TINYFED_E_MEMORY;
    app->config.arena_bytes -= record_bytes;
    return TINYFED_OK;
}

static tinyfed_status_t begin(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint64_t needed_bytes)
{
    if (!app_record_possible(app)) return TINYFED_E_SOURCE;
    if (event->label >= TINYFED_RECORD_CLASSES) return TINYFED_E_ARGUMENT;
    const tinyfed_status_t status = open_recorder(app, needed_bytes);
    if (status != TINYFED_OK) return status;
    if (app->recorder->count == app->recorder->capacity) return TINYFED_E_MEMORY;
    const uint32_t ms = event->milliseconds_max, rate = form->rate_hz;
    app->windows_left = event->windows_max != 0u ? event->windows_max : UINT32_MAX;
    app->readings_left = ms != 0u ? ms / 1000u * rate + ms % 1000u * rate / 1000u : UINT32_MAX;
    tinyfed_recorder_begin(app->recorder, event->label);
    app->config.sensor_start();
    return TINYFED_OK;
}

void app_record_answer(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint64_t needed_bytes)
{
    if (event->label == TINYFED_WIRE_LABEL_FORGET) {
        forget(app);
    } else if (event->label == TINYFED_WIRE_LABEL_STOP) {
        app_record_stop(app, TINYFED_OK);
    } else if (event->recording == 0u || event->recording != app->record.recording) {
        app->record.recording = event->recording;
        app->record.label = event->label;
        app->record.windows = 0;
        app->record.detail = 0;
        app->record.status = (tinyfed_wire_status_t)begin(app, event, needed_bytes);
        app->record.running = app->record.status == TINYFED_OK;
        report(app);
    } else { /* the same one again: the host asks how it stands */
        report(app);
    }
}

static void take(tinyfed_app_t *app, const double *reading)
{
    const bool stored = tinyfed_recorder_add(app->recorder, reading);
    if (app->readings_left != UINT32_MAX) app->readings_left--;
    if (stored) {
        offer_samples(app);
        app->record.windows++;
        if (app->windows_left != UINT32_MAX) app->windows_left--;
        report(app);
    }
    if (app->windows_left == 0u || app->readings_left == 0u || app->recorder->count == app->recorder->capacity)
        app_record_stop(app, TINYFED_OK);
}

void app_record_work(tinyfed_app_t *app)
{
    double reading[TINYFED_RECORD_CHANNELS_MAX];
    for (uint32_t i = 0; i < READINGS_AT_ONCE && app->record.running; i++) {
        const int got = app->config.sensor_read(reading);
        if (got == 0) return;
        if (got > 0) take(app, reading);
        else if (got == SENSOR_GAP) tinyfed_recorder_gap(app->recorder);
        else app_record_stop(app, TINYFED_E_SOURCE); /* the sensor gives no more */
    }
}

uint32_t app_record_idle_ms(const tinyfed_app_t *app, uint32_t idle_ms)
{
    const uint32_t half_reading_ms = 500u / form->rate_hz;
    return app->record.running && idle_ms > half_reading_ms ? half_reading_ms : idle_ms;
}

#else
typedef int app_record_is_not_built; /* C99 wants something in a file */
#endif
