/* float32 operators of a program (docs/int8.md): the same records as int8 ones, with float tensors. */
#ifndef TINYFED_FLOAT_OPERATORS_H
#define TINYFED_FLOAT_OPERATORS_H

#include "int8/program.h"
#include "tinyfed_float.h"

enum {
    TINYFED_FLOAT_CONV = 40,
    TINYFED_FLOAT_DEPTHWISE = 41,
    TINYFED_FLOAT_TRANSPOSED_CONV = 42,
    TINYFED_FLOAT_MAX_POOL = 43,
    TINYFED_FLOAT_AVERAGE_POOL = 44,
    TINYFED_FLOAT_REDUCE = 45,
    TINYFED_FLOAT_BINARY = 46,
    TINYFED_FLOAT_UNARY = 47,
    TINYFED_FLOAT_SOFTMAX = 48,
    TINYFED_FLOAT_RESIZE = 49,
    TINYFED_FLOAT_QUANTIZE = 50,
    TINYFED_FLOAT_DEQUANTIZE = 51,
    TINYFED_FLOAT_MATMUL = 52,
    TINYFED_FLOAT_RECURRENT = 53
};

#define TINYFED_FLOAT_FIRST TINYFED_FLOAT_CONV
#define TINYFED_FLOAT_LAST TINYFED_FLOAT_RECURRENT

/* Of a record's flags: convolutions have a bias (the table); a binary operator's second input is a constant (weights).
 */
#define TINYFED_FLOAT_BIAS 1u
#define TINYFED_FLOAT_CONSTANT 1u

/* A record says what it computes where others have the kernel's height. */
enum { TINYFED_MEAN_OF = 1, TINYFED_SUM_OF = 2, TINYFED_MAX_OF = 3, TINYFED_MIN_OF = 4 };

enum {
    TINYFED_ADD = 1,
    TINYFED_SUB = 2,
    TINYFED_SUB_FROM = 3,
    TINYFED_MUL = 4,
    TINYFED_DIV = 5,
    TINYFED_DIV_BY = 6,
    TINYFED_MINIMUM = 7,
    TINYFED_MAXIMUM = 8,
    TINYFED_SQUARED_DIFFERENCE = 9,
    TINYFED_PRELU = 10
};

enum {
    TINYFED_CLIP = 1,
    TINYFED_LEAKY = 2,
    TINYFED_ELU = 3,
    TINYFED_LOGISTIC = 4,
    TINYFED_HYPERBOLIC_TANGENT = 5,
    TINYFED_SWISH = 6,
    TINYFED_GELU = 7,
    TINYFED_GELU_TANH = 8,
    TINYFED_HARD_SWISH = 9,
    TINYFED_HARD_SIGMOID = 10,
    TINYFED_SOFTPLUS = 11,
    TINYFED_SOFTSIGN = 12,
    TINYFED_MISH = 13,
    TINYFED_EXP = 14,
    TINYFED_LOG = 15,
    TINYFED_SQRT = 16,
    TINYFED_RSQRT = 17,
    TINYFED_ABS = 18,
    TINYFED_NEG = 19,
    TINYFED_SQUARE = 20,
    TINYFED_SIN = 21
};

/* Cells of recurrent layers; what the flag says of one: from the last step to the first. */
enum { TINYFED_SIMPLE = 1, TINYFED_LSTM = 2, TINYFED_GRU = 3, TINYFED_GRU_RESET_BEFORE = 4 };

#define TINYFED_FLOAT_BACKWARDS 1u
#define TINYFED_RECURRENT_NUMBERS 5u /* before the biases in its table */

static inline uint32_t tinyfed_float_gates(uint8_t cell)
{
    return cell == TINYFED_SIMPLE ? 1u : (cell == TINYFED_LSTM ? 4u : 3u);
}

#define TINYFED_AXES 6u /* of a table of counts and strides */

static inline const float *tinyfed_float_in(const tinyfed_int8_op_t *op) { return (const float *)(const void *)op->in; }

static inline float *tinyfed_float_out(const tinyfed_int8_op_t *op) { return (float *)(void *)op->out; }

static inline const uint32_t *tinyfed_float_table(const tinyfed_int8_op_t *op)
{
    return (const uint32_t *)(const void *)op->table;
}

/* Where the values lie whose index along axes 0..axes-1, the last the fastest, is `index`. */
static inline uint32_t tinyfed_strided(const uint32_t *counts, const uint32_t *strides, uint32_t axes, uint32_t index)
{
    uint32_t at = 0;
    while (axes-- > 0) {
        at += index % counts[axes] * strides[axes];
        index /= counts[axes];
    }
    return at;
}

/* The first field of a record that is wrong, an offset in it, and why; kinds from FIRST to LAST. */
tinyfed_status_t tinyfed_float_check(uint32_t *field, const tinyfed_int8_record_t *record, const uint8_t *program,
                                     uint32_t program_bytes, uint32_t data_at, uint32_t work_bytes) TINYFED_MUST_USE;
void tinyfed_float_run(const tinyfed_int8_op_t *op);

/* One of the functions of a unary operator, of x; a and b are its numbers. */
float tinyfed_float_function(uint8_t function, float x, float a, float b);

void tinyfed_float_conv(const tinyfed_int8_op_t *op);
void tinyfed_float_depthwise(const tinyfed_int8_op_t *op);
void tinyfed_float_transposed_conv(const tinyfed_int8_op_t *op);
void tinyfed_float_pool(const tinyfed_int8_op_t *op);
void tinyfed_float_reduce(const tinyfed_int8_op_t *op);
void tinyfed_float_binary(const tinyfed_int8_op_t *op);
void tinyfed_float_unary(const tinyfed_int8_op_t *op);
void tinyfed_float_softmax(const tinyfed_int8_op_t *op);
void tinyfed_float_resize(const tinyfed_int8_op_t *op);
void tinyfed_float_matmul(const tinyfed_int8_op_t *op);
void tinyfed_float_recurrent(const tinyfed_int8_op_t *op);

#endif
