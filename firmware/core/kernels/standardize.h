/* Running mean and variance of each value of the network's input (Welford 1962), and the input normalized by them. In
 * builds with TINYFED_INT8, whose heads stand on features of unknown size; others refuse the layer. */
#ifndef TINYFED_KERNELS_STANDARDIZE_H
#define TINYFED_KERNELS_STANDARDIZE_H

#include <stdint.h>

/* parameters: n means, n variances, and how many samples they are of.
 * y = (x - mean) / sqrt(variance). y is not x. */
void tinyfed_standardize_forward_f32(float *y, const float *x, const float *parameters, uint32_t n);

/* Take one sample into the statistics, which forget what is more than `window` samples back. */
void tinyfed_standardize_update_f32(float *parameters, const float *x, uint32_t n, float window);

#endif
