#include "tinyfed_app.h"
#include "app_record.h"
#include "tinyfed_bytes.h"

#include <string.h>

/* The largest chunk: as large as the wire allows, so that headers are a small share of the line. */
#define CHUNK_BYTES 1024u

/* What was said has left a line of 115200 baud after so long. */
#define LEAVE_MS 20u

/* So far a clock may go back, as some do for a moment where a counter wraps: time stands still meanwhile. */
#define BACK_US 1000000u

/* Of a model image: where its CRC-32 stands, and what is behind it (docs/model-image.md). */
#define IMAGE_CRC_AT 12u
#define IMAGE_CRC_FROM 16u

/* ---- time ---------------------------------------------------------------------------------------- */

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

/* ---- model --------------------------------------------------------------------------------------- */

static float *parameters(const tinyfed_app_t *app)
{
    return (float *)(void *)(app->config.arena + app->parameters_at);
}

/* Where the engine's work area begins, and what it and what is before it need. */
static uint32_t work_at(const tinyfed_app_t *app) { return tinyfed_align_up(app->held_bytes); }
static uint64_t arena_needed(const tinyfed_app_t *app) { return (uint64_t)work_at(app) + app->plan.work_bytes; }

static uint32_t parameter_bytes(const tinyfed_app_t *app) { return app->model.parameter_count * (uint32_t)sizeof(float); }

static void drop_weights(tinyfed_app_t *app)
{
    app->has_weights = false;
    app->has_update = false;
    app->has_output = false;
    app->keeps_local = false;
    app->weights_hash = 0;
}

static void drop_model(tinyfed_app_t *app)
{
    drop_weights(app);
    app->has_model = false;
    app->structure_hash = 0;
}

/* NaN and infinity have all bits of the exponent set. *detail is the byte offset of the first among the weights. */
static tinyfed_status_t check_weights(const tinyfed_app_t *app, uint32_t *detail)
{
    const uint8_t *bytes = app->config.arena + app->parameters_at;
    const uint32_t byte_count = parameter_bytes(app);
    for (uint32_t i = 0; i < byte_count; i += 4u) {
        if ((bytes[i + 3u] & 0x7Fu) == 0x7Fu && (bytes[i + 2u] & 0x80u) == 0x80u) {
            *detail = i;
            return TINYFED_E_NUMERIC;
        }
    }
    return TINYFED_OK;
}

static tinyfed_status_t accept_weights(tinyfed_app_t *app, uint32_t *detail)
{
    const tinyfed_status_t status = check_weights(app, detail);
    if (status != TINYFED_OK) return status;
    app->weights_hash = tinyfed_weights_hash(parameters(app), app->model.parameter_count);
    app->has_weights = true;
    return TINYFED_OK;
}

/* The model is open and its parameters lie in the arena. *detail: as of open_image. */
static tinyfed_status_t accept_model(tinyfed_app_t *app, uint32_t *detail)
{
    tinyfed_status_t status = tinyfed_plan(&app->plan, &app->model, TINYFED_MODE_ONLINE);
    if (status != TINYFED_OK) return status;
    if (arena_needed(app) > app->config.arena_bytes) {
        *detail = (uint32_t)(arena_needed(app) - app->config.arena_bytes);
        return TINYFED_E_MEMORY;
    }
    status = accept_weights(app, detail);
    if (status != TINYFED_OK) return status;
    app->structure_hash = tinyfed_model_structure_hash(&app->model);
    app->has_model = true;
    return TINYFED_OK;
}

/* The image lies at the arena's start. *detail: the offset of what is wrong; for E_MEMORY the bytes that are short. */
static tinyfed_status_t open_image(tinyfed_app_t *app, uint32_t image_bytes, uint32_t *detail)
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
    app->held_bytes = in_flash ? parameter_bytes(app) : image_bytes;
    if (app->held_bytes > app->config.arena_bytes) return TINYFED_E_MEMORY;
    memcpy(app->config.arena, in_flash ? image + app->model.parameters_offset : image, app->held_bytes);
    if (!in_flash) return open_image(app, image_bytes, &detail);
    app->parameters_at = 0;
    return accept_model(app, &detail);
}

/* What was saved: an image that is copied to the arena, or what was learnt of the one that the firmware carries. */
static tinyfed_status_t open_saved(tinyfed_app_t *app)
{
    uint8_t kind;
    uint32_t byte_count, detail = 0;
    const uint8_t *content = tinyfed_store_content(&app->store, &kind, &byte_count);
    if (content == NULL) return TINYFED_E_STATE;
    if (kind == TINYFED_STORE_IMAGE) {
        if (byte_count > app->config.arena_bytes) return TINYFED_E_MEMORY;
        memcpy(app->config.arena, content, byte_count);
        return open_image(app, byte_count, &detail);
    }
    if (app->config.model == NULL) return TINYFED_E_STATE;
    const tinyfed_status_t status = open_embedded(app, app->config.model, app->config.model_bytes);
    if (status != TINYFED_OK) return status;
    if (byte_count != parameter_bytes(app)) return TINYFED_E_SHAPE;
    memcpy(parameters(app), content, byte_count);
    return accept_weights(app, &detail);
}

static void open_first(tinyfed_app_t *app)
{
    tinyfed_store_open(&app->store, app->config.flash, app->config.model_hash);
    while (app->store.newest >= 0) {
        if (open_saved(app) == TINYFED_OK) return;
        drop_model(app);
        tinyfed_store_skip(&app->store);
    }
    if (app->config.model != NULL && open_embedded(app, app->config.model, app->config.model_bytes) != TINYFED_OK) drop_model(app);
}

/* ---- hello and transfers --------------------------------------------------------------------------- */

static void answer_hello(tinyfed_app_t *app)
{
    tinyfed_link_info_t info = {
        .board = app->config.board,
        .firmware_build = app->config.firmware_build,
        .arena_bytes = app->config.arena_bytes,
        .capabilities = TINYFED_CAPABILITY_TRAIN | TINYFED_CAPABILITY_SINE | TINYFED_CAPABILITY_RESET
            | TINYFED_CAPABILITY_FLOAT16 | TINYFED_CAPABILITY_INT8 | TINYFED_CAPABILITY_DELTA
            | TINYFED_CAPABILITY_SPARSE | TINYFED_CAPABILITY_PARTIAL | TINYFED_CAPABILITY_ANSWERS
            | TINYFED_CAPABILITY_INFER,
        .structure_hash = app->structure_hash,
        .weights_hash = app->weights_hash,
    };
#ifdef TINYFED_SENSOR
    if (app_record_possible(app)) info.capabilities |= TINYFED_CAPABILITY_SENSOR;
#endif
#if defined(TINYFED_INT8)
    info.capabilities |= TINYFED_CAPABILITY_FROZEN;
#endif
    memcpy(info.unique_id, app->config.unique_id, sizeof info.unique_id);
    if (app->config.flash != NULL && app->config.flash->erase != NULL) info.capabilities |= TINYFED_CAPABILITY_SAVE;
    if (app->has_shard) {
        info.capabilities |= TINYFED_CAPABILITY_SHARD;
        info.feature_count = app->shard.feature_count;
        info.class_count = (uint16_t)app->shard.class_count;
    }
    tinyfed_link_hello(&app->link, &info);
}

static void begin_image(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    if (event->encoding != TINYFED_WIRE_PLAIN) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_ARGUMENT, 0);
    } else if (event->total_bytes > app->config.arena_bytes) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_MEMORY, event->total_bytes - app->config.arena_bytes);
    } else {
        drop_model(app);
        (void)tinyfed_link_transfer_accept(&app->link, app->config.arena, app->config.arena_bytes, NULL, 0);
    }
}

static void begin_weights(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    const bool plain = event->encoding == TINYFED_WIRE_PLAIN, part = event->value_count != 0;
    const uint32_t all = app->has_model ? app->model.parameter_count : 0u;
    const uint32_t first = part ? event->first_value : 0u, count = part ? event->value_count : all;
    if (!app->has_model) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_STATE, 0);
    } else if (event->structure_hash != app->structure_hash) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_SHAPE, 0);
    } else if (first > all || count > all - first || (plain && event->total_bytes != 4u * count)) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_SHAPE, parameter_bytes(app));
    } else if (part && (event->encoding & TINYFED_WIRE_DELTA) != 0) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_ARGUMENT, 0);
    } else if ((event->encoding & TINYFED_WIRE_DELTA) != 0 && (!app->has_weights || event->base_hash != app->weights_hash)) {
        tinyfed_link_transfer_refuse(&app->link, TINYFED_E_STATE, 0);
    } else {
        drop_weights(app);
        /* The engine's work area lies idle between visits: room for chunks of encoded weights. */
        const uint32_t work = work_at(app);
        float *values = parameters(app);
        memset(values, 0, first * sizeof *values); /* what is not sent is 0: both ends know what is held */
        memset(values + first + count, 0, (all - first - count) * sizeof *values);
        (void)tinyfed_link_transfer_accept(&app->link, (uint8_t *)(values + first), 4u * count, plain ? NULL : app->config.arena + work,
                                           plain ? 0u : app->config.arena_bytes - work);
    }
}

/* ---- inference ------------------------------------------------------------------------------------- */

/* Where an input comes and what the model makes of it is fetched: behind the model and the work area of inference, so
 * that weights stay whole. *detail: the bytes that are short. */
static tinyfed_status_t place_of_input(const tinyfed_app_t *app, tinyfed_plan_t *plan, uint8_t **place, uint32_t *detail)
{
    const tinyfed_status_t status = tinyfed_plan(plan, &app->model, TINYFED_MODE_INFER);
    if (status != TINYFED_OK) return status;
    const uint32_t inputs = app->model.input_count, outputs = app->model.output_count;
    const uint64_t at = (uint64_t)work_at(app) + plan->work_bytes;
    const uint64_t end = at + (uint64_t)(inputs > outputs ? inputs : outputs) * sizeof(float);
    *place = app->config.arena + (end <= app->config.arena_bytes ? at : 0u);
    if (end <= app->config.arena_bytes) return TINYFED_OK;
    *detail = (uint32_t)(end - app->config.arena_bytes);
    return TINYFED_E_MEMORY;
}

static void begin_input(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    tinyfed_plan_t plan;
    uint8_t *place = NULL;
    uint32_t detail = 0;
    /* Local layers stay: outputs would give them away. */
    tinyfed_status_t status = app->has_weights && !app->keeps_local ? TINYFED_OK : TINYFED_E_STATE;
    if (status == TINYFED_OK && event->encoding != TINYFED_WIRE_PLAIN) status = TINYFED_E_ARGUMENT;
    if (status == TINYFED_OK) {
        detail = app->model.input_count * (uint32_t)sizeof(float);
        if (event->structure_hash != app->structure_hash || event->total_bytes != detail) status = TINYFED_E_SHAPE;
        else status = place_of_input(app, &plan, &place, &detail);
    }
    app->has_update = false; /* it lies there too */
    app->has_output = false;
    if (status != TINYFED_OK) tinyfed_link_transfer_refuse(&app->link, (tinyfed_wire_status_t)status, detail);
    else (void)tinyfed_link_transfer_accept(&app->link, place, event->total_bytes, NULL, 0);
}

/* One sample takes less than a step of learning: it is run at once. */
static tinyfed_status_t run_input(tinyfed_app_t *app, uint32_t *detail)
{
    tinyfed_plan_t plan;
    uint8_t *place;
    const float *output;
    tinyfed_status_t status = place_of_input(app, &plan, &place, detail);
    if (status != TINYFED_OK) return status;
    status = tinyfed_engine_open(&app->engine, &app->model, parameters(app), TINYFED_MODE_INFER,
                                 app->config.arena + work_at(app), plan.work_bytes);
    if (status == TINYFED_OK) status = tinyfed_infer(&app->engine, &output, (const float *)(const void *)place);
    if (status != TINYFED_OK) return status;
    memcpy(place, output, app->model.output_count * sizeof *output);
    app->has_output = true;
    return TINYFED_OK;
}

static void answer_output(tinyfed_app_t *app)
{
    tinyfed_plan_t plan;
    uint8_t *place;
    uint32_t detail = 0;
    if (!app->has_output || place_of_input(app, &plan, &place, &detail) != TINYFED_OK)
        tinyfed_link_upload_refuse(&app->link, TINYFED_E_STATE, 0);
    else tinyfed_link_upload_accept(&app->link, place, app->model.output_count * (uint32_t)sizeof(float));
}

/* ---- transfers and uploads ------------------------------------------------------------------------- */

static void complete_transfer(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    uint32_t detail = 0;
    tinyfed_status_t status;
    if (event->transfer_kind == TINYFED_WIRE_IMAGE) {
        status = open_image(app, event->total_bytes, &detail);
        if (status != TINYFED_OK) drop_model(app);
    } else if (event->transfer_kind == TINYFED_WIRE_INPUT) {
        status = run_input(app, &detail);
    } else {
        status = accept_weights(app, &detail);
    }
    tinyfed_link_transfer_end(&app->link, (tinyfed_wire_status_t)status, detail);
}

static void answer_upload(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    const uint8_t *update;
    uint32_t byte_count;
    if (app->visiting) {
        tinyfed_link_upload_refuse(&app->link, TINYFED_E_BUSY, 0);
    } else if (event->outputs) {
        answer_output(app);
    } else if (event->visit != 0 ? !app->has_update : !app->has_weights || app->keeps_local) {
        tinyfed_link_upload_refuse(&app->link, TINYFED_E_STATE, 0);
    } else if (event->visit != 0) {
        tinyfed_visit_update(&app->visit, &update, &byte_count);
        tinyfed_link_upload_accept(&app->link, update, byte_count);
    } else tinyfed_link_upload_accept(&app->link, (const uint8_t *)parameters(app), parameter_bytes(app));
}

/* ---- visits ---------------------------------------------------------------------------------------- */

/* Everything that can be wrong with an order, before a weight is touched. */
static tinyfed_status_t prepare_visit(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint32_t *detail)
{
    tinyfed_order_t order;
    uint32_t scratch_bytes;
    const tinyfed_shard_t *shard = app->has_shard ? &app->shard : NULL;
    *detail = 0;
    if (app->visiting) return TINYFED_E_BUSY;
#ifdef TINYFED_SENSOR
    if (app->record.running) return TINYFED_E_BUSY;
#endif
    if (!app->has_weights) return TINYFED_E_STATE;
    if (event->weights_hash != 0u && event->weights_hash != app->weights_hash) return TINYFED_E_CHECKSUM;
    tinyfed_status_t status = tinyfed_order_decode(&order, event->order, event->order_bytes);
    if (status != TINYFED_OK) return status;
    if (order.source == TINYFED_SOURCE_SHARD && shard == NULL) return TINYFED_E_SOURCE;
    status = tinyfed_visit_scratch_bytes(&scratch_bytes, &order, shard, &app->model);
    if (status != TINYFED_OK) return status;
    status = tinyfed_plan(&app->plan, &app->model, tinyfed_order_mode(&order));
    if (status != TINYFED_OK) return status;
    if (arena_needed(app) + scratch_bytes > app->config.arena_bytes) {
        *detail = (uint32_t)(arena_needed(app) + scratch_bytes - app->config.arena_bytes);
        return TINYFED_E_MEMORY;
    }
    status = tinyfed_engine_open(&app->engine, &app->model, parameters(app), app->plan.mode,
                                 app->config.arena + work_at(app), app->plan.work_bytes);
    if (status != TINYFED_OK) return status;
    app->visit_samples = (uint32_t)order.ways * order.shots * order.passes;
    status = tinyfed_visit_begin(&app->visit, &app->engine, &order, shard, app->config.arena + arena_needed(app),
                                 scratch_bytes);
    app->visit.result.arena_bytes = (uint32_t)arena_needed(app) + scratch_bytes;
    return status;
}

static void begin_visit(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    uint32_t detail;
    const tinyfed_status_t status = prepare_visit(app, event, &detail);
    if (status != TINYFED_OK) {
        tinyfed_link_visit_refuse(&app->link, (tinyfed_wire_status_t)status, detail);
        return;
    }
    app->visiting = true;
    app->train_us = 0;
    app->train_instructions = 0;
    drop_weights(app);
    tinyfed_link_visit_begin(&app->link);
    tinyfed_link_visit_progress(&app->link, 0, app->visit_samples);
}

/* Half-trained weights are never served: the host sends the weights again before the next order. */
static void abandon_visit(tinyfed_app_t *app, tinyfed_status_t status)
{
    app->visiting = false;
    tinyfed_link_visit_end(&app->link, (tinyfed_wire_status_t)status, 0, NULL, 0);
}

static void finish_visit(tinyfed_app_t *app)
{
    tinyfed_result_t result;
    uint32_t detail = 0;
    const tinyfed_status_t status = accept_weights(app, &detail);
    if (status != TINYFED_OK) {
        abandon_visit(app, status);
        return;
    }
    app->visiting = false;
    app->has_update = true;
    app->keeps_local = (app->visit.order.local_first | app->visit.order.local_last) != 0;
    tinyfed_visit_result(&app->visit, &result);
    result.train_us = app->train_us;
    result.train_instructions = app->train_instructions;
    result.stack_bytes = app->config.stack_bytes != NULL ? app->config.stack_bytes() : 0u;
    const uint32_t byte_count = tinyfed_result_encode(app->result, &result);
    tinyfed_link_visit_end(&app->link, TINYFED_OK, 0, app->result, byte_count);
}

static void step_visit(tinyfed_app_t *app)
{
    bool done = false;
    const uint32_t instructions = app->config.instructions != NULL ? app->config.instructions() : 0u;
    const uint32_t start_us = app->config.now_us != NULL ? app->config.now_us() : 0u;
    const tinyfed_status_t status = tinyfed_visit_step(&app->visit, &done);
    if (!app->visit.evaluated) {
        if (app->config.now_us != NULL) app->train_us += app->config.now_us() - start_us;
        if (app->config.instructions != NULL) app->train_instructions += app->config.instructions() - instructions;
        tinyfed_link_visit_progress(&app->link, app->visit.position, app->visit_samples);
    }
    if (status != TINYFED_OK) abandon_visit(app, status);
    else if (done) finish_visit(app);
}

/* ---- saving ---------------------------------------------------------------------------------------- */

/* Training has changed the weights: let the image's checksum be of what it is now. */
static void seal_image(const tinyfed_app_t *app)
{
    uint8_t *image = app->config.arena;
    uint32_t crc = tinyfed_crc32(0, image, IMAGE_CRC_AT);
    crc = tinyfed_crc32(crc, image + IMAGE_CRC_FROM, app->held_bytes - IMAGE_CRC_FROM);
    tinyfed_put32(image + IMAGE_CRC_AT, crc);
}

/* *same: it is what the newest slot holds, so nothing has to be written. */
static tinyfed_status_t prepare_save(tinyfed_app_t *app, const tinyfed_link_event_t *event, uint32_t *detail, bool *same)
{
    uint8_t kind;
    uint32_t byte_count;
    if (app->visiting || app->saving) return TINYFED_E_BUSY;
    if (app->config.flash == NULL || app->config.flash->erase == NULL) return TINYFED_E_SOURCE;
    if (event->save_action == TINYFED_WIRE_FORGET) return tinyfed_store_forget(&app->store);
    if (event->save_action != TINYFED_WIRE_SAVE) return TINYFED_E_ARGUMENT;
    if (!app->has_weights) return TINYFED_E_STATE;
    if (event->weights_hash != 0u && event->weights_hash != app->weights_hash) return TINYFED_E_CHECKSUM;
    const bool whole = app->model.image == app->config.arena;
    if (whole) seal_image(app);
    const uint8_t ours = whole ? TINYFED_STORE_IMAGE : TINYFED_STORE_PARAMETERS;
    const uint8_t *saved = tinyfed_store_content(&app->store, &kind, &byte_count);
    *same = saved != NULL && kind == ours && byte_count == app->held_bytes
        && memcmp(saved, app->config.arena, byte_count) == 0;
    return *same ? TINYFED_OK : tinyfed_store_begin(&app->store, ours, app->config.arena, app->held_bytes, detail);
}

static void begin_save(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    uint32_t detail = 0;
    bool same = false;
    const tinyfed_status_t status = prepare_save(app, event, &detail, &same);
    if (status != TINYFED_OK) {
        tinyfed_link_save_refuse(&app->link, (tinyfed_wire_status_t)status, detail);
        return;
    }
    tinyfed_link_save_begin(&app->link, app->config.flash->quiet_ms);
    app->saving = !same;
    app->save_ms = app->clock_ms;
    if (same) tinyfed_link_save_end(&app->link, TINYFED_OK, 0);
}

static void end_save(tinyfed_app_t *app, tinyfed_status_t status)
{
    app->saving = false;
    app->store.target = -1;
    tinyfed_link_save_end(&app->link, (tinyfed_wire_status_t)status, 0);
}

static void step_save(tinyfed_app_t *app)
{
    bool done;
    /* A processor that erases the flash it runs from hears and says nothing: the host is told first. */
    if (app->store.position == 0u && app->config.flash->quiet_ms > 0u
        && (!tinyfed_link_said_all(&app->link) || app->clock_ms - app->save_ms < LEAVE_MS))
        return;
    const tinyfed_status_t status = tinyfed_store_step(&app->store, &done);
    tinyfed_link_save_progress(&app->link, app->store.position, tinyfed_store_total(&app->store));
    if (status != TINYFED_OK || done) end_save(app, status);
}

/* ---- the caller's side ------------------------------------------------------------------------------- */

static void answer(tinyfed_app_t *app, const tinyfed_link_event_t *event)
{
    switch (event->kind) {
    case TINYFED_LINK_HELLO: answer_hello(app); break;
    case TINYFED_LINK_TRANSFER_BEGIN:
        if (app->visiting) tinyfed_link_transfer_refuse(&app->link, TINYFED_E_BUSY, 0);
        else if (event->transfer_kind == TINYFED_WIRE_IMAGE) begin_image(app, event);
        else if (event->transfer_kind == TINYFED_WIRE_INPUT) begin_input(app, event);
        else begin_weights(app, event);
        break;
    case TINYFED_LINK_TRANSFER_COMPLETE: complete_transfer(app, event); break;
    case TINYFED_LINK_ORDER: begin_visit(app, event); break;
    case TINYFED_LINK_UPLOAD: answer_upload(app, event); break;
    case TINYFED_LINK_CANCEL:
    case TINYFED_LINK_HOST_GONE:
        if (app->visiting) abandon_visit(app, TINYFED_E_CANCELLED);
        if (app->saving) end_save(app, TINYFED_E_CANCELLED);
#ifdef TINYFED_SENSOR
        if (app->record.running) app_record_stop(app, TINYFED_E_CANCELLED);
#endif
        break;
    case TINYFED_LINK_RESET: app->reset_wanted = true; break;
    case TINYFED_LINK_SAVE: begin_save(app, event); break;
#ifdef TINYFED_SENSOR
    case TINYFED_LINK_LABEL:
        app->has_output = false; /* samples may lie there from now on */
        app_record_answer(app, event, app->has_model ? arena_needed(app) : 0u);
        break;
#endif
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
    if (config->shard != NULL) app->has_shard = tinyfed_shard_open(&app->shard, config->shard, config->shard_bytes) == TINYFED_OK;
    open_first(app);
}

void tinyfed_app_receive(tinyfed_app_t *app, const uint8_t *bytes, size_t byte_count, uint32_t now_us)
{
    const uint32_t now_ms = to_ms(app, now_us);
    /* What came behind a request to restart is for the device after it: the host will ask again. */
    for (size_t used = 0; used < byte_count && !app->reset_wanted;) {
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
    if (app->visiting) step_visit(app);
    if (app->saving) step_save(app);
#ifdef TINYFED_SENSOR
    if (app->record.running) app_record_work(app);
#endif
}

uint32_t tinyfed_app_idle_ms(tinyfed_app_t *app, uint32_t now_us)
{
    const uint32_t idle_ms = app->visiting || app->saving ? 0u : tinyfed_link_idle_ms(&app->link, to_ms(app, now_us));
#ifdef TINYFED_SENSOR
    return app_record_idle_ms(app, idle_ms);
#else
    return idle_ms;
#endif
}

bool tinyfed_app_reset_wanted(const tinyfed_app_t *app) { return app->reset_wanted; }
