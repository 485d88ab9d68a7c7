/* What a backward step does with the gradient of its input. */
#ifndef TINYFED_GRADIENT_H
#define TINYFED_GRADIENT_H

#include "activation.h"

typedef struct tinyfed_input_gradient {
    float *d_x;         /* NULL: not needed */
    float alpha;        /* of derivative */
    uint8_t derivative; /* activation that made x: its derivative finishes d_x; linear when others will still add */
    bool adds;          /* d_x holds what other consumers of x gave */
} tinyfed_input_gradient_t;

/* Give value k of the gradient; x is the value it belongs to. */
static inline void tinyfed_give_gradient(const tinyfed_input_gradient_t *to, uint32_t k, float x, float gradient)
{
    if (to->adds) gradient = to->d_x[k] + gradient;
    to->d_x[k] = tinyfed_derive(to->derivative, to->alpha, x, gradient);
}

#endif
