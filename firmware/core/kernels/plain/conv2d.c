#include "kernels/conv2d.h"

#include "kernels/reduce.h"

static void forward_pixel(float *y, const float *x, const float *weights, const tinyfed_window_t *w, uint32_t oy,
                          uint32_t ox)
{
    const tinyfed_range_t rows = tinyfed_taps(oy, w->stride_height, w->pad_top, w->kernel_height, w->in.height);
    const tinyfed_range_t columns = tinyfed_taps(ox, w->stride_width, w->pad_left, w->kernel_width, w->in.width);
    const uint32_t outputs = w->out.channels;
    /* Within a row of the window, taps and channels lie one after the other in x and in the weights. */
    const uint32_t run = (columns.end - columns.begin) * w->in.channels;
    for (uint32_t ky = rows.begin; ky < rows.end; ky++) {
        const uint32_t iy = oy * w->stride_height + ky - w->pad_top;
        const uint32_t ix = ox * w->stride_width + columns.begin - w->pad_left;
        const float *values = x + ((size_t)iy * w->in.width + ix) * w->in.channels;
        const float *row = weights + ((size_t)ky * w->kernel_width + columns.begin) * w->in.channels * outputs;
        for (uint32_t k = 0; k < run; k++, row += outputs) {
            const float value = values[k];
            if (value == 0.0f) continue;
            for (uint32_t o = 0; o < outputs; o++) y[o] += value * row[o];
        }
    }
}

void tinyfed_conv2d_forward_plain_f32(float *y, const float *x, const float *weights, const float *bias,
                                      const tinyfed_window_t *window)
{
    const uint32_t outputs = window->out.channels;
    for (uint32_t oy = 0; oy < window->out.height; oy++)
        for (uint32_t ox = 0; ox < window->out.width; ox++, y += outputs) {
            for (uint32_t o = 0; o < outputs; o++) y[o] = bias != NULL ? bias[o] : 0.0f;
            forward_pixel(y, x, weights, window, oy, ox);
        }
}

/* One value of the input's gradient: eight lanes over the outputs of every tap that reaches it. */
static float gradient_at(const float *weights, const float *d_y, const tinyfed_window_t *w, uint32_t iy, uint32_t ix,
                         uint32_t ic)
{
    float lanes[TINYFED_LANES] = {0};
    uint32_t oy, ox;
    const uint32_t outputs = w->out.channels;
    for (uint32_t ky = 0; ky < w->kernel_height; ky++) {
        if (!tinyfed_output_at(&oy, iy, ky, w->stride_height, w->pad_top, w->out.height)) continue;
        for (uint32_t kx = 0; kx < w->kernel_width; kx++) {
            if (!tinyfed_output_at(&ox, ix, kx, w->stride_width, w->pad_left, w->out.width)) continue;
            const uint32_t pixel = oy * w->out.width + ox;
            const size_t tap = ((size_t)ky * w->kernel_width + kx) * w->in.channels + ic;
            tinyfed_dot_lanes(lanes, weights + tap * outputs, d_y + (size_t)pixel * outputs, outputs);
        }
    }
    return tinyfed_sum_lanes(lanes);
}

void tinyfed_conv2d_input_gradient_plain_f32(const tinyfed_input_gradient_t *input, const float *x,
                                             const float *weights, const float *d_y, const tinyfed_window_t *window)
{
    uint32_t k = 0;
    for (uint32_t iy = 0; iy < window->in.height; iy++)
        for (uint32_t ix = 0; ix < window->in.width; ix++)
            for (uint32_t ic = 0; ic < window->in.channels; ic++, k++) {
                if (x[k] == 0.0f && input->derivative == TINYFED_RELU) input->d_x[k] = 0.0f;
                else tinyfed_give_gradient(input, k, x[k], gradient_at(weights, d_y, window, iy, ix, ic));
            }
}

/* Outputs whose pixel meets one tap inside the input. */
typedef struct tap {
    tinyfed_range_t rows, columns;
    const float *x; /* the value that the first of them meets, at the tap's input channel */
} tap_t;

/* Up to eight outputs of one tap, summed over the pixels. */
static void gradient_of_tap(float *to, const tap_t *tap, const float *d_y, float factor, const tinyfed_window_t *w,
                            uint32_t lanes)
{
    float sums[TINYFED_LANES] = {0};
    const size_t row_step = (size_t)w->stride_height * w->in.width * w->in.channels;
    const size_t column_step = (size_t)w->stride_width * w->in.channels;
    for (uint32_t oy = tap->rows.begin; oy < tap->rows.end; oy++) {
        const float *x = tap->x + (oy - tap->rows.begin) * row_step;
        const float *gradient = d_y + ((size_t)oy * w->out.width + tap->columns.begin) * w->out.channels;
        for (uint32_t ox = tap->columns.begin; ox < tap->columns.end; ox++, gradient += w->out.channels) {
            const float value = x[(ox - tap->columns.begin) * column_step];
            if (value == 0.0f) continue;
            for (uint32_t lane = 0; lane < lanes; lane++) sums[lane] += value * gradient[lane];
        }
    }
    for (uint32_t lane = 0; lane < lanes; lane++) to[lane] += factor * sums[lane];
}

static void gradient_of_channels(float *to, tap_t tap, const float *d_y, float factor, const tinyfed_window_t *w)
{
    const uint32_t outputs = w->out.channels;
    for (uint32_t ic = 0; ic < w->in.channels; ic++, tap.x++, to += outputs)
        for (uint32_t o = 0; o < outputs; o += TINYFED_LANES)
            gradient_of_tap(to + o, &tap, d_y + o, factor, w,
                            outputs - o < TINYFED_LANES ? outputs - o : TINYFED_LANES);
}

void tinyfed_conv2d_weight_gradient_plain_f32(float *to_weights, float *to_bias, const float *x, const float *d_y,
                                              float factor, const tinyfed_window_t *w)
{
    tap_t tap;
    const uint32_t weights_of_tap = w->in.channels * w->out.channels;
    for (uint32_t ky = 0; to_weights != NULL && ky < w->kernel_height; ky++) {
        tap.rows = tinyfed_outputs_of_tap(ky, w->stride_height, w->pad_top, w->in.height, w->out.height);
        for (uint32_t kx = 0; kx < w->kernel_width; kx++, to_weights += weights_of_tap) {
            tap.columns = tinyfed_outputs_of_tap(kx, w->stride_width, w->pad_left, w->in.width, w->out.width);
            if (tap.rows.begin == tap.rows.end || tap.columns.begin == tap.columns.end)
                continue; /* all in the padding */
            const uint32_t iy = tap.rows.begin * w->stride_height + ky - w->pad_top;
            const uint32_t ix = tap.columns.begin * w->stride_width + kx - w->pad_left;
            tap.x = x + ((size_t)iy * w->in.width + ix) * w->in.channels;
            gradient_of_channels(to_weights, tap, d_y, factor, w);
        }
    }
    if (to_bias != NULL) tinyfed_bias_gradient_f32(to_bias, d_y, factor, w->out.height * w->out.width, w->out.channels);
}

void tinyfed_bias_gradient_f32(float *to_bias, const float *d_y, float factor, uint32_t pixels, uint32_t channels)
{
    for (uint32_t c = 0; c < channels; c++) {
        float sum = 0.0f;
        for (uint32_t pixel = 0; pixel < pixels; pixel++) sum += d_y[(size_t)pixel * channels + c];
        to_bias[c] += factor * sum;
    }
}
