#include "kernels/pool.h"

/* The part of the window of output (oy, ox) that lies inside, as ranges of the input. */
typedef struct patch {
    tinyfed_range_t rows, columns;
} patch_t;

static patch_t patch_of(const tinyfed_window_t *w, uint32_t oy, uint32_t ox)
{
    patch_t patch = {tinyfed_taps(oy, w->stride_height, w->pad_top, w->kernel_height, w->in.height),
                     tinyfed_taps(ox, w->stride_width, w->pad_left, w->kernel_width, w->in.width)};
    patch.rows.begin += oy * w->stride_height - w->pad_top;
    patch.rows.end += oy * w->stride_height - w->pad_top;
    patch.columns.begin += ox * w->stride_width - w->pad_left;
    patch.columns.end += ox * w->stride_width - w->pad_left;
    return patch;
}

static uint32_t size_of(patch_t patch)
{
    return (patch.rows.end - patch.rows.begin) * (patch.columns.end - patch.columns.begin);
}

/* Index in x of the largest value of channel c. */
static size_t largest_of(const float *x, const tinyfed_window_t *w, patch_t patch, uint32_t c)
{
    size_t best = ((size_t)patch.rows.begin * w->in.width + patch.columns.begin) * w->in.channels + c;
    for (uint32_t iy = patch.rows.begin; iy < patch.rows.end; iy++)
        for (uint32_t ix = patch.columns.begin; ix < patch.columns.end; ix++) {
            const size_t at = ((size_t)iy * w->in.width + ix) * w->in.channels + c;
            if (x[at] > x[best]) best = at;
        }
    return best;
}

void tinyfed_max_pool_forward_f32(float *y, const float *x, const tinyfed_window_t *w)
{
    for (uint32_t oy = 0; oy < w->out.height; oy++)
        for (uint32_t ox = 0; ox < w->out.width; ox++) {
            const patch_t patch = patch_of(w, oy, ox);
            for (uint32_t c = 0; c < w->out.channels; c++) *y++ = x[largest_of(x, w, patch, c)];
        }
}

void tinyfed_max_pool_backward_f32(const tinyfed_input_gradient_t *input, const float *x, const float *d_y,
                                   const tinyfed_window_t *w)
{
    const size_t count = (size_t)w->in.height * w->in.width * w->in.channels;
    if (!input->adds)
        for (size_t k = 0; k < count; k++) input->d_x[k] = 0.0f;
    for (uint32_t oy = 0; oy < w->out.height; oy++)
        for (uint32_t ox = 0; ox < w->out.width; ox++) {
            const patch_t patch = patch_of(w, oy, ox);
            for (uint32_t c = 0; c < w->out.channels; c++) input->d_x[largest_of(x, w, patch, c)] += *d_y++;
        }
    if (input->derivative == TINYFED_LINEAR) return;
    for (size_t k = 0; k < count; k++)
        input->d_x[k] = tinyfed_derive(input->derivative, input->alpha, x[k], input->d_x[k]);
}

void tinyfed_average_pool_forward_f32(float *y, const float *x, const tinyfed_window_t *w)
{
    const uint32_t channels = w->in.channels;
    for (uint32_t oy = 0; oy < w->out.height; oy++)
        for (uint32_t ox = 0; ox < w->out.width; ox++, y += channels) {
            const patch_t patch = patch_of(w, oy, ox);
            const float share = 1.0f / (float)size_of(patch);
            for (uint32_t c = 0; c < channels; c++) {
                float sum = 0.0f;
                for (uint32_t iy = patch.rows.begin; iy < patch.rows.end; iy++)
                    for (uint32_t ix = patch.columns.begin; ix < patch.columns.end; ix++)
                        sum += x[((size_t)iy * w->in.width + ix) * channels + c];
                y[c] = sum * share;
            }
        }
}

void tinyfed_average_pool_backward_f32(const tinyfed_input_gradient_t *input, const float *x, const float *d_y,
                                       const tinyfed_window_t *w)
{
    const uint32_t channels = w->in.channels;
    uint32_t k = 0;
    for (uint32_t iy = 0; iy < w->in.height; iy++) {
        const tinyfed_range_t rows =
            tinyfed_outputs_of_input(iy, w->stride_height, w->pad_top, w->kernel_height, w->out.height);
        for (uint32_t ix = 0; ix < w->in.width; ix++) {
            const tinyfed_range_t columns =
                tinyfed_outputs_of_input(ix, w->stride_width, w->pad_left, w->kernel_width, w->out.width);
            for (uint32_t c = 0; c < channels; c++, k++) {
                float sum = 0.0f;
                for (uint32_t oy = rows.begin; oy < rows.end; oy++)
                    for (uint32_t ox = columns.begin; ox < columns.end; ox++)
                        sum += d_y[((size_t)oy * w->out.width + ox) * channels + c] *
                               (1.0f / (float)size_of(patch_of(w, oy, ox)));
                tinyfed_give_gradient(input, k, x[k], sum);
            }
        }
    }
}
