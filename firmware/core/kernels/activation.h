/* Activations value by value, and over arrays. The derivative is a function of the output y. */
#ifndef TINYFED_ACTIVATION_H
#define TINYFED_ACTIVATION_H

#include "model/image.h"

/* y[0..count) in place. alpha is leaky ReLU's slope. */
void tinyfed_activate_f32(float *y, uint32_t count, uint8_t activation, float alpha);

/* The plain body under its own name, where a build has a fast one. */
void tinyfed_activate_plain_f32(float *y, uint32_t count, uint8_t activation, float alpha);

/* Gradient of the value before the activation: from g, the gradient of y, and y. A build for dense nets alone has it
 * once: its fast bodies derive by themselves what nets mostly use. */
#ifdef TINYFED_DENSE_ONLY
float tinyfed_derive(uint8_t activation, float alpha, float y, float g);
#else
#define TINYFED_DERIVE_LINKAGE static inline
#include "derive.inc"
#endif

#endif
