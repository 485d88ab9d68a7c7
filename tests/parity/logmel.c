/* The log-mel features of the recordings of a blob, a hash each; the same on every target.
 *
 * The blob, little-endian: u32 recordings; then for each u32 samples and the samples (int16), each padded to 16 bytes.
 */
#include "tinyfed_logmel.h"

#include "parity.h"

int parity_run(const uint8_t *blob)
{
    static float features[TINYFED_LOGMEL_FEATURES], scratch[TINYFED_LOGMEL_SCRATCH_BYTES / 4u];
    uint32_t recordings, count;
    memcpy(&recordings, blob, 4);
    const uint8_t *at = blob + 16;
    for (uint32_t k = 0; k < recordings; k++) {
        memcpy(&count, at, 4);
        const int16_t *samples = (const int16_t *)(const void *)(at + 16);
        at += 16u + ((2u * count + 15u) & ~15u);
        if (tinyfed_logmel(features, samples, count, scratch, sizeof scratch - 4u) != TINYFED_E_MEMORY) return 2;
        const int failed = tinyfed_logmel(features, samples, count, scratch, sizeof scratch) != TINYFED_OK;
        parity_print_hash(tinyfed_hash64(TINYFED_HASH_START, features, sizeof features), failed);
    }
    return 0;
}
