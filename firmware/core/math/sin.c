#include "tinyfed_float.h"

#include "tinyfed_core.h"

/* x = k pi/2 + r, |r| <= pi/4, pi/2 in four parts so that k times a part is exact for |x| <= 8192; then the
 * polynomial of sine or cosine (minimax, float32 coefficients), the sign by k. Beyond the range: NaN. */
float tinyfed_sin_f32(float x)
{
    if (!(x >= -8192.0f && x <= 8192.0f)) return (x - x) / 0.0f * 0.0f;
    const float rounder = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float shifted = x * 0x1.45f306p-1f + rounder;
    const float k = shifted - rounder;
    const uint32_t quarter = tinyfed_bits(shifted) & 3u;
    float r = x - k * 0x1.92p+0f;
    r = r - k * 0x1.fb4p-12f;
    r = r - k * 0x1.444p-24f;
    r = r - k * 0x1.68c234p-39f;
    const float z = r * r;
    float value;
    if ((quarter & 1u) != 0) {
        float p = 0x1.99e816p-16f;
        p = p * z - 0x1.6c0c28p-10f;
        p = p * z + 0x1.55554ap-5f;
        value = 1.0f - (0.5f * z - (z * z) * p);
    } else {
        float p = -0x1.9951fap-13f;
        p = p * z + 0x1.110774p-7f;
        p = p * z - 0x1.555546p-3f;
        value = r + (r * z) * p;
        if (r == 0.0f && k == 0.0f) value = x; /* keeps the sign of zero */
    }
    return (quarter & 2u) != 0 ? -value : value;
}
