#include "app_parts.h"

/* Readings taken in one piece of work. */
#define READINGS_AT_ONCE 32u

/* The build of a board says how much of its arena recordings may have. With none, the compiler sees below that there is
 * never a recorder, and the linker drops it. */
#ifndef TINYFED_RECORD_STORE_BYTES
#define TINYFED_RECORD_STORE_BYTES UINT32_MAX
#endif

static tinyfed_recorder_t *recorder_of(const tinyfed_app_t *app)
{
    return TINYFED_RECORD_STORE_BYTES > 0u ? app->recorder : NULL;
}

static bool is_running(const tinyfed_app_t *app) { return recorder_of(app) != NULL && app->record.running; }

bool app_record_possible(const tinyfed_app_t *app)
{
    const tinyfed_sensor_t *sensor = app->config.sensor;
    const tinyfed_window_form_t *form = app->config.window;
    return TINYFED_RECORD_STORE_BYTES > 0u && sensor != NULL && sensor->channels == form->channels &&
           sensor->rate_hz == form->rate_hz;
}

static void report(tinyfed_app_t *app)
{
    const tinyfed_recorder_t *recorder = recorder_of(app);
    app->record.capacity = recorder != NULL ? recorder->capacity : 0u;
    app->record.class_count = recorder != NULL ? (uint16_t)recorder->class_count : 0u;
    app->record.ends = recorder != NULL ? recorder->ends : NULL;
    tinyfed_link_recording(&app->link, &app->record);
}

static void stop(tinyfed_app_t *app, tinyfed_status_t status)
{
    app->record.running = false;
    app->record.status = (tinyfed_wire_status_t)status;
    app->record.detail = 0;
    report(app);
}

void app_record_offer(tinyfed_app_t *app)
{
    const tinyfed_recorder_t *recorder = recorder_of(app);
    const uint8_t *shard = app->config.shard;
    app->samples = &app->shard;
    if (recorder != NULL && recorder->count > 0u) tinyfed_recorder_shard(recorder, &app->shard);
    else if (shard == NULL || tinyfed_shard_open(&app->shard, shard, app->config.shard_bytes) != TINYFED_OK)
        app->samples = NULL;
}

static void forget(tinyfed_app_t *app)
{
    if (recorder_of(app) != NULL) app->config.arena_bytes += app->config.record_bytes;
    app->recorder = NULL;
    app_record_offer(app);
    app->record.windows = 0;
    stop(app, TINYFED_OK);
}

static tinyfed_status_t open_recorder(tinyfed_app_t *app)
{
    const uint64_t needed_bytes = app->held != TINYFED_APP_NOTHING ? app_arena_needed(app) : 0u;
    const uint32_t record_bytes = app->config.record_bytes;
    if (app->recorder != NULL) return TINYFED_OK;
    if (needed_bytes + record_bytes > app->config.arena_bytes) {
        app->record.detail = (uint32_t)(needed_bytes + record_bytes - app->config.arena_bytes);
        return TINYFED_E_MEMORY;
    }
    /* The arena is the smaller from now on, for whatever asks. */
    uint8_t *memory = app->config.arena + (app->config.arena_bytes - record_bytes);
    app->recorder = tinyfed_recorder_open(app->config.window, memory, record_bytes);
    if (app->recorder == NULL) return TINYFED_E_MEMORY;
    app->config.arena_bytes -= record_bytes;
    return TINYFED_OK;
}

static tinyfed_status_t begin(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    if (event->label >= TINYFED_RECORD_CLASSES) return TINYFED_E_ARGUMENT;
    const tinyfed_status_t status = open_recorder(app);
    if (status != TINYFED_OK) return status;
    if (app->recorder->count == app->recorder->capacity) return TINYFED_E_MEMORY;
    const uint32_t ms = event->milliseconds_max;
    const uint64_t readings = (uint64_t)ms * app->config.window->rate_hz / 1000u;
    app->windows_left = event->windows_max != 0u ? event->windows_max : UINT32_MAX;
    app->readings_left = ms != 0u && readings < UINT32_MAX ? (uint32_t)readings : UINT32_MAX;
    tinyfed_recorder_begin(app->recorder, event->label);
    app->config.sensor->start();
    return TINYFED_OK;
}

void app_record_answer(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    app->answer = TINYFED_APP_NO_ANSWER; /* samples may lie there from now on */
    app->steps = 0;
    if (!app_record_possible(app)) {
        app->record.recording = event->recording;
        app->record.label = event->label;
        stop(app, TINYFED_E_SOURCE);
    } else if (event->label == TINYFED_WIRE_LABEL_FORGET) {
        forget(app);
    } else if (event->label == TINYFED_WIRE_LABEL_STOP) {
        stop(app, TINYFED_OK);
    } else if (event->recording == 0u || event->recording != app->record.recording) {
        app->record.recording = event->recording;
        app->record.label = event->label;
        app->record.windows = 0;
        app->record.detail = 0;
        app->record.status = (tinyfed_wire_status_t)begin(app, event);
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
        app_record_offer(app);
        app->record.windows++;
        if (app->windows_left != UINT32_MAX) app->windows_left--;
        report(app);
    }
    if (app->windows_left == 0u || app->readings_left == 0u || app->recorder->count == app->recorder->capacity)
        stop(app, TINYFED_OK);
}

void app_record_cancel(tinyfed_app_t *app)
{
    if (is_running(app)) stop(app, TINYFED_E_CANCELLED);
}

void app_record_work(tinyfed_app_t *app)
{
    double reading[TINYFED_RECORD_CHANNELS_MAX];
    for (uint32_t i = 0; i < READINGS_AT_ONCE && is_running(app); i++) {
        const int got = app->config.sensor->read(reading);
        if (got == TINYFED_SENSOR_NOTHING) return;
        if (got == TINYFED_SENSOR_READING) take(app, reading);
        else if (got == TINYFED_SENSOR_GAP) tinyfed_recorder_gap(app->recorder);
        else stop(app, TINYFED_E_SOURCE); /* the sensor gives no more */
    }
}

uint32_t app_record_idle_ms(const tinyfed_app_t *app, uint32_t idle_ms)
{
    if (!is_running(app)) return idle_ms;
    const uint32_t half_reading_ms = 500u / app->config.window->rate_hz;
    return idle_ms > half_reading_ms ? half_reading_ms : idle_ms;
}
