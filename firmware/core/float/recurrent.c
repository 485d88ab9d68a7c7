/* Recurrent layers over a sequence, as Keras has them: gates of x W + b and h U + c, one step after the other. */
#include <string.h>

#include "float.h"
#include "kernels/dense.h"

typedef struct cell {
    const tinyfed_int8_record_t *r;
    const float *numbers; /* alpha and beta of both functions, the largest magnitude of an LSTM's c */
    uint32_t units;
    float *h, *c; /* what a step leaves to the next */
    float *x, *q; /* of all gates: x W + b, h U + c */
} cell_t;

static float activated(const cell_t *cell, float x)
{
    return tinyfed_float_function(cell->r->kernel_w, x, cell->numbers[0], cell->numbers[1]);
}

static float gate(const cell_t *cell, uint32_t at)
{
    return tinyfed_float_function(cell->r->stride_h, cell->x[at] + cell->q[at], cell->numbers[2], cell->numbers[3]);
}

static void simple(const cell_t *cell)
{
    for (uint32_t u = 0; u < cell->units; u++) cell->h[u] = activated(cell, cell->x[u] + cell->q[u]);
}

/* Gates: input, forget, candidate, output. */
static void lstm(const cell_t *cell)
{
    const uint32_t n = cell->units;
    for (uint32_t u = 0; u < n; u++) {
        const float candidate = activated(cell, cell->x[2u * n + u] + cell->q[2u * n + u]);
        const float c = gate(cell, n + u) * cell->c[u] + gate(cell, u) * candidate, most = cell->numbers[4];
        cell->c[u] = c > most ? most : (c < -most ? -most : c);
        cell->h[u] = gate(cell, 3u * n + u) * activated(cell, cell->c[u]);
    }
}

/* Gates: update, reset, candidate. */
static void gru(const cell_t *cell)
{
    const uint32_t n = cell->units;
    for (uint32_t u = 0; u < n; u++) {
        const float kept = gate(cell, u);
        const float candidate = activated(cell, cell->x[2u * n + u] + gate(cell, n + u) * cell->q[2u * n + u]);
        cell->h[u] = kept * cell->h[u] + (1.0f - kept) * candidate;
    }
}

/* The candidate's weights, [units][units], see h after its reset. */
static void gru_reset_before(const cell_t *cell, const float *weights)
{
    const uint32_t n = cell->units;
    for (uint32_t u = 0; u < n; u++) {
        cell->x[u] = gate(cell, u);
        cell->c[u] = gate(cell, n + u) * cell->h[u];
    }
    tinyfed_dense_forward_f32(cell->q, cell->c, weights, NULL, n, n);
    for (uint32_t u = 0; u < n; u++) {
        const float candidate = activated(cell, cell->x[2u * n + u] + cell->q[u]);
        cell->h[u] = cell->x[u] * cell->h[u] + (1.0f - cell->x[u]) * candidate;
    }
}

void tinyfed_float_recurrent(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t units = r->out_c, width = units * tinyfed_float_gates(r->kernel_h), steps = r->in_w;
    const uint32_t recurrent = r->kernel_h == TINYFED_GRU_RESET_BEFORE ? 2u * units : width;
    const float *w = (const float *)(const void *)op->weights, *u = w + r->in_c * width;
    const float *numbers = (const float *)(const void *)op->table, *bias = numbers + TINYFED_RECURRENT_NUMBERS;
    float *h = op->scratch, *y = tinyfed_float_out(op);
    const cell_t cell = {r, numbers, units, h, h + units, h + 2u * units, h + 2u * units + width};
    memset(h, 0, 2u * units * sizeof *h);
    for (uint32_t step = 0; step < steps; step++) {
        const uint32_t at = (r->flags & TINYFED_FLOAT_BACKWARDS) != 0 ? steps - 1u - step : step;
        tinyfed_dense_forward_f32(cell.x, tinyfed_float_in(op) + at * r->in_c, w, bias, r->in_c, width);
        tinyfed_dense_forward_f32(cell.q, h, u, r->kernel_h == TINYFED_GRU ? bias + width : NULL, units, recurrent);
        switch (r->kernel_h) {
        case TINYFED_SIMPLE: simple(&cell); break;
        case TINYFED_LSTM: lstm(&cell); break;
        case TINYFED_GRU: gru(&cell); break;
        default: gru_reset_before(&cell, u + units * recurrent); break;
        }
        if (r->out_w == steps) memcpy(y + at * units, h, units * sizeof *h);
    }
    if (r->out_w != steps) memcpy(y, h, units * sizeof *h);
}
