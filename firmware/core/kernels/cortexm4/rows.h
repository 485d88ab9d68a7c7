/* Shared by the bodies for a Cortex-M4F. */
#ifndef TINYFED_KERNELS_CORTEXM4_ROWS_H
#define TINYFED_KERNELS_CORTEXM4_ROWS_H

#include <stdint.h>

/* Enough for the widest strip. */
extern const float tinyfed_zeros[16];

/* y[outputs] = from[outputs] + the rows of weights[count][outputs], each times its x; rows with x == 0 are skipped. */
void tinyfed_add_rows(float *y, const float *from, const float *x, const float *weights, uint32_t count,
                      uint32_t outputs);

#endif
