/* Operators that take each value by itself, or move it. */
#include "program.h"
#include "rescale.h"

static uint32_t out_count(const tinyfed_int8_record_t *r) { return (uint32_t)r->out_h * r->out_w * r->out_c; }

/* table = {multiplier, shift} of both addends, taken times 2^20, and of their sum. May run in place. */
void tinyfed_int8_add(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const int32_t *t = op->table;
    const uint32_t count = out_count(r);
    for (uint32_t i = 0; i < count; i++) {
        const int32_t a = tinyfed_int8_rescale((op->in[i] - r->in_zero) * (1 << 20), t[0], t[1]);
        const int32_t b = tinyfed_int8_rescale((op->in_b[i] - r->in_b_zero) * (1 << 20), t[2], t[3]);
        const int32_t sum = tinyfed_int8_rescale(tinyfed_int8_wrap_add(a, b), t[4], t[5]);
        op->out[i] = (int8_t)tinyfed_int8_clamp(tinyfed_int8_wrap_add(sum, r->out_zero), r->low, r->high);
    }
}

/* Any function of one int8 (logistic, ReLUs, another scale): table of 256 bytes, indexed by the value as uint8. */
void tinyfed_int8_table(const tinyfed_int8_op_t *op)
{
    const int8_t *table = (const int8_t *)op->table;
    const uint32_t count = out_count(&op->r);
    for (uint32_t i = 0; i < count; i++) op->out[i] = table[(uint8_t)op->in[i]];
}

/* table = {rows, columns, channels before the input, value} */
void tinyfed_int8_pad(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t top = (uint32_t)op->table[0], left = (uint32_t)op->table[1], before = (uint32_t)op->table[2];
    memset(op->out, (uint8_t)op->table[3], out_count(r));
    for (uint32_t y = 0; y < r->in_h; y++)
        for (uint32_t x = 0; x < r->in_w; x++)
            memcpy(op->out + ((y + top) * r->out_w + x + left) * r->out_c + before,
                   op->in + (y * r->in_w + x) * r->in_c, r->in_c);
}

/* table = the input's row of each output row, then the column of each column, uint16. */
void tinyfed_int8_resize(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint16_t *rows = (const uint16_t *)(const void *)op->table;
    const uint16_t *columns = rows + r->out_h;
    int8_t *out = op->out;
    for (uint32_t y = 0; y < r->out_h; y++)
        for (uint32_t x = 0; x < r->out_w; x++, out += r->in_c)
            memcpy(out, op->in + ((uint32_t)rows[y] * r->in_w + columns[x]) * r->in_c, r->in_c);
}
