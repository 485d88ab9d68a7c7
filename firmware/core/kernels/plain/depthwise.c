#include "kernels/depthwise.h"

#include "kernels/conv2d.h"

void tinyfed_depthwise_forward_f32(float *y, const float *x, const float *weights, const float *bias,
                                   const tinyfed_window_t *w)
{
    const uint32_t channels = w->out.channels;
    for (uint32_t oy = 0; oy < w->out.height; oy++) {
        const tinyfed_range_t rows = tinyfed_taps(oy, w->stride_height, w->pad_top, w->kernel_height, w->in.height);
        for (uint32_t ox = 0; ox < w->out.width; ox++, y += channels) {
            const tinyfed_range_t columns =
                tinyfed_taps(ox, w->stride_width, w->pad_left, w->kernel_width, w->in.width);
            for (uint32_t c = 0; c < channels; c++) y[c] = bias != NULL ? bias[c] : 0.0f;
            for (uint32_t ky = rows.begin; ky < rows.end; ky++)
                for (uint32_t kx = columns.begin; kx < columns.end; kx++) {
                    const uint32_t iy = oy * w->stride_height + ky - w->pad_top,
                                   ix = ox * w->stride_width + kx - w->pad_left;
                    const float *values = x + ((size_t)iy * w->in.width + ix) * channels;
                    const float *tap = weights + ((size_t)ky * w->kernel_width + kx) * channels;
                    for (uint32_t c = 0; c < channels; c++) y[c] += values[c] * tap[c];
                }
        }
    }
}

/* Channel c of the input's gradient at (iy, ix): the taps in order. */
static float gradient_at(const float *weights, const float *d_y, const tinyfed_window_t *w, uint32_t iy, uint32_t ix,
                         uint32_t c)
{
    float sum = 0.0f;
    uint32_t oy, ox;
    const uint32_t channels = w->out.channels;
    for (uint32_t ky = 0; ky < w->kernel_height; ky++) {
        if (!tinyfed_output_at(&oy, iy, ky, w->stride_height, w->pad_top, w->out.height)) continue;
        for (uint32_t kx = 0; kx < w->kernel_width; kx++) {
            if (!tinyfed_output_at(&ox, ix, kx, w->stride_width, w->pad_left, w->out.width)) continue;
            const uint32_t pixel = oy * w->out.width + ox;
            sum += weights[((size_t)ky * w->kernel_width + kx) * channels + c] * d_y[(size_t)pixel * channels + c];
        }
    }
    return sum;
}

void tinyfed_depthwise_input_gradient_f32(const tinyfed_input_gradient_t *input, const float *x, const float *weights,
                                          const float *d_y, const tinyfed_window_t *w)
{
    uint32_t k = 0;
    for (uint32_t iy = 0; iy < w->in.height; iy++)
        for (uint32_t ix = 0; ix < w->in.width; ix++)
            for (uint32_t c = 0; c < w->in.channels; c++, k++)
                tinyfed_give_gradient(input, k, x[k], gradient_at(weights, d_y, w, iy, ix, c));
}

/* Channel c of one tap: the sum over the pixels it meets inside. */
static float gradient_of_tap(const float *x, const float *d_y, const tinyfed_window_t *w, tinyfed_range_t rows,
                             tinyfed_range_t columns, uint32_t ky, uint32_t kx)
{
    float sum = 0.0f;
    const uint32_t channels = w->out.channels;
    for (uint32_t oy = rows.begin; oy < rows.end; oy++)
        for (uint32_t ox = columns.begin; ox < columns.end; ox++) {
            const uint32_t iy = oy * w->stride_height + ky - w->pad_top, ix = ox * w->stride_width + kx - w->pad_left;
            sum += x[((size_t)iy * w->in.width + ix) * channels] * d_y[((size_t)oy * w->out.width + ox) * channels];
        }
    return sum;
}

void tinyfed_depthwise_weight_gradient_f32(float *to_weights, float *to_bias, const float *x, const float *d_y,
                                           float factor, const tinyfed_window_t *w)
{
    const uint32_t channels = w->out.channels;
    for (uint32_t ky = 0; to_weights != NULL && ky < w->kernel_height; ky++) {
        const tinyfed_range_t rows =
            tinyfed_outputs_of_tap(ky, w->stride_height, w->pad_top, w->in.height, w->out.height);
        for (uint32_t kx = 0; kx < w->kernel_width; kx++) {
            const tinyfed_range_t columns =
                tinyfed_outputs_of_tap(kx, w->stride_width, w->pad_left, w->in.width, w->out.width);
            for (uint32_t c = 0; c < channels; c++, to_weights++)
                *to_weights += factor * gradient_of_tap(x + c, d_y + c, w, rows, columns, ky, kx);
        }
    }
    if (to_bias != NULL) tinyfed_bias_gradient_f32(to_bias, d_y, factor, w->out.height * w->out.width, channels);
}
