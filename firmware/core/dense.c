#include "dense.h"

#include "reduce.h"

void tinyfed_dense_forward_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
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

/* The gradient of input i, before the weights change. */
static float input_gradient(const tinyfed_dense_step_t *step, uint32_t i, const float *row)
{
    float gradient = tinyfed_dot(row, step->d_y, step->outputs);
    if (step->adds) gradient = step->d_x[i] + gradient;
    return tinyfed_derive(step->derivative, step->alpha, step->x[i], gradient);
}

void tinyfed_dense_backward_f32(const tinyfed_dense_step_t *step)
{
    float *row = step->weights;
    if (step->d_x != NULL || step->trains) {
        for (uint32_t i = 0; i < step->inputs; i++, row += step->outputs) {
            const float x = step->x[i];
            if (x == 0.0f && step->derivative == TINYFED_RELU && step->d_x != NULL) {
                step->d_x[i] = 0.0f;
                continue;
            }
            if (step->d_x != NULL) step->d_x[i] = input_gradient(step, i, row);
            if (x == 0.0f || !step->trains) continue;
            const float scale = step->rate * x;
            for (uint32_t o = 0; o < step->outputs; o++) row[o] -= scale * step->d_y[o];
        }
    }
    if (step->bias != NULL)
        for (uint32_t o = 0; o < step->outputs; o++) step->bias[o] -= step->rate * step->d_y[o];
}
