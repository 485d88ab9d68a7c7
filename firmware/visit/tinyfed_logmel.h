/* Sound to features: 16 frames of 20 log-mel energies over the length of a word, 8 kHz, 16 bits. Depends on core only;
 * the same bits on every target. */
#ifndef TINYFED_LOGMEL_H
#define TINYFED_LOGMEL_H

#include "tinyfed_core.h"

#define TINYFED_LOGMEL_FRAMES 16u
#define TINYFED_LOGMEL_BANDS 20u
#define TINYFED_LOGMEL_FEATURES (TINYFED_LOGMEL_FRAMES * TINYFED_LOGMEL_BANDS)
#define TINYFED_LOGMEL_WINDOW 256u /* samples of a frame, 32 ms */
#define TINYFED_LOGMEL_SCRATCH_BYTES (4u * 3u * TINYFED_LOGMEL_WINDOW)

/* features[frame][band] of samples[sample_count], frames evenly over the whole; shorter than a frame, it is filled up
 * with silence. The mean over all features is 0, so loudness does not matter. scratch is aligned to 4 bytes. E_ARGUMENT
 * without a sample. */
tinyfed_status_t tinyfed_logmel(float features[TINYFED_LOGMEL_FEATURES], const int16_t *samples, uint32_t sample_count,
                                void *scratch, uint32_t scratch_bytes) TINYFED_MUST_USE;

#endif
