/* Eight lanes in one register of AVX2. FMA is left out on purpose: it would round once where the others round twice. */
#ifndef TINYFED_KERNELS_X86_AVX2_H
#define TINYFED_KERNELS_X86_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define TINYFED_TARGET __attribute__((target("avx2,bmi")))
#define TINYFED_INLINE static inline __attribute__((always_inline, target("avx2,bmi")))
#define TINYFED_BODY(name) name##_avx2

typedef __m256 vec_t;

TINYFED_INLINE vec_t vec_zero(void) { return _mm256_setzero_ps(); }
TINYFED_INLINE vec_t vec_set(float value) { return _mm256_set1_ps(value); }
TINYFED_INLINE vec_t vec_load(const float *p) { return _mm256_loadu_ps(p); }
TINYFED_INLINE void vec_store(float *p, vec_t v) { _mm256_storeu_ps(p, v); }
TINYFED_INLINE vec_t vec_add(vec_t a, vec_t b) { return _mm256_add_ps(a, b); }
TINYFED_INLINE vec_t vec_sub(vec_t a, vec_t b) { return _mm256_sub_ps(a, b); }
TINYFED_INLINE vec_t vec_mul(vec_t a, vec_t b) { return _mm256_mul_ps(a, b); }
TINYFED_INLINE vec_t vec_div(vec_t a, vec_t b) { return _mm256_div_ps(a, b); }
TINYFED_INLINE vec_t vec_and(vec_t a, vec_t b) { return _mm256_and_ps(a, b); }
TINYFED_INLINE vec_t vec_or(vec_t a, vec_t b) { return _mm256_or_ps(a, b); }
/* Without the bits of `mask`. */
TINYFED_INLINE vec_t vec_clear(vec_t v, vec_t mask) { return _mm256_andnot_ps(mask, v); }
/* The value is needed now: without it GCC keeps what is multiplied and adds it up at the end, from the stack. */
#define VEC_SETTLE(v) __asm volatile("" : "+x"(v))
/* a < b ? a : b, so NaN in b stays. */
TINYFED_INLINE vec_t vec_min(vec_t a, vec_t b) { return _mm256_min_ps(a, b); }
/* All bits where it holds; NaN is neither. */
TINYFED_INLINE vec_t vec_is_zero(vec_t v) { return _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_EQ_OQ); }
TINYFED_INLINE vec_t vec_not_above_zero(vec_t v) { return _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LE_OQ); }
/* A bit a lane. */
TINYFED_INLINE uint32_t vec_bits(vec_t mask) { return (uint32_t)_mm256_movemask_ps(mask); }

TINYFED_INLINE __m256i vec_lanes_below(uint32_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first count < 8 lanes; the others are +0. */
TINYFED_INLINE vec_t vec_load_part(const float *p, uint32_t count)
{
    return _mm256_maskload_ps(p, vec_lanes_below(count));
}
TINYFED_INLINE void vec_store_part(float *p, vec_t v, uint32_t count)
{
    _mm256_maskstore_ps(p, vec_lanes_below(count), v);
}

/* The sums of four reductions, in the order of reduce.h. */
TINYFED_INLINE void vec_sum_four(float sums[4], vec_t a, vec_t b, vec_t c, vec_t d)
{
    const __m128 a4 = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 b4 = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
    const __m128 c4 = _mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1));
    const __m128 d4 = _mm_add_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps(d, 1));
    const __m128 ab_low = _mm_unpacklo_ps(a4, b4), ab_high = _mm_unpackhi_ps(a4, b4); /* a0 b0 a1 b1; a2 b2 a3 b3 */
    const __m128 cd_low = _mm_unpacklo_ps(c4, d4), cd_high = _mm_unpackhi_ps(c4, d4);
    const __m128 ab = _mm_add_ps(ab_low, ab_high), cd = _mm_add_ps(cd_low, cd_high); /* a02 b02 a13 b13 */
    _mm_storeu_ps(sums, _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
}

TINYFED_INLINE float vec_sum(vec_t v)
{
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#endif
