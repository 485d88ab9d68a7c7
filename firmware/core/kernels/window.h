/* The window that a convolution or a pool slides over its input, and what of it lies inside. */
#ifndef TINYFED_KERNELS_WINDOW_H
#define TINYFED_KERNELS_WINDOW_H

#include "model/image.h"

typedef struct tinyfed_window {
    tinyfed_shape_t in, out;
    uint32_t kernel_height, kernel_width;
    uint32_t stride_height, stride_width;
    uint32_t pad_top, pad_left;
} tinyfed_window_t;

/* Half-open range. */
typedef struct tinyfed_range {
    uint32_t begin, end;
} tinyfed_range_t;

/* Taps k of the window at output `position` that lie inside: 0 <= position * stride + k - pad < size. */
static inline tinyfed_range_t tinyfed_taps(uint32_t position, uint32_t stride, uint32_t pad, uint32_t kernel,
                                           uint32_t size)
{
    const uint32_t corner = position * stride;
    tinyfed_range_t range = {corner < pad ? pad - corner : 0u, kernel};
    if (corner + kernel > size + pad) range.end = size + pad - corner;
    return range;
}

/* Outputs o whose window's tap k lies inside: 0 <= o * stride + k - pad < size, o < outputs. */
static inline tinyfed_range_t tinyfed_outputs_of_tap(uint32_t tap, uint32_t stride, uint32_t pad, uint32_t size,
                                                     uint32_t outputs)
{
    tinyfed_range_t range = {tap < pad ? (pad - tap + stride - 1u) / stride : 0u, 0u};
    if (size + pad > tap) range.end = (size + pad - tap - 1u) / stride + 1u;
    if (range.end > outputs) range.end = outputs;
    if (range.begin > range.end) range.begin = range.end;
    return range;
}

/* Whether an output's window has its tap k at the input `position`, and which. */
static inline bool tinyfed_output_at(uint32_t *output, uint32_t position, uint32_t tap, uint32_t stride, uint32_t pad,
                                     uint32_t outputs)
{
    const uint32_t corner = position + pad - tap;
    *output = corner / stride;
    return position + pad >= tap && corner % stride == 0 && *output < outputs;
}

/* Outputs whose window covers the input at `position`. */
static inline tinyfed_range_t tinyfed_outputs_of_input(uint32_t position, uint32_t stride, uint32_t pad,
                                                       uint32_t kernel, uint32_t outputs)
{
    const uint32_t shifted = position + pad;
    tinyfed_range_t range = {shifted < kernel ? 0u : (shifted - kernel) / stride + 1u, shifted / stride + 1u};
    if (range.end > outputs) range.end = outputs;
    if (range.begin > range.end) range.begin = range.end;
    return range;
}

#endif
