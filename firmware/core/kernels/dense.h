/* Fully connected layers: y = x W + b, W[inputs][outputs]. */
#ifndef TINYFED_KERNELS_DENSE_H
#define TINYFED_KERNELS_DENSE_H

#include "input_gradient.h"

/* y[outputs] from x[inputs]; bias may be NULL. */
void tinyfed_dense_forward_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                               uint32_t outputs);

void tinyfed_dense_backward_f32(const tinyfed_dense_step_t *step);

void tinyfed_dense_forward_plain_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                                     uint32_t outputs);
void tinyfed_dense_backward_plain_f32(const tinyfed_dense_step_t *step);

#endif
