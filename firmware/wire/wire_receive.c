/* What the host says: decode, drop what is damaged, stale or not for this session, and act or raise an event. */
#include "tinyfed_bytes.h"
#include "tinyfed_checksum.h"
#include "wire_link.h"

#include <string.h>

void tinyfed_link_init(tinyfed_link_t *link, const tinyfed_link_config_t *config)
{
    memset(link, 0, sizeof *link);
    link->config = *config;
    if (link->config.watchdog_ms == 0) link->config.watchdog_ms = WATCHDOG_MS;
    if (link->config.chunk_bytes_max > TINYFED_WIRE_CHUNK_BYTES_MAX || link->config.chunk_bytes_max < 64u)
        link->config.chunk_bytes_max = TINYFED_WIRE_CHUNK_BYTES_MAX;
    tinyfed_wire_decoder_reset(&link->in);
}

static void refuse(tinyfed_link_t *link, tinyfed_wire_status_t code, uint16_t sequence)
{
    link->error.code = code;
    link->error.type = link->in.head[1];
    link->error.session = tinyfed_get32(link->in.head + 2);
    link->error.sequence = sequence;
    link->pending |= SEND_ERROR;
}

/* What was said in the sessions before means nothing any more. Requests count from 1 in each. */
static void open_session(tinyfed_link_t *link, uint64_t nonce)
{
    link->nonce = nonce;
    link->session = link->session == 0 ? link->boot : link->session + 1u;
    if (link->session == 0) link->session = 1;
    if (link->transfer.state == TRANSFER_RECEIVING) link->transfer.state = TRANSFER_SUSPENDED;
    link->upload.state = UPLOAD_NONE;
    link->sequence = 0;
    link->transfer.sequence = 0;
    link->visit.sequence = 0;
    link->save.sequence = 0;
    link->record_sequence = 0;
    link->cancel_sequence = 0;
}

static void on_hello(tinyfed_link_t *link, uint32_t payload_bytes, uint32_t now_ms)
{
    const uint8_t *h = link->in.head;
    const uint8_t *p = h + TINYFED_WIRE_GREETING_BYTES;
    const bool ours = h[0] == TINYFED_WIRE_VERSION;
    if (ours && (payload_bytes < 8u || tinyfed_get64(p) == 0)) return;
    link->hello_tag = tinyfed_get32(h + 2);
    link->hello_nonce = ours ? tinyfed_get64(p) : 0;
    if (link->boot == 0) { /* the time makes it another one when this greeting is an old one, said again */
        const uint64_t said = tinyfed_hash64(TINYFED_HASH_START, h, TINYFED_WIRE_GREETING_BYTES + (ours ? 8u : 0u));
        link->boot = (uint32_t)tinyfed_hash64(said, &now_ms, sizeof now_ms);
        if (link->boot == 0) link->boot = 1;
    }
    if (ours && link->hello_nonce != link->nonce) open_session(link, link->hello_nonce);
    link->event = TINYFED_LINK_HELLO;
}

/* A number that not every message of its type has; 0 there. */
static uint32_t appended32(const uint8_t *p, uint32_t offset, uint32_t payload_bytes)
{
    return payload_bytes >= offset + 4u ? tinyfed_get32(p + offset) : 0u;
}

/* True when something runs that leaves no room for the request; the host is told. */
static bool refuse_busy(tinyfed_link_t *link, uint16_t sequence)
{
    if (tinyfed_link_busy(link)) refuse(link, TINYFED_E_BUSY, sequence);
    return tinyfed_link_busy(link);
}

static bool same_transfer(const tinyfed_link_t *link, const uint8_t *p, uint32_t payload_bytes)
{
    return link->transfer.kind == p[0] && link->transfer.encoding == p[1] &&
           link->transfer.first_value == appended32(p, 32, payload_bytes) &&
           link->transfer.value_count == appended32(p, 36, payload_bytes) &&
           link->transfer.total_bytes == tinyfed_get32(p + 4) && link->transfer.content_hash == tinyfed_get64(p + 8) &&
           link->transfer.structure_hash == tinyfed_get64(p + 16) && link->transfer.base_hash == tinyfed_get64(p + 24);
}

static void on_transfer_begin(tinyfed_link_t *link, uint16_t sequence, const uint8_t *p, uint32_t payload_bytes)
{
    if (refuse_busy(link, sequence)) return;
    link->visit.received = true; /* a host that goes on has its result */
    if (same_transfer(link, p, payload_bytes)) {
        const uint8_t state = link->transfer.state;
        const bool repeated = link->transfer.sequence == sequence;
        const bool going_on = state == TRANSFER_RECEIVING || state == TRANSFER_SUSPENDED;
        const bool over = state == TRANSFER_ENDED || state == TRANSFER_REFUSED;
        if (going_on || (over && (link->transfer.status > 0 || repeated))) {
            if (going_on) link->transfer.state = TRANSFER_RECEIVING;
            link->transfer.sequence = sequence;
            link->transfer.round = p[2];
            link->transfer.gap_reported = false;
            link->pending |= SEND_TRANSFER_STATUS;
            return;
        }
    }
    link->upload.state = UPLOAD_NONE;
    link->transfer.state = TRANSFER_ASKED;
    link->transfer.sequence = sequence;
    link->transfer.kind = p[0];
    link->transfer.encoding = p[1];
    link->transfer.round = p[2];
    link->transfer.total_bytes = tinyfed_get32(p + 4);
    link->transfer.content_hash = tinyfed_get64(p + 8);
    link->transfer.structure_hash = tinyfed_get64(p + 16);
    link->transfer.base_hash = tinyfed_get64(p + 24);
    link->transfer.first_value = appended32(p, 32, payload_bytes);
    link->transfer.value_count = appended32(p, 36, payload_bytes);
    link->event = TINYFED_LINK_TRANSFER_BEGIN;
}

/* The decoder holds header and offset of what may be a chunk: let its payload go straight to its place, if it is
 * the chunk that is wanted next. The place is one that no accepted byte is in, so a damaged frame does no harm. */
static void aim(tinyfed_link_t *link)
{
    const uint8_t *h = link->in.head;
    if (h[0] != TINYFED_WIRE_VERSION || h[1] != CHUNK_DOWN || tinyfed_get32(h + 2) != link->session ||
        link->transfer.state != TRANSFER_RECEIVING || tinyfed_get16(h + 6) != link->transfer.sequence ||
        (tinyfed_get32(h + TINYFED_WIRE_HEADER_BYTES) & OFFSET_MASK) != link->transfer.next)
        return;
    const uint32_t left = link->transfer.total_bytes - link->transfer.next;
    const uint32_t most = link->config.chunk_bytes_max;
    link->in.sink_bytes = left < most ? left : most;
    link->in.sink = link->transfer.encoding == TINYFED_WIRE_PLAIN ? link->transfer.destination + link->transfer.next
                                                                  : link->transfer.staging;
}

static void report_gap(tinyfed_link_t *link)
{
    link->transfer.gap = true;
    link->transfer.gap_reported = true;
    link->pending |= SEND_TRANSFER_STATUS;
}

static void fail_transfer(tinyfed_link_t *link, tinyfed_wire_status_t status)
{
    SET_STATE(link->transfer, TRANSFER_ENDED, status, 0);
}

static void on_chunk(tinyfed_link_t *link, uint16_t sequence, uint32_t payload_bytes, uint32_t now_ms)
{
    if (sequence != link->transfer.sequence || payload_bytes <= CHUNK_HEAD_BYTES) return;
    if (link->transfer.state == TRANSFER_ENDED || link->transfer.state == TRANSFER_REFUSED) {
        link->pending |= SEND_TRANSFER_STATUS;
        return;
    }
    if (link->transfer.state != TRANSFER_RECEIVING) return;
    const uint32_t head = tinyfed_get32(link->in.head + TINYFED_WIRE_HEADER_BYTES);
    const uint8_t round = (uint8_t)(head >> 24);
    if ((int8_t)(uint8_t)(round - link->transfer.round) > 0) {
        link->transfer.round = round;
        link->transfer.gap_reported = false;
    }
    if (link->in.sink == NULL) {
        if ((head & OFFSET_MASK) < link->transfer.next)
            link->pending |= SEND_TRANSFER_STATUS; /* it has it: the acknowledgement was lost */
        else if (round == link->transfer.round && !link->transfer.gap_reported) report_gap(link);
        return;
    }
    const uint32_t bytes = payload_bytes - CHUNK_HEAD_BYTES;
    link->transfer.hash = tinyfed_hash64(link->transfer.hash, link->in.sink, bytes);
    link->transfer.next += bytes;
    tinyfed_link_transfer_flows(link, now_ms);
    tinyfed_wire_status_t status = TINYFED_OK;
    if (link->transfer.encoding != TINYFED_WIRE_PLAIN)
        status = tinyfed_wire_expand(&link->transfer.expander, link->in.sink, bytes);
    if (status != TINYFED_OK) {
        fail_transfer(link, status);
    } else if (link->transfer.next == link->transfer.total_bytes) {
        if (link->transfer.hash != link->transfer.content_hash) {
            fail_transfer(link, TINYFED_E_CHECKSUM);
        } else if (link->transfer.encoding != TINYFED_WIRE_PLAIN && !tinyfed_wire_expanded(&link->transfer.expander)) {
            fail_transfer(link, TINYFED_E_ARGUMENT);
        } else {
            link->transfer.state = TRANSFER_CHECKING;
            link->event = TINYFED_LINK_TRANSFER_COMPLETE;
        }
    }
}

static void on_order(tinyfed_link_t *link, uint16_t sequence, const uint8_t *p, uint32_t payload_bytes)
{
    const uint32_t number = tinyfed_get32(p);
    const uint64_t hash = tinyfed_hash64(TINYFED_HASH_START, p, payload_bytes);
    const uint8_t state = link->visit.state;
    if (state != VISIT_NONE && link->visit.number == number && link->visit.hash == hash &&
        (state != VISIT_REFUSED || link->visit.sequence == sequence)) {
        link->visit.sequence = sequence;
        if (state == VISIT_ENDED && link->visit.status == TINYFED_OK) {
            link->visit.received = false;
            link->pending |= SEND_RESULT;
        } else {
            link->pending |= SEND_VISIT_STATUS;
        }
        return;
    }
    if (refuse_busy(link, sequence)) return;
    link->visit.state = VISIT_ASKED;
    link->visit.sequence = sequence;
    link->visit.number = number;
    link->visit.hash = hash;
    link->visit.detail = 0;
    link->visit.done = 0;
    link->visit.total = 0;
    link->visit.received = true;
    link->pending &= (uint16_t) ~(uint16_t)(SEND_RESULT | SEND_VISIT_STATUS);
    if (link->broken) {
        tinyfed_link_visit_refuse(link, TINYFED_E_STATE, 0);
        return;
    }
    link->order_bytes = payload_bytes - 12u;
    link->event = TINYFED_LINK_ORDER;
}

static void on_upload_request(tinyfed_link_t *link, uint16_t sequence, const uint8_t *p)
{
    if (refuse_busy(link, sequence)) return;
    link->visit.received = true;
    if (link->upload.sequence == sequence && link->upload.state != UPLOAD_NONE) {
        link->pending |= SEND_UPLOAD_STATUS;
        return;
    }
    link->upload.state = UPLOAD_ASKED;
    link->upload.sequence = sequence;
    link->upload.offset = tinyfed_get32(p);
    link->upload.chunk_bytes = tinyfed_get16(p + 4);
    link->upload.window_chunks = p[6] > 0 ? p[6] : 1u;
    link->upload.round = p[7];
    link->upload.visit = tinyfed_get32(p + 8);
    link->upload.input_hash = tinyfed_get64(p + 12);
    const bool over = link->visit.state == VISIT_ENDED && link->visit.status == TINYFED_OK;
    const bool run = link->transfer.state == TRANSFER_ENDED && link->transfer.kind == TINYFED_WIRE_INPUT &&
                     link->transfer.status > 0;
    bool known = true;
    if (link->upload.visit != 0) known = over && link->upload.visit == link->visit.number;
    else if (link->upload.input_hash != 0) known = run && link->upload.input_hash == link->transfer.content_hash;
    if (link->broken || !known) tinyfed_link_upload_refuse(link, TINYFED_E_STATE, 0);
    else link->event = TINYFED_LINK_UPLOAD;
}

static void on_ack(tinyfed_link_t *link, uint16_t sequence, const uint8_t *p, uint32_t now_ms)
{
    const uint32_t next = tinyfed_get32(p);
    if (link->upload.state != UPLOAD_SENDING || sequence != link->upload.sequence || next < link->upload.acked ||
        next > link->upload.total_bytes)
        return;
    if (next > link->upload.acked) {
        link->upload.acked = next;
        if (link->upload.sent < next) link->upload.sent = next;
        link->upload.sent_ms = now_ms;
    }
    link->upload.chunk_bytes = tinyfed_get16(p + 4);
    if ((p[6] & FLAG_GAP) != 0 && p[7] == link->upload.round && link->upload.sent != next) {
        link->upload.sent = next;
        link->upload.round++;
    }
    if (next == link->upload.total_bytes) link->pending |= SEND_UPLOAD_STATUS;
}

static void on_cancel(tinyfed_link_t *link, uint16_t sequence)
{
    link->cancel_sequence = sequence;
    link->visit.received = true;
    link->upload.state = UPLOAD_NONE;
    if (link->transfer.state == TRANSFER_RECEIVING || link->transfer.state == TRANSFER_SUSPENDED)
        fail_transfer(link, TINYFED_E_CANCELLED);
    if (tinyfed_link_busy(link)) {
        link->cancelling = true;
        link->event = TINYFED_LINK_CANCEL;
    } else {
        link->pending |= SEND_CANCELLED;
    }
}

/* The same request again is answered with what is known of it: nothing is written twice. */
static void on_save(tinyfed_link_t *link, uint16_t sequence, const uint8_t *p)
{
    if (link->save.state != SAVE_NONE && link->save.sequence == sequence) {
        link->pending |= SEND_SAVE_STATUS;
        return;
    }
    if (link->save.state == SAVE_RUNNING && link->save.action == p[8] && link->save.hash == tinyfed_get64(p)) {
        link->save.sequence = sequence; /* of a host that greeted again in between */
        link->pending |= SEND_SAVE_STATUS;
        return;
    }
    if (refuse_busy(link, sequence)) return;
    link->visit.received = true;
    link->upload.state = UPLOAD_NONE;
    link->save.state = SAVE_ASKED;
    link->save.sequence = sequence;
    link->save.hash = tinyfed_get64(p);
    link->save.action = p[8];
    if (link->broken && p[8] == TINYFED_WIRE_SAVE) tinyfed_link_save_refuse(link, TINYFED_E_STATE, 0);
    else link->event = TINYFED_LINK_SAVE;
}

static void on_label(tinyfed_link_t *link, uint16_t sequence)
{
    if (refuse_busy(link, sequence)) return;
    /* The samples lie at the arena's end, where a transfer that is not complete may be about to write. */
    if (link->transfer.state == TRANSFER_RECEIVING || link->transfer.state == TRANSFER_SUSPENDED)
        fail_transfer(link, TINYFED_E_CANCELLED);
    link->visit.received = true;
    link->record_sequence = sequence;
    link->event = TINYFED_LINK_LABEL;
}

/* Shortest payload of each message that may be answered, by type; 255: not a message from a host. */
static const uint8_t payload_min[] = {
    255, 0, 32, 5, 8, 20, 12, 4, 0, 4, 12, 12,
};

static void on_frame(tinyfed_link_t *link, uint32_t now_ms)
{
    const uint8_t *h = link->in.head;
    const uint8_t *p = h + TINYFED_WIRE_HEADER_BYTES;
    const uint8_t type = h[1];
    const uint32_t session = tinyfed_get32(h + 2);
    const uint16_t sequence = tinyfed_get16(h + 6);
    const uint32_t bytes = link->in.count - TINYFED_WIRE_CRC_BYTES;

    if (type == HELLO_REQUEST) { /* of any version: the host reads ours in the answer */
        link->heard_ms = now_ms;
        on_hello(link, bytes - TINYFED_WIRE_GREETING_BYTES, now_ms);
        return;
    }
    if (type >= sizeof payload_min) return;
    if (h[0] != TINYFED_WIRE_VERSION) { /* whose header may be another after these six bytes */
        refuse(link, TINYFED_E_VERSION, 0);
        return;
    }
    if (bytes < TINYFED_WIRE_HEADER_BYTES || bytes - TINYFED_WIRE_HEADER_BYTES < payload_min[type]) return;
    const uint32_t payload_bytes = bytes - TINYFED_WIRE_HEADER_BYTES;
    if (session == 0 || session != link->session) {
        refuse(link, TINYFED_E_STATE, sequence);
        return;
    }
    link->heard_ms = now_ms;
    if (type == CHUNK_DOWN) {
        on_chunk(link, sequence, payload_bytes, now_ms);
        return;
    }
    if (bytes > sizeof link->in.head) {
        refuse(link, TINYFED_E_ARGUMENT, sequence);
        return;
    }
    if (type == ACK_DOWN) {
        on_ack(link, sequence, p, now_ms);
        return;
    }
    if (type == RESULT_RECEIVED) {
        if (tinyfed_get32(p) == link->visit.number) link->visit.received = true;
        return;
    }
    if (sequence == 0 || sequence < link->sequence) return; /* delayed, or said again: newer requests came before it */
    link->sequence = sequence;
    if (type == TRANSFER_BEGIN) on_transfer_begin(link, sequence, p, payload_bytes);
    else if (type == UPLOAD_REQUEST) on_upload_request(link, sequence, p);
    else if (type == ORDER) on_order(link, sequence, p, payload_bytes);
    else if (type == CANCEL) on_cancel(link, sequence);
    else if (type == SAVE) on_save(link, sequence, p);
    else if (type == LABEL) on_label(link, sequence);
    else if (tinyfed_get32(p) == RESET_MAGIC) link->event = TINYFED_LINK_RESET;
}

size_t tinyfed_link_receive(tinyfed_link_t *link, const uint8_t *bytes, size_t byte_count, uint32_t now_ms)
{
    size_t used = 0;
    if (byte_count > 0) link->byte_ms = now_ms;
    while (used < byte_count && link->event == 0) {
        switch (tinyfed_wire_decode(&link->in, bytes[used++])) {
        case TINYFED_WIRE_AIM: aim(link); break;
        case TINYFED_WIRE_FRAME:
            on_frame(link, now_ms);
            tinyfed_wire_decoder_reset(&link->in);
            break;
        case TINYFED_WIRE_DAMAGED:
            /* Most likely the chunk that is wanted: say so at once instead of when the next one shows it. */
            if (link->transfer.state == TRANSFER_RECEIVING && link->in.count >= CHUNK_BYTES_MIN) report_gap(link);
            tinyfed_wire_decoder_reset(&link->in);
            break;
        default: break;
        }
    }
    return used;
}

bool tinyfed_link_event(tinyfed_link_t *link, tinyfed_link_event_t *event, uint32_t now_ms)
{
    if (link->event == 0 && (uint32_t)(now_ms - link->heard_ms) >= link->config.watchdog_ms) {
        link->upload.state = UPLOAD_NONE;
        link->visit.received = true;
        if (link->transfer.state == TRANSFER_RECEIVING) link->transfer.state = TRANSFER_SUSPENDED;
        if (link->visit.state == VISIT_RUNNING) link->event = TINYFED_LINK_HOST_GONE;
        if (link->record != NULL && link->record->running) link->event = TINYFED_LINK_HOST_GONE;
    }
    if (link->event == 0) return false;
    const uint8_t *p = link->in.head + TINYFED_WIRE_HEADER_BYTES;
    memset(event, 0, sizeof *event);
    event->kind = (tinyfed_link_event_kind_t)link->event;
    event->transfer_kind = link->transfer.kind;
    event->encoding = link->transfer.encoding;
    event->total_bytes = link->transfer.total_bytes;
    event->content_hash = link->transfer.content_hash;
    event->structure_hash = link->transfer.structure_hash;
    event->base_hash = link->transfer.base_hash;
    event->first_value = link->transfer.first_value;
    event->value_count = link->transfer.value_count;
    if (event->kind == TINYFED_LINK_UPLOAD) {
        event->visit = link->upload.visit;
        event->input_hash = link->upload.input_hash;
    }
    if (event->kind == TINYFED_LINK_SAVE) {
        event->weights_hash = link->save.hash;
        event->save_action = link->save.action;
    }
    if (event->kind == TINYFED_LINK_ORDER) {
        event->visit = link->visit.number;
        event->weights_hash = tinyfed_get64(p + 4);
        event->order = p + 12;
        event->order_bytes = link->order_bytes;
    }
    if (event->kind == TINYFED_LINK_LABEL) {
        event->recording = tinyfed_get32(p);
        event->label = tinyfed_get16(p + 4);
        event->windows_max = tinyfed_get16(p + 6);
        event->milliseconds_max = tinyfed_get32(p + 8);
    }
    link->event = 0;
    return true;
}
