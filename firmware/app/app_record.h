/* Recording labelled samples: the app's part of it. Builds with TINYFED_SENSOR only. */
#ifndef TINYFED_APP_RECORD_H
#define TINYFED_APP_RECORD_H

#include "tinyfed_app.h"

#ifdef TINYFED_SENSOR

/* There is a sensor whose readings the window form takes. */
bool app_record_possible(const tinyfed_app_t *app);
/* Answer LABEL. needed_bytes: what the model that is held takes of the arena, from its start. */
void app_record_answer(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint64_t needed_bytes);
/* The host has gone, or wants something else. */
void app_record_stop(tinyfed_app_t *app, tinyfed_status_t status);
/* Take the readings that are there by now; a bounded number. */
void app_record_work(tinyfed_app_t *app);
/* The port's idle time, shortened while readings must be fetched. */
uint32_t app_record_idle_ms(const tinyfed_app_t *app, uint32_t idle_ms);

#endif

#endif
