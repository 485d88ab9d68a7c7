/* Little-endian numbers at any address. Every byte format of the project is little-endian, and so is every machine it
 * is built for: models are trained and tables read where they lie. */
#ifndef TINYFED_BYTES_H
#define TINYFED_BYTES_H

#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tinyfed reads and trains models in place: little-endian"
#endif

static inline uint16_t tinyfed_get16(const void *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint32_t tinyfed_get32(const void *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint64_t tinyfed_get64(const void *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void tinyfed_put16(void *to, uint16_t value) { memcpy(to, &value, sizeof value); }

static inline void tinyfed_put32(void *to, uint32_t value) { memcpy(to, &value, sizeof value); }

static inline void tinyfed_put64(void *to, uint64_t value) { memcpy(to, &value, sizeof value); }

#endif
