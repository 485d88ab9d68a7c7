#include "float.h"
#include "kernels/dense.h"

/* An entry of the table, for each row and then each column of the output: the two of the input between which it lies,
 * and the share of the second. */
typedef struct between {
    const float *low, *high;
    float share;
} between_t;

static between_t between_of(const float *x, const uint32_t *entry, uint32_t step)
{
    const between_t found = {x + (size_t)(entry[0] & 0xFFFFu) * step, x + (size_t)(entry[0] >> 16) * step,
                             tinyfed_float(entry[1])};
    return found;
}

static float mix(float low, float high, float share) { return share == 0.0f ? low : low + (high - low) * share; }

void tinyfed_float_resize(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t *rows = tinyfed_float_table(op), *columns = rows + 2u * r->out_h;
    float *y = tinyfed_float_out(op);
    for (uint32_t oy = 0; oy < r->out_h; oy++) {
        const between_t row = between_of(tinyfed_float_in(op), rows + 2u * oy, r->in_w * r->in_c);
        for (uint32_t ox = 0; ox < r->out_w; ox++) {
            const between_t above = between_of(row.low, columns + 2u * ox, r->in_c);
            const between_t below = between_of(row.high, columns + 2u * ox, r->in_c);
            for (uint32_t c = 0; c < r->in_c; c++)
                *y++ = mix(mix(above.low[c], above.high[c], above.share), mix(below.low[c], below.high[c], below.share),
                           row.share);
        }
    }
}

/* in: in_h matrices of in_w rows and in_c columns; second input: as many, or one for all, of in_c rows and out_c
 * columns. */
void tinyfed_float_matmul(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const float *x = tinyfed_float_in(op), *b = (const float *)(const void *)op->in_b;
    float *y = tinyfed_float_out(op);
    const uint32_t size = r->in_c * r->out_c, next = r->chunk == size ? 0 : size;
    for (uint32_t m = 0; m < r->in_h; m++, b += next)
        for (uint32_t row = 0; row < r->in_w; row++, x += r->in_c, y += r->out_c)
            tinyfed_dense_forward_f32(y, x, b, NULL, r->in_c, r->out_c);
}
