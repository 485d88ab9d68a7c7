#include "tanh_coefficients.h"

#include "tinyfed_float.h"
#include "tinyfed_core.h"

float tinyfed_tanh_f32(float x)
{
    static const float k[] = {TINYFED_TANH_COEFFICIENTS};
    const uint32_t sign = tinyfed_bits(x) & 0x80000000u;
    const float size = tinyfed_float(tinyfed_bits(x) ^ sign);
    const float c = size > TINYFED_TANH_BOUND ? TINYFED_TANH_BOUND : size; /* NaN stays */
    const float z = c * c;
    float p = k[0], q = k[4];
    for (uint32_t term = 1; term < 4; term++) {
        p = p * z + k[term];
        q = q * z + k[4 + term];
    }
    p = p * z + 1.0f;
    q = q * z + 1.0f;
    return tinyfed_float(tinyfed_bits((c * p) / q) | sign);
}
