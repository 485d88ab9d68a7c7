/* Two-dimensional convolution: x[h][w][in], W[kernel h][kernel w][in][out], y[h][w][out]. */
#ifndef TINYFED_KERNELS_CONV2D_H
#define TINYFED_KERNELS_CONV2D_H

#include "input_gradient.h"
#include "window.h"

/* bias may be NULL. */
void tinyfed_conv2d_forward_f32(float *y, const float *x, const float *weights, const float *bias,
                                const tinyfed_window_t *window);

/* The gradient of the input: must come before the weights change. x is read where a derivative is to be applied;
 * input->d_x may be x. */
void tinyfed_conv2d_input_gradient_f32(const tinyfed_input_gradient_t *input, const float *x, const float *weights,
                                       const float *d_y, const tinyfed_window_t *window);

/* to_weights += factor * gradient, which is summed over all pixels first; to_bias likewise. Either may be NULL. */
void tinyfed_conv2d_weight_gradient_f32(float *to_weights, float *to_bias, const float *x, const float *d_y,
                                        float factor, const tinyfed_window_t *window);

void tinyfed_conv2d_forward_plain_f32(float *y, const float *x, const float *weights, const float *bias,
                                      const tinyfed_window_t *window);
void tinyfed_conv2d_input_gradient_plain_f32(const tinyfed_input_gradient_t *input, const float *x,
                                             const float *weights, const float *d_y, const tinyfed_window_t *window);
void tinyfed_conv2d_weight_gradient_plain_f32(float *to_weights, float *to_bias, const float *x, const float *d_y,
                                              float factor, const tinyfed_window_t *window);

/* to_bias[channels] += factor * the sum of d_y over `pixels`. */
void tinyfed_bias_gradient_f32(float *to_bias, const float *d_y, float factor, uint32_t pixels, uint32_t channels);

#endif
