#include "tinyfed_float.h"

#include "tinyfed_core.h"

/* exp(x) = 2^k exp(r), r = x - k ln 2, |r| <= ln 2 / 2. The polynomial is a minimax fit of (exp(r) - 1 - r) / r^2
 * with float32 coefficients, relative error below 2^-28. The power of two is multiplied in two halves, so that
 * subnormal results are rounded once. */
float tinyfed_exp_f32(float x)
{
    if (!(x < 88.8f)) return x >= 88.8f ? 1e30f * 1e30f : x; /* infinity; NaN as it came */
    if (x < -104.0f) return 0.0f;
    const float rounder = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float shifted = x * 0x1.715476p+0f + rounder;
    const float k = shifted - rounder;
    const int32_t power = (int32_t)(tinyfed_bits(shifted) - tinyfed_bits(rounder));
    float r = x - k * 0x1.62e4p-1f; /* 14 bits: the product is exact */
    r = r - k * 0x1.7f7d1cp-20f;
    float p = 0x1.6a4b36p-10f;
    p = p * r + 0x1.12398ep-7f;
    p = p * r + 0x1.5558b2p-5f;
    p = p * r + 0x1.555492p-3f;
    p = p * r + 0x1.fffffcp-2f;
    const float value = 1.0f + (r + (r * r) * p);
    const int32_t half = power / 2;
    return (value * tinyfed_power_of_two(half)) * tinyfed_power_of_two(power - half);
}

/* x = 2^k m, m in [sqrt(1/2), sqrt 2); with f = m - 1 and s = f / (2 + f), z = s^2: log m = f - s (f - z R(z)), which
 * follows from log m = 2 s + s z R and 2 s = f - s f. */
float tinyfed_log_f32(float x)
{
    if (!(x > 0.0f)) return x == 0.0f ? -1e30f * 1e30f : (x - x) / 0.0f * 0.0f; /* -infinity; NaN */
    uint32_t bits = tinyfed_bits(x);
    if (bits >= 0x7F800000u) return x;
    int32_t k = 0;
    if (bits < 0x00800000u) { /* subnormal */
        bits = tinyfed_bits(x * 0x1p+25f);
        k = -25;
    }
    bits += 0x3F800000u - 0x3F3504F3u; /* so that the exponent changes at sqrt(1/2) */
    k += (int32_t)(bits >> 23) - 127;
    const float f = tinyfed_float((bits & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    const float s = f / (2.0f + f);
    const float z = s * s;
    float r = 0x1.f13e2cp-3f;
    r = r * z + 0x1.23d3d6p-2f;
    r = r * z + 0x1.999c26p-2f;
    r = r * z + 0x1.555554p-1f;
    const float high = (float)k * 0x1.62ep-1f; /* exact: 12 bits times 8 */
    const float low = (float)k * 0x1.0bfbe8p-15f;
    return high + (f - (s * (f - z * r) - low));
}
