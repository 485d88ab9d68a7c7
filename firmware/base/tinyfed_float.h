/* The bits of a float32, and what is read off them. */
#ifndef TINYFED_FLOAT_H
#define TINYFED_FLOAT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t tinyfed_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float tinyfed_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Neither NaN nor infinite. */
static inline bool tinyfed_is_finite(float value) { return (tinyfed_bits(value) & 0x7F800000u) != 0x7F800000u; }

/* 2^exponent, -126 <= exponent <= 127. */
static inline float tinyfed_power_of_two(int32_t exponent) { return tinyfed_float((uint32_t)(exponent + 127) << 23); }

#endif
