/* Movement of data: concatenations, slices, transpositions and everything else that only puts values elsewhere. */
#include "program.h"

static void copy_row(int8_t *to, const int8_t *from, uint32_t count, uint32_t element, int32_t to_step,
                     int32_t from_step)
{
    if (to_step == (int32_t)element && from_step == (int32_t)element) {
        memcpy(to, from, (size_t)count * element);
    } else if (element == 1) {
        for (; count != 0; count--, to += to_step, from += from_step) *to = *from;
    } else {
        for (; count != 0; count--, to += to_step, from += from_step) memcpy(to, from, element);
    }
}

/* table = tinyfed_int8_move_t; all of it in bytes. */
void tinyfed_int8_move(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_move_t *m = (const tinyfed_int8_move_t *)(const void *)op->table;
    const int8_t *from = op->in + m->from_first;
    int8_t *to = op->out + m->to_first;
    uint32_t at[TINYFED_INT8_MOVE_DIMENSIONS - 1] = {0};
    if (m->fills != 0) memset(op->out, (uint8_t)m->fill, (size_t)op->r.out_h * op->r.out_w * op->r.out_c);
    for (;;) {
        copy_row(to, from, m->count[TINYFED_INT8_MOVE_DIMENSIONS - 1], m->element,
                 m->to_step[TINYFED_INT8_MOVE_DIMENSIONS - 1], m->from_step[TINYFED_INT8_MOVE_DIMENSIONS - 1]);
        uint32_t i = TINYFED_INT8_MOVE_DIMENSIONS - 1;
        for (;;) {
            if (i-- == 0) return;
            to += m->to_step[i];
            from += m->from_step[i];
            if (++at[i] < m->count[i]) break;
            to -= m->to_step[i] * (int32_t)m->count[i];
            from -= m->from_step[i] * (int32_t)m->count[i];
            at[i] = 0;
        }
    }
}
