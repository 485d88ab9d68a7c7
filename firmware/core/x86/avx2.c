/* Dense layers and activations for x86-64 with AVX2; used where the processor has it. */
#include "../bodies.h"

#ifdef TINYFED_BODIES_X86

#include <immintrin.h>

#include "../simd.h"
#include "x86.h"
#define SIMD_TARGET __attribute__((target("avx2")))
#define SIMD_NAME(name) name##_avx2_f32

SIMD_INLINE uint32_t simd_live(const float *x)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x), _mm256_setzero_ps(), _CMP_NEQ_UQ));
}

SIMD_INLINE __m256i first_lanes(uint32_t count)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
}

SIMD_INLINE void simd_load_part(v8_t *v, const float *x, uint32_t count)
{
    *v = (v8_t)_mm256_maskload_ps(x, first_lanes(count));
}

SIMD_INLINE void simd_store_part(float *x, const v8_t *v, uint32_t count)
{
    _mm256_maskstore_ps(x, first_lanes(count), (__m256)*v);
}

#include "../simd_dense.h"

#include "../simd_activation.h"

#endif
