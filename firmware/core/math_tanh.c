#include "bits.h"

#include "tinyfed_core.h"

/* tanh(x) = x P(x^2) / Q(x^2), both of degree 4, a minimax fit of the relative error on |x| <= 9 with float32
 * coefficients (2^-25.2). All coefficients are positive, so nothing cancels. At the bound the quotient is 1 and
 * nowhere is it larger; beyond, tanh is 1 within the error stated in docs/numerics.md. */
#define BOUND 0x1.048bcep+3f

float tinyfed_tanh_f32(float x)
{
    const uint32_t sign = tinyfed_bits(x) & 0x80000000u;
    const float size = tinyfed_float(tinyfed_bits(x) ^ sign);
    const float c = size > BOUND ? BOUND : size; /* NaN stays */
    const float z = c * c;
    float p = 0x1.cbb16ap-27f;
    p = p * z + 0x1.5a2cfap-16f;
    p = p * z + 0x1.ca69ecp-9f;
    p = p * z + 0x1.1213d4p-3f;
    p = p * z + 1.0f;
    float q = 0x1.a2248cp-21f;
    q = q * z + 0x1.58cffep-12f;
    q = q * z + 0x1.a816b2p-6f;
    q = q * z + 0x1.de5f38p-2f;
    q = q * z + 1.0f;
    return tinyfed_float(tinyfed_bits((c * p) / q) | sign);
}
