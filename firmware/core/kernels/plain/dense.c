#include "kernels/dense.h"

#include "kernels/reduce.h"

void tinyfed_dense_forward_plain_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                                     uint32_t outputs)
{
    if (outputs == 1) {
        y[0] = (bias != NULL ? bias[0] : 0.0f) + tinyfed_dot(x, weights, inputs);
        return;
    }
    for (uint32_t o = 0; o < outputs; o++) y[o] = bias != NULL ? bias[o] : 0.0f;
    for (uint32_t i = 0; i < inputs; i++, weights += outputs) {
        const float value = x[i];
        if (value == 0.0f) continue;
        for (uint32_t o = 0; o < outputs; o++) y[o] += value * weights[o];
    }
}

static void backward_rows(const tinyfed_dense_step_t *step)
{
    const uint32_t outputs = step->outputs;
    for (uint32_t i = 0; i < step->inputs; i++) {
        const float x = step->x[i];
        if (step->input.d_x != NULL) {
            if (x == 0.0f && step->input.derivative == TINYFED_RELU) {
                step->input.d_x[i] = 0.0f; /* a dead ReLU: nothing passes, nothing changes */
                continue;
            }
            const float gradient = tinyfed_dot(step->weights + (size_t)i * outputs, step->d_y, outputs);
            tinyfed_give_gradient(&step->input, i, x, gradient);
        }
        if (x == 0.0f || step->to_weights == NULL) continue;
        float *row = step->to_weights + (size_t)i * outputs;
        const float scale = step->factor * x;
        for (uint32_t o = 0; o < outputs; o++) row[o] += scale * step->d_y[o];
    }
}

void tinyfed_dense_backward_plain_f32(const tinyfed_dense_step_t *step)
{
    if (step->input.d_x != NULL || step->to_weights != NULL) backward_rows(step);
    if (step->to_bias != NULL)
        for (uint32_t o = 0; o < step->outputs; o++) step->to_bias[o] += step->factor * step->d_y[o];
}
