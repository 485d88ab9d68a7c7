/* Dense layers and activations for any x86-64: two halves of four lanes. */
#include "../bodies.h"

#ifdef TINYFED_BODIES_X86

#include <immintrin.h>

#include "../simd.h"
#include "x86.h"
#define SIMD_TARGET
#define SIMD_NAME(name) name##_sse_f32

SIMD_INLINE uint32_t simd_live(const float *x)
{
    const __m128 zero = _mm_setzero_ps();
    const int low = _mm_movemask_ps(_mm_cmpneq_ps(_mm_loadu_ps(x), zero));
    const int high = _mm_movemask_ps(_mm_cmpneq_ps(_mm_loadu_ps(x + 4), zero));
    return (uint32_t)(low | high << 4);
}

#include "../simd_part.h"

#include "../simd_dense.h"

#include "../simd_activation.h"

#endif
