/* ReLU and tanh, eight values at a time; the other activations are the plain body's. The bits are those of
 * ../activation.c. */
#include "../activation.h"
#include "../math_tanh.h"
#include "rows.h"

void tinyfed_activate_plain_f32(float *y, uint32_t count, uint8_t activation, float alpha);

TINYFED_INLINE vec_t vec_polynomial(vec_t z, const float *k)
{
    vec_t p = vec_add(vec_mul(vec_set(k[0]), z), vec_set(k[1]));
    p = vec_add(vec_mul(p, z), vec_set(k[2]));
    p = vec_add(vec_mul(p, z), vec_set(k[3]));
    return vec_add(vec_mul(p, z), vec_set(1.0f));
}

TINYFED_INLINE vec_t vec_tanh(vec_t x)
{
    static const float k[] = {TINYFED_TANH_COEFFICIENTS};
    const vec_t sign = vec_and(x, vec_set(-0.0f));
    const vec_t c = vec_min(vec_set(TINYFED_TANH_BOUND), vec_clear(x, vec_set(-0.0f)));
    const vec_t z = vec_mul(c, c);
    return vec_or(vec_div(vec_mul(c, vec_polynomial(z, k)), vec_polynomial(z, k + 4)), sign);
}

TINYFED_TARGET void TINYFED_BODY(tinyfed_activate_f32)(float *y, uint32_t count, uint8_t activation, float alpha)
{
    if (activation == TINYFED_RELU) {
        uint32_t k = 0;
        for (; k + TINYFED_LANES <= count; k += TINYFED_LANES) {
            const vec_t value = vec_load(y + k);
            vec_store(y + k, vec_clear(value, vec_not_above_zero(value)));
        }
        if (k < count) {
            const vec_t value = vec_load_part(y + k, count - k);
            vec_store_part(y + k, vec_clear(value, vec_not_above_zero(value)), count - k);
        }
    } else if (activation == TINYFED_TANH) {
        for (uint32_t k = 0; k < count; k += TINYFED_LANES)
            store_up_to(y + k, vec_tanh(load_up_to(y + k, count - k)), count - k);
    } else {
        tinyfed_activate_plain_f32(y, count, activation, alpha);
    }
}
