/* Weights that go back shorter than float32, in the bytes in which they also go down (docs/wire.md, Encodings):
 * float16, or int8 with a scale a tensor, each also as the difference to what the visit began with. The device goes on
 * with what the other end makes of them. Specified in docs/order.md. */
#include "model/image.h"
#include "model/layers.h"
#include "tinyfed_visit.h"
#include "tinyfed_bytes.h"
#include "tinyfed_float.h"

#define SEGMENT_HEAD_BYTES 8u /* u32 count, float32 scale */
#define STEPS_MAX 127.0f
#define SCALE_MIN 1e-37f /* one that is too small to divide by leaves zeros */
#define TO_WHOLE                                                                                                       \
    12582912.0f /* 1.5 * 2^23: added and taken away again it leaves the nearest whole number, of two the even one */

#define HALF_NORMAL 0x38800000u    /* float32's bits of 2^-14, the smallest normal float16 */
#define HALF_TOO_LARGE 0x477FF000u /* of 65,520, which would be rounded to infinity */
#define HALF_BIAS 0x38000000u      /* the exponents' difference, 112, in its place */

static bool is_delta(const tinyfed_visit_t *visit) { return (visit->order.answer & TINYFED_ANSWER_DELTA) != 0; }

/* A layer's tensors are its weights and its biases. Either may be empty. */
typedef struct tensors {
    uint32_t first, weights, biases;
} tensors_t;

static tensors_t tensors_of(const tinyfed_model_t *model, uint32_t layer)
{
    const uint32_t first = tinyfed_get32(tinyfed_record(model->image, layer) + TINYFED_IN_PARAMETERS);
    const uint32_t weights = tinyfed_layer_weight_count(model->image, layer);
    return (tensors_t){first, weights, tinyfed_parameters_end(model->image, layer) - first - weights};
}

/* Heads of all segments: so much in front of the copy keeps what is written behind what is yet to be read. */
static uint32_t heads_bytes(const tinyfed_model_t *model)
{
    uint32_t tensors = 0;
    for (uint32_t layer = 0; layer < model->layer_count; layer++) {
        const tensors_t t = tensors_of(model, layer);
        tensors += t.weights > 0 ? 1u : 0u;
        tensors += t.biases > 0 ? 1u : 0u;
    }
    return SEGMENT_HEAD_BYTES * tensors;
}

uint32_t tinyfed_answer_bytes(const tinyfed_order_t *order, const tinyfed_model_t *model, uint32_t shared_count)
{
    if (order->answer == 0) return 0;
    if ((order->answer & TINYFED_ANSWER_DELTA) != 0) return heads_bytes(model) + 4u * shared_count;
    return order->answer == TINYFED_ANSWER_FLOAT16 ? 2u * shared_count : heads_bytes(model) + shared_count;
}

static const uint8_t *before(const tinyfed_visit_t *visit) { return visit->update + heads_bytes(visit->engine->model); }

void tinyfed_answer_begin(tinyfed_visit_t *visit)
{
    if (is_delta(visit))
        memcpy(visit->update + heads_bytes(visit->engine->model), visit->engine->parameters + visit->shared_first,
               4u * (size_t)visit->shared_count);
}

/* What is read of and written to a run of the shared values. */
typedef struct packer {
    float *values;         /* as trained */
    const uint8_t *before; /* float32 of the same values; NULL: nothing is taken away */
    uint8_t *to;
} packer_t;

static float base_of(const packer_t *p, uint32_t i)
{
    return p->before != NULL ? tinyfed_float(tinyfed_get32(p->before + 4u * (size_t)i)) : 0.0f;
}

static float value_of(const packer_t *p, uint32_t i)
{
    return p->before != NULL ? p->values[i] - base_of(p, i) : p->values[i];
}

static float magnitude(float value) { return value < 0.0f ? -value : value; }

/* To the nearest, of two the even one, as IEEE 754 rounds. */
static uint16_t to_half(float value)
{
    const uint32_t bits = tinyfed_bits(value), sign = bits >> 16 & 0x8000u;
    uint32_t m = bits & 0x7FFFFFFFu;
    if (m < HALF_NORMAL) m = tinyfed_bits(magnitude(value) + 0.5f) - 0x3F000000u; /* 0.5's last bit is a subnormal's */
    else m = (m + 0xFFFu + (m >> 13 & 1u) - HALF_BIAS) >> 13;
    return (uint16_t)(sign | m);
}

static float from_half(uint16_t half)
{
    const uint32_t m = half & 0x7FFFu;
    const float value = m < 0x400u ? (float)m * 0x1p-24f : tinyfed_float((m << 13) + HALF_BIAS);
    return (half & 0x8000u) != 0 ? -value : value;
}

static tinyfed_status_t pack_half(packer_t *p, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, p->to += 2) {
        const float value = value_of(p, i), base = base_of(p, i);
        if ((tinyfed_bits(value) & 0x7FFFFFFFu) >= HALF_TOO_LARGE) return TINYFED_E_NUMERIC;
        const uint16_t half = to_half(value);
        tinyfed_put16(p->to, half);
        p->values[i] = p->before != NULL ? base + from_half(half) : from_half(half);
    }
    return TINYFED_OK;
}

static tinyfed_status_t pack_tensor(packer_t *p, uint32_t count)
{
    float largest = 0.0f;
    for (uint32_t i = 0; i < count; i++) {
        const float m = magnitude(value_of(p, i));
        if (!tinyfed_is_finite(m)) return TINYFED_E_NUMERIC;
        if (m > largest) largest = m;
    }
    if (count == 0) return TINYFED_OK;
    const float scale = largest / STEPS_MAX;
    tinyfed_put32(p->to, count);
    tinyfed_put32(p->to + 4, tinyfed_bits(scale));
    p->to += SEGMENT_HEAD_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        const float base = base_of(p, i);
        float steps = scale < SCALE_MIN ? 0.0f : (value_of(p, i) / scale + TO_WHOLE) - TO_WHOLE;
        if (steps > STEPS_MAX) steps = STEPS_MAX;
        if (steps < -STEPS_MAX) steps = -STEPS_MAX;
        *p->to++ = (uint8_t)(int32_t)steps;
        p->values[i] = p->before != NULL ? base + scale * (float)(int32_t)steps : scale * (float)(int32_t)steps;
    }
    p->values += count;
    if (p->before != NULL) p->before += 4u * (size_t)count;
    return TINYFED_OK;
}

tinyfed_status_t tinyfed_answer_pack(tinyfed_visit_t *visit)
{
    const tinyfed_model_t *model = visit->engine->model;
    const uint32_t end = visit->shared_first + visit->shared_count;
    packer_t p = {visit->engine->parameters + visit->shared_first, is_delta(visit) ? before(visit) : NULL,
                  visit->update};
    tinyfed_status_t status = TINYFED_OK;
    if ((visit->order.answer & ~TINYFED_ANSWER_DELTA) == TINYFED_ANSWER_FLOAT16) {
        status = pack_half(&p, visit->shared_count);
    } else {
        for (uint32_t layer = 0; layer < model->layer_count && status == TINYFED_OK; layer++) {
            const tensors_t t = tensors_of(model, layer);
            if (t.first < visit->shared_first || t.first >= end) continue;
            status = pack_tensor(&p, t.weights);
            if (status == TINYFED_OK) status = pack_tensor(&p, t.biases);
        }
    }
    visit->choice.bytes = (uint32_t)(p.to - visit->update);
    return status;
}
