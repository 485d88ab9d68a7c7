#include "loss.h"

#include "kernels/reduce.h"

static float squared_error(float *y, uint32_t count, const float *target, bool trains, uint8_t derivative, float alpha)
{
    if (count == 1) { /* the same bits without the lanes and divisions */
        const float difference = y[0] - target[0];
        if (trains) y[0] = tinyfed_derive(derivative, alpha, y[0], difference * 2.0f);
        return difference * difference;
    }
    float lanes[TINYFED_LANES] = {0};
    const float scale = 2.0f / (float)count;
    for (uint32_t k = 0; k < count; k++) {
        const float difference = y[k] - target[k];
        lanes[k % TINYFED_LANES] += difference * difference;
        if (trains) y[k] = tinyfed_derive(derivative, alpha, y[k], difference * scale);
    }
    return tinyfed_sum_lanes(lanes) / (float)count;
}

static uint32_t largest(const float *y, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t k = 1; k < count; k++)
        if (y[k] > y[best]) best = k;
    return best;
}

/* log(sum exp(y - m)) - (y[label] - m), m the largest; the gradient is the probability, less 1 at the label. */
static float softmax_cross_entropy(float *y, uint32_t count, uint32_t label, bool trains)
{
    float lanes[TINYFED_LANES] = {0};
    const float most = y[largest(y, count)];
    const float wanted = y[label] - most;
    for (uint32_t k = 0; k < count; k++) {
        y[k] = tinyfed_exp_f32(y[k] - most);
        lanes[k % TINYFED_LANES] += y[k];
    }
    const float sum = tinyfed_sum_lanes(lanes);
    if (trains) {
        const float scale = 1.0f / sum;
        for (uint32_t k = 0; k < count; k++) y[k] = y[k] * scale;
        y[label] -= 1.0f;
    }
    return tinyfed_log_f32(sum) - wanted;
}

/* max(y, 0) - y t + log(1 + exp(-|y|)): never overflows. The gradient is (sigmoid(y) - t) / count. */
static float binary_cross_entropy(float *y, uint32_t count, const float *target, bool trains)
{
    float lanes[TINYFED_LANES] = {0};
    const float scale = 1.0f / (float)count;
    for (uint32_t k = 0; k < count; k++) {
        const float logit = y[k];
        const float small = tinyfed_exp_f32(logit < 0.0f ? logit : -logit);
        const float positive = logit < 0.0f ? 0.0f : logit;
        lanes[k % TINYFED_LANES] += (positive - logit * target[k]) + tinyfed_log_f32(1.0f + small);
        const float inverse = 1.0f / (1.0f + small);
        if (trains) y[k] = ((logit < 0.0f ? small * inverse : inverse) - target[k]) * scale;
    }
    return tinyfed_sum_lanes(lanes) / (float)count;
}

void tinyfed_loss_f32(tinyfed_score_t *score, float *y, uint32_t count, uint8_t loss, const tinyfed_target_t *target,
                      bool trains, uint8_t derivative, float alpha)
{
    score->correct = false;
    switch (loss) {
    case TINYFED_LOSS_SOFTMAX_CROSS_ENTROPY:
        score->correct = largest(y, count) == (uint32_t)target->label;
        score->loss = softmax_cross_entropy(y, count, (uint32_t)target->label, trains);
        break;
    case TINYFED_LOSS_BINARY_CROSS_ENTROPY: {
        score->correct = true;
        for (uint32_t k = 0; k < count; k++)
            if ((y[k] > 0.0f) != (target->values[k] > 0.5f)) score->correct = false;
        score->loss = binary_cross_entropy(y, count, target->values, trains);
        break;
    }
    default: score->loss = squared_error(y, count, target->values, trains, derivative, alpha); break;
    }
}
