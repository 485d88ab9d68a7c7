#include "math_tanh.h"

#include "bits.h"
#include "tinyfed_core.h"

float tinyfed_tanh_f32(float x)
{
    static const float k[] = {TINYFED_TANH_COEFFICIENTS};
    const uint32_t sign = tinyfed_bits(x) & 0x80000000u;
    const float size = tinyfed_float(tinyfed_bits(x) ^ sign);
    const float c = size > TINYFED_TANH_BOUND ? TINYFED_TANH_BOUND : size; /* NaN stays */
    const float z = c * c;
    const float p = (((k[0] * z + k[1]) * z + k[2]) * z + k[3]) * z + 1.0f;
    const float q = (((k[4] * z + k[5]) * z + k[6]) * z + k[7]) * z + 1.0f;
    return tinyfed_float(tinyfed_bits((c * p) / q) | sign);
}
