/* The square root, built of IEEE operations. */
#ifndef TINYFED_MATH_SQRT_H
#define TINYFED_MATH_SQRT_H

#include <stdbool.h>

#include "tinyfed_float.h"

/* Square root of a finite value >= 0, the same on every machine: Newton's method from half the exponent. Three steps
 * bring 3.5 bits of the first guess to more than 24. */
static inline float tinyfed_sqrt(float x)
{
    if (x == 0.0f) return 0.0f;
    const bool tiny = x < 0x1p-100f;
    const float scaled = tiny ? x * 0x1p+100f : x;
    float y = tinyfed_float((tinyfed_bits(scaled) >> 1) + 0x1FBD1DF5u);
    for (int step = 0; step < 3; step++) y = 0.5f * (y + scaled / y);
    return tiny ? y * 0x1p-50f : y;
}

#endif
