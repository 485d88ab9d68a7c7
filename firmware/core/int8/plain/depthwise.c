/* Four channels of a depthwise convolution, place by place. */
#include "int8/kernels.h"
#include "int8/rescale.h"

void tinyfed_int8_depthwise_group_plain(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch,
                                        uint32_t group)
{
    const tinyfed_int8_record_t *r = &op->r;
    const int8_t *weights = (const int8_t *)op->weights + (size_t)group * r->kernel_h * r->kernel_w;
    for (uint32_t y = 0; y < r->out_h; y++) {
        for (uint32_t x = 0; x < r->out_w; x++) {
            const uint32_t *window = plane + y * r->stride_h * pitch + x * r->stride_w;
            int32_t sums[4] = {0, 0, 0, 0};
            const int8_t *w = weights;
            for (uint32_t ky = 0; ky < r->kernel_h; ky++, window += r->dilation_h * pitch) {
                for (uint32_t kx = 0; kx < r->kernel_w; kx++, w += 4) {
                    const int8_t *places = (const int8_t *)(window + kx * r->dilation_w);
                    for (uint32_t c = 0; c < 4; c++) sums[c] += places[c] * w[c];
                }
            }
            int8_t *out = op->out + ((size_t)y * r->out_w + x) * r->out_c + group;
            tinyfed_int8_store(out, sums, op->table + 4u * group, r->in_c - group);
        }
    }
}
