/* Four channels of a depthwise convolution, place by place. */
#include "int8/depthwise_group.h"

static inline void sum_window(int32_t *sums, const tinyfed_int8_record_t *r, const uint8_t *weights,
                              const uint32_t *window, uint32_t pitch)
{
    const int8_t *w = (const int8_t *)weights;
    for (uint32_t c = 0; c < 4; c++) sums[c] = 0;
    for (uint32_t ky = 0; ky < r->kernel_h; ky++, window += r->dilation_h * pitch)
        for (uint32_t kx = 0; kx < r->kernel_w; kx++, w += 4) {
            const int8_t *places = (const int8_t *)(window + kx * r->dilation_w);
            for (uint32_t c = 0; c < 4; c++) sums[c] += places[c] * w[c];
        }
}

void tinyfed_int8_depthwise_group_plain(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch,
                                        uint32_t group)
{
    tinyfed_int8_depthwise_places(op, plane, pitch, group, sum_window);
}
