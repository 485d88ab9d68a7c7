/* What a backward step does with the gradient of its input. */
#ifndef TINYFED_KERNELS_INPUT_GRADIENT_H
#define TINYFED_KERNELS_INPUT_GRADIENT_H

#include "activation.h"

/* Give value k of the gradient; x is the value it belongs to. */
static inline void tinyfed_give_gradient(const tinyfed_input_gradient_t *to, uint32_t k, float x, float gradient)
{
    if (to->adds) gradient = to->d_x[k] + gradient;
    to->d_x[k] = tinyfed_derive(to->derivative, to->alpha, x, gradient);
}

#endif
