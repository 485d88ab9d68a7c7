/* Eight lanes in two registers of four. Included by a machine's header once it has said what four lanes are. */
#ifndef TINYFED_VECTOR_PAIR_H
#define TINYFED_VECTOR_PAIR_H

#include <string.h>

typedef struct vec {
    four_t low, high;
} vec_t;

#define TINYFED_PAIR(name, operation)                                                                              \
    TINYFED_INLINE vec_t name(vec_t a, vec_t b)                                                                    \
    {                                                                                                              \
        const vec_t result = {operation(a.low, b.low), operation(a.high, b.high)};                                 \
        return result;                                                                                             \
    }

TINYFED_INLINE vec_t vec_set(float value)
{
    const vec_t result = {TINYFED_FOUR_SET(value), TINYFED_FOUR_SET(value)};
    return result;
}

TINYFED_INLINE vec_t vec_zero(void) { return vec_set(0.0f); }

TINYFED_INLINE vec_t vec_load(const float *p)
{
    const vec_t result = {TINYFED_FOUR_LOAD(p), TINYFED_FOUR_LOAD(p + 4)};
    return result;
}

TINYFED_INLINE void vec_store(float *p, vec_t v)
{
    TINYFED_FOUR_STORE(p, v.low);
    TINYFED_FOUR_STORE(p + 4, v.high);
}

/* The first count < 8 lanes; the others are +0. */
TINYFED_INLINE vec_t vec_load_part(const float *p, uint32_t count)
{
    float lanes[8] = {0};
    memcpy(lanes, p, count * sizeof *p);
    return vec_load(lanes);
}

TINYFED_INLINE void vec_store_part(float *p, vec_t v, uint32_t count)
{
    float lanes[8];
    vec_store(lanes, v);
    memcpy(p, lanes, count * sizeof *p);
}

#endif
