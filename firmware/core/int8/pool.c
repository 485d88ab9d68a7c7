/* Pooling. Padded places count neither for the largest nor for the average. */
#include "program.h"
#include "rescale.h"

typedef struct span {
    uint32_t from, to; /* rows or columns of the input, to excluded */
} span_t;

static span_t clip(uint32_t out, uint8_t stride, uint8_t pad, uint8_t kernel, uint16_t size)
{
    const int32_t from = (int32_t)(out * stride) - (int32_t)pad;
    const int32_t to = from + (int32_t)kernel;
    span_t span = {from < 0 ? 0u : (uint32_t)from, to > (int32_t)size ? size : (uint32_t)to};
    return span;
}

/* Of each window and channel the largest value, or the mean rounded half away from zero. */
static void pool(const tinyfed_int8_op_t *op, bool average)
{
    const tinyfed_int8_record_t *r = &op->r;
    int8_t *out = op->out;
    for (uint32_t oy = 0; oy < r->out_h; oy++) {
        const span_t rows = clip(oy, r->stride_h, r->pad_top, r->kernel_h, r->in_h);
        for (uint32_t ox = 0; ox < r->out_w; ox++) {
            const span_t columns = clip(ox, r->stride_w, r->pad_left, r->kernel_w, r->in_w);
            const int32_t count = (int32_t)((rows.to - rows.from) * (columns.to - columns.from));
            for (uint32_t c = 0; c < r->out_c; c++) {
                int32_t sum = 0, value = INT8_MIN;
                for (uint32_t y = rows.from; y < rows.to; y++) {
                    const int8_t *in = op->in + (y * r->in_w + columns.from) * r->in_c + c;
                    for (uint32_t x = columns.from; x < columns.to; x++, in += r->in_c) {
                        sum += *in;
                        if (*in > value) value = *in;
                    }
                }
                if (average) value = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
                *out++ = (int8_t)tinyfed_int8_clamp(value, r->low, r->high);
            }
        }
    }
}

void tinyfed_int8_max_pool(const tinyfed_int8_op_t *op) { pool(op, false); }

void tinyfed_int8_average_pool(const tinyfed_int8_op_t *op) { pool(op, true); }

/* Over height and width; table = {multiplier, shift}, the count inside the multiplier. */
void tinyfed_int8_mean(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t count = (uint32_t)r->in_h * r->in_w;
    for (uint32_t c = 0; c < r->in_c; c++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < count; i++) sum += op->in[i * r->in_c + c] - r->in_zero;
        const int32_t mean = tinyfed_int8_rescale(sum, op->table[0], op->table[1]);
        op->out[c] = (int8_t)tinyfed_int8_clamp(tinyfed_int8_wrap_add(mean, r->out_zero), INT8_MIN, INT8_MAX);
    }
}
