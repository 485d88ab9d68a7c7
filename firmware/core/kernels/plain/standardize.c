#include "kernels/standardize.h"

#include "math/sqrt.h"

/* Guards against a variance that is not above 0, which an aggregation on a host may make. */
#define SMALLEST_VARIANCE 1e-12f

void tinyfed_standardize_forward_f32(float *y, const float *x, const float *parameters, uint32_t n)
{
    const float *mean = parameters, *variance = parameters + n;
    for (uint32_t k = 0; k < n; k++)
        y[k] = (x[k] - mean[k]) / tinyfed_sqrt(variance[k] > SMALLEST_VARIANCE ? variance[k] : SMALLEST_VARIANCE);
}

/* The variance counts one sample more than the mean: the one it began with. So it is never that of a single sample, 0.
 */
void tinyfed_standardize_update_f32(float *parameters, const float *x, uint32_t n, float window)
{
    float *mean = parameters, *variance = parameters + n, *count = parameters + 2u * n;
    float samples = *count > 0.0f ? *count + 1.0f : 1.0f;
    if (samples > window) samples = window;
    const float mean_share = 1.0f / samples, variance_share = 1.0f / (samples + 1.0f);
    for (uint32_t k = 0; k < n; k++) {
        const float before = x[k] - mean[k];
        mean[k] += before * mean_share;
        variance[k] += (before * (x[k] - mean[k]) - variance[k]) * variance_share;
    }
    *count = samples;
}
