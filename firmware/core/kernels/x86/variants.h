/* The bodies between which dispatch.c chooses. */
#ifndef TINYFED_KERNELS_X86_VARIANTS_H
#define TINYFED_KERNELS_X86_VARIANTS_H

#include "kernels/conv2d.h"
#include "kernels/dense.h"

#define TINYFED_DECLARE(suffix)                                                                                        \
    void tinyfed_activate_f32_##suffix(float *y, uint32_t count, uint8_t activation, float alpha);                     \
    void tinyfed_dense_forward_f32_##suffix(float *y, const float *x, const float *weights, const float *bias,         \
                                            uint32_t inputs, uint32_t outputs);                                        \
    void tinyfed_dense_backward_f32_##suffix(const tinyfed_dense_step_t *step);                                        \
    void tinyfed_conv2d_forward_f32_##suffix(float *y, const float *x, const float *weights, const float *bias,        \
                                             const tinyfed_window_t *window);                                          \
    void tinyfed_conv2d_input_gradient_f32_##suffix(const tinyfed_input_gradient_t *input, const float *x,             \
                                                    const float *weights, const float *d_y,                            \
                                                    const tinyfed_window_t *window);                                   \
    void tinyfed_conv2d_weight_gradient_f32_##suffix(float *to_weights, float *to_bias, const float *x,                \
                                                     const float *d_y, float factor, const tinyfed_window_t *window);

TINYFED_DECLARE(sse2)
TINYFED_DECLARE(avx2)

#endif
