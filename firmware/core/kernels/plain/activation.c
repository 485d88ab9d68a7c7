#include "kernels/activation.h"

extern inline float tinyfed_derive(uint8_t activation, float alpha, float y, float g);

/* NaN stays NaN: comparisons with it are false. */
void tinyfed_activate_plain_f32(float *y, uint32_t count, uint8_t activation, float alpha)
{
    switch (activation) {
    case TINYFED_RELU:
        for (uint32_t k = 0; k < count; k++) y[k] = y[k] <= 0.0f ? 0.0f : y[k];
        break;
    case TINYFED_TANH:
        for (uint32_t k = 0; k < count; k++) y[k] = tinyfed_tanh_f32(y[k]);
        break;
    case TINYFED_RELU6:
        for (uint32_t k = 0; k < count; k++) y[k] = y[k] < 0.0f ? 0.0f : y[k] > 6.0f ? 6.0f : y[k];
        break;
    case TINYFED_LEAKY_RELU:
        for (uint32_t k = 0; k < count; k++) y[k] = y[k] < 0.0f ? y[k] * alpha : y[k];
        break;
    case TINYFED_SIGMOID:
        for (uint32_t k = 0; k < count; k++) y[k] = 1.0f / (1.0f + tinyfed_exp_f32(-y[k]));
        break;
    default: break;
    }
}
