/* Two-dimensional convolution, eight lanes at a time. The bits are those of ../conv2d.c. */
#include "../conv2d.h"
#include "rows.h"

TINYFED_TARGET void TINYFED_BODY(tinyfed_conv2d_forward_f32)(float *y, const float *x, const float *weights, const float *bias,
                                                            const tinyfed_window_t *w)
{
    const uint32_t outputs = w->out.channels, inputs = w->in.channels;
    for (uint32_t oy = 0; oy < w->out.height; oy++) {
        const tinyfed_range_t rows = tinyfed_taps(oy, w->stride_height, w->pad_top, w->kernel_height, w->in.height);
        for (uint32_t ox = 0; ox < w->out.width; ox++, y += outputs) {
            const tinyfed_range_t columns = tinyfed_taps(ox, w->stride_width, w->pad_left, w->kernel_width, w->in.width);
            const uint32_t ix = ox * w->stride_width + columns.begin - w->pad_left;
            if (bias != NULL)
                memcpy(y, bias, outputs * sizeof *y);
            else
                memset(y, 0, outputs * sizeof *y);
            for (uint32_t ky = rows.begin; ky < rows.end && columns.begin < columns.end; ky++) {
                const uint32_t iy = oy * w->stride_height + ky - w->pad_top;
                add_rows(y, y, x + ((size_t)iy * w->in.width + ix) * inputs,
                         weights + ((size_t)ky * w->kernel_width + columns.begin) * inputs * outputs,
                         (columns.end - columns.begin) * inputs, outputs);
            }
        }
    }
}

/* The taps that reach one input pixel, a grid of output pixels. */
typedef struct reach {
    tinyfed_range_t rows, columns;
    uint32_t iy, ix;
} reach_t;

/* Channel ic: the taps in order, so the output pixels from the last to the first. */
TINYFED_INLINE float gradient_at(const float *weights, const float *d_y, const tinyfed_window_t *w, const reach_t *reach,
                                 uint32_t ic)
{
    const uint32_t outputs = w->out.channels;
    vec_t lanes = vec_zero();
    for (uint32_t oy = reach->rows.end; oy-- > reach->rows.begin;)
        for (uint32_t ox = reach->columns.end; ox-- > reach->columns.begin;) {
            const uint32_t ky = reach->iy + w->pad_top - oy * w->stride_height;
            const uint32_t kx = reach->ix + w->pad_left - ox * w->stride_width;
            const size_t tap = ((size_t)ky * w->kernel_width + kx) * w->in.channels + ic;
            lanes = add_products(lanes, weights + tap * outputs, d_y + ((size_t)oy * w->out.width + ox) * outputs, outputs);
        }
    return vec_sum(lanes);
}

TINYFED_TARGET void TINYFED_BODY(tinyfed_conv2d_input_gradient_f32)(const tinyfed_input_gradient_t *input, const float *x,
                                                                   const float *weights, const float *d_y,
                                                                   const tinyfed_window_t *w)
{
    uint32_t k = 0;
    reach_t reach;
    for (reach.iy = 0; reach.iy < w->in.height; reach.iy++) {
        reach.rows = tinyfed_outputs_of_input(reach.iy, w->stride_height, w->pad_top, w->kernel_height, w->out.height);
        for (reach.ix = 0; reach.ix < w->in.width; reach.ix++) {
            reach.columns = tinyfed_outputs_of_input(reach.ix, w->stride_width, w->pad_left, w->kernel_width, w->out.width);
            for (uint32_t ic = 0; ic < w->in.channels; ic++, k++) {
                if (x[k] == 0.0f && input->derivative == TINYFED_RELU)
                    input->d_x[k] = 0.0f;
                else
                    tinyfed_give_gradient(input, k, x[k], gradient_at(weights, d_y, w, &reach, ic));
            }
        }
    }
}

/* The outputs o.. of one tap and input channel, up to eight, summed over the pixels that meet it. */
TINYFED_INLINE void gradient_of_tap(float *to, const float *x, const float *d_y, float factor, const tinyfed_window_t *w,
                                    tinyfed_range_t rows, tinyfed_range_t columns, uint32_t lanes)
{
    vec_t sums = vec_zero();
    const size_t row_step = (size_t)w->stride_height * w->in.width * w->in.channels;
    const size_t column_step = (size_t)w->stride_width * w->in.channels;
    for (uint32_t oy = rows.begin; oy < rows.end; oy++, x += row_step) {
        const float *gradient = d_y + ((size_t)oy * w->out.width + columns.begin) * w->out.channels;
        const float *value = x;
        for (uint32_t ox = columns.begin; ox < columns.end; ox++, gradient += w->out.channels, value += column_step)
            if (*value != 0.0f) sums = vec_add(sums, vec_mul(vec_set(*value), load_up_to(gradient, lanes)));
    }
    store_up_to(to, vec_add(load_up_to(to, lanes), vec_mul(vec_set(factor), sums)), lanes);
}

TINYFED_TARGET void TINYFED_BODY(tinyfed_conv2d_weight_gradient_f32)(float *to_weights, float *to_bias, const float *x,
                                                                    const float *d_y, float factor, const tinyfed_window_t *w)
{
    const uint32_t inputs = w->in.channels, outputs = w->out.channels;
    for (uint32_t ky = 0; to_weights != NULL && ky < w->kernel_height; ky++) {
        const tinyfed_range_t rows = tinyfed_outputs_of_tap(ky, w->stride_height, w->pad_top, w->in.height, w->out.height);
        for (uint32_t kx = 0; kx < w->kernel_width; kx++, to_weights += (size_t)inputs * outputs) {
            const tinyfed_range_t columns =
                tinyfed_outputs_of_tap(kx, w->stride_width, w->pad_left, w->in.width, w->out.width);
            if (rows.begin == rows.end || columns.begin == columns.end) continue; /* all in the padding */
            const uint32_t iy = rows.begin * w->stride_height + ky - w->pad_top;
            const uint32_t ix = columns.begin * w->stride_width + kx - w->pad_left;
            const float *first = x + ((size_t)iy * w->in.width + ix) * inputs;
            for (uint32_t ic = 0; ic < inputs; ic++)
                for (uint32_t o = 0; o < outputs; o += TINYFED_LANES)
                    gradient_of_tap(to_weights + (size_t)ic * outputs + o, first + ic, d_y + o, factor, w, rows, columns,
                                    outputs - o);
        }
    }
    if (to_bias != NULL) tinyfed_bias_gradient_f32(to_bias, d_y, factor, w->out.height * w->out.width, outputs);
}
