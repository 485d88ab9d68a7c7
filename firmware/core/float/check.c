/* What float kernels take for granted, checked once when a program is opened. */
#include <stddef.h>

#include "float.h"

#define COUNT_MAX 0x4000000u /* values of one tensor */
#define FIELD(name) ((uint32_t)offsetof(tinyfed_int8_record_t, name))

typedef struct record {
    const tinyfed_int8_record_t *r;
    const uint8_t *program;
    uint32_t program_bytes, data_at, work_bytes;
    uint32_t in_count, out_count;
    uint32_t field; /* that is wrong */
} record_t;

static tinyfed_status_t wrong(record_t *c, uint32_t field, tinyfed_status_t status)
{
    c->field = field;
    return status;
}

static uint32_t product(uint32_t a, uint32_t b, uint32_t c)
{
    const uint64_t ab = (uint64_t)a * b;
    return ab > COUNT_MAX || ab * c > COUNT_MAX ? 0 : (uint32_t)(ab * c);
}

static bool in_data(const record_t *c, uint32_t at, uint64_t bytes)
{
    return at % TINYFED_ALIGNMENT == 0 && at >= c->data_at && at <= c->program_bytes && bytes <= c->program_bytes - at;
}

static bool in_work(const record_t *c, uint32_t at, uint64_t bytes)
{
    return at % sizeof(float) == 0 && at <= c->work_bytes && bytes <= c->work_bytes - at;
}

static bool apart(uint32_t a, uint32_t a_bytes, uint32_t b, uint32_t b_bytes)
{
    return a + a_bytes <= b || b + b_bytes <= a;
}

/* Every window must reach the input. */
static bool window_fits(uint32_t out, uint32_t stride, uint32_t kernel, uint32_t dilation, uint32_t pad, uint32_t in)
{
    if (stride == 0 || kernel == 0 || dilation == 0 || pad > (kernel - 1u) * dilation) return false;
    return (out - 1u) * stride < in + pad;
}

static tinyfed_status_t check_window(record_t *c)
{
    const tinyfed_int8_record_t *r = c->r;
    const bool pools = r->kind == TINYFED_FLOAT_MAX_POOL || r->kind == TINYFED_FLOAT_AVERAGE_POOL;
    const bool transposed = r->kind == TINYFED_FLOAT_TRANSPOSED_CONV;
    if ((pools || transposed) && (r->dilation_h != 1 || r->dilation_w != 1))
        return wrong(c, FIELD(dilation_h), TINYFED_E_SHAPE);
    if (transposed && (r->stride_h == 0 || r->stride_w == 0)) return wrong(c, FIELD(stride_h), TINYFED_E_SHAPE);
    if (!transposed && !window_fits(r->out_h, r->stride_h, r->kernel_h, r->dilation_h, r->pad_top, r->in_h))
        return wrong(c, FIELD(kernel_h), TINYFED_E_SHAPE);
    if (!transposed && !window_fits(r->out_w, r->stride_w, r->kernel_w, r->dilation_w, r->pad_left, r->in_w))
        return wrong(c, FIELD(kernel_w), TINYFED_E_SHAPE);
    if (pools) return r->in_c == r->out_c ? TINYFED_OK : wrong(c, FIELD(out_c), TINYFED_E_SHAPE);
    if (r->kind == TINYFED_FLOAT_DEPTHWISE && r->out_c % r->in_c != 0) return wrong(c, FIELD(out_c), TINYFED_E_SHAPE);
    const uint32_t taps = (uint32_t)r->kernel_h * r->kernel_w;
    const uint32_t count = product(taps, r->kind == TINYFED_FLOAT_DEPTHWISE ? 1u : r->in_c, r->out_c);
    if (count == 0 || !in_data(c, r->weights_at, 4u * (uint64_t)count))
        return wrong(c, FIELD(weights_at), TINYFED_E_TRUNCATED);
    if ((r->flags & TINYFED_FLOAT_BIAS) != 0 && !in_data(c, r->table_at, 4u * (uint64_t)r->out_c))
        return wrong(c, FIELD(table_at), TINYFED_E_TRUNCATED);
    return TINYFED_OK;
}

/* The values of a table, or NULL. */
static const uint32_t *table_of(record_t *c, uint32_t values)
{
    if (!in_data(c, c->r->table_at, 4u * (uint64_t)values)) return NULL;
    return (const uint32_t *)(const void *)(c->program + c->r->table_at);
}

/* How many values `axes` count; 0 where they are too many. *beyond: one behind the farthest they reach. */
static uint32_t count_axes(uint64_t *beyond, const uint32_t *counts, const uint32_t *strides, uint32_t axes)
{
    uint64_t count = 1;
    *beyond = 1;
    for (uint32_t axis = 0; axis < axes; axis++) {
        if (counts[axis] == 0 || counts[axis] > COUNT_MAX || strides[axis] > COUNT_MAX) return 0;
        count *= counts[axis];
        *beyond += (uint64_t)(counts[axis] - 1u) * strides[axis];
        if (count > COUNT_MAX || *beyond > COUNT_MAX) return 0;
    }
    return (uint32_t)count;
}

static bool is_dense(const uint32_t *counts, const uint32_t *strides)
{
    uint32_t step = 1;
    for (uint32_t axis = TINYFED_AXES; axis-- > 0; step *= counts[axis])
        if (counts[axis] > 1 && strides[axis] != step) return false;
    return true;
}

static tinyfed_status_t check_second(record_t *c, uint32_t count, bool may_lie_over)
{
    const tinyfed_int8_record_t *r = c->r;
    const uint32_t bytes = 4u * count, out_bytes = 4u * c->out_count;
    if ((r->flags & TINYFED_FLOAT_CONSTANT) != 0)
        return in_data(c, r->weights_at, bytes) ? TINYFED_OK : wrong(c, FIELD(weights_at), TINYFED_E_TRUNCATED);
    if (!in_work(c, r->in_b_at, bytes)) return wrong(c, FIELD(in_b_at), TINYFED_E_MEMORY);
    if (!(may_lie_over && r->in_b_at == r->out_at) && !apart(r->in_b_at, bytes, r->out_at, out_bytes))
        return wrong(c, FIELD(in_b_at), TINYFED_E_MEMORY);
    return TINYFED_OK;
}

static tinyfed_status_t check_binary(record_t *c, bool *in_place)
{
    const tinyfed_int8_record_t *r = c->r;
    const uint32_t *table = table_of(c, 3u * TINYFED_AXES);
    if (table == NULL) return wrong(c, FIELD(table_at), TINYFED_E_TRUNCATED);
    if (r->kernel_h < TINYFED_ADD || r->kernel_h > TINYFED_PRELU) return wrong(c, FIELD(kernel_h), TINYFED_E_LAYER);
    uint64_t a = 0, b = 0;
    const uint32_t *of_a = table + TINYFED_AXES, *of_b = of_a + TINYFED_AXES;
    if (count_axes(&a, table, of_a, TINYFED_AXES) != c->out_count || a > c->in_count)
        return wrong(c, FIELD(table_at), TINYFED_E_SHAPE);
    if (r->chunk > COUNT_MAX || count_axes(&b, table, of_b, TINYFED_AXES) == 0 || b > r->chunk)
        return wrong(c, FIELD(chunk), TINYFED_E_SHAPE);
    *in_place = is_dense(table, of_a);
    return check_second(c, r->chunk, is_dense(table, of_b));
}

static tinyfed_status_t check_reduce(record_t *c)
{
    const uint32_t *table = table_of(c, 12);
    if (table == NULL) return wrong(c, FIELD(table_at), TINYFED_E_TRUNCATED);
    if (c->r->kernel_h < TINYFED_MEAN_OF || c->r->kernel_h > TINYFED_MIN_OF)
        return wrong(c, FIELD(kernel_h), TINYFED_E_LAYER);
    uint64_t kept = 0, gone = 0;
    if (count_axes(&kept, table, table + 3, 3) != c->out_count || count_axes(&gone, table + 6, table + 9, 3) == 0 ||
        kept + gone - 1u > c->in_count)
        return wrong(c, FIELD(table_at), TINYFED_E_SHAPE);
    return TINYFED_OK;
}

static bool entries_fit(const uint32_t *entries, uint32_t count, uint32_t size)
{
    for (uint32_t i = 0; i < count; i++)
        if ((entries[2u * i] & 0xFFFFu) >= size || entries[2u * i] >> 16 >= size) return false;
    return true;
}

static tinyfed_status_t check_resize(record_t *c)
{
    const tinyfed_int8_record_t *r = c->r;
    const uint32_t *table = table_of(c, 2u * ((uint32_t)r->out_h + r->out_w));
    if (table == NULL) return wrong(c, FIELD(table_at), TINYFED_E_TRUNCATED);
    if (r->in_c != r->out_c) return wrong(c, FIELD(out_c), TINYFED_E_SHAPE);
    if (!entries_fit(table, r->out_h, r->in_h) || !entries_fit(table + 2u * r->out_h, r->out_w, r->in_w))
        return wrong(c, FIELD(table_at), TINYFED_E_ARGUMENT);
    return TINYFED_OK;
}

static tinyfed_status_t check_cast(record_t *c)
{
    const uint32_t *table = table_of(c, 2);
    if (table == NULL) return wrong(c, FIELD(table_at), TINYFED_E_TRUNCATED);
    const float scale = tinyfed_float(table[0]);
    if (!(scale > 0.0f && scale < 1e30f)) return wrong(c, FIELD(table_at), TINYFED_E_NUMERIC);
    const int32_t zero = (int32_t)table[1];
    return zero >= INT8_MIN && zero <= INT8_MAX ? TINYFED_OK : wrong(c, FIELD(table_at), TINYFED_E_ARGUMENT);
}

static tinyfed_status_t check_matmul(record_t *c)
{
    const tinyfed_int8_record_t *r = c->r;
    const uint32_t size = product(r->in_c, r->out_c, 1), all = product(r->in_h, r->in_c, r->out_c);
    if (size == 0 || r->out_h != r->in_h || r->out_w != r->in_w) return wrong(c, FIELD(out_h), TINYFED_E_SHAPE);
    if (r->chunk != size && (all == 0 || r->chunk != all)) return wrong(c, FIELD(chunk), TINYFED_E_SHAPE);
    return r->flags == 0 ? check_second(c, r->chunk, false) : wrong(c, FIELD(flags), TINYFED_E_VERSION);
}

static tinyfed_status_t check_recurrent(record_t *c)
{
    const tinyfed_int8_record_t *r = c->r;
    if (r->kernel_h < TINYFED_SIMPLE || r->kernel_h > TINYFED_GRU_RESET_BEFORE)
        return wrong(c, FIELD(kernel_h), TINYFED_E_LAYER);
    if (r->kernel_w < TINYFED_CLIP || r->kernel_w > TINYFED_SIN) return wrong(c, FIELD(kernel_w), TINYFED_E_LAYER);
    if (r->stride_h < TINYFED_CLIP || r->stride_h > TINYFED_SIN) return wrong(c, FIELD(stride_h), TINYFED_E_LAYER);
    if (r->in_h != 1) return wrong(c, FIELD(in_h), TINYFED_E_SHAPE);
    if (r->out_h != 1 || (r->out_w != 1 && r->out_w != r->in_w)) return wrong(c, FIELD(out_w), TINYFED_E_SHAPE);
    const uint32_t width = product(r->out_c, tinyfed_float_gates(r->kernel_h), 1), rows = product(r->in_c, 1, 1);
    const uint32_t weights = width == 0 ? 0 : product(rows + r->out_c, width, 1);
    if (weights == 0 || !in_data(c, r->weights_at, 4u * (uint64_t)weights))
        return wrong(c, FIELD(weights_at), TINYFED_E_TRUNCATED);
    if (table_of(c, TINYFED_RECURRENT_NUMBERS + (r->kernel_h == TINYFED_GRU ? 2u : 1u) * width) == NULL)
        return wrong(c, FIELD(table_at), TINYFED_E_TRUNCATED);
    const uint32_t scratch = 8u * (r->out_c + width);
    if (!in_work(c, r->scratch_at, scratch) || !apart(r->scratch_at, scratch, r->in_at, 4u * c->in_count) ||
        !apart(r->scratch_at, scratch, r->out_at, 4u * c->out_count))
        return wrong(c, FIELD(scratch_at), TINYFED_E_MEMORY);
    return TINYFED_OK;
}

/* What has an output for each input. */
static tinyfed_status_t check_elementwise(record_t *c, bool *in_place)
{
    const tinyfed_int8_record_t *r = c->r;
    *in_place = r->kind != TINYFED_FLOAT_DEQUANTIZE;
    if (c->in_count != c->out_count) return wrong(c, FIELD(out_h), TINYFED_E_SHAPE);
    if (r->kind == TINYFED_FLOAT_QUANTIZE || r->kind == TINYFED_FLOAT_DEQUANTIZE) return check_cast(c);
    if (r->kernel_h < 1 || r->kernel_h > (r->kind == TINYFED_FLOAT_SOFTMAX ? 2 : TINYFED_SIN))
        return wrong(c, FIELD(kernel_h), TINYFED_E_LAYER);
    if (r->kind == TINYFED_FLOAT_UNARY && table_of(c, 2) == NULL) return wrong(c, FIELD(table_at), TINYFED_E_TRUNCATED);
    return TINYFED_OK;
}

static tinyfed_status_t check_kind(record_t *c, bool *in_place)
{
    const tinyfed_int8_record_t *r = c->r;
    tinyfed_status_t status = TINYFED_E_LAYER;
    switch (r->kind) {
        TINYFED_INT8_CASE(TINYFED_FLOAT_CONV, status = check_window(c));
        TINYFED_INT8_CASE(TINYFED_FLOAT_DEPTHWISE, status = check_window(c));
        TINYFED_INT8_CASE(TINYFED_FLOAT_TRANSPOSED_CONV, status = check_window(c));
        TINYFED_INT8_CASE(TINYFED_FLOAT_MAX_POOL, status = check_window(c));
        TINYFED_INT8_CASE(TINYFED_FLOAT_AVERAGE_POOL, status = check_window(c));
        TINYFED_INT8_CASE(TINYFED_FLOAT_REDUCE, status = check_reduce(c));
        TINYFED_INT8_CASE(TINYFED_FLOAT_BINARY, status = check_binary(c, in_place));
        TINYFED_INT8_CASE(TINYFED_FLOAT_RESIZE, status = check_resize(c));
        TINYFED_INT8_CASE(TINYFED_FLOAT_MATMUL, status = check_matmul(c));
        TINYFED_INT8_CASE(TINYFED_FLOAT_RECURRENT, status = check_recurrent(c));
    default: status = check_elementwise(c, in_place); break;
    }
    return status;
}

tinyfed_status_t tinyfed_float_check(uint32_t *field, const tinyfed_int8_record_t *record, const uint8_t *program,
                                     uint32_t program_bytes, uint32_t data_at, uint32_t work_bytes)
{
    record_t c = {record, program, program_bytes, data_at, work_bytes, 0, 0, 0};
    c.in_count = product(record->in_h, record->in_w, record->in_c);
    c.out_count = product(record->out_h, record->out_w, record->out_c);
    const uint32_t in_bytes = (record->kind == TINYFED_FLOAT_DEQUANTIZE ? 1u : 4u) * c.in_count;
    const uint32_t out_bytes = (record->kind == TINYFED_FLOAT_QUANTIZE ? 1u : 4u) * c.out_count;
    bool in_place = false;
    tinyfed_status_t status = TINYFED_OK;
    if ((record->flags & ~TINYFED_FLOAT_BIAS) != 0) status = wrong(&c, FIELD(flags), TINYFED_E_VERSION);
    else if (c.in_count == 0) status = wrong(&c, FIELD(in_h), TINYFED_E_SHAPE);
    else if (c.out_count == 0) status = wrong(&c, FIELD(out_h), TINYFED_E_SHAPE);
    else if (!in_work(&c, record->in_at, in_bytes)) status = wrong(&c, FIELD(in_at), TINYFED_E_MEMORY);
    else if (!in_work(&c, record->out_at, out_bytes)) status = wrong(&c, FIELD(out_at), TINYFED_E_MEMORY);
    else status = check_kind(&c, &in_place);
    if (status == TINYFED_OK && !(in_place && record->in_at == record->out_at) &&
        !apart(record->in_at, in_bytes, record->out_at, out_bytes))
        status = wrong(&c, FIELD(out_at), TINYFED_E_MEMORY);
    *field = c.field;
    return status;
}
