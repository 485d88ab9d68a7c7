#include "tinyfed_core.h"
uint32_t tinyfed_crc32(uint32_t crc, const void *bytes, size_t byte_count)
{
    const uint8_t *p = bytes;
    crc = ~crc;
    for (size_t i = 0; i < byte_count; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
    return ~crc;
}
