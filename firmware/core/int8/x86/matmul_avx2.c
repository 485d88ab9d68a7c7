/* As matmul_sse2.c with two quads a register. Chosen when a program is opened. */
#include "int8/kernels.h"

#if defined(TINYFED_INT8_SSE2)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

typedef struct lanes {
    __m256i even, odd;
} lanes_t;

AVX2 static inline void multiply(lanes_t *sum, __m256i words, __m256i x)
{
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(words, 8), 8);
    const __m256i odd = _mm256_srai_epi16(_mm256_sub_epi16(words, even), 8);
    sum->even = _mm256_add_epi32(sum->even, _mm256_madd_epi16(even, x));
    sum->odd = _mm256_add_epi32(sum->odd, _mm256_madd_epi16(odd, x));
}

AVX2 static inline void store(int8_t *out, lanes_t sum, const int32_t *table, uint32_t count)
{
    int32_t even[4], odd[4];
    _mm_storeu_si128((__m128i *)even,
                     _mm_add_epi32(_mm256_castsi256_si128(sum.even), _mm256_extracti128_si256(sum.even, 1)));
    _mm_storeu_si128((__m128i *)odd,
                     _mm_add_epi32(_mm256_castsi256_si128(sum.odd), _mm256_extracti128_si256(sum.odd, 1)));
    tinyfed_int8_store_lanes(out, even, odd, table, count);
}

/* Two quads at `at`, of which the second is zero where there is none. */
AVX2 static inline __m256i load(const void *at, bool both)
{
    const __m128i *p = at;
    return both ? _mm256_loadu_si256(at) : _mm256_zextsi128_si256(_mm_loadu_si128(p));
}

AVX2 void tinyfed_int8_two_columns_avx2(int8_t *out_a, int8_t *out_b, const tinyfed_int8_matmul_t *m,
                                        const int16_t *columns)
{
    const uint8_t *w = m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4) {
        const int16_t *x = columns;
        lanes_t a = {_mm256_setzero_si256(), _mm256_setzero_si256()}, b = a;
        for (uint32_t quad = 0; quad < m->quads; quad += 2, x += 16) {
            const bool both = quad + 1u < m->quads;
            const __m256i words = load(w, both), column = load(x, both);
            multiply(&a, words, _mm256_shuffle_epi32(column, _MM_SHUFFLE(2, 2, 0, 0)));
            multiply(&b, words, _mm256_shuffle_epi32(column, _MM_SHUFFLE(3, 3, 1, 1)));
            w += both ? 32 : 16;
        }
        store(out_a + channel, a, m->table + 4u * channel, m->channels - channel);
        store(out_b + channel, b, m->table + 4u * channel, m->channels - channel);
    }
}

AVX2 void tinyfed_int8_one_column_avx2(int8_t *out, const tinyfed_int8_matmul_t *m, const int8_t *in)
{
    const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i spread = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    const uint8_t *w = m->weights;
    for (uint32_t channel = 0; channel < m->channels; channel += 4) {
        lanes_t sum = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (uint32_t quad = 0; quad < m->quads; quad += 2) {
            const bool both = quad + 1u < m->quads;
            const uint32_t second = both ? tinyfed_int8_quad(m, in, quad + 1u) : 0u;
            const __m128i bytes = _mm_setr_epi32((int32_t)tinyfed_int8_quad(m, in, quad), (int32_t)second, 0, 0);
            const __m128i two = _mm_cvtepi8_epi16(_mm_shuffle_epi8(bytes, order));
            multiply(&sum, load(w, both), _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(two), spread));
            w += both ? 32 : 16;
        }
        store(out + channel, sum, m->table + 4u * channel, m->channels - channel);
    }
}

#else
typedef int tinyfed_int8_matmul_avx2_is_empty;
#endif
