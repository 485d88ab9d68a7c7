#include "tinyfed_logmel.h"

#define WINDOW TINYFED_LOGMEL_WINDOW
#define ANGLE 0.024543693f /* 2 pi / 256 */
#define FLOOR 1e-6f        /* energy of what counts as silence */
#define SCALE 0.25f        /* brings the features near a deviation of 1 */

/* Edges of the triangles in bins of 31.25 Hz: 22 points evenly spaced in mel from 80 to 3,900 Hz, rounded, at least one
 * bin apart. Band b rises from edge b to edge b + 1 and falls to edge b + 2. */
static const uint8_t edges[TINYFED_LOGMEL_BANDS + 2u] = {3,  5,  7,  10, 13, 16, 19, 23, 27,  31,  36,
                                                         41, 46, 52, 59, 66, 74, 83, 92, 102, 113, 125};

/* In-place radix-2 FFT of 256 complex values. sines[k] = sin(2 pi k / 256); a cosine is 64 entries on. */
static void transform(float *re, float *im, const float *sines)
{
    for (uint32_t i = 0, j = 0; i < WINDOW; i++) {
        if (i < j) {
            float swap = re[i];
            re[i] = re[j];
            re[j] = swap; /* the imaginary parts are all 0 still */
        }
        uint32_t bit = WINDOW / 2;
        while (bit & j) {
            j ^= bit;
            bit >>= 1;
        }
        j |= bit;
    }
    for (uint32_t half = 1; half < WINDOW; half *= 2) {
        uint32_t stride = WINDOW / (2 * half);
        for (uint32_t k = 0; k < half; k++) {
            float c = sines[(k * stride + WINDOW / 4) % WINDOW], s = -sines[k * stride];
            for (uint32_t i = k; i < WINDOW; i += 2 * half) {
                uint32_t j = i + half;
                float real = re[j] * c - im[j] * s;
                float imaginary = re[j] * s + im[j] * c;
                re[j] = re[i] - real;
                im[j] = im[i] - imaginary;
                re[i] += real;
                im[i] += imaginary;
            }
        }
    }
}

static void frame_energies(float *bands, float *re, float *im, const float *sines)
{
    transform(re, im, sines);
    for (uint32_t i = 0; i < WINDOW / 2; i++) re[i] = re[i] * re[i] + im[i] * im[i];
    for (uint32_t b = 0; b < TINYFED_LOGMEL_BANDS; b++) {
        uint32_t low = edges[b], peak = edges[b + 1], high = edges[b + 2];
        float energy = 0.0f;
        for (uint32_t i = low + 1; i <= peak; i++) energy += re[i] * ((float)(i - low) / (float)(peak - low));
        for (uint32_t i = peak + 1; i < high; i++) energy += re[i] * ((float)(high - i) / (float)(high - peak));
        bands[b] = tinyfed_log_f32(energy + FLOOR);
    }
}

tinyfed_status_t tinyfed_logmel(float features[TINYFED_LOGMEL_FEATURES], const int16_t *samples, uint32_t sample_count,
                                void *scratch, uint32_t scratch_bytes)
{
    float *sines = scratch, *re = sines + WINDOW, *im = re + WINDOW;
    if (sample_count < 1) return TINYFED_E_ARGUMENT;
    if (scratch_bytes < TINYFED_LOGMEL_SCRATCH_BYTES) return TINYFED_E_MEMORY;
    if (((uintptr_t)scratch & 3u) != 0) return TINYFED_E_ALIGNMENT;
    for (uint32_t k = 0; k < WINDOW; k++) sines[k] = tinyfed_sin_f32((float)k * ANGLE);
    uint32_t spare = sample_count > WINDOW ? sample_count - WINDOW : 0;
    for (uint32_t frame = 0; frame < TINYFED_LOGMEL_FRAMES; frame++) {
        uint32_t start = (uint32_t)((uint64_t)spare * frame / (TINYFED_LOGMEL_FRAMES - 1));
        for (uint32_t i = 0; i < WINDOW; i++) {
            /* Hann: sin^2(pi i / 256) = (1 - cos(2 pi i / 256)) / 2 */
            float window = 0.5f - 0.5f * sines[(i + WINDOW / 4) % WINDOW];
            re[i] = start + i < sample_count ? (float)samples[start + i] * (1.0f / 32768.0f) * window : 0.0f;
            im[i] = 0.0f;
        }
        frame_energies(features + frame * TINYFED_LOGMEL_BANDS, re, im, sines);
    }
    float sum = 0.0f;
    for (uint32_t i = 0; i < TINYFED_LOGMEL_FEATURES; i++) sum += features[i];
    float mean = sum / (float)TINYFED_LOGMEL_FEATURES;
    for (uint32_t i = 0; i < TINYFED_LOGMEL_FEATURES; i++) features[i] = (features[i] - mean) * SCALE;
    return TINYFED_OK;
}
