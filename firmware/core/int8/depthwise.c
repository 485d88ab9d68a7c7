/* Depthwise convolution in the fast form: four channels at a time, their input padded in the scratch area. So it
 * may run in place: a group's input is copied before its output is written. */
#include "kernels.h"

static inline uint32_t load_channels(const int8_t *from, uint32_t channels)
{
    if (channels == 4) return tinyfed_get32(from);
    uint32_t word = 0;
    memcpy(&word, from, channels & 3u);
    return word;
}

/* plane[rows][pitch], a word of four channels each. */
static void load_plane(const tinyfed_int8_op_t *op, uint32_t *plane, uint32_t rows, uint32_t pitch, uint32_t group)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t pad = tinyfed_int8_splat(r->in_zero);
    const uint32_t channels = r->in_c - group < 4u ? r->in_c - group : 4u;
    const uint32_t left = r->pad_left < pitch ? r->pad_left : pitch;
    const uint32_t width = r->in_w < pitch - left ? r->in_w : pitch - left;
    for (uint32_t row = 0; row < rows; row++) {
        const bool inside = row >= r->pad_top && row - r->pad_top < r->in_h;
        uint32_t *to = plane + row * pitch;
        uint32_t *const end = to + pitch;
        if (inside) {
            const int8_t *from = op->in + (size_t)(row - r->pad_top) * r->in_w * r->in_c + group;
            for (uint32_t i = 0; i < left; i++) *to++ = pad;
            uint32_t x = width;
            if (channels == 4) {
                for (; x >= 4; x -= 4, from += 4u * r->in_c, to += 4) {
                    to[0] = tinyfed_get32(from);
                    to[1] = tinyfed_get32(from + r->in_c);
                    to[2] = tinyfed_get32(from + 2u * r->in_c);
                    to[3] = tinyfed_get32(from + 3u * r->in_c);
                }
            }
            for (; x != 0; x--, from += r->in_c) *to++ = load_channels(from, channels);
        }
        while (to < end) *to++ = pad;
    }
}

void tinyfed_int8_depthwise(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t rows = tinyfed_int8_covered(r->out_h, r->stride_h, r->kernel_h, r->dilation_h);
    const uint32_t pitch = tinyfed_int8_covered(r->out_w, r->stride_w, r->kernel_w, r->dilation_w);
    for (uint32_t group = 0; group < r->in_c; group += 4) {
        load_plane(op, op->scratch, rows, pitch, group);
        TINYFED_INT8_PICK(op, tinyfed_int8_depthwise_group)(op, op->scratch, pitch, group);
    }
    tinyfed_int8_clip(op, (uint32_t)r->out_h * r->out_w * r->out_c);
}
