/* What the device says: the answers to events, and the choice of the next frame. */
#include "tinyfed_bytes.h"
#include "tinyfed_checksum.h"
#include "wire_link.h"

#include <string.h>

/* ---- answers to events --------------------------------------------------------------------------- */

void tinyfed_link_hello(tinyfed_link_t *link, const tinyfed_link_info_t *info)
{
    link->info = *info;
    link->pending |= SEND_HELLO;
}

void tinyfed_link_transfer_refuse(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail)
{
    SET_STATE(link->transfer, TRANSFER_REFUSED, status, detail);
    link->transfer.next = 0;
    link->transfer.gap = false;
    link->pending |= SEND_TRANSFER_STATUS;
}

tinyfed_wire_status_t tinyfed_link_transfer_accept(tinyfed_link_t *link, uint8_t *destination,
                                                   uint32_t destination_bytes, uint8_t *staging, uint32_t staging_bytes)
{
    const bool plain = link->transfer.encoding == TINYFED_WIRE_PLAIN;
    const uint8_t format = link->transfer.encoding & 0x7Fu;
    const uint32_t needed = plain ? link->transfer.total_bytes : 0;
    tinyfed_wire_status_t status = TINYFED_OK;
    uint32_t detail = 0;
    if (link->transfer.total_bytes == 0 || link->transfer.total_bytes > TINYFED_WIRE_TRANSFER_BYTES_MAX ||
        format > TINYFED_WIRE_INT8) {
        status = TINYFED_E_ARGUMENT;
    } else if (needed > destination_bytes) {
        status = TINYFED_E_MEMORY;
        detail = needed - destination_bytes;
    } else if (!plain && (staging == NULL || staging_bytes < link->config.chunk_bytes_max)) {
        status = TINYFED_E_MEMORY;
        detail = link->config.chunk_bytes_max - (staging == NULL ? 0u : staging_bytes);
    }
    if (status != TINYFED_OK) {
        tinyfed_link_transfer_refuse(link, status, detail);
        return status;
    }
    if (!plain) {
        /* the caller promised alignment; through void * because the compiler cannot know */
        tinyfed_wire_expander_init(&link->transfer.expander, link->transfer.encoding, (void *)destination,
                                   destination_bytes / 4u);
    }
    link->transfer.destination = destination;
    link->transfer.destination_bytes = destination_bytes;
    link->transfer.staging = staging;
    SET_STATE(link->transfer, TRANSFER_RECEIVING, TINYFED_OK, 0);
    link->transfer.next = 0;
    link->transfer.hash = TINYFED_HASH_START;
    if (link->transfer.kind != TINYFED_WIRE_INPUT) link->broken = true;
    tinyfed_link_transfer_flows(link, link->byte_ms);
    return TINYFED_OK;
}

void tinyfed_link_transfer_end(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail)
{
    SET_STATE(link->transfer, TRANSFER_ENDED, status < 0 ? status : TINYFED_WIRE_COMPLETE, detail);
    if (status >= 0 && link->transfer.kind != TINYFED_WIRE_INPUT) link->broken = false;
    link->pending |= SEND_TRANSFER_STATUS;
}

void tinyfed_link_transfer_forget(tinyfed_link_t *link)
{
    if (link->transfer.state == TRANSFER_ENDED || link->transfer.kind == TINYFED_WIRE_INPUT)
        link->transfer.state = TRANSFER_NONE;
}

void tinyfed_link_visit_begin(tinyfed_link_t *link)
{
    tinyfed_link_transfer_forget(link);
    link->upload.state = UPLOAD_NONE;
    link->visit.state = VISIT_RUNNING;
    link->visit.steps = 0;
    link->visit.status = TINYFED_OK;
    link->pending |= SEND_VISIT_STATUS;
}

void tinyfed_link_visit_refuse(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail)
{
    SET_STATE(link->visit, VISIT_REFUSED, status, detail);
    link->pending |= SEND_VISIT_STATUS;
}

void tinyfed_link_visit_progress(tinyfed_link_t *link, uint32_t done, uint32_t total)
{
    link->visit.done = done;
    link->visit.total = total;
    link->visit.steps++;
}

void tinyfed_link_visit_end(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail, const uint8_t *result,
                            uint32_t result_bytes, uint64_t answer_hash)
{
    SET_STATE(link->visit, VISIT_ENDED, status, detail);
    link->visit.result = result;
    link->visit.answer_hash = answer_hash;
    link->visit.result_bytes =
        result_bytes < TINYFED_WIRE_RESULT_BYTES_MAX ? result_bytes : TINYFED_WIRE_RESULT_BYTES_MAX;
    link->visit.received = status != TINYFED_OK || link->cancelling;
    link->pending &= (uint16_t) ~(uint16_t)SEND_VISIT_STATUS;
    if (link->cancelling) link->pending |= SEND_CANCELLED;
    else link->pending |= status == TINYFED_OK ? SEND_RESULT : SEND_VISIT_STATUS;
    link->cancelling = false;
}

void tinyfed_link_save_begin(tinyfed_link_t *link, uint16_t quiet_ms)
{
    SET_STATE(link->save, SAVE_RUNNING, TINYFED_OK, 0);
    link->save.quiet_ms = quiet_ms;
    link->save.done = 0;
    link->save.total = 0;
    link->pending |= SEND_SAVE_STATUS;
}

static void end_save(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail)
{
    SET_STATE(link->save, SAVE_OVER, status, detail);
    link->save.quiet_ms = 0;
    link->pending |= SEND_SAVE_STATUS;
}

void tinyfed_link_save_refuse(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail)
{
    link->save.done = 0;
    link->save.total = 0;
    end_save(link, status, detail);
}

void tinyfed_link_save_progress(tinyfed_link_t *link, uint32_t done, uint32_t total)
{
    link->save.done = done;
    link->save.total = total;
}

void tinyfed_link_save_end(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail)
{
    end_save(link, status < 0 ? status : TINYFED_WIRE_COMPLETE, detail);
    if (link->cancelling) link->pending |= SEND_CANCELLED;
    link->cancelling = false;
}

bool tinyfed_link_said_all(const tinyfed_link_t *link) { return link->out.stage == 0 && link->pending == 0; }

void tinyfed_link_recording(tinyfed_link_t *link, const tinyfed_link_record_t *record)
{
    link->record = record;
    link->pending |= SEND_RECORD_STATUS;
}

void tinyfed_link_upload_accept(tinyfed_link_t *link, const uint8_t *source, uint32_t byte_count)
{
    if (link->upload.offset > byte_count || byte_count > TINYFED_WIRE_TRANSFER_BYTES_MAX) {
        tinyfed_link_upload_refuse(link, TINYFED_E_ARGUMENT, 0);
        return;
    }
    SET_STATE(link->upload, UPLOAD_SENDING, TINYFED_OK, 0);
    link->upload.source = source;
    link->upload.total_bytes = byte_count;
    link->upload.acked = link->upload.offset;
    link->upload.sent = link->upload.offset;
    link->upload.hashed = 0;
    link->upload.hash = TINYFED_HASH_START;
    link->pending |= SEND_UPLOAD_STATUS;
}

void tinyfed_link_upload_refuse(tinyfed_link_t *link, tinyfed_wire_status_t status, uint32_t detail)
{
    SET_STATE(link->upload, UPLOAD_REFUSED, status, detail);
    link->upload.total_bytes = 0;
    link->pending |= SEND_UPLOAD_STATUS;
}

/* ---- frames -------------------------------------------------------------------------------------- */

static uint8_t *begin(tinyfed_link_t *link, uint8_t type, uint16_t sequence, uint32_t payload_bytes)
{
    uint8_t *h = link->out.head;
    h[0] = TINYFED_WIRE_VERSION;
    h[1] = type;
    tinyfed_put32(h + 2, link->session);
    tinyfed_put16(h + 6, sequence);
    memset(h + TINYFED_WIRE_HEADER_BYTES, 0, payload_bytes);
    link->out.head_bytes = TINYFED_WIRE_HEADER_BYTES + payload_bytes;
    link->out.body = NULL;
    link->out.body_bytes = 0;
    return h + TINYFED_WIRE_HEADER_BYTES;
}

static uint8_t hello_state(const tinyfed_link_t *link)
{
    if (link->visit.state == VISIT_RUNNING) return 2;
    if (link->save.state == SAVE_RUNNING) return 4;
    if (link->broken) return 1;
    return link->visit.state == VISIT_ENDED && !link->visit.received ? 3 : 0;
}

static void make_hello(tinyfed_link_t *link)
{
    const tinyfed_link_info_t *info = &link->info;
    uint8_t name_bytes = 0;
    while (name_bytes < TINYFED_WIRE_BOARD_BYTES_MAX && info->board[name_bytes] != 0) name_bytes++;
    /* The last byte came later: without it a HELLO is what it always was. */
    const uint32_t cause_bytes = info->reset_cause != 0 ? 1u : 0u;
    /* together as long as a header and a payload of its own */
    (void)begin(link, HELLO, 0, 68u + name_bytes + cause_bytes);
    uint8_t *p = link->out.head + TINYFED_WIRE_GREETING_BYTES;
    tinyfed_put32(link->out.head + 2, link->hello_tag);
    tinyfed_put32(p, link->boot);
    tinyfed_put64(p + 4, link->hello_nonce);
    tinyfed_put32(p + 12, link->hello_nonce != 0 ? link->session : 0u);
    memcpy(p + 16, info->unique_id, TINYFED_WIRE_UNIQUE_ID_BYTES);
    tinyfed_put64(p + 28, info->firmware_build);
    tinyfed_put32(p + 36, info->arena_bytes);
    tinyfed_put32(p + 40, info->capabilities);
    tinyfed_put32(p + 44, info->feature_count);
    tinyfed_put16(p + 48, info->class_count);
    tinyfed_put16(p + 50, link->config.chunk_bytes_max);
    tinyfed_put64(p + 52, info->structure_hash);
    tinyfed_put64(p + 60, link->broken ? 0 : info->weights_hash);
    p[68] = hello_state(link);
    p[69] = name_bytes;
    memcpy(p + 70, info->board, name_bytes);
    if (cause_bytes > 0u) p[70 + name_bytes] = info->reset_cause;
}

static void make_transfer_status(tinyfed_link_t *link)
{
    uint8_t *p = begin(link, TRANSFER_STATUS, link->transfer.sequence, 12);
    tinyfed_put32(p, link->transfer.next);
    tinyfed_put32(p + 4, link->transfer.detail);
    p[8] = (uint8_t)link->transfer.status;
    p[9] = link->transfer.gap ? FLAG_GAP : 0;
    p[10] = link->transfer.round;
    link->transfer.gap = false;
}

static void make_visit_status(tinyfed_link_t *link, uint32_t now_ms)
{
    uint8_t *p = begin(link, VISIT_STATUS, link->visit.sequence, 24);
    tinyfed_put32(p, link->visit.number);
    tinyfed_put32(p + 4, link->visit.done);
    tinyfed_put32(p + 8, link->visit.total);
    tinyfed_put32(p + 12, link->visit.detail);
    tinyfed_put32(p + 16, link->visit.steps);
    p[20] = (uint8_t)link->visit.status;
    link->visit.sent_ms = now_ms;
}

static void make_result(tinyfed_link_t *link, uint32_t now_ms)
{
    uint8_t *p = begin(link, RESULT, link->visit.sequence, 12);
    tinyfed_put32(p, link->visit.number);
    tinyfed_put64(p + 4, link->visit.answer_hash);
    link->out.body = link->visit.result;
    link->out.body_bytes = link->visit.result_bytes;
    link->visit.sent_ms = now_ms;
}

static void hash_upload(tinyfed_link_t *link, uint32_t to)
{
    if (to <= link->upload.hashed) return;
    link->upload.hash =
        tinyfed_hash64(link->upload.hash, link->upload.source + link->upload.hashed, to - link->upload.hashed);
    link->upload.hashed = to;
}

static void make_upload_status(tinyfed_link_t *link)
{
    const bool complete = link->upload.state == UPLOAD_SENDING && link->upload.acked == link->upload.total_bytes;
    uint8_t *p = begin(link, UPLOAD_STATUS, link->upload.sequence, 20);
    if (complete) hash_upload(link, link->upload.total_bytes);
    tinyfed_put32(p, link->upload.total_bytes);
    tinyfed_put64(p + 4, complete ? link->upload.hash : 0);
    tinyfed_put32(p + 12, link->upload.detail);
    p[16] = (uint8_t)(complete ? TINYFED_WIRE_COMPLETE : link->upload.status);
}

static uint32_t upload_chunk_bytes(const tinyfed_link_t *link)
{
    const uint32_t asked = link->upload.chunk_bytes;
    if (asked > link->config.chunk_bytes_max) return link->config.chunk_bytes_max;
    return asked < CHUNK_BYTES_MIN ? CHUNK_BYTES_MIN : asked;
}

static bool upload_may_send(const tinyfed_link_t *link)
{
    return link->upload.state == UPLOAD_SENDING && link->upload.sent < link->upload.total_bytes &&
           link->upload.sent - link->upload.acked < link->upload.window_chunks * upload_chunk_bytes(link);
}

static void make_chunk(tinyfed_link_t *link, uint32_t now_ms)
{
    const uint32_t left = link->upload.total_bytes - link->upload.sent;
    const uint32_t most = upload_chunk_bytes(link);
    const uint32_t bytes = left < most ? left : most;
    tinyfed_put32(begin(link, CHUNK_UP, link->upload.sequence, CHUNK_HEAD_BYTES),
                  link->upload.sent | ((uint32_t)link->upload.round << 24));
    link->out.body = link->upload.source + link->upload.sent;
    link->out.body_bytes = bytes;
    link->upload.sent += bytes;
    hash_upload(link, link->upload.sent);
    link->upload.sent_ms = now_ms;
}

static void make_save_status(tinyfed_link_t *link, uint32_t now_ms)
{
    uint8_t *p = begin(link, SAVE_STATUS, link->save.sequence, 16);
    tinyfed_put32(p, link->save.done);
    tinyfed_put32(p + 4, link->save.total);
    tinyfed_put32(p + 8, link->save.detail);
    p[12] = (uint8_t)link->save.status;
    tinyfed_put16(p + 14, link->save.quiet_ms);
    link->save.sent_ms = now_ms;
}

static void make_record_status(tinyfed_link_t *link)
{
    const tinyfed_link_record_t *record = link->record;
    const uint32_t classes = record->class_count;
    uint8_t *p = begin(link, RECORD_STATUS, link->record_sequence, 24u + 2u * classes);
    uint32_t before = 0;
    tinyfed_put32(p, record->recording);
    tinyfed_put16(p + 4, record->label);
    p[6] = record->running;
    p[7] = (uint8_t)record->status;
    tinyfed_put32(p + 8, record->windows);
    tinyfed_put32(p + 12, record->capacity);
    tinyfed_put32(p + 16, record->detail);
    tinyfed_put16(p + 20, (uint16_t)classes);
    for (uint32_t i = 0; i < classes; i++) {
        const uint32_t end = tinyfed_get32(record->ends + 4u * i);
        tinyfed_put16(p + 24u + 2u * i, (uint16_t)(end - before));
        before = end;
    }
}

static uint32_t since(uint32_t then_ms, uint32_t now_ms) { return now_ms - then_ms; }

static bool host_here(const tinyfed_link_t *link, uint32_t now_ms)
{
    return link->session != 0 && since(link->heard_ms, now_ms) < link->config.watchdog_ms;
}

/* What is due because time has passed. */
static void run_timers(tinyfed_link_t *link, uint32_t now_ms)
{
    if (!host_here(link, now_ms)) return;
    if (link->transfer.state == TRANSFER_RECEIVING && since(link->byte_ms, now_ms) >= POKE_MS &&
        since(link->transfer.poke_ms, now_ms) >= link->transfer.poke_interval_ms) {
        link->transfer.poke_ms = now_ms;
        link->transfer.poke_interval_ms = link->transfer.poke_interval_ms >= POKE_MAX_MS / 2u
                                              ? POKE_MAX_MS
                                              : (uint16_t)(link->transfer.poke_interval_ms * 2u);
        link->transfer.gap = true;
        link->pending |= SEND_TRANSFER_STATUS;
    }
    if (link->visit.state == VISIT_RUNNING && since(link->visit.sent_ms, now_ms) >= HEARTBEAT_MS)
        link->pending |= SEND_VISIT_STATUS;
    if (link->save.state == SAVE_RUNNING && since(link->save.sent_ms, now_ms) >= HEARTBEAT_MS)
        link->pending |= SEND_SAVE_STATUS;
    if (link->visit.state == VISIT_ENDED && !link->visit.received &&
        since(link->visit.sent_ms, now_ms) >= RESULT_REPEAT_MS)
        link->pending |= SEND_RESULT;
    if (link->upload.state == UPLOAD_SENDING && link->upload.sent > link->upload.acked &&
        since(link->upload.sent_ms, now_ms) >= UPLOAD_RETRY_MS) {
        link->upload.sent = link->upload.acked;
        link->upload.round++;
        link->upload.sent_ms = now_ms;
    }
}

static bool take(tinyfed_link_t *link, uint16_t message)
{
    if ((link->pending & message) == 0) return false;
    link->pending &= (uint16_t)~message;
    return true;
}

/* Choose the next frame; false when there is nothing to say. */
static bool make_frame(tinyfed_link_t *link, uint32_t now_ms)
{
    run_timers(link, now_ms);
    if (take(link, SEND_ERROR)) {
        uint8_t *p = begin(link, ERROR, link->error.sequence, 8);
        tinyfed_put32(link->out.head + 2, link->error.session);
        p[4] = (uint8_t)link->error.code;
        p[5] = link->error.type;
    } else if (take(link, SEND_HELLO)) {
        make_hello(link);
    } else if (take(link, SEND_CANCELLED)) {
        (void)begin(link, CANCELLED, link->cancel_sequence, 0);
    } else if (take(link, SEND_TRANSFER_STATUS)) {
        make_transfer_status(link);
    } else if (take(link, SEND_VISIT_STATUS)) {
        make_visit_status(link, now_ms);
    } else if (take(link, SEND_RESULT)) {
        make_result(link, now_ms);
    } else if (take(link, SEND_UPLOAD_STATUS)) {
        make_upload_status(link);
    } else if (take(link, SEND_SAVE_STATUS)) {
        make_save_status(link, now_ms);
    } else if (take(link, SEND_RECORD_STATUS)) {
        make_record_status(link);
    } else if (upload_may_send(link)) {
        make_chunk(link, now_ms);
    } else {
        return false;
    }
    tinyfed_wire_encoder_begin(&link->out);
    return true;
}

size_t tinyfed_link_transmit(tinyfed_link_t *link, uint8_t *bytes, size_t capacity, uint32_t now_ms)
{
    size_t made = 0;
    while (made < capacity) {
        if (link->out.stage == 0 && !make_frame(link, now_ms)) break;
        made += tinyfed_wire_encode(&link->out, bytes + made, capacity - made);
    }
    return made;
}

static uint32_t left_of(uint32_t since_ms, uint32_t interval_ms)
{
    return since_ms >= interval_ms ? 0 : interval_ms - since_ms;
}

static uint32_t sooner(uint32_t idle_ms, uint32_t since_ms, uint32_t interval_ms)
{
    const uint32_t left = left_of(since_ms, interval_ms);
    return left < idle_ms ? left : idle_ms;
}

uint32_t tinyfed_link_idle_ms(const tinyfed_link_t *link, uint32_t now_ms)
{
    uint32_t idle = 1000;
    if (link->event != 0 || link->out.stage != 0 || link->pending != 0 || upload_may_send(link)) return 0;
    if (!host_here(link, now_ms)) return idle;
    if (link->transfer.state == TRANSFER_RECEIVING) {
        const uint32_t quiet = left_of(since(link->byte_ms, now_ms), POKE_MS);
        const uint32_t poke = left_of(since(link->transfer.poke_ms, now_ms), link->transfer.poke_interval_ms);
        const uint32_t later = quiet > poke ? quiet : poke;
        if (later < idle) idle = later;
    }
    if (link->save.state == SAVE_RUNNING) idle = sooner(idle, since(link->save.sent_ms, now_ms), HEARTBEAT_MS);
    if (link->visit.state == VISIT_RUNNING) idle = sooner(idle, since(link->visit.sent_ms, now_ms), HEARTBEAT_MS);
    if (link->visit.state == VISIT_ENDED && !link->visit.received)
        idle = sooner(idle, since(link->visit.sent_ms, now_ms), RESULT_REPEAT_MS);
    if (link->upload.state == UPLOAD_SENDING && link->upload.sent > link->upload.acked)
        idle = sooner(idle, since(link->upload.sent_ms, now_ms), UPLOAD_RETRY_MS);
    return idle;
}
