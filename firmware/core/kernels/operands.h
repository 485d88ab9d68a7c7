/* Where the values of one layer lie: found from its record before a kernel is called. */
#ifndef TINYFED_KERNELS_OPERANDS_H
#define TINYFED_KERNELS_OPERANDS_H

#include <stdbool.h>
#include <stdint.h>

/* An engine on a 64-bit machine finds the places of so many layers once, when it is opened. 0: in every step, where RAM
 * is dearer than about 200 instructions a layer. */
#if UINTPTR_MAX > 0xFFFFFFFFu
#define TINYFED_KEPT_LAYERS 16u
#else
#define TINYFED_KEPT_LAYERS 0
#endif

typedef struct tinyfed_forward_operands {
    const float *x;
    float *y;
    const float *weights;
    const float *bias;        /* NULL: there is none */
    uint32_t inputs, outputs; /* values of x and y */
} tinyfed_forward_operands_t;

typedef struct tinyfed_input_gradient {
    float *d_x;         /* NULL: not needed */
    float alpha;        /* of derivative */
    uint8_t derivative; /* activation that made x: its derivative finishes d_x; linear when others will still add */
    bool adds;          /* d_x holds what other consumers of x gave */
} tinyfed_input_gradient_t;

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

#endif
