/* Max and average pools. What lies outside the input does not count. A global average is one window. */
#ifndef TINYFED_KERNELS_POOL_H
#define TINYFED_KERNELS_POOL_H

#include "input_gradient.h"
#include "window.h"

void tinyfed_max_pool_forward_f32(float *y, const float *x, const tinyfed_window_t *window);
/* Of equal values the first takes the gradient. x is read: d_x is not x. */
void tinyfed_max_pool_backward_f32(const tinyfed_input_gradient_t *input, const float *x, const float *d_y,
                                   const tinyfed_window_t *window);

void tinyfed_average_pool_forward_f32(float *y, const float *x, const tinyfed_window_t *window);
/* d_x may be x. */
void tinyfed_average_pool_backward_f32(const tinyfed_input_gradient_t *input, const float *x, const float *d_y,
                                       const tinyfed_window_t *window);

#endif
