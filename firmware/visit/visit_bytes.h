/* Little-endian numbers in byte formats. Private to firmware/visit. */
#ifndef TINYFED_VISIT_BYTES_H
#define TINYFED_VISIT_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t visit_get16(const uint8_t *p) { return (uint16_t)(p[0] | ((unsigned)p[1] << 8)); }

static inline uint32_t visit_get32(const uint8_t *p)
{
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

static inline uint64_t visit_get64(const uint8_t *p) { return visit_get32(p) | ((uint64_t)visit_get32(p + 4) << 32); }

static inline void visit_put16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void visit_put32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> (8 * i));
}

static inline uint32_t visit_float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float visit_bits_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int visit_is_finite(float value) { return (visit_float_bits(value) & 0x7F800000u) != 0x7F800000u; }

#endif
