/* Operators that keep states of their own: what lies in their tables. */
#ifndef TINYFED_INT8_RECURRENT_H
#define TINYFED_INT8_RECURRENT_H

#include "kernels.h"

#if defined(TINYFED_INT8_M4)
#include <arm_acle.h>
#endif

enum { TINYFED_INT8_FORGET = 0, TINYFED_INT8_INPUT = 1, TINYFED_INT8_CELL = 2, TINYFED_INT8_OUTPUT = 3 };

/* x * multiplier * 2^(shift - 31) */
typedef struct tinyfed_int8_scale {
    int32_t multiplier, shift;
} tinyfed_int8_scale_t;

/* Table of an LSTM; behind it int32 biases of every gate, of the input and then of the hidden state, units each, with
 * the zero points' share; then 256 uint16, sigmoid(i / 24) * 2^16. */
typedef struct tinyfed_int8_lstm {
    struct {
        tinyfed_int8_scale_t input, hidden; /* sums to Q3.12 */
    } gates[4];
    tinyfed_int8_scale_t forget, input, output; /* gate * cell, gate * gate, tanh(cell) * gate */
    int32_t clip;                               /* of the cell; 0: none */
    tinyfed_int8_scale_t tanh;                  /* cell * multiplier / 2^shift is 3 times its Q3.12 */
    int32_t reserved[3];
} tinyfed_int8_lstm_t;

/* Table of an SVDF; behind it an int32 bias of every filter and of every unit. */
typedef struct tinyfed_int8_svdf {
    uint32_t rank, memory, state_bytes; /* filters a unit; steps kept; 1 or 2 bytes of a value of the state */
    int32_t state_zero;
    tinyfed_int8_scale_t feature, output;
} tinyfed_int8_svdf_t;

/* open.c: everything that the kernels take for granted. *at is the field that is wrong. */
tinyfed_status_t tinyfed_int8_recurrent_check(uint32_t *at, const tinyfed_int8_record_t *r, const uint8_t *program,
                                              uint32_t program_bytes, uint32_t data_at, uint32_t work_bytes);

/* Sum of w[i] * x[i], modulo 2^32. */
static inline int32_t tinyfed_int8_dot(const int8_t *w, const int8_t *x, uint32_t count, int32_t sum)
{
#if defined(TINYFED_INT8_M4)
    for (; count >= 4u; count -= 4u, w += 4, x += 4) {
        uint32_t a, b;
        memcpy(&a, w, 4);
        memcpy(&b, x, 4);
        sum = __smlad(__sxtb16((int32_t)a), __sxtb16((int32_t)b), sum);
        sum = __smlad(__sxtb16((int32_t)(a >> 8 | a << 24)), __sxtb16((int32_t)(b >> 8 | b << 24)), sum);
    }
#endif
    for (uint32_t i = 0; i < count; i++) sum = tinyfed_int8_wrap_add(sum, w[i] * x[i]);
    return sum;
}

#endif
