#include "app_parts.h"
#include "tinyfed_bytes.h"

#include <string.h>

/* What was said has left a line of 115200 baud after so long. */
#define LEAVE_MS 20u

/* Of a model image: where its CRC-32 stands, and what is behind it (docs/model-image.md). */
#define IMAGE_CRC_AT 12u
#define IMAGE_CRC_FROM 16u

/* Training has changed the weights: let the image's checksum be of what it is now. */
static void seal_image(const tinyfed_app_t *app)
{
    uint8_t *image = app->config.arena;
    uint32_t crc = tinyfed_crc32(0, image, IMAGE_CRC_AT);
    crc = tinyfed_crc32(crc, image + IMAGE_CRC_FROM, app->held_bytes - IMAGE_CRC_FROM);
    tinyfed_put32(image + IMAGE_CRC_AT, crc);
}

/* *same: it is what the newest slot holds, so nothing has to be written. */
static tinyfed_status_t prepare_save(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint32_t *detail,
                                     bool *same)
{
    tinyfed_store_content_t saved;
    if (app->state != TINYFED_APP_READY) return TINYFED_E_BUSY;
    if (app->config.flash == NULL || app->config.flash->erase == NULL) return TINYFED_E_SOURCE;
    if (event->save_action == TINYFED_WIRE_FORGET) return tinyfed_store_forget(&app->store);
    if (event->save_action != TINYFED_WIRE_SAVE) return TINYFED_E_ARGUMENT;
    if (app->held < TINYFED_APP_WEIGHTS) return TINYFED_E_STATE;
    if (event->weights_hash != 0u && event->weights_hash != app->weights_hash) return TINYFED_E_CHECKSUM;
    const bool whole = app->model.image == app->config.arena;
    if (whole) seal_image(app);
    const bool local = app->held == TINYFED_APP_PERSONAL; /* so it is after a restart too */
    const tinyfed_store_content_t ours = {
        .kind = whole ? TINYFED_STORE_IMAGE : TINYFED_STORE_PARAMETERS,
        .shared_first = local ? app->shared_first : 0u,
        .shared_count = local ? app->shared_count : 0u,
        .bytes = app->config.arena,
        .byte_count = app->held_bytes,
    };
    *same = tinyfed_store_content(&app->store, &saved) && saved.kind == ours.kind &&
            saved.shared_first == ours.shared_first && saved.shared_count == ours.shared_count &&
            saved.byte_count == ours.byte_count && memcmp(saved.bytes, ours.bytes, ours.byte_count) == 0;
    return *same ? TINYFED_OK : tinyfed_store_begin(&app->store, &ours, detail);
}

void app_save_begin(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    uint32_t detail = 0;
    bool same = false;
    const tinyfed_status_t status = prepare_save(app, event, &detail, &same);
    if (status != TINYFED_OK) {
        tinyfed_link_save_refuse(&app->link, (tinyfed_wire_status_t)status, detail);
        return;
    }
    tinyfed_link_save_begin(&app->link, app->config.flash->quiet_ms);
    app->save_ms = app->clock_ms;
    if (same) tinyfed_link_save_end(&app->link, TINYFED_OK, 0);
    else app->state = TINYFED_APP_SAVING;
}

void app_save_end(tinyfed_app_t *app, tinyfed_status_t status)
{
    app->state = TINYFED_APP_READY;
    app->store.target = -1;
    tinyfed_link_save_end(&app->link, (tinyfed_wire_status_t)status, 0);
}

void app_save_step(tinyfed_app_t *app)
{
    bool done;
    /* A processor that erases the flash it runs from hears and says nothing: the host is told first. */
    if (app->store.position == 0u && app->config.flash->quiet_ms > 0u &&
        (!tinyfed_link_said_all(&app->link) || app->clock_ms - app->save_ms < LEAVE_MS))
        return;
    const tinyfed_status_t status = tinyfed_store_step(&app->store, &done);
    tinyfed_link_save_progress(&app->link, app->store.position, tinyfed_store_total(&app->store));
    if (status != TINYFED_OK || done) app_save_end(app, status);
}
