#include "app_parts.h"

#include <string.h>

void app_drop_weights(tinyfed_app_t *app)
{
    if (app->held > TINYFED_APP_STRUCTURE) app->held = TINYFED_APP_STRUCTURE;
    app->answer = TINYFED_APP_NO_ANSWER;
    app->steps = 0;
    app->weights_hash = 0;
}

void app_drop_model(tinyfed_app_t *app)
{
    app_drop_weights(app);
    app->held = TINYFED_APP_NOTHING;
    app->structure_hash = 0;
}

/* NaN and infinity have all bits of the exponent set. */
static tinyfed_status_t check_finite(const tinyfed_app_t *app, uint32_t *detail)
{
    const uint8_t *bytes = app->config.arena + app->parameters_at;
    const uint32_t byte_count = app_parameter_bytes(app);
    for (uint32_t i = 0; i < byte_count; i += 4u) {
        if ((bytes[i + 3u] & 0x7Fu) == 0x7Fu && (bytes[i + 2u] & 0x80u) == 0x80u) {
            *detail = i;
            return TINYFED_E_NUMERIC;
        }
    }
    return TINYFED_OK;
}

/* What is local has no part in the hash: hello tells it, and who knows the rest could try values. */
void app_keep_local(tinyfed_app_t *app, uint32_t shared_first, uint32_t shared_count)
{
    app->held = TINYFED_APP_PERSONAL;
    app->shared_first = shared_first;
    app->shared_count = shared_count;
    app->weights_hash = tinyfed_weights_hash(app_parameters(app) + shared_first, shared_count);
}

tinyfed_status_t app_accept_weights(tinyfed_app_t *app, uint32_t *detail)
{
    const tinyfed_status_t status = check_finite(app, detail);
    if (status != TINYFED_OK) return status;
    app->weights_hash = tinyfed_weights_hash(app_parameters(app), app->model.parameter_count);
    app->held = TINYFED_APP_WEIGHTS;
    return TINYFED_OK;
}

/* The model is open and its parameters lie in the arena. *detail: as of app_open_image. */
static tinyfed_status_t accept_model(tinyfed_app_t *app, uint32_t *detail)
{
    tinyfed_status_t status = tinyfed_plan(&app->plan, &app->model, TINYFED_MODE_ONLINE);
    if (status != TINYFED_OK) return status;
    if (app_arena_needed(app) > app->config.arena_bytes) {
        *detail = (uint32_t)(app_arena_needed(app) - app->config.arena_bytes);
        return TINYFED_E_MEMORY;
    }
    status = app_accept_weights(app, detail);
    if (status != TINYFED_OK) return status;
    app->structure_hash = tinyfed_model_structure_hash(&app->model);
    return TINYFED_OK;
}

tinyfed_status_t app_open_image(tinyfed_app_t *app, uint32_t image_bytes, uint32_t *detail)
{
    *detail = 0;
    const tinyfed_status_t status = tinyfed_model_open(&app->model, detail, app->config.arena, image_bytes);
    if (status != TINYFED_OK) return status;
    app->parameters_at = app->model.parameters_offset;
    app->held_bytes = image_bytes;
    return accept_model(app, detail);
}

/* The image that the firmware carries. A frozen network stays in flash, and only what learns is copied. */
static tinyfed_status_t open_embedded(tinyfed_app_t *app, const uint8_t *image, uint32_t image_bytes)
{
    uint32_t detail = 0;
    const tinyfed_status_t status = tinyfed_model_open(&app->model, &detail, image, image_bytes);
    if (status != TINYFED_OK) return status;
    const bool in_flash = app->model.frozen.program != NULL;
    app->held_bytes = in_flash ? app_parameter_bytes(app) : image_bytes;
    if (app->held_bytes > app->config.arena_bytes) return TINYFED_E_MEMORY;
    memcpy(app->config.arena, in_flash ? image + app->model.parameters_offset : image, app->held_bytes);
    if (!in_flash) return app_open_image(app, image_bytes, &detail);
    app->parameters_at = 0;
    return accept_model(app, &detail);
}

/* What was saved: an image that is copied to the arena, or what was learnt of the one that the firmware carries. */
static tinyfed_status_t open_content(tinyfed_app_t *app, const tinyfed_store_content_t *content)
{
    uint32_t detail = 0;
    if (content->kind == TINYFED_STORE_IMAGE) {
        if (content->byte_count > app->config.arena_bytes) return TINYFED_E_MEMORY;
        memcpy(app->config.arena, content->bytes, content->byte_count);
        return app_open_image(app, content->byte_count, &detail);
    }
    if (app->config.model == NULL) return TINYFED_E_STATE;
    const tinyfed_status_t status = open_embedded(app, app->config.model, app->config.model_bytes);
    if (status != TINYFED_OK) return status;
    if (content->byte_count != app_parameter_bytes(app)) return TINYFED_E_SHAPE;
    memcpy(app_parameters(app), content->bytes, content->byte_count);
    return app_accept_weights(app, &detail);
}

static tinyfed_status_t open_saved(tinyfed_app_t *app)
{
    tinyfed_store_content_t content;
    if (!tinyfed_store_content(&app->store, &content)) return TINYFED_E_STATE;
    const tinyfed_status_t status = open_content(app, &content);
    if (status != TINYFED_OK || content.shared_count == 0u) return status;
    const uint32_t all = app->model.parameter_count;
    if (content.shared_first > all || content.shared_count > all - content.shared_first) return TINYFED_E_SHAPE;
    app_keep_local(app, content.shared_first, content.shared_count);
    return TINYFED_OK;
}

void app_open_first(tinyfed_app_t *app)
{
    tinyfed_store_open(&app->store, app->config.flash, app->config.model_hash);
    while (app->store.newest >= 0) {
        if (open_saved(app) == TINYFED_OK) return;
        app_drop_model(app);
        tinyfed_store_skip(&app->store);
    }
    if (app->config.model != NULL && open_embedded(app, app->config.model, app->config.model_bytes) != TINYFED_OK)
        app_drop_model(app);
}
