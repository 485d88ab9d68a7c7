/* Frames: COBS and CRC-32, a byte at a time in both directions. */
#include "tinyfed_bytes.h"
#include "tinyfed_checksum.h"
#include "tinyfed_wire.h"

#include <string.h>

/* header, offset, the largest chunk, CRC */
#define FRAME_BYTES_MAX (TINYFED_WIRE_HEADER_BYTES + 4u + TINYFED_WIRE_CHUNK_BYTES_MAX + TINYFED_WIRE_CRC_BYTES)
#define AIM_BYTES (TINYFED_WIRE_HEADER_BYTES + 4u)

void tinyfed_wire_decoder_reset(tinyfed_wire_decoder_t *d)
{
    d->crc = 0;
    d->tail = 0;
    d->count = 0;
    d->run = 0;
    d->code = 0;
    d->bad = false;
    d->sink = NULL;
    d->sink_bytes = 0;
}

static tinyfed_wire_decoded_t put(tinyfed_wire_decoder_t *d, uint8_t byte)
{
    if (d->count >= TINYFED_WIRE_CRC_BYTES) {
        const uint32_t index = d->count - TINYFED_WIRE_CRC_BYTES;
        const uint8_t out = (uint8_t)d->tail;
        d->crc = tinyfed_crc32(d->crc, &out, 1);
        if (index >= AIM_BYTES && d->sink != NULL) {
            if (index - AIM_BYTES < d->sink_bytes) d->sink[index - AIM_BYTES] = out;
            else d->bad = true;
        } else if (index < sizeof d->head) {
            d->head[index] = out;
        }
    }
    d->tail = (d->tail >> 8) | ((uint32_t)byte << 24);
    d->count++;
    if (d->count > FRAME_BYTES_MAX) d->bad = true;
    return d->count == AIM_BYTES + TINYFED_WIRE_CRC_BYTES ? TINYFED_WIRE_AIM : TINYFED_WIRE_MORE;
}

tinyfed_wire_decoded_t tinyfed_wire_decode(tinyfed_wire_decoder_t *d, uint8_t byte)
{
    if (byte == 0) {
        if (d->code == 0) return TINYFED_WIRE_MORE; /* an empty frame */
        const bool whole = !d->bad && d->run == 0 && d->crc == d->tail &&
                           d->count >= TINYFED_WIRE_GREETING_BYTES + TINYFED_WIRE_CRC_BYTES;
        return whole ? TINYFED_WIRE_FRAME : TINYFED_WIRE_DAMAGED;
    }
    if (d->bad) return TINYFED_WIRE_MORE;
    if (d->run > 0) {
        d->run--;
        return put(d, byte);
    }
    const bool zero = d->code != 0 && d->code != 0xFFu;
    d->code = byte;
    d->run = (uint8_t)(byte - 1u);
    return zero ? put(d, 0) : TINYFED_WIRE_MORE;
}

/* Stages of the encoder. */
enum { IDLE = 0, OPENING = 1, CODE = 2, LITERALS = 3, CLOSING = 4 };

static uint8_t at(const tinyfed_wire_encoder_t *e, uint32_t position)
{
    if (position < e->head_bytes) return e->head[position];
    position -= e->head_bytes;
    if (position < e->body_bytes) return e->body[position];
    return e->crc[position - e->body_bytes];
}

void tinyfed_wire_encoder_begin(tinyfed_wire_encoder_t *e)
{
    uint32_t crc = tinyfed_crc32(0, e->head, e->head_bytes);
    if (e->body_bytes > 0) crc = tinyfed_crc32(crc, e->body, e->body_bytes);
    tinyfed_put32(e->crc, crc);
    e->position = 0;
    e->stage = OPENING;
}

size_t tinyfed_wire_encode(tinyfed_wire_encoder_t *e, uint8_t *bytes, size_t capacity)
{
    const uint32_t total = e->head_bytes + e->body_bytes + TINYFED_WIRE_CRC_BYTES;
    size_t made = 0;
    while (made < capacity && e->stage != IDLE) {
        switch (e->stage) {
        case OPENING:
            bytes[made++] = 0;
            e->stage = CODE;
            break;
        case CODE: {
            uint32_t run = 0;
            while (run < 254u && e->position + run < total && at(e, e->position + run) != 0) run++;
            e->run = (uint8_t)run;
            e->zero = run < 254u && e->position + run < total;
            bytes[made++] = (uint8_t)(run + 1u);
            e->stage = LITERALS;
            break;
        }
        case LITERALS:
            if (e->run > 0) {
                bytes[made++] = at(e, e->position++);
                e->run--;
            } else if (e->zero) {
                e->position++;
                e->stage = CODE;
            } else {
                e->stage = e->position < total ? CODE : CLOSING;
            }
            break;
        default:
            bytes[made++] = 0;
            e->stage = IDLE;
            break;
        }
    }
    return made;
}
