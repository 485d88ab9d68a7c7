/* Fully connected layers: y = x W + b, W[inputs][outputs]. */
#ifndef TINYFED_DENSE_H
#define TINYFED_DENSE_H

#include "gradient.h"

/* y[outputs] from x[inputs]; bias may be NULL. */
void tinyfed_dense_forward_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                               uint32_t outputs);

/* One backward step. What learns is changed by factor times its gradient: online, the weights themselves by -rate
 * times it (the input's gradient is of the weights before); in a batch, a gradient buffer by 1 times it. */
typedef struct tinyfed_dense_step {
    tinyfed_input_gradient_t input; /* d_x may be x itself */
    const float *weights;           /* [inputs][outputs] */
    float *to_weights;              /* NULL: frozen; may be the weights */
    float *to_bias;                 /* NULL: there is none or it is frozen */
    const float *x;                 /* [inputs] */
    const float *d_y;               /* [outputs] */
    uint32_t inputs, outputs;
    float factor;
} tinyfed_dense_step_t;

void tinyfed_dense_backward_f32(const tinyfed_dense_step_t *step);

#endif
