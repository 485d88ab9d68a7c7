/* AVX2 where this processor and its operating system have it. TINYFED_NO_AVX2 builds the other half alone. */
#include "../bodies.h"

#ifdef TINYFED_BODIES_X86

#include "x86.h"

static inline bool has_avx2(void)
{
#ifdef TINYFED_NO_AVX2
    return false;
#else
    return __builtin_cpu_supports("avx2") != 0;
#endif
}

void tinyfed_dense_forward_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                               uint32_t outputs)
{
    if (has_avx2())
        tinyfed_dense_forward_avx2_f32(y, x, weights, bias, inputs, outputs);
    else
        tinyfed_dense_forward_sse_f32(y, x, weights, bias, inputs, outputs);
}

void tinyfed_dense_backward_f32(const tinyfed_dense_step_t *step)
{
    if (has_avx2())
        tinyfed_dense_backward_avx2_f32(step);
    else
        tinyfed_dense_backward_sse_f32(step);
}

void tinyfed_activate_f32(float *y, uint32_t count, uint8_t activation, float alpha)
{
    if (has_avx2())
        tinyfed_activate_avx2_f32(y, count, activation, alpha);
    else
        tinyfed_activate_sse_f32(y, count, activation, alpha);
}

#endif
