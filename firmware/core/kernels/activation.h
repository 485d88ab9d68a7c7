/* Activations value by value, and over arrays. The derivative is a function of the output y. */
#ifndef TINYFED_KERNELS_ACTIVATION_H
#define TINYFED_KERNELS_ACTIVATION_H

#include "model/image.h"

/* y[0..count) in place. alpha is leaky ReLU's slope. */
void tinyfed_activate_f32(float *y, uint32_t count, uint8_t activation, float alpha);

void tinyfed_activate_plain_f32(float *y, uint32_t count, uint8_t activation, float alpha);

/* Gradient of the value before the activation: from g, the gradient of y, and y. */
inline float tinyfed_derive(uint8_t activation, float alpha, float y, float g)
{
    switch (activation) {
    case TINYFED_RELU: return y == 0.0f ? 0.0f : g;
    case TINYFED_TANH: return g * (1.0f - y * y);
    case TINYFED_RELU6: return y == 0.0f || y == 6.0f ? 0.0f : g;
    case TINYFED_LEAKY_RELU: return y < 0.0f ? g * alpha : g;
    case TINYFED_SIGMOID: return g * (y * (1.0f - y));
    default: return g;
    }
}

#endif
