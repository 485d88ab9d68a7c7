/* Eight lanes in two registers of SSE2, which every x86-64 has. */
#ifndef TINYFED_KERNELS_X86_SSE2_H
#define TINYFED_KERNELS_X86_SSE2_H

#include <emmintrin.h>
#include <stdint.h>

#define TINYFED_TARGET
#define TINYFED_INLINE static inline __attribute__((always_inline))
#define TINYFED_BODY(name) name##_sse2

typedef __m128 four_t;
#define TINYFED_FOUR_SET _mm_set1_ps
#define TINYFED_FOUR_LOAD _mm_loadu_ps
#define TINYFED_FOUR_STORE _mm_storeu_ps
#define VEC_SETTLE(v) __asm volatile("" : "+x"((v).low), "+x"((v).high))

#include "kernels/vector/pair.inc"

TINYFED_PAIR(vec_add, _mm_add_ps)
TINYFED_PAIR(vec_sub, _mm_sub_ps)
TINYFED_PAIR(vec_mul, _mm_mul_ps)
TINYFED_PAIR(vec_div, _mm_div_ps)
TINYFED_PAIR(vec_and, _mm_and_ps)
TINYFED_PAIR(vec_or, _mm_or_ps)
/* a < b ? a : b, so NaN in b stays. */
TINYFED_PAIR(vec_min, _mm_min_ps)
TINYFED_PAIR(vec_without, _mm_andnot_ps)
TINYFED_PAIR(vec_equal, _mm_cmpeq_ps)
TINYFED_PAIR(vec_not_above, _mm_cmple_ps)

/* Without the bits of `mask`. */
TINYFED_INLINE vec_t vec_clear(vec_t v, vec_t mask) { return vec_without(mask, v); }
/* All bits where it holds; NaN is neither. */
TINYFED_INLINE vec_t vec_is_zero(vec_t v) { return vec_equal(v, vec_zero()); }
TINYFED_INLINE vec_t vec_not_above_zero(vec_t v) { return vec_not_above(v, vec_zero()); }

/* A bit a lane. */
TINYFED_INLINE uint32_t vec_bits(vec_t mask)
{
    return (uint32_t)_mm_movemask_ps(mask.low) | (uint32_t)_mm_movemask_ps(mask.high) << 4;
}

TINYFED_INLINE float vec_sum(vec_t v)
{
    const __m128 four = _mm_add_ps(v.low, v.high);
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* The sums of four reductions, in the order of reduce.h. */
TINYFED_INLINE void vec_sum_four(float sums[4], vec_t a, vec_t b, vec_t c, vec_t d)
{
    sums[0] = vec_sum(a);
    sums[1] = vec_sum(b);
    sums[2] = vec_sum(c);
    sums[3] = vec_sum(d);
}

#endif
