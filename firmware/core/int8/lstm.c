/* Unidirectional LSTM: int8 activations and weights, int16 gates and cell. */
#include "recurrent.h"

/* table at magnitude / 2^bits, between its entries too, times 2^bits; behind the table `most`. */
static int32_t sigmoid_at(const uint16_t *table, uint32_t magnitude, uint32_t bits, int32_t most)
{
    const uint32_t at = magnitude >> bits, part = magnitude & ((1u << bits) - 1u);
    if (at >= 255) return most;
    return (int32_t)(((uint32_t)table[at] << bits) + part * (uint32_t)(table[at + 1u] - table[at]));
}

/* Q3.12 -> Q0.15; x is three times the input, which makes steps of 1/24 of bits. */
static int16_t sigmoid(const uint16_t *table, int32_t x)
{
    const int32_t y = sigmoid_at(table, (uint32_t)(x < 0 ? -x : x), 9, 0x7FFF << 10);
    return (int16_t)((x < 0 ? (1 << 25) - y + 511 : y + 512) >> 10);
}

/* The same: tanh(x) = 2 sigmoid(2 x) - 1. */
static int16_t hyperbolic_tangent(const uint16_t *table, int32_t x)
{
    const int32_t y = sigmoid_at(table, (uint32_t)(x < 0 ? -x : x), 8, 0xFFFF << 8) - (1 << 23);
    return (int16_t)((x < 0 ? 127 - y : y + 128) >> 8);
}

static int32_t clamp16(int32_t x) { return tinyfed_int8_clamp(x, INT16_MIN, INT16_MAX); }

static int32_t scaled16(int32_t x, const tinyfed_int8_scale_t *by)
{
    return clamp16(tinyfed_int8_rescale(x, by->multiplier, by->shift));
}

static const int32_t *biases_of(const tinyfed_int8_op_t *op)
{
    return op->table + sizeof(tinyfed_int8_lstm_t) / sizeof(int32_t);
}

static const uint16_t *sigmoids_of(const tinyfed_int8_op_t *op)
{
    return (const uint16_t *)(const void *)(biases_of(op) + 8u * op->r.out_c);
}

static void run_gate(int16_t *out, const tinyfed_int8_op_t *op, uint32_t gate, const int8_t *x, const int8_t *hidden)
{
    const tinyfed_int8_lstm_t *t = (const tinyfed_int8_lstm_t *)(const void *)op->table;
    const uint32_t units = op->r.out_c, inputs = op->r.in_c;
    const int32_t *bias = biases_of(op) + 2u * gate * units;
    const int8_t *w = (const int8_t *)op->weights + (size_t)gate * units * (inputs + units);
    for (uint32_t u = 0; u < units; u++, w += inputs + units) {
        const int32_t a = tinyfed_int8_dot(w, x, inputs, bias[u]);
        const int32_t b = tinyfed_int8_dot(w + inputs, hidden, units, bias[units + u]);
        const int32_t sum = clamp16(scaled16(a, &t->gates[gate].input) + scaled16(b, &t->gates[gate].hidden));
        out[u] = gate == TINYFED_INT8_CELL ? hyperbolic_tangent(sigmoids_of(op), 3 * sum)
                                           : sigmoid(sigmoids_of(op), 3 * sum);
    }
}

/* in_b_at is the hidden state's place, chunk the cell's. weights: of every gate, a row a unit: of the input, of the
 * hidden state. */
void tinyfed_int8_lstm(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_lstm_t *t = (const tinyfed_int8_lstm_t *)(const void *)op->table;
    const uint32_t units = op->r.out_c;
    const int32_t most = t->clip != 0 ? t->clip : INT16_MAX, least = t->clip != 0 ? -t->clip : INT16_MIN;
    const int32_t half = t->tanh.shift > 0 ? 1 << (t->tanh.shift - 1) : 0;
    int8_t *hidden = op->work + op->r.in_b_at, *out = op->out;
    int16_t *cell = (int16_t *)(void *)(op->work + op->r.chunk), *gates = op->scratch;
    for (uint32_t step = 0; step < op->r.in_h; step++) {
        for (uint32_t gate = 0; gate < 4; gate++)
            run_gate(gates + gate * units, op, gate, op->in + step * op->r.in_c, hidden);
        for (uint32_t u = 0; u < units; u++) {
            const int32_t kept = scaled16(gates[u] * cell[u], &t->forget);
            const int32_t added = scaled16(gates[units + u] * gates[2u * units + u], &t->input);
            cell[u] = (int16_t)tinyfed_int8_clamp(clamp16(kept + added), least, most);
            const int32_t x = (cell[u] * t->tanh.multiplier + half) >> t->tanh.shift;
            const int32_t y = hyperbolic_tangent(sigmoids_of(op), x) * gates[3u * units + u];
            const int32_t q = tinyfed_int8_rescale(y, t->output.multiplier, t->output.shift);
            hidden[u] = (int8_t)tinyfed_int8_clamp(tinyfed_int8_wrap_add(q, op->r.out_zero), INT8_MIN, INT8_MAX);
            *out++ = hidden[u];
        }
    }
}
