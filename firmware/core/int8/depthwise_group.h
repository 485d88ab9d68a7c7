/* The loop of the depthwise bodies that are written in C. */
#ifndef TINYFED_INT8_DEPTHWISE_GROUP_H
#define TINYFED_INT8_DEPTHWISE_GROUP_H

#include "kernels.h"

/* sums[4] of one place: the taps times its window in the plane, four channels each. */
typedef void tinyfed_int8_window_t(int32_t *sums, const tinyfed_int8_record_t *r, const uint8_t *weights,
                                   const uint32_t *window, uint32_t pitch);

/* Place by place. `sum` is known where this is compiled, so it becomes a part of the loop. */
static inline void tinyfed_int8_depthwise_places(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch,
                                                 uint32_t group, tinyfed_int8_window_t *sum)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint8_t *weights = op->weights + (size_t)group * r->kernel_h * r->kernel_w;
    int8_t *out = op->out + group;
    for (uint32_t y = 0; y < r->out_h; y++, plane += (size_t)r->stride_h * pitch)
        for (uint32_t x = 0; x < r->out_w; x++, out += r->out_c) {
            int32_t sums[4];
            sum(sums, r, weights, plane + (size_t)x * r->stride_w, pitch);
            tinyfed_int8_store(out, sums, op->table + 4u * group, r->in_c - group);
        }
}

#endif
