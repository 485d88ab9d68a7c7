/* What the app's files have of each other: one file a concern. */
#ifndef TINYFED_APP_PARTS_H
#define TINYFED_APP_PARTS_H

#include "tinyfed_app.h"

/* ---- app_model.c: what the arena holds, `held` */

static inline float *app_parameters(const tinyfed_app_t *app)
{
    return (float *)(void *)(app->config.arena + app->parameters_at);
}

static inline uint32_t app_parameter_bytes(const tinyfed_app_t *app) { return app->model.parameter_count * 4u; }

/* Where the engine's work area begins, and what it and what is before it need. */
static inline uint32_t app_work_at(const tinyfed_app_t *app) { return tinyfed_align_up(app->held_bytes); }
static inline uint64_t app_arena_needed(const tinyfed_app_t *app)
{
    return (uint64_t)app_work_at(app) + app->plan.work_bytes;
}

void app_drop_weights(tinyfed_app_t *app);
void app_drop_model(tinyfed_app_t *app);
/* The weights are all there. E_NUMERIC: *detail is the byte offset of the first that is not finite. */
tinyfed_status_t app_accept_weights(tinyfed_app_t *app, uint32_t *detail);
/* They are, and all but these values are the device's own. */
void app_keep_local(tinyfed_app_t *app, uint32_t shared_first, uint32_t shared_count);
/* The image lies at the arena's start. *detail: the offset of what is wrong; for E_MEMORY the bytes that are short. */
tinyfed_status_t app_open_image(tinyfed_app_t *app, uint32_t image_bytes, uint32_t *detail);
/* What was saved, or else the image that the firmware carries. */
void app_open_first(tinyfed_app_t *app);

/* ---- app_transfer.c: what comes and what is fetched */

void app_transfer_begin(tinyfed_app_t *app, const tinyfed_link_event_t *event);
void app_transfer_complete(tinyfed_app_t *app, const tinyfed_link_event_t *event);
void app_upload(tinyfed_app_t *app, const tinyfed_link_event_t *event);

/* ---- app_infer.c: an input, and the model's output for it */

void app_infer_begin(tinyfed_app_t *app, const tinyfed_link_event_t *event);
tinyfed_status_t app_infer_run(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint32_t *detail);
void app_infer_upload(tinyfed_app_t *app);

/* ---- app_visit.c: VISITING */

void app_visit_begin(tinyfed_app_t *app, const tinyfed_link_event_t *event);
void app_visit_step(tinyfed_app_t *app);
/* Half-trained weights are never served: the host sends the weights again before the next order. */
void app_visit_abandon(tinyfed_app_t *app, tinyfed_status_t status);

/* ---- app_save.c: SAVING */

void app_save_begin(tinyfed_app_t *app, const tinyfed_link_event_t *event);
void app_save_step(tinyfed_app_t *app);
void app_save_end(tinyfed_app_t *app, tinyfed_status_t status);

/* ---- app_record.c: labelled samples from the sensor */

/* There is a sensor whose readings the window form takes. */
bool app_record_possible(const tinyfed_app_t *app);
/* Let visits draw from what was recorded, once there is something, else from the shard in data flash. */
void app_record_offer(tinyfed_app_t *app);
void app_record_answer(tinyfed_app_t *app, const tinyfed_link_event_t *event);
/* The host has gone, or wants something else. */
void app_record_cancel(tinyfed_app_t *app);
/* Take the readings that are there by now; a bounded number. */
void app_record_work(tinyfed_app_t *app);
/* The port's idle time, shortened while readings must be fetched. */
uint32_t app_record_idle_ms(const tinyfed_app_t *app, uint32_t idle_ms);

#endif
