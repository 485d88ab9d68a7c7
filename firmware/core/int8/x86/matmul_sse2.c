/* Matrix times one or two columns with SSE2: a quad of a block is one register, eight half-words. */
#include "int8/kernels.h"

#if defined(TINYFED_INT8_SSE2)
#include <emmintrin.h>

/* Lanes: channels 0|1, 2|3 for inputs k0 k2, then the same for k1 k3. */
typedef struct lanes {
    __m128i even, odd;
} lanes_t;

static inline lanes_t weights_of(__m128i words)
{
    lanes_t w;
    w.even = _mm_srai_epi16(_mm_slli_epi16(words, 8), 8);
    w.odd = _mm_srai_epi16(_mm_sub_epi16(words, w.even), 8);
    return w;
}

static inline void multiply(lanes_t *sum, lanes_t w, __m128i x)
{
    sum->even = _mm_add_epi32(sum->even, _mm_madd_epi16(w.even, x));
    sum->odd = _mm_add_epi32(sum->odd, _mm_madd_epi16(w.odd, x));
}

static void store(int8_t *out, lanes_t sum, const int32_t *table, uint32_t count)
{
    int32_t even[4], odd[4];
    _mm_storeu_si128((__m128i *)even, sum.even);
    _mm_storeu_si128((__m128i *)odd, sum.odd);
    tinyfed_int8_store_lanes(out, even, odd, table, count);
}

void tinyfed_int8_two_columns_sse2(int8_t *out_a, int8_t *out_b, const tinyfed_int8_matmul_t *m, const int16_t *columns)
{
    const __m128i *w = (const __m128i *)(const void *)m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4) {
        const __m128i *x = (const __m128i *)(const void *)columns;
        lanes_t a = {_mm_setzero_si128(), _mm_setzero_si128()}, b = a;
        for (uint32_t quad = 0; quad < m->quads; quad++) {
            const lanes_t weights = weights_of(_mm_loadu_si128(w++));
            const __m128i both = _mm_loadu_si128(x++);
            multiply(&a, weights, _mm_shuffle_epi32(both, _MM_SHUFFLE(2, 2, 0, 0)));
            multiply(&b, weights, _mm_shuffle_epi32(both, _MM_SHUFFLE(3, 3, 1, 1)));
        }
        store(out_a + channel, a, m->table + 4u * channel, m->channels - channel);
        store(out_b + channel, b, m->table + 4u * channel, m->channels - channel);
    }
}

void tinyfed_int8_one_column_sse2(int8_t *out, const tinyfed_int8_matmul_t *m, const int8_t *in)
{
    const __m128i *w = (const __m128i *)(const void *)m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4) {
        lanes_t sum = {_mm_setzero_si128(), _mm_setzero_si128()};
        for (uint32_t quad = 0; quad < m->quads; quad++) {
            const __m128i bytes = _mm_cvtsi32_si128((int32_t)tinyfed_int8_quad(m, in, quad));
            const __m128i wide = _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
            const __m128i x = _mm_shufflelo_epi16(wide, _MM_SHUFFLE(3, 1, 2, 0));
            multiply(&sum, weights_of(_mm_loadu_si128(w++)), _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 1, 0, 0)));
        }
        store(out + channel, sum, m->table + 4u * channel, m->channels - channel);
    }
}

#else
typedef int tinyfed_int8_matmul_sse2_is_empty;
#endif
