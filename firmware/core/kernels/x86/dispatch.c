/* Which body an x86-64 processor gets: AVX2 where processor and system have it, else SSE2. */
#include "kernels/machine.h"

#ifdef TINYFED_MACHINE_X86

#include "avx2_support.h"
#include "variants.h"

/* Asked once; every thread finds the same. */
static inline __attribute__((always_inline)) bool knows_avx2(void)
{
    static int known; /* 0: not yet, 1: no, 2: yes */
    int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (__builtin_expect(answer == 0, 0)) {
        answer = tinyfed_has_avx2() ? 2 : 1;
        __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
    }
    return answer == 2;
}

void tinyfed_activate_f32(float *y, uint32_t count, uint8_t activation, float alpha)
{
    if (knows_avx2()) tinyfed_activate_f32_avx2(y, count, activation, alpha);
    else tinyfed_activate_f32_sse2(y, count, activation, alpha);
}

void tinyfed_dense_forward_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                               uint32_t outputs)
{
    if (knows_avx2()) tinyfed_dense_forward_f32_avx2(y, x, weights, bias, inputs, outputs);
    else tinyfed_dense_forward_f32_sse2(y, x, weights, bias, inputs, outputs);
}

void tinyfed_dense_backward_f32(const tinyfed_dense_step_t *step)
{
    if (knows_avx2()) tinyfed_dense_backward_f32_avx2(step);
    else tinyfed_dense_backward_f32_sse2(step);
}

void tinyfed_conv2d_forward_f32(float *y, const float *x, const float *weights, const float *bias,
                                const tinyfed_window_t *window)
{
    if (knows_avx2()) tinyfed_conv2d_forward_f32_avx2(y, x, weights, bias, window);
    else tinyfed_conv2d_forward_f32_sse2(y, x, weights, bias, window);
}

void tinyfed_conv2d_input_gradient_f32(const tinyfed_input_gradient_t *input, const float *x, const float *weights,
                                       const float *d_y, const tinyfed_window_t *window)
{
    if (knows_avx2()) tinyfed_conv2d_input_gradient_f32_avx2(input, x, weights, d_y, window);
    else tinyfed_conv2d_input_gradient_f32_sse2(input, x, weights, d_y, window);
}

void tinyfed_conv2d_weight_gradient_f32(float *to_weights, float *to_bias, const float *x, const float *d_y,
                                        float factor, const tinyfed_window_t *window)
{
    if (knows_avx2()) tinyfed_conv2d_weight_gradient_f32_avx2(to_weights, to_bias, x, d_y, factor, window);
    else tinyfed_conv2d_weight_gradient_f32_sse2(to_weights, to_bias, x, d_y, factor, window);
}

#endif
