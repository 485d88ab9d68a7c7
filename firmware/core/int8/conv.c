/* Convolution and dense layer in the fast form: columns of the input, widened to int16, times the weights. */
#include "kernels.h"

/* Widens quads of bytes; a quad's second word is `gap` words after its first, quads are 2 * gap words apart. */
static inline uint32_t *widen(uint32_t *to, const int8_t *from, uint32_t quads, uint32_t gap)
{
    for (; quads != 0; quads--, from += 4, to += 2u * gap) {
        const uint32_t word = tinyfed_get32(from);
#if defined(TINYFED_INT8_M4)
        __asm__("sxtb16 %0, %1" : "=r"(to[0]) : "r"(word));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(to[gap]) : "r"(word));
#else
        to[0] = (uint16_t)(int8_t)word | ((uint32_t)(int8_t)(word >> 16) << 16);
        to[gap] = (uint16_t)(int8_t)(word >> 8) | ((uint32_t)(int8_t)(word >> 24) << 16);
#endif
    }
    return to;
}

static uint32_t *fill(uint32_t *to, int8_t value, uint32_t quads, uint32_t gap)
{
    const uint32_t word = (uint16_t)value | (uint32_t)(uint16_t)value << 16;
    for (; quads != 0; quads--, to += 2u * gap) {
        to[0] = word;
        to[gap] = word;
    }
    return to;
}

static inline void copy_bytes(int8_t *to, const int8_t *from, uint32_t count)
{
    for (; count >= 4; count -= 4, to += 4, from += 4) memcpy(to, from, 4);
    for (; count != 0; count--) *to++ = *from++;
}

/* Which taps of a window's row or column lie inside the input. */
typedef struct taps {
    uint32_t from, to;
} taps_t;

/* Dilation 1. */
static taps_t inside(int32_t origin, uint8_t kernel, uint16_t size)
{
    int32_t from = origin < 0 ? -origin : 0;
    int32_t to = (int32_t)size - origin;
    if (to > kernel) to = kernel;
    if (to < 0) to = 0;
    if (from > to) from = to;
    taps_t taps = {(uint32_t)from, (uint32_t)to};
    return taps;
}

/* A window whose rows are whole quads: widened from where they lie. */
static void load_rows(const tinyfed_int8_op_t *op, uint32_t *to, int32_t top, int32_t left)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t quads = r->in_c / 4u;
    const taps_t rows = inside(top, r->kernel_h, r->in_h), columns = inside(left, r->kernel_w, r->in_w);
    to = fill(to, r->in_zero, rows.from * r->kernel_w * quads, 2);
    for (uint32_t ky = rows.from; ky < rows.to; ky++) {
        const uint32_t y = (uint32_t)(top + (int32_t)ky), x = (uint32_t)(left + (int32_t)columns.from);
        to = fill(to, r->in_zero, columns.from * quads, 2);
        to = widen(to, op->in + (y * r->in_w + x) * r->in_c, (columns.to - columns.from) * quads, 2);
        to = fill(to, r->in_zero, (r->kernel_w - columns.to) * quads, 2);
    }
    fill(to, r->in_zero, (r->kernel_h - rows.to) * r->kernel_w * quads, 2);
}

/* Any other window: its bytes are brought together first. */
static void gather_rows(const tinyfed_int8_op_t *op, int8_t *to, int32_t top, int32_t left)
{
    const tinyfed_int8_record_t *r = &op->r;
    const taps_t columns = inside(left, r->kernel_w, r->in_w);
    const uint32_t row_bytes = r->kernel_w * r->in_c;
    const bool whole = columns.from == 0 && columns.to == r->kernel_w;
    for (uint32_t ky = 0; ky < r->kernel_h; ky++, to += row_bytes) {
        const int32_t y = top + (int32_t)(ky * r->dilation_h);
        const bool is_inside = y >= 0 && y < (int32_t)r->in_h;
        if (!(is_inside && whole && r->dilation_w == 1)) memset(to, (uint8_t)r->in_zero, row_bytes);
        if (!is_inside) continue;
        const int8_t *row = op->in + (uint32_t)y * r->in_w * r->in_c;
        if (r->dilation_w == 1) {
            const uint32_t x = (uint32_t)(left + (int32_t)columns.from);
            if (columns.from < columns.to)
                copy_bytes(to + columns.from * r->in_c, row + x * r->in_c, (columns.to - columns.from) * r->in_c);
            continue;
        }
        for (uint32_t kx = 0; kx < r->kernel_w; kx++) {
            const int32_t x = left + (int32_t)(kx * r->dilation_w);
            if (x >= 0 && x < (int32_t)r->in_w) copy_bytes(to + kx * r->in_c, row + (uint32_t)x * r->in_c, r->in_c);
        }
    }
}

static tinyfed_int8_matmul_t matmul_of(const tinyfed_int8_op_t *op)
{
    tinyfed_int8_matmul_t m;
    m.weights = op->weights;
    m.table = op->table;
    m.quads = tinyfed_int8_round_up(tinyfed_int8_window(&op->r), 4) / 4u;
    m.chunk_quads = op->r.chunk / 4u;
    m.channels = op->r.out_c;
    m.whole = m.last = 0;
    return m;
}

void tinyfed_int8_conv(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const tinyfed_int8_matmul_t m = matmul_of(op);
    uint32_t *columns = op->scratch;
    int8_t *bytes = (int8_t *)(columns + 4u * m.quads);
    const bool gathers = tinyfed_int8_gathers(r);
    if (gathers) memset(bytes, 0, 4u * m.quads);
    int8_t *out = op->out, *first = NULL;
    for (uint32_t y = 0; y < r->out_h; y++) {
        const int32_t top = (int32_t)(y * r->stride_h) - r->pad_top;
        for (uint32_t x = 0; x < r->out_w; x++, out += r->out_c) {
            const int32_t left = (int32_t)(x * r->stride_w) - r->pad_left;
            uint32_t *column = first == NULL ? columns : columns + 1;
            if (gathers) {
                gather_rows(op, bytes, top, left);
                widen(column, bytes, m.quads, 2);
            } else {
                load_rows(op, column, top, left);
            }
            if (first != NULL) {
                TINYFED_INT8_PICK(op, tinyfed_int8_two_columns)(first, out, &m, (const int16_t *)columns);
                first = NULL;
            } else {
                first = out;
            }
        }
    }
    /* An odd one: the second column is what was there before, its result overwritten. */
    if (first != NULL) {
        for (uint32_t i = 0; i < 4u * m.quads; i += 2) columns[i + 1u] = columns[i];
        TINYFED_INT8_PICK(op, tinyfed_int8_two_columns)(first, first, &m, (const int16_t *)columns);
    }
    tinyfed_int8_clip(op, (uint32_t)r->out_h * r->out_w * r->out_c);
}

void tinyfed_int8_dense(const tinyfed_int8_op_t *op)
{
    tinyfed_int8_matmul_t m = matmul_of(op);
    int8_t last[4] = {0, 0, 0, 0};
    m.whole = op->r.in_c / 4u;
    memcpy(last, op->in + 4u * m.whole, op->r.in_c % 4u);
    m.last = tinyfed_get32(last);
#if defined(TINYFED_INT8_M4)
    if (!tinyfed_int8_is_narrow(&op->r)) {
        uint32_t *end = widen(op->scratch, op->in, m.whole, 1); /* the input may lie in the upper half */
        if (m.whole < m.quads) widen(end, last, 1, 1);
        tinyfed_int8_widened_column_m4(op->out, &m, op->scratch);
    } else
#endif
        TINYFED_INT8_PICK(op, tinyfed_int8_one_column)(op->out, &m, op->in);
    tinyfed_int8_clip(op, op->r.out_c);
}
