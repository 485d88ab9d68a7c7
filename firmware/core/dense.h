/* Fully connected layers: y = x W + b, W[inputs][outputs]. */
#ifndef TINYFED_DENSE_H
#define TINYFED_DENSE_H

#include "activation.h"

/* y[outputs] from x[inputs]; bias may be NULL. */
void tinyfed_dense_forward_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                               uint32_t outputs);

/* One backward step, fused with the update of what learns. */
typedef struct tinyfed_dense_step {
    float *d_x;         /* [inputs], or NULL: the gradient of the input is not needed; may be x itself */
    float *weights;     /* [inputs][outputs] */
    float *bias;        /* [outputs], or NULL: there is none or it is frozen */
    const float *x;     /* [inputs] */
    const float *d_y;   /* [outputs] */
    uint32_t inputs, outputs;
    float rate;
    float alpha;        /* of derivative */
    uint8_t derivative; /* activation that made x: its derivative finishes d_x; linear when others will add to it */
    bool adds;          /* d_x holds what other consumers of x gave */
    bool trains;        /* the weights learn */
} tinyfed_dense_step_t;

void tinyfed_dense_backward_f32(const tinyfed_dense_step_t *step);

#endif
