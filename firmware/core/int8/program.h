/* Offsets of an int8 program (docs/int8.md) and one operator of it, read. */
#ifndef TINYFED_INT8_PROGRAM_H
#define TINYFED_INT8_PROGRAM_H

#include <string.h>

#include "tinyfed_int8.h"
#include "tinyfed_bytes.h"

#define TINYFED_INT8_MAGIC 0x38494654u /* "TFI8" */
#define TINYFED_INT8_VERSION 1u
#define TINYFED_INT8_HEADER_BYTES 64u
#define TINYFED_INT8_RECORD_BYTES 64u
#define TINYFED_INT8_PORT_BYTES 32u
#define TINYFED_INT8_STATE_BYTES 32u
#define TINYFED_INT8_STATES_MAX 256u
#define TINYFED_INT8_OPERATORS_MAX 512u
#define TINYFED_INT8_PORTS_MAX 16u
#define TINYFED_INT8_WORK_MAX 0x10000000u /* keeps every sum of offsets below 2^32 */

enum {
    TINYFED_INT8_CONV = 1,
    TINYFED_INT8_DENSE = 2,
    TINYFED_INT8_DEPTHWISE = 3,
    TINYFED_INT8_MAX_POOL = 4,
    TINYFED_INT8_AVERAGE_POOL = 5,
    TINYFED_INT8_MEAN = 6,
    TINYFED_INT8_ADD = 7,
    TINYFED_INT8_PAD = 8,
    TINYFED_INT8_SOFTMAX = 9,
    TINYFED_INT8_TABLE = 10,
    TINYFED_INT8_RESIZE = 11,
    TINYFED_INT8_MOVE = 12,
    TINYFED_INT8_BINARY = 13,
    TINYFED_INT8_BILINEAR = 14,
    TINYFED_INT8_LSTM = 30,
    TINYFED_INT8_SVDF = 31
};

/* Kinds of operators that a build has, a bit each: all, where the recipe does not say which (tinyfed_build.py takes
 * them from the model that is built in). Bit 0 is the general form. A program with another one is refused, and the
 * linker drops its kernel. */
#ifndef TINYFED_KINDS
#define TINYFED_KINDS UINT64_MAX, UINT64_MAX
#endif

static inline bool tinyfed_int8_has(uint32_t kind)
{
    const uint64_t kinds[2] = {TINYFED_KINDS};
    return kind < 128u && ((kinds[kind / 64u] >> (kind % 64u)) & 1u) != 0;
}

/* A case of a switch over kinds that falls away with its kind. */
#define TINYFED_INT8_CASE(kind, call)                                                                                  \
    case kind:                                                                                                         \
        if (tinyfed_int8_has(kind)) call;                                                                              \
        break

/* What a binary operator computes; numbered as float32's. */
enum {
    TINYFED_INT8_SUM = 1,
    TINYFED_INT8_DIFFERENCE = 2,
    TINYFED_INT8_PRODUCT = 4,
    TINYFED_INT8_SMALLER = 7,
    TINYFED_INT8_LARGER = 8,
    TINYFED_INT8_SQUARED = 9,
    TINYFED_INT8_PRELU = 10
};

#define TINYFED_INT8_GENERAL 1u    /* weights and rescaling in the general form */
#define TINYFED_INT8_CONSTANT 2u   /* the input lies in the program: in_at is an offset in it, like weights_at */
#define TINYFED_INT8_CONSTANT_B 4u /* the second input does */

#define TINYFED_INT8_MOVE_DIMENSIONS 6
/* What a move does, for every index below the counts: the element at from_first + sum of index * from_step goes to
 * to_first + sum of index * to_step. All of it in bytes; the record's shapes too. */
typedef struct tinyfed_int8_move {
    uint32_t element; /* 1, 2 or 4 */
    uint32_t count[TINYFED_INT8_MOVE_DIMENSIONS];
    int32_t from_step[TINYFED_INT8_MOVE_DIMENSIONS], to_step[TINYFED_INT8_MOVE_DIMENSIONS];
    uint32_t from_first, to_first;
    uint32_t fills, fill; /* 1: the whole output holds this byte first */
    uint32_t reserved;
} tinyfed_int8_move_t;

/* The first 60 bytes of a record, in their order: read with one copy. */
typedef struct tinyfed_int8_record {
    uint8_t kind, flags;
    uint8_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    int8_t in_zero, out_zero, low, high, in_b_zero;
    uint8_t reserved;
    uint16_t in_h, in_w;
    uint32_t in_c;
    uint16_t out_h, out_w;
    uint32_t out_c;
    uint32_t in_at, in_b_at, out_at, scratch_at; /* in the work area */
    uint32_t weights_at, table_at;               /* in the program */
    uint32_t chunk;                              /* inputs summed before the odd channels are split off */
    uint32_t reserved_b;
} tinyfed_int8_record_t;

#define TINYFED_INT8_BINARY_DIMENSIONS 4
/* The output is written in order, of four dimensions; a step of 0 repeats an input. Pairs are {multiplier, shift}. */
typedef struct tinyfed_int8_binary {
    uint32_t code;
    uint32_t count_b; /* values of the second input; the record's shapes are of the first and the output */
    uint32_t count[TINYFED_INT8_BINARY_DIMENSIONS];
    uint32_t a_step[TINYFED_INT8_BINARY_DIMENSIONS], b_step[TINYFED_INT8_BINARY_DIMENSIONS];
    int32_t a[2], b[2], out[2];
} tinyfed_int8_binary_t;

/* Of each row of the output, then of each column: the input's two neighbours, and how far it is from the lower one to
 * the upper one, in 1024ths. */
typedef struct tinyfed_int8_between {
    int32_t lower, upper, fraction;
} tinyfed_int8_between_t;

/* An operator with its places. Tables are int32 and aligned; tensors are bytes, [height][width][channels]. */
typedef struct tinyfed_int8_operator {
    tinyfed_int8_record_t r;
    const int8_t *in, *in_b;
    int8_t *out;
    int8_t *work; /* the whole area: operators with states find them in it */
    void *scratch;
    const uint8_t *weights;
    const int32_t *table;
    uint8_t kernels;
} tinyfed_int8_operator_t;

typedef tinyfed_int8_operator_t tinyfed_int8_op_t;

static inline uint32_t tinyfed_int8_round_up(uint32_t value, uint32_t multiple)
{
    return (value + multiple - 1u) / multiple * multiple;
}

/* An extent of the input that the windows of `out` outputs cover. */
static inline uint32_t tinyfed_int8_covered(uint32_t out, uint32_t stride, uint32_t kernel, uint32_t dilation)
{
    return (out - 1u) * stride + (kernel - 1u) * dilation + 1u;
}

static inline uint32_t tinyfed_int8_window(const tinyfed_int8_record_t *r)
{
    return (uint32_t)r->kernel_h * r->kernel_w * r->in_c;
}

/* Rows of a window are not whole quads of inputs, or not in one piece: bytes are gathered first. */
static inline bool tinyfed_int8_gathers(const tinyfed_int8_record_t *r)
{
    return r->in_c % 4u != 0 || r->dilation_h != 1 || r->dilation_w != 1;
}

/* A dense layer of few outputs, which reads its input as it lies: no scratch. */
static inline bool tinyfed_int8_is_narrow(const tinyfed_int8_record_t *r)
{
    return r->kind == TINYFED_INT8_DENSE && r->out_c <= 8u;
}

void tinyfed_int8_conv(const tinyfed_int8_op_t *op);
void tinyfed_int8_dense(const tinyfed_int8_op_t *op);
void tinyfed_int8_depthwise(const tinyfed_int8_op_t *op);
void tinyfed_int8_conv_general(const tinyfed_int8_op_t *op);
void tinyfed_int8_depthwise_general(const tinyfed_int8_op_t *op);
void tinyfed_int8_max_pool(const tinyfed_int8_op_t *op);
void tinyfed_int8_average_pool(const tinyfed_int8_op_t *op);
void tinyfed_int8_mean(const tinyfed_int8_op_t *op);
void tinyfed_int8_add(const tinyfed_int8_op_t *op);
void tinyfed_int8_pad(const tinyfed_int8_op_t *op);
void tinyfed_int8_softmax(const tinyfed_int8_op_t *op);
void tinyfed_int8_table(const tinyfed_int8_op_t *op);
void tinyfed_int8_resize(const tinyfed_int8_op_t *op);
void tinyfed_int8_lstm(const tinyfed_int8_op_t *op);
void tinyfed_int8_svdf(const tinyfed_int8_op_t *op);
void tinyfed_int8_move(const tinyfed_int8_op_t *op);
void tinyfed_int8_binary(const tinyfed_int8_op_t *op);
void tinyfed_int8_bilinear(const tinyfed_int8_op_t *op);
bool tinyfed_int8_binary_is_known(uint32_t code);

#endif
