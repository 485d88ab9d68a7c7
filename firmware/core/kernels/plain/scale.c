#include "kernels/scale.h"

void tinyfed_scale_forward_f32(float *y, const float *x, const float *scale, const float *shift, uint32_t pixels,
                               uint32_t channels)
{
    for (uint32_t pixel = 0; pixel < pixels; pixel++, x += channels, y += channels)
        for (uint32_t c = 0; c < channels; c++) y[c] = shift != NULL ? x[c] * scale[c] + shift[c] : x[c] * scale[c];
}

void tinyfed_scale_backward_f32(const tinyfed_input_gradient_t *input, const float *scale, float *to_scale,
                                float *to_shift, const float *x, const float *d_y, float factor, uint32_t pixels,
                                uint32_t channels)
{
    const size_t count = (size_t)pixels * channels;
    for (uint32_t c = 0; c < channels; c++) {
        float scale_sum = 0.0f, shift_sum = 0.0f;
        for (size_t k = c; k < count && to_scale != NULL; k += channels) scale_sum += d_y[k] * x[k];
        for (size_t k = c; k < count && to_shift != NULL; k += channels) shift_sum += d_y[k];
        for (size_t k = c; k < count && input->d_x != NULL; k += channels)
            tinyfed_give_gradient(input, (uint32_t)k, x[k], d_y[k] * scale[c]);
        if (to_scale != NULL) to_scale[c] += factor * scale_sum;
        if (to_shift != NULL) to_shift[c] += factor * shift_sum;
    }
}
