/* A machine without fast bodies gets the plain ones. */
#include "kernels/machine.h"

#ifdef TINYFED_MACHINE_PLAIN

#include "kernels/activation.h"
#include "kernels/conv2d.h"
#include "kernels/dense.h"

void tinyfed_activate_f32(float *y, uint32_t count, uint8_t activation, float alpha)
{
    tinyfed_activate_plain_f32(y, count, activation, alpha);
}

void tinyfed_dense_forward_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                               uint32_t outputs)
{
    tinyfed_dense_forward_plain_f32(y, x, weights, bias, inputs, outputs);
}

void tinyfed_dense_backward_f32(const tinyfed_dense_step_t *step) { tinyfed_dense_backward_plain_f32(step); }

void tinyfed_conv2d_forward_f32(float *y, const float *x, const float *weights, const float *bias,
                                const tinyfed_window_t *window)
{
    tinyfed_conv2d_forward_plain_f32(y, x, weights, bias, window);
}

void tinyfed_conv2d_input_gradient_f32(const tinyfed_input_gradient_t *input, const float *x, const float *weights,
                                       const float *d_y, const tinyfed_window_t *window)
{
    tinyfed_conv2d_input_gradient_plain_f32(input, x, weights, d_y, window);
}

void tinyfed_conv2d_weight_gradient_f32(float *to_weights, float *to_bias, const float *x, const float *d_y,
                                        float factor, const tinyfed_window_t *w)
{
    tinyfed_conv2d_weight_gradient_plain_f32(to_weights, to_bias, x, d_y, factor, w);
}

#endif
