/* Fully connected layers, eight lanes at a time. The bits are those of ../dense.c. */
#include "../dense.h"
#include "rows.h"

TINYFED_TARGET void TINYFED_BODY(tinyfed_dense_forward_f32)(float *y, const float *x, const float *weights, const float *bias,
                                                           uint32_t inputs, uint32_t outputs)
{
    if (outputs == 1) {
        y[0] = (bias != NULL ? bias[0] : 0.0f) + vec_sum(add_products(vec_zero(), x, weights, inputs));
        return;
    }
    if (bias == NULL) bias = memset(y, 0, outputs * sizeof *y);
    add_rows(y, bias, x, weights, inputs, outputs);
}

/* Four rows: gradient of each from the weights as they are, then the weights' change. */
TINYFED_INLINE void step_four(float *gradients, float *row0, float *row1, float *row2, float *row3, vec_t s0, vec_t s1,
                              vec_t s2, vec_t s3, const float *d_y, uint32_t outputs)
{
    vec_t a = vec_zero(), b = vec_zero(), c = vec_zero(), d = vec_zero();
    uint32_t k = 0;
    TINYFED_UNROLL_4
    for (; k + TINYFED_LANES <= outputs; k += TINYFED_LANES) {
        const vec_t g = vec_load(d_y + k);
        const vec_t w0 = vec_load(row0 + k), w1 = vec_load(row1 + k), w2 = vec_load(row2 + k), w3 = vec_load(row3 + k);
        a = vec_add(a, vec_mul(w0, g));
        b = vec_add(b, vec_mul(w1, g));
        c = vec_add(c, vec_mul(w2, g));
        d = vec_add(d, vec_mul(w3, g));
        vec_store(row0 + k, vec_add(w0, vec_mul(s0, g)));
        vec_store(row1 + k, vec_add(w1, vec_mul(s1, g)));
        vec_store(row2 + k, vec_add(w2, vec_mul(s2, g)));
        vec_store(row3 + k, vec_add(w3, vec_mul(s3, g)));
        VEC_SETTLE(a);
        VEC_SETTLE(b);
        VEC_SETTLE(c);
        VEC_SETTLE(d);
    }
    if (k < outputs) {
        const uint32_t n = outputs - k;
        const vec_t g = vec_load_part(d_y + k, n);
        const vec_t w0 = vec_load_part(row0 + k, n), w1 = vec_load_part(row1 + k, n);
        const vec_t w2 = vec_load_part(row2 + k, n), w3 = vec_load_part(row3 + k, n);
        a = vec_add(a, vec_mul(w0, g));
        b = vec_add(b, vec_mul(w1, g));
        c = vec_add(c, vec_mul(w2, g));
        d = vec_add(d, vec_mul(w3, g));
        vec_store_part(row0 + k, vec_add(w0, vec_mul(s0, g)), n);
        vec_store_part(row1 + k, vec_add(w1, vec_mul(s1, g)), n);
        vec_store_part(row2 + k, vec_add(w2, vec_mul(s2, g)), n);
        vec_store_part(row3 + k, vec_add(w3, vec_mul(s3, g)), n);
    }
    vec_sum_four(gradients, a, b, c, d);
}

#define TINYFED_SPARE_OUTPUTS 64u
#define TINYFED_GUARDS 3u /* places a group of four can have left over */
/* With the guards, and a vector that GCC takes unrolled loops to reach. */
#define TINYFED_CHUNK_ROOM (TINYFED_CHUNK + TINYFED_LANES)

TINYFED_INLINE bool has_four(uint32_t bits)
{
    bits &= bits - (bits != 0);
    bits &= bits - (bits != 0);
    return (bits & (bits - (bits != 0))) != 0;
}

/* Rows first.. of a layer that trains in place and gives its input's gradient; x[count] are their values, count <= 32.
 * Live rows go four at a time; places that are left over take a spare row, so that nothing depends on their number. */
TINYFED_INLINE void step_chunk(const tinyfed_dense_step_t *step, uint32_t first, const float *x, uint32_t count,
                               uint32_t outputs)
{
    const bool has_spare = outputs <= TINYFED_SPARE_OUTPUTS, is_relu = step->input.derivative == TINYFED_RELU;
    float spare[TINYFED_SPARE_OUTPUTS], gradients[TINYFED_CHUNK_ROOM], scales[TINYFED_CHUNK_ROOM];
    uint32_t live = nonzero_bits(x, count);
    uint32_t zeros = ~live & (0xFFFFFFFFu >> (32u - count));
    float *const base = step->to_weights + (size_t)first * outputs;
    const vec_t factor = vec_set(step->factor);
    TINYFED_UNROLL_4
    for (uint32_t k = 0; k < count; k += TINYFED_LANES)
        vec_store(scales + k, vec_mul(factor, load_up_to(x + k, count - k)));
    for (uint32_t k = 0; k < TINYFED_GUARDS; k++) scales[TINYFED_CHUNK + k] = 0.0f;
    for (uint32_t k = 0; has_spare && k < outputs; k += TINYFED_LANES) {
        vec_store(spare + k, vec_zero());
        __asm volatile("" ::: "memory"); /* four stores are quicker than a call to memset */
    }
    for (uint32_t k = 0; k < TINYFED_CHUNK; k += TINYFED_LANES) vec_store(gradients + k, vec_zero());
    uint64_t rows = live | (uint64_t)((1u << TINYFED_GUARDS) - 1u) << TINYFED_CHUNK;
    while (has_spare ? (uint32_t)rows != 0 : has_four((uint32_t)rows)) {
        float sums[4];
#define TAKE(r)                                                                                                    \
    const uint32_t i##r = (uint32_t)__builtin_ctzll(rows);                                                         \
    float *const row##r = i##r >= TINYFED_CHUNK ? spare : base + (size_t)i##r * outputs;                            \
    const vec_t s##r = vec_set(scales[i##r]);                                                                      \
    rows &= rows - 1u
        TAKE(0);
        TAKE(1);
        TAKE(2);
        TAKE(3);
#undef TAKE
        step_four(sums, row0, row1, row2, row3, s0, s1, s2, s3, step->d_y, outputs);
        gradients[i0] = sums[0];
        gradients[i1] = sums[1];
        gradients[i2] = sums[2];
        gradients[i3] = sums[3];
    }
    for (live = (uint32_t)rows; live != 0; live &= live - 1u) {
        const uint32_t i = (uint32_t)__builtin_ctz(live);
        float *const row = base + (size_t)i * outputs;
        gradients[i] = vec_sum(add_products(vec_zero(), row, step->d_y, outputs));
        add_scaled(row, step->d_y, scales[i], outputs);
    }
    /* A dead ReLU passes nothing; any other 0 has a gradient although its weights stay. */
    for (; !is_relu && zeros != 0; zeros &= zeros - 1u) {
        const uint32_t i = (uint32_t)__builtin_ctz(zeros);
        gradients[i] = vec_sum(add_products(vec_zero(), base + (size_t)i * outputs, step->d_y, outputs));
    }
    give_gradients(&step->input, first, x, gradients, count);
}

/* The same for one output, where a row is one weight and a reduction of one product adds it to +0. */
TINYFED_INLINE void step_single_chunk(const tinyfed_dense_step_t *step, uint32_t first, const float *x, uint32_t count)
{
    float gradients[TINYFED_CHUNK];
    float *const weights = step->to_weights + first;
    const vec_t g = vec_set(step->d_y[0]), factor = vec_set(step->factor);
    for (uint32_t k = 0; k < count; k += TINYFED_LANES) {
        const vec_t w = load_up_to(weights + k, count - k), value = load_up_to(x + k, count - k);
        const vec_t zero = vec_is_zero(value), stepped = vec_add(w, vec_mul(vec_mul(factor, value), g));
        vec_store(gradients + k, vec_add(vec_mul(w, g), vec_zero()));
        store_up_to(weights + k, vec_or(vec_and(zero, w), vec_clear(stepped, zero)), count - k);
    }
    give_gradients(&step->input, first, x, gradients, count);
}

/* Rows first.. of any layer that trains in place and gives its input's gradient; count <= 32. A constant count or number
 * of outputs unrolls its loops and keeps d_y in registers. */
TINYFED_INLINE void step_rows(const tinyfed_dense_step_t *step, uint32_t first, uint32_t count)
{
    float x[TINYFED_CHUNK_ROOM]; /* d_x may take their place */
    TINYFED_UNROLL_4
    for (uint32_t k = 0; k < TINYFED_CHUNK; k += TINYFED_LANES)
        vec_store(x + k, k < count ? load_up_to(step->x + first + k, count - k) : vec_zero());
    if (step->outputs == 1)
        step_single_chunk(step, first, x, count);
    else if (step->outputs == 32)
        step_chunk(step, first, x, count, 32);
    else
        step_chunk(step, first, x, count, step->outputs);
}

/* One row, in steps: a frozen one, or one of a batch. */
TINYFED_INLINE void step_row_slowly(const tinyfed_dense_step_t *step, uint32_t i)
{
    const float x = step->x[i];
    if (step->input.d_x != NULL) {
        if (x == 0.0f && step->input.derivative == TINYFED_RELU) {
            step->input.d_x[i] = 0.0f;
            return;
        }
        const float *row = step->weights + (size_t)i * step->outputs;
        tinyfed_give_gradient(&step->input, i, x, vec_sum(add_products(vec_zero(), row, step->d_y, step->outputs)));
    }
    if (x != 0.0f && step->to_weights != NULL)
        add_scaled(step->to_weights + (size_t)i * step->outputs, step->d_y, step->factor * x, step->outputs);
}

TINYFED_TARGET void TINYFED_BODY(tinyfed_dense_backward_f32)(const tinyfed_dense_step_t *step)
{
    if (step->input.d_x != NULL && step->to_weights == step->weights) {
        uint32_t first = 0;
        for (; first + TINYFED_CHUNK <= step->inputs; first += TINYFED_CHUNK) step_rows(step, first, TINYFED_CHUNK);
        if (first < step->inputs) step_rows(step, first, step->inputs - first);
    } else if (step->input.d_x != NULL || step->to_weights != NULL) {
        for (uint32_t i = 0; i < step->inputs; i++) step_row_slowly(step, i);
    }
    if (step->to_bias != NULL) add_scaled(step->to_bias, step->d_y, step->factor, step->outputs);
}
