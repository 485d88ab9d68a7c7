#include "float.h"
#include "math/sqrt.h"

/* erf(x) = 1 - (a1 t + ... + a5 t^5) exp(-x^2), t = 1 / (1 + p x), x >= 0: Abramowitz and Stegun 7.1.26, error below
 * 1.5e-7. */
static float erf_of(float x)
{
    const float size = x < 0.0f ? -x : x;
    const float t = 1.0f / (1.0f + 0.3275911f * size);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const float value = 1.0f - p * t * tinyfed_exp_f32(-size * size);
    return x < 0.0f ? -value : value;
}

static float clip(float x, float low, float high) { return x < low ? low : (x > high ? high : x); }

static float logistic(float x) { return 1.0f / (1.0f + tinyfed_exp_f32(-x)); }

static float softplus(float x)
{
    const float size = x < 0.0f ? -x : x;
    return (x > 0.0f ? x : 0.0f) + tinyfed_log_f32(1.0f + tinyfed_exp_f32(-size));
}

static float root(float x)
{
    return x >= 0.0f && tinyfed_is_finite(x) ? tinyfed_sqrt(x) : (x > 0.0f ? x : (x - x) / 0.0f * 0.0f);
}

float tinyfed_float_function(uint8_t function, float x, float a, float b)
{
    switch (function) {
    case TINYFED_CLIP: return clip(x, a, b);
    case TINYFED_LEAKY: return x < 0.0f ? a * x : x;
    case TINYFED_ELU: return x < 0.0f ? a * (tinyfed_exp_f32(x) - 1.0f) : b * x;
    case TINYFED_LOGISTIC: return logistic(x);
    case TINYFED_HYPERBOLIC_TANGENT: return tinyfed_tanh_f32(x);
    case TINYFED_SWISH: return x * logistic(x);
    case TINYFED_GELU: return 0.5f * x * (1.0f + erf_of(x * 0x1.6a09e6p-1f));
    case TINYFED_GELU_TANH: return 0.5f * x * (1.0f + tinyfed_tanh_f32(0x1.988454p-1f * (x + 0.044715f * x * x * x)));
    case TINYFED_HARD_SWISH: return x * clip(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case TINYFED_HARD_SIGMOID: return clip(a * x + b, 0.0f, 1.0f);
    case TINYFED_SOFTPLUS: return softplus(x);
    case TINYFED_SOFTSIGN: return x / (1.0f + (x < 0.0f ? -x : x));
    case TINYFED_MISH: return x * tinyfed_tanh_f32(softplus(x));
    case TINYFED_EXP: return tinyfed_exp_f32(x);
    case TINYFED_LOG: return tinyfed_log_f32(x);
    case TINYFED_SQRT: return root(x);
    case TINYFED_RSQRT: return 1.0f / root(x);
    case TINYFED_ABS: return x < 0.0f ? -x : x;
    case TINYFED_NEG: return -x;
    case TINYFED_SQUARE: return x * x;
    default: return tinyfed_sin_f32(x);
    }
}

void tinyfed_float_unary(const tinyfed_int8_op_t *op)
{
    const float *x = tinyfed_float_in(op);
    float *y = tinyfed_float_out(op);
    const float a = tinyfed_float(tinyfed_float_table(op)[0]), b = tinyfed_float(tinyfed_float_table(op)[1]);
    const uint32_t count = (uint32_t)op->r.out_h * op->r.out_w * op->r.out_c;
    for (uint32_t i = 0; i < count; i++) y[i] = tinyfed_float_function(op->r.kernel_h, x[i], a, b);
}

static float binary(uint8_t function, float a, float b)
{
    switch (function) {
    case TINYFED_ADD: return a + b;
    case TINYFED_SUB: return a - b;
    case TINYFED_SUB_FROM: return b - a;
    case TINYFED_MUL: return a * b;
    case TINYFED_DIV: return a / b;
    case TINYFED_DIV_BY: return b / a;
    case TINYFED_MINIMUM: return b < a ? b : a;
    case TINYFED_MAXIMUM: return b > a ? b : a;
    case TINYFED_SQUARED_DIFFERENCE: return (a - b) * (a - b);
    default: return a < 0.0f ? a * b : a;
    }
}

/* Table: counts, strides of the first and of the second input, of six axes each. */
void tinyfed_float_binary(const tinyfed_int8_op_t *op)
{
    const uint32_t *counts = tinyfed_float_table(op), *of_a = counts + TINYFED_AXES, *of_b = of_a + TINYFED_AXES;
    const bool constant = (op->r.flags & TINYFED_FLOAT_CONSTANT) != 0;
    const float *second = constant ? (const float *)(const void *)op->weights : (const float *)(const void *)op->in_b;
    const uint32_t inner = TINYFED_AXES - 1u, total = (uint32_t)op->r.out_h * op->r.out_w * op->r.out_c;
    float *y = tinyfed_float_out(op);
    for (uint32_t row = 0; row < total / counts[inner]; row++) {
        const float *a = tinyfed_float_in(op) + tinyfed_strided(counts, of_a, inner, row);
        const float *b = second + tinyfed_strided(counts, of_b, inner, row);
        for (uint32_t i = 0; i < counts[inner]; i++, a += of_a[inner], b += of_b[inner])
            *y++ = binary(op->r.kernel_h, *a, *b);
    }
}
