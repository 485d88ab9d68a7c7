/* Depthwise convolution: each channel with its own kernel, W[kernel h][kernel w][channels]. */
#ifndef TINYFED_KERNELS_DEPTHWISE_H
#define TINYFED_KERNELS_DEPTHWISE_H

#include "input_gradient.h"
#include "window.h"

/* As tinyfed_conv2d_*. */
void tinyfed_depthwise_forward_f32(float *y, const float *x, const float *weights, const float *bias,
                                   const tinyfed_window_t *window);
void tinyfed_depthwise_input_gradient_f32(const tinyfed_input_gradient_t *input, const float *x, const float *weights,
                                          const float *d_y, const tinyfed_window_t *window);
void tinyfed_depthwise_weight_gradient_f32(float *to_weights, float *to_bias, const float *x, const float *d_y,
                                           float factor, const tinyfed_window_t *window);

#endif
