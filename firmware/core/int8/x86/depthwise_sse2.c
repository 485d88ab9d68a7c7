/* Depthwise convolution with SSE2: four channels of one place in a register. */
#include "int8/kernels.h"
#include "int8/rescale.h"

#if defined(TINYFED_INT8_SSE2)
#include <emmintrin.h>

/* Four int8 as int16. */
static inline __m128i widen(uint32_t word)
{
    return _mm_srai_epi16(_mm_unpacklo_epi8(_mm_setzero_si128(), _mm_cvtsi32_si128((int32_t)word)), 8);
}

/* Two taps a step: their channels alternate, and a dual multiply adds them. */
static inline __m128i two_taps(__m128i sum, uint32_t a, uint32_t b, uint32_t weights_a, uint32_t weights_b)
{
    const __m128i in = _mm_unpacklo_epi16(widen(a), widen(b));
    const __m128i by = _mm_unpacklo_epi16(widen(weights_a), widen(weights_b));
    return _mm_add_epi32(sum, _mm_madd_epi16(in, by));
}

void tinyfed_int8_depthwise_group_sse2(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch,
                                       uint32_t group)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t taps = (uint32_t)r->kernel_h * r->kernel_w;
    int8_t *out = op->out + group;
    for (uint32_t y = 0; y < r->out_h; y++, plane += (size_t)r->stride_h * pitch) {
        for (uint32_t x = 0; x < r->out_w; x++, out += r->out_c) {
            const uint32_t *place = plane + (size_t)x * r->stride_w;
            const uint8_t *w = op->weights + (size_t)group * taps;
            __m128i sum = _mm_setzero_si128();
            for (uint32_t ky = 0; ky < r->kernel_h; ky++, place += (size_t)r->dilation_h * pitch) {
                uint32_t kx = 0;
                for (; kx + 1u < r->kernel_w; kx += 2, w += 8)
                    sum = two_taps(sum, place[kx * r->dilation_w], place[(kx + 1u) * r->dilation_w], tinyfed_get32(w),
                                   tinyfed_get32(w + 4));
                if (kx < r->kernel_w) {
                    sum = two_taps(sum, place[kx * r->dilation_w], 0, tinyfed_get32(w), 0);
                    w += 4;
                }
            }
            int32_t sums[4];
            _mm_storeu_si128((__m128i *)sums, sum);
            tinyfed_int8_store(out, sums, op->table + 4u * group, r->in_c - group);
        }
    }
}

#else
typedef int tinyfed_int8_depthwise_sse2_is_empty;
#endif
