#include "float/float.h"

static const uint8_t *port_at(const tinyfed_int8_t *net, uint32_t index)
{
    return net->program + net->ports_at + index * TINYFED_INT8_PORT_BYTES;
}

static tinyfed_int8_port_t read_port(const uint8_t *p)
{
    tinyfed_int8_port_t port;
    memcpy(&port.offset, p, 4);
    memcpy(&port.count, p + 4, 4);
    memcpy(&port.scale, p + 16, 4);
    memcpy(&port.zero_point, p + 20, 4);
    port.type = p[25];
    return port;
}

tinyfed_int8_port_t tinyfed_int8_input(const tinyfed_int8_t *net, uint32_t index)
{
    return read_port(port_at(net, index));
}

tinyfed_int8_port_t tinyfed_int8_output(const tinyfed_int8_t *net, uint32_t index)
{
    return read_port(port_at(net, net->input_count + index));
}

static bool is_general(const tinyfed_int8_op_t *op)
{
    return tinyfed_int8_has(0) && (op->r.flags & TINYFED_INT8_GENERAL) != 0;
}

static void convolve(const tinyfed_int8_op_t *op, void (*fast)(const tinyfed_int8_op_t *))
{
    if (is_general(op)) tinyfed_int8_conv_general(op);
    else fast(op);
}

static void depthwise(const tinyfed_int8_op_t *op)
{
    if (is_general(op)) tinyfed_int8_depthwise_general(op);
    else tinyfed_int8_depthwise(op);
}

static void run_operator(const tinyfed_int8_op_t *op)
{
    switch (op->r.kind) {
        TINYFED_INT8_CASE(TINYFED_INT8_CONV, convolve(op, tinyfed_int8_conv));
        TINYFED_INT8_CASE(TINYFED_INT8_DENSE, convolve(op, tinyfed_int8_dense));
        TINYFED_INT8_CASE(TINYFED_INT8_DEPTHWISE, depthwise(op));
        TINYFED_INT8_CASE(TINYFED_INT8_MAX_POOL, tinyfed_int8_max_pool(op));
        TINYFED_INT8_CASE(TINYFED_INT8_AVERAGE_POOL, tinyfed_int8_average_pool(op));
        TINYFED_INT8_CASE(TINYFED_INT8_MEAN, tinyfed_int8_mean(op));
        TINYFED_INT8_CASE(TINYFED_INT8_ADD, tinyfed_int8_add(op));
        TINYFED_INT8_CASE(TINYFED_INT8_PAD, tinyfed_int8_pad(op));
        TINYFED_INT8_CASE(TINYFED_INT8_SOFTMAX, tinyfed_int8_softmax(op));
        TINYFED_INT8_CASE(TINYFED_INT8_TABLE, tinyfed_int8_table(op));
        TINYFED_INT8_CASE(TINYFED_INT8_RESIZE, tinyfed_int8_resize(op));
        TINYFED_INT8_CASE(TINYFED_INT8_MOVE, tinyfed_int8_move(op));
        TINYFED_INT8_CASE(TINYFED_INT8_BINARY, tinyfed_int8_binary(op));
        TINYFED_INT8_CASE(TINYFED_INT8_BILINEAR, tinyfed_int8_bilinear(op));
        TINYFED_INT8_CASE(TINYFED_INT8_LSTM, tinyfed_int8_lstm(op));
        TINYFED_INT8_CASE(TINYFED_INT8_SVDF, tinyfed_int8_svdf(op));
    default:
#if defined(TINYFED_FLOAT)
        tinyfed_float_run(op);
#endif
        break;
    }
}

static tinyfed_status_t check_work(const tinyfed_int8_t *net, const void *work, uint32_t work_bytes)
{
    if (net == NULL || work == NULL) return TINYFED_E_ARGUMENT;
    if ((uintptr_t)work % TINYFED_ALIGNMENT != 0) return TINYFED_E_ALIGNMENT;
    return work_bytes < net->work_bytes ? TINYFED_E_MEMORY : TINYFED_OK;
}

/* Whether a text is these bytes. */
static bool is_name(const char *text, const char *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (text[i] == '\0' || text[i] != bytes[i]) return false;
    return text[count] == '\0';
}

tinyfed_status_t tinyfed_int8_reset(const tinyfed_int8_t *net, void *work, uint32_t work_bytes, const char *name)
{
    const tinyfed_status_t status = check_work(net, work, work_bytes);
    if (status != TINYFED_OK) return status;
    uint8_t *base = work;
    const uint8_t *state = net->program + net->states_at;
    bool found = name == NULL;
    for (uint32_t i = 0; i < net->state_count; i++, state += TINYFED_INT8_STATE_BYTES) {
        const char *own = (const char *)net->program + tinyfed_get32(state + 12);
        const uint32_t name_bytes = tinyfed_get32(state + 16);
        if (name != NULL && !is_name(name, own, name_bytes)) continue;
        const uint32_t first = tinyfed_get32(state + 8), bytes = tinyfed_get32(state + 4);
        found = true;
        if (first == 0) memset(base + tinyfed_get32(state), state[20], bytes);
        else memcpy(base + tinyfed_get32(state), net->program + first, bytes);
    }
    return found ? TINYFED_OK : TINYFED_E_ARGUMENT;
}

tinyfed_status_t tinyfed_int8_run(const tinyfed_int8_t *net, void *work, uint32_t work_bytes)
{
    const tinyfed_status_t status = check_work(net, work, work_bytes);
    if (status != TINYFED_OK) return status;
    int8_t *base = work;
    const int8_t *data = (const int8_t *)net->program;
    const uint8_t *record = net->program + TINYFED_INT8_HEADER_BYTES;
    for (uint32_t i = 0; i < net->operator_count; i++, record += TINYFED_INT8_RECORD_BYTES) {
        tinyfed_int8_op_t op;
        memcpy(&op.r, record, sizeof op.r);
        op.in = ((op.r.flags & TINYFED_INT8_CONSTANT) != 0 ? data : base) + op.r.in_at;
        op.in_b = ((op.r.flags & TINYFED_INT8_CONSTANT_B) != 0 ? data : base) + op.r.in_b_at;
        op.out = base + op.r.out_at;
        op.scratch = base + op.r.scratch_at;
        op.work = base;
        op.weights = net->program + op.r.weights_at;
        op.table = (const int32_t *)(const void *)(net->program + op.r.table_at);
        op.kernels = net->kernels;
        run_operator(&op);
    }
    return TINYFED_OK;
}

void tinyfed_int8_quantize(int8_t *q, const tinyfed_int8_port_t *port, const float *values, uint32_t count)
{
    if (port->type == TINYFED_TYPE_FLOAT32) memcpy(q, values, count * sizeof *values);
    for (uint32_t i = 0; i < count && port->type != TINYFED_TYPE_FLOAT32; i++) {
        const float real = values[i] / port->scale;
        /* Beyond this nothing but the ends is left, and the cast below stays defined; NaN fails both. */
        float magnitude = real < 0.0f ? -real : real;
        if (!(magnitude <= 1024.0f)) magnitude = magnitude > 1024.0f ? 1024.0f : 0.0f;
        int32_t whole = (int32_t)magnitude;
        if (magnitude - (float)whole >= 0.5f) whole++;
        const int32_t moved = (real < 0.0f ? -whole : whole) + port->zero_point;
        q[i] = (int8_t)(moved < INT8_MIN ? INT8_MIN : (moved > INT8_MAX ? INT8_MAX : moved));
    }
}

void tinyfed_int8_dequantize(float *values, const tinyfed_int8_port_t *port, const int8_t *q, uint32_t count)
{
    if (port->type == TINYFED_TYPE_FLOAT32) memcpy(values, q, count * sizeof *values);
    for (uint32_t i = 0; i < count && port->type != TINYFED_TYPE_FLOAT32; i++)
        values[i] = port->scale * (float)(q[i] - port->zero_point);
}
