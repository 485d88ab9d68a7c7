#include "int8/kernels.h"

/* Adds the products of one half-word of weights: an even and an odd channel. */
static inline void multiply(int32_t *even, int32_t *odd, int16_t weights, int16_t x)
{
    const int32_t low = (int8_t)(weights & 0xFF);
    *even = tinyfed_int8_wrap_add(*even, low * x);
    *odd = tinyfed_int8_wrap_add(*odd, ((weights - low) >> 8) * x);
}

/* One quad into the sums[4] of a block; `gap` half-words lie between (k0,k2) and (k1,k3). */
static inline void add_quad(int32_t *sums, const int16_t *weights, const int16_t *column, uint32_t gap)
{
    for (uint32_t half = 0; half < 2; half++) {
        multiply(&sums[0], &sums[1], weights[half], column[half]);
        multiply(&sums[2], &sums[3], weights[2 + half], column[half]);
        multiply(&sums[0], &sums[1], weights[4 + half], column[gap + half]);
        multiply(&sums[2], &sums[3], weights[6 + half], column[gap + half]);
    }
}

/* One of two columns. */
static void run_column(int8_t *out, const tinyfed_int8_matmul_t *m, const int16_t *column)
{
    const int16_t *weights = (const int16_t *)(const void *)m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4) {
        int32_t sums[4] = {0, 0, 0, 0};
        for (uint32_t quad = 0; quad < m->quads; quad++, weights += 8) add_quad(sums, weights, column + 8u * quad, 4);
        tinyfed_int8_store(out + channel, sums, m->table + 4u * channel, m->channels - channel);
    }
}

void tinyfed_int8_two_columns_plain(int8_t *out_a, int8_t *out_b, const tinyfed_int8_matmul_t *m,
                                    const int16_t *columns)
{
    run_column(out_a, m, columns);
    run_column(out_b, m, columns + 2);
}

void tinyfed_int8_one_column_plain(int8_t *out, const tinyfed_int8_matmul_t *m, const int8_t *in)
{
    const int16_t *weights = (const int16_t *)(const void *)m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4) {
        int32_t sums[4] = {0, 0, 0, 0};
        for (uint32_t quad = 0; quad < m->quads; quad++, weights += 8) {
            const uint32_t word = tinyfed_int8_quad(m, in, quad);
            const int16_t x[4] = {(int8_t)word, (int8_t)(word >> 16), (int8_t)(word >> 8), (int8_t)(word >> 24)};
            add_quad(sums, weights, x, 2);
        }
        tinyfed_int8_store(out + channel, sums, m->table + 4u * channel, m->channels - channel);
    }
}
