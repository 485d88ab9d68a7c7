/* Convolutions and pools. What the layers that learn have too runs through their kernels, fast ones where there are. */
#include "float.h"
#include "kernels/conv2d.h"
#include "kernels/depthwise.h"
#include "kernels/pool.h"

static tinyfed_window_t window_of(const tinyfed_int8_record_t *r)
{
    const tinyfed_window_t window = {
        {r->in_h, r->in_w, r->in_c},
        {r->out_h, r->out_w, r->out_c},
        r->kernel_h,
        r->kernel_w,
        r->stride_h,
        r->stride_w,
        r->pad_top,
        r->pad_left,
    };
    return window;
}

static const float *weights_of(const tinyfed_int8_op_t *op) { return (const float *)(const void *)op->weights; }

static const float *bias_of(const tinyfed_int8_op_t *op)
{
    return (op->r.flags & TINYFED_FLOAT_BIAS) != 0 ? (const float *)(const void *)op->table : NULL;
}

/* Add what the input at (iy, ix) gives through a tap to the outputs at y. */
typedef void (*tap_t)(float *y, const float *x, const float *weights, const tinyfed_int8_record_t *r);

static void full_tap(float *y, const float *x, const float *weights, const tinyfed_int8_record_t *r)
{
    for (uint32_t i = 0; i < r->in_c; i++, weights += r->out_c)
        for (uint32_t o = 0; o < r->out_c; o++) y[o] += x[i] * weights[o];
}

static void depthwise_tap(float *y, const float *x, const float *weights, const tinyfed_int8_record_t *r)
{
    const uint32_t multiplier = r->out_c / r->in_c;
    for (uint32_t i = 0; i < r->in_c; i++)
        for (uint32_t m = 0; m < multiplier; m++) *y++ += x[i] * *weights++;
}

/* The input's place of a tap at an output's place, along one axis. */
static bool place_of(uint32_t *in, uint32_t out, uint32_t tap, uint32_t stride, uint32_t dilation, uint32_t pad,
                     uint32_t size, bool transposed)
{
    if (transposed) return tinyfed_output_at(in, out, tap, stride, pad, size);
    *in = out * stride + tap * dilation - pad; /* below 0 it wraps, and is not below the size */
    return *in < size;
}

static void by_taps(const tinyfed_int8_op_t *op, tap_t tap, uint32_t tap_weights, bool transposed)
{
    const tinyfed_int8_record_t *r = &op->r;
    const float *x = tinyfed_float_in(op), *bias = bias_of(op);
    float *y = tinyfed_float_out(op);
    uint32_t iy, ix;
    for (uint32_t oy = 0; oy < r->out_h; oy++)
        for (uint32_t ox = 0; ox < r->out_w; ox++, y += r->out_c) {
            for (uint32_t o = 0; o < r->out_c; o++) y[o] = bias != NULL ? bias[o] : 0.0f;
            for (uint32_t ky = 0; ky < r->kernel_h; ky++) {
                if (!place_of(&iy, oy, ky, r->stride_h, r->dilation_h, r->pad_top, r->in_h, transposed)) continue;
                for (uint32_t kx = 0; kx < r->kernel_w; kx++) {
                    if (!place_of(&ix, ox, kx, r->stride_w, r->dilation_w, r->pad_left, r->in_w, transposed)) continue;
                    tap(y, x + (size_t)(iy * r->in_w + ix) * r->in_c,
                        weights_of(op) + (size_t)(ky * r->kernel_w + kx) * tap_weights, r);
                }
            }
        }
}

static bool is_dilated(const tinyfed_int8_record_t *r) { return r->dilation_h != 1 || r->dilation_w != 1; }

void tinyfed_float_conv(const tinyfed_int8_op_t *op)
{
    const tinyfed_window_t window = window_of(&op->r);
    if (is_dilated(&op->r)) by_taps(op, full_tap, op->r.in_c * op->r.out_c, false);
    else tinyfed_conv2d_forward_f32(tinyfed_float_out(op), tinyfed_float_in(op), weights_of(op), bias_of(op), &window);
}

void tinyfed_float_depthwise(const tinyfed_int8_op_t *op)
{
    const tinyfed_window_t window = window_of(&op->r);
    if (is_dilated(&op->r) || op->r.in_c != op->r.out_c) by_taps(op, depthwise_tap, op->r.out_c, false);
    else
        tinyfed_depthwise_forward_f32(tinyfed_float_out(op), tinyfed_float_in(op), weights_of(op), bias_of(op),
                                      &window);
}

void tinyfed_float_transposed_conv(const tinyfed_int8_op_t *op)
{
    by_taps(op, full_tap, op->r.in_c * op->r.out_c, true);
}

void tinyfed_float_pool(const tinyfed_int8_op_t *op)
{
    const tinyfed_window_t window = window_of(&op->r);
    if (op->r.kind == TINYFED_FLOAT_MAX_POOL)
        tinyfed_max_pool_forward_f32(tinyfed_float_out(op), tinyfed_float_in(op), &window);
    else tinyfed_average_pool_forward_f32(tinyfed_float_out(op), tinyfed_float_in(op), &window);
}
