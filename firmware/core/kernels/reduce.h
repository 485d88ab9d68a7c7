/* The one order in which products are summed (docs/architecture.md, "Arithmetic"). */
#ifndef TINYFED_KERNELS_REDUCE_H
#define TINYFED_KERNELS_REDUCE_H

#include <stdint.h>

#define TINYFED_LANES 8u

static inline float tinyfed_sum_lanes(const float a[TINYFED_LANES])
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

/* Add a[k] * b[k] to the lanes, k = 0..count-1. */
static inline void tinyfed_dot_lanes(float lanes[TINYFED_LANES], const float *a, const float *b, uint32_t count)
{
    uint32_t k = 0;
    for (; k + TINYFED_LANES <= count; k += TINYFED_LANES)
        for (uint32_t lane = 0; lane < TINYFED_LANES; lane++) lanes[lane] += a[k + lane] * b[k + lane];
    for (uint32_t lane = 0; k + lane < count; lane++) lanes[lane] += a[k + lane] * b[k + lane];
}

static inline float tinyfed_dot(const float *a, const float *b, uint32_t count)
{
    float lanes[TINYFED_LANES] = {0};
    tinyfed_dot_lanes(lanes, a, b, count);
    return tinyfed_sum_lanes(lanes);
}

#endif
