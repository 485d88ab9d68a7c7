/* ReLU and tanh with eight lanes; the others are the plain ones. Included as simd_dense.h is. */
#include "activation.h"
#include "math_tanh.h"

/* As math_tanh.c, term by term. */
SIMD_INLINE void tanh_eight(v8_t *y, const v8_t *from)
{
    const v8_t x = *from;
    static const float k[8] = {TINYFED_TANH_COEFFICIENTS};
    const v8_t zero = {0}, bound = zero + TINYFED_TANH_BOUND;
    const i8_t sign = (i8_t)x & (i8_t)(-zero);
    const v8_t size = (v8_t)((i8_t)x ^ sign);
    const i8_t beyond = size > bound; /* false for NaN, which stays */
    const v8_t c = (v8_t)(((i8_t)bound & beyond) | ((i8_t)size & ~beyond));
    const v8_t z = c * c;
    const v8_t p = (((k[0] * z + k[1]) * z + k[2]) * z + k[3]) * z + 1.0f;
    const v8_t q = (((k[4] * z + k[5]) * z + k[6]) * z + k[7]) * z + 1.0f;
    *y = (v8_t)((i8_t)((c * p) / q) | sign);
}

SIMD_TARGET void SIMD_NAME(tinyfed_activate)(float *y, uint32_t count, uint8_t activation, float alpha)
{
    const v8_t zero = {0};
    if (activation == TINYFED_RELU) {
        for (; count >= 8u; count -= 8u, y += 8) {
            const v8_t v = SIMD_LOAD(y);
            SIMD_STORE(y, (v8_t)((i8_t)v & ~(v <= zero)));
        }
    } else if (activation == TINYFED_TANH) {
        for (; count >= 8u; count -= 8u, y += 8) {
            v8_t v = SIMD_LOAD(y);
            tanh_eight(&v, &v);
            SIMD_STORE(y, v);
        }
    }
    tinyfed_activate_plain_f32(y, count, activation, alpha);
}
