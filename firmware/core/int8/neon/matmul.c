/* Matrix times one or two columns with NEON (aarch64): a quad of a block is one register, eight half-words. */
#include "int8/depthwise_group.h"

#if defined(TINYFED_INT8_NEON)
#include <arm_neon.h>

/* Lanes: channels 0|1, 2|3 for inputs k0 k2, then the same for k1 k3. */
typedef struct lanes {
    int32x4_t even, odd;
} lanes_t;

static inline int32x4_t dual(int16x8_t a, int16x8_t b)
{
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}

static inline void multiply(lanes_t *sum, int16x8_t even, int16x8_t odd, int32x4_t x)
{
    sum->even = vaddq_s32(sum->even, dual(even, vreinterpretq_s16_s32(x)));
    sum->odd = vaddq_s32(sum->odd, dual(odd, vreinterpretq_s16_s32(x)));
}

static void store(int8_t *out, lanes_t sum, const int32_t *table, uint32_t count)
{
    int32_t even[4], odd[4];
    vst1q_s32(even, sum.even);
    vst1q_s32(odd, sum.odd);
    tinyfed_int8_store_lanes(out, even, odd, table, count);
}

void tinyfed_int8_two_columns_neon(int8_t *out_a, int8_t *out_b, const tinyfed_int8_matmul_t *m, const int16_t *columns)
{
    const int16_t *w = (const int16_t *)(const void *)m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4) {
        const int16_t *x = columns;
        lanes_t a = {vdupq_n_s32(0), vdupq_n_s32(0)}, b = a;
        for (uint32_t quad = 0; quad < m->quads; quad++, w += 8, x += 8) {
            const int16x8_t words = vld1q_s16(w);
            const int16x8_t even = vshrq_n_s16(vshlq_n_s16(words, 8), 8), odd = vshrq_n_s16(vsubq_s16(words, even), 8);
            const int32x4_t both = vreinterpretq_s32_s16(vld1q_s16(x));
            multiply(&a, even, odd, vtrn1q_s32(both, both));
            multiply(&b, even, odd, vtrn2q_s32(both, both));
        }
        store(out_a + channel, a, m->table + 4u * channel, m->channels - channel);
        store(out_b + channel, b, m->table + 4u * channel, m->channels - channel);
    }
}

void tinyfed_int8_one_column_neon(int8_t *out, const tinyfed_int8_matmul_t *m, const int8_t *in)
{
    const int16_t *w = (const int16_t *)(const void *)m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4) {
        lanes_t sum = {vdupq_n_s32(0), vdupq_n_s32(0)};
        for (uint32_t quad = 0; quad < m->quads; quad++, w += 8) {
            const int16x8_t words = vld1q_s16(w);
            const int16x8_t even = vshrq_n_s16(vshlq_n_s16(words, 8), 8), odd = vshrq_n_s16(vsubq_s16(words, even), 8);
            const int16x4_t wide = vget_low_s16(vmovl_s8(vcreate_s8(tinyfed_int8_quad(m, in, quad))));
            const int32x2_t x = vreinterpret_s32_s16(vuzp1_s16(wide, vext_s16(wide, wide, 1)));
            multiply(&sum, even, odd, vcombine_s32(vdup_lane_s32(x, 0), vdup_lane_s32(x, 1)));
        }
        store(out + channel, sum, m->table + 4u * channel, m->channels - channel);
    }
}

/* Products of two int8 fit 16 bits. */
static inline void sum_window(int32_t *sums, const tinyfed_int8_record_t *r, const uint8_t *w, const uint32_t *window,
                              uint32_t pitch)
{
    int32x4_t sum = vdupq_n_s32(0);
    for (uint32_t ky = 0; ky < r->kernel_h; ky++, window += (size_t)r->dilation_h * pitch)
        for (uint32_t kx = 0; kx < r->kernel_w; kx++, w += 4) {
            const int8x8_t in = vcreate_s8(window[kx * r->dilation_w]), by = vcreate_s8(tinyfed_get32(w));
            sum = vaddw_s16(sum, vget_low_s16(vmull_s8(in, by)));
        }
    vst1q_s32(sums, sum);
}

void tinyfed_int8_depthwise_group_neon(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch,
                                       uint32_t group)
{
    tinyfed_int8_depthwise_places(op, plane, pitch, group, sum_window);
}

#else
typedef int tinyfed_int8_matmul_neon_is_empty;
#endif
