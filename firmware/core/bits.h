/* The bits of a float32. */
#ifndef TINYFED_BITS_H
#define TINYFED_BITS_H

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

/* 2^exponent, -126 <= exponent <= 127. */
static inline float tinyfed_power_of_two(int32_t exponent)
{
    return tinyfed_float((uint32_t)(exponent + 127) << 23);
}

#endif
