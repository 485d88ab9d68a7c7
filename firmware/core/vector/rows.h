/* What the vector bodies share. Included after the header that defines vec_t for a machine. */
#ifndef TINYFED_VECTOR_ROWS_H
#define TINYFED_VECTOR_ROWS_H

#include "../gradient.h"
#include "../reduce.h"

/* Of loops whose count is a constant where it matters. */
#if defined(__clang__)
#define TINYFED_UNROLL_4 _Pragma("unroll 4")
#else
#define TINYFED_UNROLL_4 _Pragma("GCC unroll 4")
#endif

/* Any count of lanes up to 8. */
TINYFED_INLINE vec_t load_up_to(const float *p, uint32_t count)
{
    return count >= TINYFED_LANES ? vec_load(p) : vec_load_part(p, count);
}

TINYFED_INLINE void store_up_to(float *p, vec_t v, uint32_t count)
{
    if (count >= TINYFED_LANES)
        vec_store(p, v);
    else
        vec_store_part(p, v, count);
}

/* A bit for each of x[0..count), count <= 32, that is not 0. */
TINYFED_INLINE uint32_t nonzero_bits(const float *x, uint32_t count)
{
    uint32_t zeros = 0;
    TINYFED_UNROLL_4
    for (uint32_t k = 0; k < count; k += TINYFED_LANES)
        zeros |= vec_bits(vec_is_zero(load_up_to(x + k, count - k))) << k;
    return ~zeros & (0xFFFFFFFFu >> (32u - count));
}

#define TINYFED_CHUNK 32u /* rows whose zeros are found at once */

#define ADD_ROW_32(i)                                                                                              \
    const vec_t value = vec_set(x[i]);                                                                             \
    const float *row = w + (size_t)(i) * outputs;                                                                  \
    a = vec_add(a, vec_mul(value, vec_load(row)));                                                                 \
    b = vec_add(b, vec_mul(value, vec_load(row + 8)));                                                             \
    c = vec_add(c, vec_mul(value, vec_load(row + 16)));                                                            \
    d = vec_add(d, vec_mul(value, vec_load(row + 24)))

/* Four vectors of outputs, or one, over all rows. */
TINYFED_INLINE void add_rows_32(float *y, const float *from, const float *x, const float *w, uint32_t count, size_t outputs)
{
    vec_t a = vec_load(from), b = vec_load(from + 8), c = vec_load(from + 16), d = vec_load(from + 24);
    uint32_t first = 0;
    for (; first + TINYFED_LANES <= count; first += TINYFED_CHUNK) {
        uint32_t live = nonzero_bits(x + first, count - first < TINYFED_CHUNK ? count - first : TINYFED_CHUNK);
        for (; live != 0; live &= live - 1u) {
            const uint32_t i = first + (uint32_t)__builtin_ctz(live);
            ADD_ROW_32(i);
        }
    }
    for (; first < count; first++) {
        if (x[first] == 0.0f) continue;
        ADD_ROW_32(first);
    }
    vec_store(y, a);
    vec_store(y + 8, b);
    vec_store(y + 16, c);
    vec_store(y + 24, d);
}

TINYFED_INLINE void add_rows_8(float *y, const float *from, const float *x, const float *w, uint32_t count, size_t outputs,
                               uint32_t lanes)
{
    vec_t a = load_up_to(from, lanes);
    for (uint32_t first = 0; first < count; first += TINYFED_CHUNK) {
        uint32_t live = nonzero_bits(x + first, count - first < TINYFED_CHUNK ? count - first : TINYFED_CHUNK);
        for (; live != 0; live &= live - 1u) {
            const uint32_t i = first + (uint32_t)__builtin_ctz(live);
            a = vec_add(a, vec_mul(vec_set(x[i]), load_up_to(w + i * outputs, lanes)));
        }
    }
    store_up_to(y, a, lanes);
}

/* y[outputs] = from[outputs] + the rows of w[count][outputs], each times its x; rows with x == 0 are skipped. */
TINYFED_INLINE void add_rows(float *y, const float *from, const float *x, const float *w, uint32_t count, uint32_t outputs)
{
    uint32_t o = 0;
    for (; o + 32u <= outputs; o += 32u) add_rows_32(y + o, from + o, x, w + o, count, outputs);
    for (; o + 8u <= outputs; o += 8u) add_rows_8(y + o, from + o, x, w + o, count, outputs, 8);
    if (o < outputs) add_rows_8(y + o, from + o, x, w + o, count, outputs, outputs - o);
}

/* lanes + a * b over count values. */
TINYFED_INLINE vec_t add_products(vec_t lanes, const float *a, const float *b, uint32_t count)
{
    uint32_t k = 0;
    for (; k + TINYFED_LANES <= count; k += TINYFED_LANES)
        lanes = vec_add(lanes, vec_mul(vec_load(a + k), vec_load(b + k)));
    if (k < count) lanes = vec_add(lanes, vec_mul(vec_load_part(a + k, count - k), vec_load_part(b + k, count - k)));
    return lanes;
}

/* to += scale * d_y */
TINYFED_INLINE void add_scaled(float *to, const float *d_y, float scale, uint32_t count)
{
    const vec_t s = vec_set(scale);
    for (; count >= TINYFED_LANES; count -= TINYFED_LANES, to += TINYFED_LANES, d_y += TINYFED_LANES)
        vec_store(to, vec_add(vec_load(to), vec_mul(s, vec_load(d_y))));
    if (count == 1)
        *to += scale * *d_y;
    else if (count != 0)
        vec_store_part(to, vec_add(vec_load_part(to, count), vec_mul(s, vec_load_part(d_y, count))), count);
}

/* Give gradients[0..count) for the values k.. of the input, which are x[0..count); count <= 32. */
TINYFED_INLINE void give_gradients(const tinyfed_input_gradient_t *to, uint32_t k, const float *x, const float *gradients,
                                   uint32_t count)
{
    float *d_x = to->d_x + k;
    const uint8_t derivative = to->derivative;
    if (to->adds || (derivative != TINYFED_RELU && derivative != TINYFED_TANH && derivative != TINYFED_LINEAR)) {
        for (uint32_t i = 0; i < count; i++) tinyfed_give_gradient(to, k + i, x[i], gradients[i]);
    } else if (derivative == TINYFED_RELU) {
        TINYFED_UNROLL_4
        for (uint32_t i = 0; i < count; i += TINYFED_LANES) {
            const vec_t dead = vec_is_zero(load_up_to(x + i, count - i));
            store_up_to(d_x + i, vec_clear(load_up_to(gradients + i, count - i), dead), count - i);
        }
    } else {
        const vec_t one = vec_set(1.0f);
        for (uint32_t i = 0; i < count; i += TINYFED_LANES) {
            const vec_t value = load_up_to(x + i, count - i);
            vec_t gradient = load_up_to(gradients + i, count - i);
            if (derivative == TINYFED_TANH) gradient = vec_mul(gradient, vec_sub(one, vec_mul(value, value)));
            store_up_to(d_x + i, gradient, count - i);
        }
    }
}

#endif
