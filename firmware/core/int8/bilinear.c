/* Resizing between neighbours, in TFLM's 10-bit fixed point. */
#include "program.h"

/* table = tinyfed_int8_between_t of each row, then of each column. */
void tinyfed_int8_bilinear(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const tinyfed_int8_between_t *row = (const tinyfed_int8_between_t *)(const void *)op->table;
    const tinyfed_int8_between_t *const columns = row + r->out_h;
    int8_t *out = op->out;
    for (uint32_t y = 0; y < r->out_h; y++, row++)
        for (uint32_t x = 0; x < r->out_w; x++) {
            const tinyfed_int8_between_t *const column = columns + x;
            const int8_t *upper = op->in + (uint32_t)row->lower * r->in_w * r->in_c;
            const int8_t *lower = op->in + (uint32_t)row->upper * r->in_w * r->in_c;
            const uint32_t left = (uint32_t)column->lower * r->in_c, right = (uint32_t)column->upper * r->in_c;
            for (uint32_t c = 0; c < r->in_c; c++) {
                const int32_t above = upper[left + c] * (1024 - column->fraction) + upper[right + c] * column->fraction;
                const int32_t below = lower[left + c] * (1024 - column->fraction) + lower[right + c] * column->fraction;
                const int32_t sum = above * (1024 - row->fraction) + below * row->fraction;
                *out++ = (int8_t)((sum + (sum > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
            }
        }
}
