/* Dense layers and activations for aarch64: two halves of four lanes. */
#include "../bodies.h"

#ifdef TINYFED_BODIES_NEON

#include <arm_neon.h>

#include "../simd.h"
#define SIMD_TARGET
#define SIMD_NAME(name) name##_f32

SIMD_INLINE uint32_t simd_live(const float *x)
{
    static const uint32_t bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint32x4_t low = vbicq_u32(vld1q_u32(bits), vceqzq_f32(vld1q_f32(x)));
    const uint32x4_t high = vbicq_u32(vld1q_u32(bits + 4), vceqzq_f32(vld1q_f32(x + 4)));
    return vaddvq_u32(vorrq_u32(low, high));
}

#include "../simd_part.h"

#include "../simd_dense.h"

#include "../simd_activation.h"

#endif
