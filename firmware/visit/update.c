/* The largest updates of a visit: chosen by radix selection in passes over the weights, without a list of them, and
 * packed over the copy of the weights the visit began with. Specified in docs/order.md. */
#include "tinyfed_visit.h"
#include "tinyfed_bytes.h"
#include "tinyfed_float.h"

#define HEAD_BYTES 16u
#define DIGIT_BITS 8u
#define DIGITS (1u << DIGIT_BITS)
#define MAGNITUDE_BITS 31u /* a float without its sign: ordered as its bits are */
#define ALL 0xFFFFFFFFu
#define VERSION 1u
#define BITMAP 1u
#define GAPS 2u

static uint32_t bitmap_bytes(uint32_t shared_count) { return (shared_count + 7u) / 8u; }

uint32_t tinyfed_update_bytes(const tinyfed_order_t *order, const tinyfed_model_t *model, uint32_t shared_count)
{
    uint32_t behind = bitmap_bytes(shared_count), histogram = 4u * DIGITS;
    if (order->top == 0) return tinyfed_answer_bytes(order, model, shared_count);
    return HEAD_BYTES + 4u * shared_count + (behind > histogram ? behind : histogram);
}

static float *before(const tinyfed_visit_t *visit) { return (float *)(void *)(visit->update + HEAD_BYTES); }
static uint8_t *behind(const tinyfed_visit_t *visit)
{
    return visit->update + HEAD_BYTES + 4u * (size_t)visit->shared_count;
}
static const float *now(const tinyfed_visit_t *visit) { return visit->engine->parameters + visit->shared_first; }

static uint32_t magnitude(const tinyfed_visit_t *visit, uint32_t i)
{
    return tinyfed_bits(now(visit)[i] - before(visit)[i]) & 0x7FFFFFFFu;
}

void tinyfed_update_begin(tinyfed_visit_t *visit)
{
    if (visit->order.top == 0) tinyfed_answer_begin(visit);
    else memcpy(before(visit), now(visit), 4u * (size_t)visit->shared_count);
}

void tinyfed_update_start(tinyfed_visit_t *visit)
{
    uint64_t share = (uint64_t)visit->shared_count * visit->order.top;
    visit->choice.wanted = (uint32_t)((share + TINYFED_TOP_ALL - 1u) / TINYFED_TOP_ALL);
    visit->choice.ties = visit->choice.wanted;
    visit->choice.threshold = 0;
    visit->choice.shift = MAGNITUDE_BITS;
    visit->choice.bytes = 0;
}

/* Find the next digit of the magnitude that is just chosen. `ties`: how many are still wanted among those whose known
 * digits are the threshold's. */
static void find_digit(tinyfed_visit_t *visit)
{
    uint32_t *histogram = (uint32_t *)(void *)behind(visit);
    uint32_t known = visit->choice.shift, bits = known < DIGIT_BITS ? known : DIGIT_BITS, shift = known - bits;
    uint32_t digit = DIGITS - 1u, count = visit->shared_count, prefix = visit->choice.threshold >> known;
    memset(histogram, 0, 4u * DIGITS);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t value = magnitude(visit, i);
        if (value != 0 && value >> known == prefix) histogram[value >> shift & ((1u << bits) - 1u)]++;
    }
    for (; digit > 0 && histogram[digit] < visit->choice.ties; digit--) visit->choice.ties -= histogram[digit];
    visit->choice.shift = shift;
    visit->choice.threshold |= digit << shift;
    if (histogram[digit] <=
        visit->choice.ties) { /* all from here on: fewer changed than are wanted, or a gap in values */
        visit->choice.ties = ALL;
        visit->choice.shift = 0;
    }
}

/* Bytes of a number in groups of seven bits, lowest first. */
static uint32_t gap_bytes(uint32_t gap)
{
    uint32_t bytes = 1;
    for (; gap >= 128u; gap >>= 7) bytes++;
    return bytes;
}

static void write_gaps(uint8_t *to, const uint8_t *bitmap, uint32_t count)
{
    uint32_t gap = 0;
    for (uint32_t i = 0; i < count; i++, gap++) {
        if (((uint32_t)bitmap[i / 8u] >> (i % 8u) & 1u) == 0) continue;
        for (; gap >= 128u; gap >>= 7) *to++ = (uint8_t)(gap | 128u);
        *to++ = (uint8_t)gap;
        gap = ALL;
    }
}

/* Values go to the front of the copy they are compared with, never past what has been read. */
static void pack(tinyfed_visit_t *visit)
{
    uint32_t count = visit->shared_count, chosen = 0, gap = 0, gaps = 0, ties = visit->choice.ties;
    uint8_t *values = visit->update + HEAD_BYTES, *bitmap = behind(visit);
    memset(bitmap, 0, bitmap_bytes(count));
    for (uint32_t i = 0; i < count; i++, gap++) {
        uint32_t value = magnitude(visit, i);
        if (value == 0 || value < visit->choice.threshold) continue;
        if (value == visit->choice.threshold && ties != ALL) {
            if (ties == 0) continue;
            ties--;
        }
        memcpy(values + 4u * chosen++, &now(visit)[i], 4u);
        bitmap[i / 8u] = (uint8_t)((uint32_t)bitmap[i / 8u] | 1u << (i % 8u));
        gaps += gap_bytes(gap);
        gap = ALL;
    }
    uint8_t *head = visit->update, *indices = values + 4u * chosen;
    bool by_gaps = gaps < bitmap_bytes(count); /* then they end before the bitmap begins: a gap takes at least a byte */
    if (by_gaps) write_gaps(indices, bitmap, count);
    else memmove(indices, bitmap, bitmap_bytes(count));
    memset(head, 0, HEAD_BYTES);
    head[0] = VERSION;
    head[1] = by_gaps ? GAPS : BITMAP;
    tinyfed_put32(head + 4, visit->shared_first);
    tinyfed_put32(head + 8, count);
    tinyfed_put32(head + 12, chosen);
    visit->choice.bytes = HEAD_BYTES + 4u * chosen + (by_gaps ? gaps : bitmap_bytes(count));
}

tinyfed_status_t tinyfed_update_step(tinyfed_visit_t *visit, bool *complete)
{
    *complete = visit->choice.shift == 0 || visit->order.top == 0;
    if (visit->order.top == 0) return tinyfed_answer_pack(visit);
    if (*complete) pack(visit);
    else find_digit(visit);
    return TINYFED_OK;
}

void tinyfed_visit_update(const tinyfed_visit_t *visit, const uint8_t **bytes, uint32_t *byte_count)
{
    *bytes = visit->update != NULL ? visit->update : (const uint8_t *)now(visit);
    *byte_count = visit->update != NULL ? visit->choice.bytes : 4u * visit->shared_count;
}
