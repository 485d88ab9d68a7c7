/* Scale and shift of each channel: y = x s + b; what remains of a batch normalization. */
#ifndef TINYFED_KERNELS_SCALE_H
#define TINYFED_KERNELS_SCALE_H

#include "input_gradient.h"

/* y may be x; shift may be NULL. */
void tinyfed_scale_forward_f32(float *y, const float *x, const float *scale, const float *shift, uint32_t pixels,
                               uint32_t channels);

/* Factor times the gradients to to_scale and to_shift, each NULL where frozen; to_scale may be the scale: the input's
 * gradient is of the scale before. input->d_x may be NULL or d_y. */
void tinyfed_scale_backward_f32(const tinyfed_input_gradient_t *input, const float *scale, float *to_scale,
                                float *to_shift, const float *x, const float *d_y, float factor, uint32_t pixels,
                                uint32_t channels);

#endif
