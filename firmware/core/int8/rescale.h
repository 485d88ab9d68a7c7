/* The rounding of TFLM's rescaling (gemmlowp), and int32 arithmetic that wraps. */
#ifndef TINYFED_INT8_RESCALE_H
#define TINYFED_INT8_RESCALE_H

#include <stdint.h>

static inline int32_t tinyfed_int8_wrap_add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

static inline int32_t tinyfed_int8_clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : (x > high ? high : x);
}

/* (2 a b + 2^31) >> 32; saturates in the one case that overflows. */
static inline int32_t tinyfed_int8_doubling_high(int32_t a, int32_t b)
{
    if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
}

/* x / 2^exponent to nearest, ties away from zero; 0 <= exponent <= 62. */
static inline int32_t tinyfed_int8_shift_right(int32_t x, int32_t exponent)
{
    if (exponent == 0) return x;
    const int64_t half = (int64_t)1 << (exponent - 1);
    return (int32_t)(((int64_t)x + half - (x < 0)) >> exponent);
}

/* x * multiplier * 2^(shift - 31), -31 <= shift <= 31. */
static inline int32_t tinyfed_int8_rescale(int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t product = tinyfed_int8_doubling_high((int32_t)((uint32_t)x << left), multiplier);
    return tinyfed_int8_shift_right(product, left - shift);
}

/* A channel of the fast form: row = {bias, twice the multiplier - 2^32, rounding, shift}. Rounding holds
 * the half and the zero point, and nothing here overflows: the converter has made sure of it. */
static inline int32_t tinyfed_int8_finish(int32_t sum, const int32_t *row)
{
    const int32_t a = tinyfed_int8_wrap_add(sum, row[0]);
    const int32_t high = tinyfed_int8_wrap_add(a, (int32_t)(((int64_t)a * row[1] + ((int64_t)1 << 31)) >> 32));
    const int32_t rounded = tinyfed_int8_wrap_add(tinyfed_int8_wrap_add(high, high >> 31), row[2]);
    return rounded >> (row[3] & 31);
}

/* Up to four channels of the fast form; `table` holds their rows. */
static inline void tinyfed_int8_store(int8_t *out, const int32_t *sums, const int32_t *table, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < 4; i++)
        out[i] = (int8_t)tinyfed_int8_clamp(tinyfed_int8_finish(sums[i], table + 4u * i), INT8_MIN, INT8_MAX);
}

/* The same from lanes of even and odd channels, two of which make a sum. */
static inline void tinyfed_int8_store_lanes(int8_t *out, const int32_t *even, const int32_t *odd, const int32_t *table,
                                            uint32_t count)
{
    const int32_t sums[4] = {tinyfed_int8_wrap_add(even[0], even[2]), tinyfed_int8_wrap_add(odd[0], odd[2]),
                             tinyfed_int8_wrap_add(even[1], even[3]), tinyfed_int8_wrap_add(odd[1], odd[3])};
    tinyfed_int8_store(out, sums, table, count);
}

#endif
