/* SVDF: a filter over features, then one over the last steps' results of it; `rank` filters make a unit. */
#include "recurrent.h"

static int32_t value_of(const void *values, uint32_t at, uint32_t bytes)
{
    return bytes == 1u ? ((const int8_t *)values)[at] : ((const int16_t *)values)[at];
}

/* weights: int8 [filters][inputs], from the next multiple of 4 on [filters][memory], as wide as the state is. */
void tinyfed_int8_svdf(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_svdf_t *t = (const tinyfed_int8_svdf_t *)(const void *)op->table;
    const uint32_t inputs = op->r.in_c, units = op->r.out_c, filters = units * t->rank, wide = t->state_bytes;
    const int32_t *bias = op->table + sizeof *t / sizeof(int32_t);
    const int8_t *w = (const int8_t *)op->weights;
    const void *times = op->weights + tinyfed_int8_round_up(filters * inputs, 4);
    const int32_t most = wide == 1u ? INT8_MAX : INT16_MAX, least = -most - 1;
    int8_t *state = op->work + op->r.in_b_at;
    memmove(state, state + wide, (size_t)(filters * t->memory - 1u) * wide);
    for (uint32_t f = 0; f < filters; f++, w += inputs) {
        const int32_t sum = tinyfed_int8_dot(w, op->in, inputs, bias[f]);
        const int32_t q = tinyfed_int8_rescale(sum, t->feature.multiplier, t->feature.shift);
        const int16_t kept = (int16_t)tinyfed_int8_clamp(tinyfed_int8_wrap_add(q, t->state_zero), least, most);
        int8_t *to = state + ((size_t)f * t->memory + t->memory - 1u) * wide;
        if (wide == 1u) *to = (int8_t)kept;
        else memcpy(to, &kept, sizeof kept);
    }
    uint32_t at = 0;
    for (uint32_t u = 0; u < units; u++) {
        uint32_t sum = (uint32_t)bias[filters + u];
        for (uint32_t k = 0; k < t->rank * t->memory; k++, at++)
            sum += (uint32_t)(value_of(times, at, wide) * (value_of(state, at, wide) - t->state_zero));
        const int32_t q = tinyfed_int8_rescale((int32_t)sum, t->output.multiplier, t->output.shift);
        op->out[u] = (int8_t)tinyfed_int8_clamp(tinyfed_int8_wrap_add(q, op->r.out_zero), INT8_MIN, INT8_MAX);
    }
}
