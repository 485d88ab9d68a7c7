/* Encoded weights to float32, exactly as tinyfed/wire/encodings.py does it. */
#include "tinyfed_bytes.h"
#include "tinyfed_float.h"
#include "tinyfed_wire.h"

#include <string.h>

#define SEGMENT_HEAD_BYTES 8u /* u32 count, float32 scale */

/* IEEE binary16 to binary32, which holds every one of its values. */
static float half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 31u;
    uint32_t fraction = half & 0x3FFu;
    if (exponent == 31u) return tinyfed_float(sign | 0x7F800000u | (fraction << 13));
    if (exponent == 0) {
        if (fraction == 0) return tinyfed_float(sign);
        exponent = 1;
        while ((fraction & 0x400u) == 0) { /* at most ten times */
            fraction <<= 1;
            exponent--;
        }
        fraction &= 0x3FFu;
    }
    return tinyfed_float(sign | ((exponent + 112u) << 23) | (fraction << 13));
}

void tinyfed_wire_expander_init(tinyfed_wire_expander_t *x, uint8_t encoding, float *values, uint32_t value_count)
{
    memset(x, 0, sizeof *x);
    x->encoding = encoding;
    x->values = values;
    x->value_count = value_count;
}

static tinyfed_wire_status_t write(tinyfed_wire_expander_t *x, float value)
{
    if (x->written >= x->value_count) return TINYFED_E_ARGUMENT;
    float *place = &x->values[x->written++];
    *place = (x->encoding & TINYFED_WIRE_DELTA) != 0 ? *place + value : value;
    return TINYFED_OK;
}

tinyfed_wire_status_t tinyfed_wire_expand(tinyfed_wire_expander_t *x, const uint8_t *bytes, uint32_t byte_count)
{
    const uint8_t format = x->encoding & 0x7Fu;
    const uint8_t wanted = format == TINYFED_WIRE_FLOAT16 ? 2u : format == TINYFED_WIRE_INT8 ? SEGMENT_HEAD_BYTES : 4u;
    for (uint32_t i = 0; i < byte_count; i++) {
        tinyfed_wire_status_t status = TINYFED_OK;
        if (format == TINYFED_WIRE_INT8 && x->left > 0) {
            const int32_t q = bytes[i] < 128u ? (int32_t)bytes[i] : (int32_t)bytes[i] - 256;
            status = write(x, x->scale * (float)q);
            x->left--;
        } else {
            x->piece[x->held++] = bytes[i];
            if (x->held < wanted) continue;
            x->held = 0;
            if (format == TINYFED_WIRE_INT8) {
                x->left = tinyfed_get32(x->piece);
                x->scale = tinyfed_float(tinyfed_get32(x->piece + 4));
            } else if (format == TINYFED_WIRE_FLOAT16) {
                status = write(x, half_to_float(tinyfed_get16(x->piece)));
            } else {
                status = write(x, tinyfed_float(tinyfed_get32(x->piece)));
            }
        }
        if (status != TINYFED_OK) return status;
    }
    return TINYFED_OK;
}

bool tinyfed_wire_expanded(const tinyfed_wire_expander_t *x)
{
    return x->written == x->value_count && x->held == 0 && x->left == 0;
}
