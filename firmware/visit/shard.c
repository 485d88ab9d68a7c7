#include "tinyfed_visit.h"
#include "tinyfed_bytes.h"

#define HEADER_BYTES 32u
#define CLASS_SAMPLES_MAX 65535u /* an index fits in 16 bits */

void tinyfed_shard_class(const tinyfed_shard_t *shard, uint32_t *first, uint32_t *count, uint32_t label)
{
    *first = label ? tinyfed_get32(shard->ends + 4 * (label - 1)) : 0;
    *count = tinyfed_get32(shard->ends + 4 * label) - *first;
}

tinyfed_status_t tinyfed_shard_open(tinyfed_shard_t *shard, const uint8_t *bytes, uint32_t byte_count)
{
    if (((uintptr_t)bytes & (TINYFED_ALIGNMENT - 1)) != 0) return TINYFED_E_ALIGNMENT;
    if (byte_count < 4 || memcmp(bytes, "TFSH", 4) != 0) return TINYFED_E_MAGIC;
    if (byte_count < HEADER_BYTES) return TINYFED_E_TRUNCATED;
    /* Version 1 holds features of type 1; version 2 type 2, features and targets. */
    if (bytes[4] < 1u || bytes[4] > 2u || bytes[5] != bytes[4]) return TINYFED_E_VERSION;
    uint32_t targets = tinyfed_get16(bytes + 6);
    if ((targets != 0) != (bytes[4] == 2u)) return TINYFED_E_ARGUMENT;
    uint32_t features = tinyfed_get32(bytes + 8), classes = tinyfed_get32(bytes + 12),
             samples = tinyfed_get32(bytes + 16);
    uint32_t offset = tinyfed_get32(bytes + 20), total = tinyfed_get32(bytes + 24), crc = tinyfed_get32(bytes + 28);
    if (total > byte_count) return TINYFED_E_TRUNCATED;
    if (features == 0 || classes == 0 || classes > CLASS_SAMPLES_MAX) return TINYFED_E_SHAPE;
    if (targets != 0 && (classes != 1 || features > UINT32_MAX - targets)) return TINYFED_E_SHAPE;
    uint32_t expected = tinyfed_align_up(HEADER_BYTES + 4 * classes);
    /* 64-bit products of two 32-bit numbers, so that nothing wraps; 4 * product is compared by dividing. */
    if (offset != expected || total < offset || (total - offset) % 4 != 0) return TINYFED_E_SHAPE;
    if ((uint64_t)(features + targets) * samples != (total - offset) / 4) return TINYFED_E_SHAPE;
    if (tinyfed_crc32(tinyfed_crc32(0, bytes, 28), bytes + HEADER_BYTES, total - HEADER_BYTES) != crc) {
        return TINYFED_E_CHECKSUM;
    }
    uint32_t begin = 0;
    for (uint32_t label = 0; label < classes; label++) {
        uint32_t end = tinyfed_get32(bytes + HEADER_BYTES + 4 * label);
        if (end <= begin || end - begin > CLASS_SAMPLES_MAX) return TINYFED_E_SHAPE;
        begin = end;
    }
    if (begin != samples) return TINYFED_E_SHAPE;
    for (uint32_t i = HEADER_BYTES + 4 * classes; i < offset; i++) {
        if (bytes[i] != 0) return TINYFED_E_ARGUMENT;
    }
    shard->ends = bytes + HEADER_BYTES;
    shard->samples = (const float *)(const void *)(bytes + offset);
    shard->feature_count = features;
    shard->target_count = targets;
    shard->class_count = classes;
    shard->sample_count = samples;
    return TINYFED_OK;
}
