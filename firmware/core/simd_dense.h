/* The dense layer with eight lanes. Included by x86/avx2.c, x86/sse.c and neon/neon.c, which say what
 * simd.h asks for and define SIMD_NAME. */
#include "dense.h"
#include "reduce.h"

/* count <= 8 values. */
SIMD_INLINE void load(v8_t *v, const float *x, const uint32_t count)
{
    if (count == 8u)
        *v = SIMD_LOAD(x);
    else
        simd_load_part(v, x, count);
}

SIMD_INLINE void store(float *x, const v8_t *v, const uint32_t count)
{
    if (count == 8u)
        SIMD_STORE(x, *v);
    else
        simd_store_part(x, v, count);
}

/* ((a0+a4)+(a2+a6)) + ((a1+a5)+(a3+a7)). */
SIMD_INLINE float sum_lanes(const v8_t *lanes)
{
    float a[8];
    memcpy(a, lanes, sizeof a);
    return tinyfed_sum_lanes(a);
}

/* The sums of eight reductions at once: lane r of the result is that of rows[r]. */
SIMD_INLINE void sum_eight(v8_t *sums, const v8_t rows[8])
{
    v8_t half[4], pair[2];
    SIMD_UNROLL
    for (int r = 0; r < 4; r++) { /* lanes k + (k + 4), rows r and r + 4 side by side */
        const v8_t low = SIMD_SHUFFLE(rows[r], rows[r + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        const v8_t high = SIMD_SHUFFLE(rows[r], rows[r + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        half[r] = low + high;
    }
    SIMD_UNROLL
    for (int r = 0; r < 2; r++) { /* (0 + 2) and (1 + 3) of two rows */
        const v8_t low = SIMD_SHUFFLE(half[2 * r], half[2 * r + 1], 0, 1, 8, 9, 4, 5, 12, 13);
        const v8_t high = SIMD_SHUFFLE(half[2 * r], half[2 * r + 1], 2, 3, 10, 11, 6, 7, 14, 15);
        pair[r] = low + high;
    }
    *sums = SIMD_SHUFFLE(pair[0], pair[1], 0, 2, 8, 10, 4, 6, 12, 14) + SIMD_SHUFFLE(pair[0], pair[1], 1, 3, 9, 11, 5, 7, 13, 15);
}

/* d_x[0..count) becomes 0 where x is 0. d_x may be x. */
SIMD_INLINE void clear_dead(float *d_x, const float *x, uint32_t count)
{
    const v8_t zero = {0};
    for (; count >= 8u; count -= 8u, d_x += 8, x += 8) {
        const i8_t dead = SIMD_LOAD(x) == zero;
        SIMD_STORE(d_x, (v8_t)((i8_t)SIMD_LOAD(d_x) & ~dead));
    }
    for (; count != 0; count--, d_x++, x++)
        if (*x == 0.0f) *d_x = 0.0f;
}

/* Bits of the values x[0..count) that are not 0, count <= 32. */
SIMD_INLINE uint32_t live_of(const float *x, uint32_t count)
{
    uint32_t live = 0, k = 0;
    for (; k + 8u <= count; k += 8u) live |= simd_live(x + k) << k;
    for (; k < count; k++) live |= (uint32_t)(x[k] != 0.0f) << k;
    return live;
}

/* Up to 32 outputs, `blocks` of eight, the last with `last` lanes; all rows. */
SIMD_INLINE void forward_blocks(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs, uint32_t outputs,
                                const uint32_t blocks, const uint32_t last)
{
    const v8_t zero = {0};
    v8_t sums[4] = {zero, zero, zero, zero};
    SIMD_UNROLL
    for (uint32_t b = 0; b < blocks; b++) {
        sums[b] = zero;
        if (bias != NULL) load(&sums[b], bias + 8u * b, b + 1u == blocks ? last : 8u);
    }
    for (uint32_t i = 0; i < inputs; i += 32u, x += 32, weights += 32u * (size_t)outputs) {
        for (uint32_t live = live_of(x, inputs - i < 32u ? inputs - i : 32u); live != 0; live &= live - 1u) {
            const uint32_t k = (uint32_t)__builtin_ctz(live);
            const float *row = weights + (size_t)k * outputs;
            const v8_t value = x[k] + zero; /* to all lanes; x is not 0, so it keeps its bits */
            SIMD_UNROLL
            for (uint32_t b = 0; b < blocks; b++) {
                v8_t w;
                load(&w, row + 8u * b, b + 1u == blocks ? last : 8u);
                sums[b] += value * w;
            }
        }
    }
    SIMD_UNROLL
    for (uint32_t b = 0; b < blocks; b++) store(y + 8u * b, &sums[b], b + 1u == blocks ? last : 8u);
}

SIMD_INLINE float dot(const float *a, const float *b, uint32_t count)
{
    v8_t lanes = {0};
    for (; count >= 8u; count -= 8u, a += 8, b += 8) lanes += SIMD_LOAD(a) * SIMD_LOAD(b);
    if (count != 0) {
        v8_t part_a, part_b;
        simd_load_part(&part_a, a, count);
        simd_load_part(&part_b, b, count);
        lanes += part_a * part_b;
    }
    return sum_lanes(&lanes);
}

SIMD_TARGET void SIMD_NAME(tinyfed_dense_forward)(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                                                  uint32_t outputs)
{
    if (outputs == 1) {
        y[0] = (bias != NULL ? bias[0] : 0.0f) + dot(x, weights, inputs);
        return;
    }
    for (uint32_t o = 0; o < outputs; o += 32u) {
        const uint32_t rest = outputs - o, count = rest < 32u ? rest : 32u;
        const uint32_t blocks = (count + 7u) / 8u, last = (count - 1u) % 8u + 1u;
        const float *shift = bias != NULL ? bias + o : NULL;
        if (count == 32u)
            forward_blocks(y + o, x, weights + o, shift, inputs, outputs, 4, 8);
        else if (count == 16u)
            forward_blocks(y + o, x, weights + o, shift, inputs, outputs, 2, 8);
        else if (blocks == 1u)
            forward_blocks(y + o, x, weights + o, shift, inputs, outputs, 1, last);
        else
            forward_blocks(y + o, x, weights + o, shift, inputs, outputs, blocks, last);
    }
}

/* The input's gradients of eight rows. */
SIMD_INLINE void gradients_of(v8_t *gradients, const float *const row[8], const float *d_y, const uint32_t outputs)
{
    v8_t lanes[8];
    const v8_t zero = {0};
    uint32_t o = 0;
    SIMD_UNROLL
    for (int r = 0; r < 8; r++) lanes[r] = zero;
    SIMD_UNROLL
    for (; o + 8u <= outputs; o += 8u) {
        const v8_t d = SIMD_LOAD(d_y + o);
        SIMD_UNROLL
        for (int r = 0; r < 8; r++) lanes[r] += SIMD_LOAD(row[r] + o) * d;
    }
    if (o < outputs) {
        v8_t d, w;
        simd_load_part(&d, d_y + o, outputs - o);
        SIMD_UNROLL
        for (int r = 0; r < 8; r++) {
            simd_load_part(&w, row[r] + o, outputs - o);
            lanes[r] += w * d;
        }
    }
    sum_eight(gradients, lanes);
}

/* to[0..count) += scale * d_y. */
SIMD_INLINE void add_scaled(float *to, const float *d_y, float scale, const uint32_t count)
{
    const v8_t scales = {scale, scale, scale, scale, scale, scale, scale, scale};
    uint32_t o = 0;
    SIMD_UNROLL
    for (; o + 8u <= count; o += 8u) SIMD_STORE(to + o, SIMD_LOAD(to + o) + scales * SIMD_LOAD(d_y + o));
    if (o == count) return;
    v8_t sum, gradient;
    simd_load_part(&sum, to + o, count - o);
    simd_load_part(&gradient, d_y + o, count - o);
    sum += scales * gradient;
    simd_store_part(to + o, &sum, count - o);
}

/* 32 rows from row i on, for 32 outputs, when d_x is given alone and its derivative is linear, ReLU or tanh: all
 * gradients first, of eight rows at a time, then the weights of the live rows. */
SIMD_INLINE void backward_square(const tinyfed_dense_step_t *step, uint32_t i)
{
    const v8_t zero = {0};
    const float *weights = step->weights + (size_t)i * 32u;
    float *d_x = step->input.d_x + i;
    const uint32_t live = live_of(step->x + i, 32);
    v8_t x[4], sums;
    memcpy(x, step->x + i, sizeof x); /* d_x may be x */
    if (step->input.derivative == TINYFED_RELU) {
        for (uint32_t mask = live; mask != 0;) {
            const float *row[8];
            uint32_t index[8];
            float gradients[8];
            SIMD_UNROLL
            for (int r = 0; r < 8; r++) { /* past the last one row 31 again: if it is dead, it is cleared below */
                index[r] = (uint32_t)__builtin_ctz(mask | 0x80000000u);
                row[r] = weights + 32u * index[r];
                mask &= mask - 1u;
            }
            gradients_of(&sums, row, step->d_y, 32);
            memcpy(gradients, &sums, sizeof sums);
            SIMD_UNROLL
            for (int r = 0; r < 8; r++) d_x[index[r]] = gradients[r];
        }
        SIMD_UNROLL
        for (int b = 0; b < 4; b++) SIMD_STORE(d_x + 8 * b, (v8_t)((i8_t)SIMD_LOAD(d_x + 8 * b) & ~(x[b] == zero)));
    } else {
        for (int b = 0; b < 4; b++) {
            const float *row[8];
            SIMD_UNROLL
            for (int r = 0; r < 8; r++) row[r] = weights + 32 * (8 * b + r);
            gradients_of(&sums, row, step->d_y, 32);
            if (step->input.derivative == TINYFED_TANH) sums *= 1.0f - x[b] * x[b];
            SIMD_STORE(d_x + 8 * b, sums);
        }
    }
    if (step->to_weights == NULL) return;
    float values[32];
    memcpy(values, x, sizeof values);
    float *to = step->to_weights + (size_t)i * 32u;
    const v8_t d_y[4] = {SIMD_LOAD(step->d_y), SIMD_LOAD(step->d_y + 8), SIMD_LOAD(step->d_y + 16), SIMD_LOAD(step->d_y + 24)};
    for (uint32_t mask = live; mask != 0; mask &= mask - 1u) {
        const uint32_t k = (uint32_t)__builtin_ctz(mask);
        const float scale = step->factor * values[k];
        const v8_t scales = {scale, scale, scale, scale, scale, scale, scale, scale};
        SIMD_UNROLL
        for (uint32_t b = 0; b < 4u; b++) {
            float *place = to + 32u * k + 8u * b;
            SIMD_STORE(place, SIMD_LOAD(place) + scales * d_y[b]);
        }
    }
}

/* Rows i + k of the bits k of a mask, for any number of outputs; those that are live change. */
SIMD_INLINE void backward_wide(const tinyfed_dense_step_t *step, uint32_t i, uint32_t mask, uint32_t live)
{
    const uint32_t outputs = step->outputs;
    while (mask != 0) {
        uint32_t index[8], count = 0;
        float x[8], gradients[8];
        const float *row[8];
        v8_t sums;
        for (; count < 8u && mask != 0; count++, mask &= mask - 1u) index[count] = i + (uint32_t)__builtin_ctz(mask);
        for (uint32_t r = 0; r < count; r++) x[r] = step->x[index[r]];
        for (uint32_t r = 0; r < 8u; r++) row[r] = step->weights + (size_t)index[r < count ? r : 0] * outputs;
        gradients_of(&sums, row, step->d_y, outputs);
        memcpy(gradients, &sums, sizeof sums);
        for (uint32_t r = 0; r < count; r++) tinyfed_give_gradient(&step->input, index[r], x[r], gradients[r]);
        if (step->to_weights == NULL) continue;
        for (uint32_t r = 0; r < count; r++)
            if ((live >> (index[r] - i) & 1u) != 0)
                add_scaled(step->to_weights + (size_t)index[r] * outputs, step->d_y, step->factor * x[r], outputs);
    }
}

SIMD_INLINE void backward_rows(const tinyfed_dense_step_t *step)
{
    const bool dies = step->input.derivative == TINYFED_RELU;
    if (step->input.d_x == NULL) {
        for (uint32_t i = 0; i < step->inputs; i++) {
            const float x = step->x[i];
            if (x == 0.0f) continue;
            float *row = step->to_weights + (size_t)i * step->outputs;
            if (step->outputs == 32u)
                add_scaled(row, step->d_y, step->factor * x, 32);
            else
                add_scaled(row, step->d_y, step->factor * x, step->outputs);
        }
        return;
    }
    const bool square = step->outputs == 32u && !step->input.adds && (step->input.derivative <= TINYFED_TANH);
    for (uint32_t i = 0; i < step->inputs; i += 32u) {
        const uint32_t count = step->inputs - i < 32u ? step->inputs - i : 32u;
        if (square && count == 32u) {
            backward_square(step, i);
            continue;
        }
        const uint32_t live = live_of(step->x + i, count);
        uint32_t mask = live;
        if (dies)
            clear_dead(step->input.d_x + i, step->x + i, count);
        else
            mask = count == 32u ? 0xFFFFFFFFu : (1u << count) - 1u;
        backward_wide(step, i, mask, live);
    }
}

/* One output: rows are single weights, eight at a time. The reduction has one product: d_x is W d_y + 0. */
SIMD_INLINE void backward_column(const tinyfed_dense_step_t *step)
{
    const v8_t zero = {0};
    const float d = step->d_y[0];
    const v8_t d_y = {d, d, d, d, d, d, d, d};
    const bool relu = step->input.derivative == TINYFED_RELU;
    for (uint32_t i = 0; i < step->inputs; i += 8u) {
        const uint32_t count = step->inputs - i < 8u ? step->inputs - i : 8u;
        v8_t x, w, to;
        load(&x, step->x + i, count);
        load(&w, step->weights + i, count);
        const i8_t is_zero = x == zero;
        if (step->input.d_x != NULL) {
            v8_t gradient = w * d_y + zero;
            if (relu && !step->input.adds) {
                gradient = (v8_t)((i8_t)gradient & ~is_zero);
                store(step->input.d_x + i, &gradient, count);
            } else {
                for (uint32_t k = 0; k < count; k++) tinyfed_give_gradient(&step->input, i + k, x[k], gradient[k]);
            }
        }
        if (step->to_weights == NULL) continue;
        load(&to, step->to_weights + i, count);
        const v8_t changed = to + (step->factor * x) * d_y;
        const v8_t result = (v8_t)(((i8_t)to & is_zero) | ((i8_t)changed & ~is_zero));
        store(step->to_weights + i, &result, count);
    }
}

SIMD_TARGET void SIMD_NAME(tinyfed_dense_backward)(const tinyfed_dense_step_t *step)
{
    if (step->input.d_x != NULL || step->to_weights != NULL) {
        if (step->outputs == 1u)
            backward_column(step);
        else
            backward_rows(step);
    }
    if (step->to_bias == NULL) return;
    if (step->outputs == 32u)
        add_scaled(step->to_bias, step->d_y, step->factor, 32);
    else
        add_scaled(step->to_bias, step->d_y, step->factor, step->outputs);
}
