#include "float.h"

/* Table: counts and strides of three axes that stay, then of three that fall away. */
#define HALF 3u

void tinyfed_float_reduce(const tinyfed_int8_op_t *op)
{
    const uint32_t *kept = tinyfed_float_table(op), *gone = kept + 2u * HALF;
    const uint32_t outputs = kept[0] * kept[1] * kept[2], inputs = gone[0] * gone[1] * gone[2];
    const uint8_t function = op->r.kernel_h;
    float *y = tinyfed_float_out(op);
    for (uint32_t o = 0; o < outputs; o++) {
        const float *x = tinyfed_float_in(op) + tinyfed_strided(kept, kept + HALF, HALF, o);
        float result = x[0];
        for (uint32_t i = 1; i < inputs; i++) {
            const float value = x[tinyfed_strided(gone, gone + HALF, HALF, i)];
            if (function == TINYFED_MAX_OF) result = value > result ? value : result;
            else if (function == TINYFED_MIN_OF) result = value < result ? value : result;
            else result += value;
        }
        y[o] = function == TINYFED_MEAN_OF ? result / (float)inputs : result;
    }
}

void tinyfed_float_softmax(const tinyfed_int8_op_t *op)
{
    const uint32_t rows = (uint32_t)op->r.in_h * op->r.in_w, count = op->r.in_c;
    const float *x = tinyfed_float_in(op);
    float *y = tinyfed_float_out(op);
    for (uint32_t row = 0; row < rows; row++, x += count, y += count) {
        float most = x[0], sum = 0.0f;
        for (uint32_t i = 1; i < count; i++) most = x[i] > most ? x[i] : most;
        for (uint32_t i = 0; i < count; i++) {
            const float from_most = x[i] - most, power = tinyfed_exp_f32(from_most);
            sum += power;
            y[i] = op->r.kernel_h == 2 ? from_most : power;
        }
        const float log_sum = tinyfed_log_f32(sum);
        for (uint32_t i = 0; i < count; i++) y[i] = op->r.kernel_h == 2 ? y[i] - log_sum : y[i] / sum;
    }
}
