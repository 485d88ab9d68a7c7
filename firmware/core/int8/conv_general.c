/* Convolutions in the general form: TFLM's own steps, weights as the file has them, any rescaling. Slow. */
#include "program.h"
#include "rescale.h"

/* row = {bias, multiplier, shift, 0} */
static int8_t finish(const tinyfed_int8_record_t *r, int32_t sum, const int32_t *row)
{
    const int32_t scaled = tinyfed_int8_rescale(tinyfed_int8_wrap_add(sum, row[0]), row[1], row[2]);
    const int64_t moved = (int64_t)scaled + r->out_zero;
    return (int8_t)(moved < r->low ? r->low : (moved > r->high ? r->high : moved));
}

/* First input row or column of an output's window; may lie in the padding. */
static int32_t origin(uint32_t out, uint8_t stride, uint8_t pad) { return (int32_t)(out * stride) - (int32_t)pad; }

static bool inside(int32_t at, uint16_t size) { return at >= 0 && at < (int32_t)size; }

/* sum over the window and `channels` input channels from `first` on of (x - zero) * weights; a tap's are in_c apart */
static int32_t window_sum(const tinyfed_int8_op_t *op, int32_t top, int32_t left, const int8_t *weights, uint32_t first,
                          uint32_t channels)
{
    const tinyfed_int8_record_t *r = &op->r;
    int32_t sum = 0;
    for (uint32_t ky = 0; ky < r->kernel_h; ky++) {
        const int32_t y = top + (int32_t)(ky * r->dilation_h);
        for (uint32_t kx = 0; kx < r->kernel_w; kx++, weights += r->in_c) {
            const int32_t x = left + (int32_t)(kx * r->dilation_w);
            if (!inside(y, r->in_h) || !inside(x, r->in_w)) continue;
            const int8_t *in = op->in + ((uint32_t)y * r->in_w + (uint32_t)x) * r->in_c + first;
            for (uint32_t c = 0; c < channels; c++) sum = tinyfed_int8_wrap_add(sum, (in[c] - r->in_zero) * weights[c]);
        }
    }
    return sum;
}

/* weights[out_c][kernel_h][kernel_w][in_c], depthwise weights[kernel_h][kernel_w][channels] */
static void convolve(const tinyfed_int8_op_t *op, bool depthwise)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t kernel = depthwise ? 1u : tinyfed_int8_window(r), channels = depthwise ? 1u : r->in_c;
    int8_t *out = op->out;
    for (uint32_t y = 0; y < r->out_h; y++)
        for (uint32_t x = 0; x < r->out_w; x++)
            for (uint32_t c = 0; c < r->out_c; c++) {
                const int32_t sum =
                    window_sum(op, origin(y, r->stride_h, r->pad_top), origin(x, r->stride_w, r->pad_left),
                               (const int8_t *)op->weights + c * kernel, depthwise ? c : 0u, channels);
                *out++ = finish(r, sum, op->table + 4u * c);
            }
}

void tinyfed_int8_conv_general(const tinyfed_int8_op_t *op) { convolve(op, false); }

void tinyfed_int8_depthwise_general(const tinyfed_int8_op_t *op) { convolve(op, true); }
