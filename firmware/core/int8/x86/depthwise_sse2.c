/* Depthwise convolution with SSE2: four channels of one place in a register. */
#include "int8/depthwise_group.h"

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

static inline void sum_window(int32_t *sums, const tinyfed_int8_record_t *r, const uint8_t *w, const uint32_t *window,
                              uint32_t pitch)
{
    __m128i sum = _mm_setzero_si128();
    for (uint32_t ky = 0; ky < r->kernel_h; ky++, window += (size_t)r->dilation_h * pitch) {
        uint32_t kx = 0;
        for (; kx + 1u < r->kernel_w; kx += 2, w += 8)
            sum = two_taps(sum, window[kx * r->dilation_w], window[(kx + 1u) * r->dilation_w], tinyfed_get32(w),
                           tinyfed_get32(w + 4));
        if (kx < r->kernel_w) {
            sum = two_taps(sum, window[kx * r->dilation_w], 0, tinyfed_get32(w), 0);
            w += 4;
        }
    }
    _mm_storeu_si128((__m128i *)sums, sum);
}

void tinyfed_int8_depthwise_group_sse2(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch,
                                       uint32_t group)
{
    tinyfed_int8_depthwise_places(op, plane, pitch, group, sum_window);
}

#else
typedef int tinyfed_int8_depthwise_sse2_is_empty;
#endif
