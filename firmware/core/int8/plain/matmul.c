#include "int8/kernels.h"

/* Adds the products of one half-word of weights: an even and an odd channel. */
static inline void multiply(int32_t *even, int32_t *odd, int16_t weights, int16_t x)
{
    const int32_t low = (int8_t)(weights & 0xFF);
    *even = tinyfed_int8_wrap_add(*even, low * x);
    *odd = tinyfed_int8_wrap_add(*odd, ((weights - low) >> 8) * x);
}

/* sums[4] of a block; the column's quads are `step` half-words apart, `gap` between (k0,k2) and (k1,k3). */
static void block_sums(int32_t *sums, const int16_t *weights, const int16_t *column, uint32_t quads, uint32_t step,
                       uint32_t gap)
{
    memset(sums, 0, 4 * sizeof *sums);
    for (uint32_t quad = 0; quad < quads; quad++, weights += 8, column += step) {
        for (uint32_t half = 0; half < 2; half++) {
            multiply(&sums[0], &sums[1], weights[half], column[half]);
            multiply(&sums[2], &sums[3], weights[2 + half], column[half]);
            multiply(&sums[0], &sums[1], weights[4 + half], column[gap + half]);
            multiply(&sums[2], &sums[3], weights[6 + half], column[gap + half]);
        }
    }
}

static void run_column(int8_t *out, const tinyfed_int8_matmul_t *m, const int16_t *column, uint32_t step, uint32_t gap)
{
    const int16_t *weights = (const int16_t *)(const void *)m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4, weights += (size_t)m->quads * 8) {
        int32_t sums[4];
        block_sums(sums, weights, column, m->quads, step, gap);
        tinyfed_int8_store(out + channel, sums, m->table + 4u * channel, m->channels - channel);
    }
}

void tinyfed_int8_two_columns_plain(int8_t *out_a, int8_t *out_b, const tinyfed_int8_matmul_t *m,
                                    const int16_t *columns)
{
    run_column(out_a, m, columns, 8, 4);
    run_column(out_b, m, columns + 2, 8, 4);
}

void tinyfed_int8_one_column_plain(int8_t *out, const tinyfed_int8_matmul_t *m, const int16_t *column)
{
    run_column(out, m, column, 4, 2);
}
