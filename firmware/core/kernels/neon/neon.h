/* Eight lanes in two registers of NEON on aarch64. */
#ifndef TINYFED_KERNELS_NEON_NEON_H
#define TINYFED_KERNELS_NEON_NEON_H

#include <arm_neon.h>
#include <stdint.h>

#define TINYFED_TARGET
#define TINYFED_INLINE static inline __attribute__((always_inline))
#define TINYFED_BODY(name) name

typedef float32x4_t four_t;
#define TINYFED_FOUR_SET vdupq_n_f32
#define TINYFED_FOUR_LOAD vld1q_f32
#define TINYFED_FOUR_STORE vst1q_f32
#define VEC_SETTLE(v) __asm volatile("" : "+w"((v).low), "+w"((v).high))

#include "kernels/vector/pair.inc"

#define TINYFED_BITWISE(name, operation)                                                                               \
    TINYFED_INLINE float32x4_t name##_four(float32x4_t a, float32x4_t b)                                               \
    {                                                                                                                  \
        return vreinterpretq_f32_u32(operation(vreinterpretq_u32_f32(a), vreinterpretq_u32_f32(b)));                   \
    }                                                                                                                  \
    TINYFED_PAIR(name, name##_four)

TINYFED_PAIR(vec_add, vaddq_f32)
TINYFED_PAIR(vec_sub, vsubq_f32)
TINYFED_PAIR(vec_mul, vmulq_f32)
TINYFED_PAIR(vec_div, vdivq_f32)
/* NaN stays. */
TINYFED_PAIR(vec_min, vminq_f32)
TINYFED_BITWISE(vec_and, vandq_u32)
TINYFED_BITWISE(vec_or, vorrq_u32)
/* Without the bits of `mask`. */
TINYFED_BITWISE(vec_clear, vbicq_u32)

/* All bits where it holds; NaN is neither. */
TINYFED_INLINE vec_t vec_is_zero(vec_t v)
{
    const vec_t result = {vreinterpretq_f32_u32(vceqzq_f32(v.low)), vreinterpretq_f32_u32(vceqzq_f32(v.high))};
    return result;
}

TINYFED_INLINE vec_t vec_not_above_zero(vec_t v)
{
    const vec_t result = {vreinterpretq_f32_u32(vclezq_f32(v.low)), vreinterpretq_f32_u32(vclezq_f32(v.high))};
    return result;
}

/* A bit a lane. */
TINYFED_INLINE uint32_t vec_bits(vec_t mask)
{
    static const uint32_t low_bits[4] = {1, 2, 4, 8}, high_bits[4] = {16, 32, 64, 128};
    return vaddvq_u32(vandq_u32(vreinterpretq_u32_f32(mask.low), vld1q_u32(low_bits))) |
           vaddvq_u32(vandq_u32(vreinterpretq_u32_f32(mask.high), vld1q_u32(high_bits)));
}

/* The sums of four reductions, in the order of reduce.h. */
TINYFED_INLINE void vec_sum_four(float sums[4], vec_t a, vec_t b, vec_t c, vec_t d)
{
    const float32x4_t a4 = vaddq_f32(a.low, a.high), b4 = vaddq_f32(b.low, b.high);
    const float32x4_t c4 = vaddq_f32(c.low, c.high), d4 = vaddq_f32(d.low, d.high);
    /* a0 b0 a1 b1 + a2 b2 a3 b3 */
    const float32x4_t ab = vaddq_f32(vzip1q_f32(a4, b4), vzip2q_f32(a4, b4));
    const float32x4_t cd = vaddq_f32(vzip1q_f32(c4, d4), vzip2q_f32(c4, d4));
    vst1q_f32(sums, vaddq_f32(vcombine_f32(vget_low_f32(ab), vget_low_f32(cd)),
                              vcombine_f32(vget_high_f32(ab), vget_high_f32(cd))));
}

TINYFED_INLINE float vec_sum(vec_t v)
{
    const float32x4_t four = vaddq_f32(v.low, v.high);
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

#endif
