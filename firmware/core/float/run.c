#include "float.h"
#include "tinyfed_int8.h"

static void cast(const tinyfed_int8_op_t *op)
{
    const uint32_t count = (uint32_t)op->r.out_h * op->r.out_w * op->r.out_c;
    tinyfed_int8_port_t port = {0, count, 0.0f, op->table[1], TINYFED_TYPE_INT8};
    memcpy(&port.scale, op->table, sizeof port.scale);
    if (op->r.kind == TINYFED_FLOAT_QUANTIZE) tinyfed_int8_quantize(op->out, &port, tinyfed_float_in(op), count);
    else tinyfed_int8_dequantize(tinyfed_float_out(op), &port, op->in, count);
}

void tinyfed_float_run(const tinyfed_int8_op_t *op)
{
    switch (op->r.kind) {
        TINYFED_INT8_CASE(TINYFED_FLOAT_CONV, tinyfed_float_conv(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_DEPTHWISE, tinyfed_float_depthwise(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_TRANSPOSED_CONV, tinyfed_float_transposed_conv(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_MAX_POOL, tinyfed_float_pool(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_AVERAGE_POOL, tinyfed_float_pool(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_REDUCE, tinyfed_float_reduce(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_BINARY, tinyfed_float_binary(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_UNARY, tinyfed_float_unary(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_SOFTMAX, tinyfed_float_softmax(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_RESIZE, tinyfed_float_resize(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_MATMUL, tinyfed_float_matmul(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_RECURRENT, tinyfed_float_recurrent(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_QUANTIZE, cast(op));
        TINYFED_INT8_CASE(TINYFED_FLOAT_DEQUANTIZE, cast(op));
    default: break;
    }
}
