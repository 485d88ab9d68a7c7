/* Validation of a program: everything the kernels take for granted is checked here, once. */
#include <stddef.h>

#include "float/float.h"
#include "recurrent.h"
#if defined(TINYFED_INT8_SSE2)
#include "kernels/x86/avx2_support.h"
#endif

enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_HEADER_BYTES = 6,
    AT_PROGRAM_BYTES = 8,
    AT_WORK_BYTES = 12,
    AT_OPERATORS = 16,
    AT_RECORD_BYTES = 18,
    AT_INPUTS = 20,
    AT_OUTPUTS = 21,
    AT_PORT_BYTES = 22,
    AT_PORTS = 24,
    AT_DATA = 28,
    AT_STATES = 40,
    AT_STATE_COUNT = 44,
    AT_STATE_BYTES = 46
};

#define COUNT_MAX 0x4000000u /* values of one tensor */

/* Size checked against the struct that is copied over the record. */
typedef char record_is_64_bytes[sizeof(tinyfed_int8_record_t) == TINYFED_INT8_RECORD_BYTES ? 1 : -1];

#define FIELD(name) ((uint32_t)offsetof(tinyfed_int8_record_t, name))

typedef struct fault {
    uint32_t at;
    tinyfed_status_t status;
} fault_t;

typedef struct program {
    const uint8_t *bytes;
    uint32_t count, work_bytes, data_at;
} program_t;

static const fault_t fine = {0, TINYFED_OK};

static fault_t wrong(uint32_t at, tinyfed_status_t status)
{
    fault_t fault = {at, status};
    return fault;
}

/* 0 where it is more than COUNT_MAX. */
static uint32_t product(uint32_t a, uint32_t b, uint32_t c)
{
    const uint64_t ab = (uint64_t)a * b; /* at most 32 bits where two sides are 16-bit */
    if (ab > COUNT_MAX || ab * c > COUNT_MAX) return 0;
    return (uint32_t)(ab * c);
}

static bool in_work(const program_t *p, uint32_t at, uint32_t count)
{
    return at <= p->work_bytes && count <= p->work_bytes - at;
}

static bool in_data(const program_t *p, uint32_t at, uint64_t count)
{
    return at % TINYFED_ALIGNMENT == 0 && at >= p->data_at && at <= p->count && count <= p->count - at;
}

static bool apart(uint32_t a, uint32_t a_count, uint32_t b, uint32_t b_count)
{
    return a + a_count <= b || b + b_count <= a;
}

/* Every window must reach the input: averages divide by the places inside. */
static bool window_fits(uint32_t out, uint32_t stride, uint32_t kernel, uint32_t dilation, uint32_t pad, uint32_t in)
{
    if (stride == 0 || kernel == 0 || dilation == 0 || pad > (kernel - 1u) * dilation) return false;
    return (out - 1u) * stride < in + pad;
}

static bool is_windowed(uint8_t kind)
{
    return kind == TINYFED_INT8_CONV || kind == TINYFED_INT8_DEPTHWISE || kind == TINYFED_INT8_MAX_POOL ||
           kind == TINYFED_INT8_AVERAGE_POOL;
}

static bool has_weights(uint8_t kind)
{
    return kind == TINYFED_INT8_CONV || kind == TINYFED_INT8_DENSE || kind == TINYFED_INT8_DEPTHWISE;
}

static bool runs_in_place(const tinyfed_int8_record_t *r)
{
    return r->kind == TINYFED_INT8_ADD || r->kind == TINYFED_INT8_SOFTMAX || r->kind == TINYFED_INT8_TABLE ||
           r->kind == TINYFED_INT8_BINARY ||
           (r->kind == TINYFED_INT8_DEPTHWISE && (r->flags & TINYFED_INT8_GENERAL) == 0);
}

static fault_t check_window(const tinyfed_int8_record_t *r)
{
    if (!is_windowed(r->kind)) {
        const bool plain = r->kernel_h == 1 && r->kernel_w == 1 && r->stride_h == 1 && r->stride_w == 1 &&
                           r->dilation_h == 1 && r->dilation_w == 1 && r->pad_top == 0 && r->pad_left == 0;
        return plain ? fine : wrong(FIELD(kernel_h), TINYFED_E_SHAPE);
    }
    if (!window_fits(r->out_h, r->stride_h, r->kernel_h, r->dilation_h, r->pad_top, r->in_h))
        return wrong(FIELD(kernel_h), TINYFED_E_SHAPE);
    if (!window_fits(r->out_w, r->stride_w, r->kernel_w, r->dilation_w, r->pad_left, r->in_w))
        return wrong(FIELD(kernel_w), TINYFED_E_SHAPE);
    if (r->kind != TINYFED_INT8_CONV && r->in_c != r->out_c) return wrong(FIELD(out_c), TINYFED_E_SHAPE);
    if (!has_weights(r->kind) && (r->dilation_h != 1 || r->dilation_w != 1))
        return wrong(FIELD(dilation_h), TINYFED_E_SHAPE);
    return fine;
}

/* Shifts of {multiplier, shift} pairs, `step` bytes apart. */
static bool shifts_fit(const uint8_t *shift, uint32_t count, uint32_t step, int32_t low)
{
    for (uint32_t i = 0; i < count; i++)
        if ((int32_t)tinyfed_get32(shift + i * step) < low || (int32_t)tinyfed_get32(shift + i * step) > 31)
            return false;
    return true;
}

static fault_t check_weights(const program_t *p, const tinyfed_int8_record_t *r)
{
    const bool general = (r->flags & TINYFED_INT8_GENERAL) != 0;
    const bool depthwise = r->kind == TINYFED_INT8_DEPTHWISE;
    const uint32_t taps = (uint32_t)r->kernel_h * r->kernel_w;
    const uint32_t window = depthwise ? taps : product(taps, r->in_c, 1);
    if (window == 0) return wrong(FIELD(in_c), TINYFED_E_SHAPE);
    const uint32_t channels = general ? r->out_c : tinyfed_int8_round_up(r->out_c, 4);
    const uint32_t inputs = general || depthwise ? window : tinyfed_int8_round_up(window, 4);
    if (!in_data(p, r->weights_at, (uint64_t)channels * inputs)) return wrong(FIELD(weights_at), TINYFED_E_TRUNCATED);
    if (!in_data(p, r->table_at, (uint64_t)channels * 16u)) return wrong(FIELD(table_at), TINYFED_E_TRUNCATED);
    const uint8_t *table = p->bytes + r->table_at;
    if (!shifts_fit(table + (general ? 8 : 12), channels, 16, general ? -31 : 1))
        return wrong(FIELD(table_at), TINYFED_E_ARGUMENT);
    uint64_t scratch = 0;
    if (!general && depthwise) {
        scratch = 4u * (uint64_t)tinyfed_int8_covered(r->out_h, r->stride_h, r->kernel_h, r->dilation_h) *
                  tinyfed_int8_covered(r->out_w, r->stride_w, r->kernel_w, r->dilation_w);
    } else if (!general) {
        if (r->chunk == 0 || r->chunk % 4u != 0) return wrong(FIELD(chunk), TINYFED_E_ARGUMENT);
        scratch = tinyfed_int8_is_narrow(r) ? 0u : (r->kind == TINYFED_INT8_DENSE ? 2u * inputs : 4u * inputs);
        if (r->kind == TINYFED_INT8_CONV && tinyfed_int8_gathers(r)) scratch += inputs;
    }
    if (scratch == 0) return fine;
    if (r->scratch_at % TINYFED_ALIGNMENT != 0 || scratch > p->work_bytes ||
        !in_work(p, r->scratch_at, (uint32_t)scratch))
        return wrong(FIELD(scratch_at), TINYFED_E_MEMORY);
    /* A dense layer's input may lie in the upper half of its scratch: it is read before it is written over. */
    const bool over = r->kind == TINYFED_INT8_DENSE && r->in_at >= r->scratch_at + r->in_c / 4u * 4u;
    if ((!over && !apart(r->scratch_at, (uint32_t)scratch, r->in_at, product(r->in_h, r->in_w, r->in_c))) ||
        !apart(r->scratch_at, (uint32_t)scratch, r->out_at, product(r->out_h, r->out_w, r->out_c)))
        return wrong(FIELD(scratch_at), TINYFED_E_MEMORY);
    return fine;
}

static bool same_shape(const tinyfed_int8_record_t *r)
{
    return r->in_h == r->out_h && r->in_w == r->out_w && r->in_c == r->out_c;
}

static bool indices_below(const uint8_t *p, uint32_t count, uint16_t limit)
{
    for (uint32_t i = 0; i < count; i++)
        if (tinyfed_get16(p + 2u * i) >= limit) return false;
    return true;
}

/* Pads of a pad: the input must lie inside the output. */
static bool pads_fit(const uint8_t *table, const tinyfed_int8_record_t *r)
{
    const uint32_t in[3] = {r->in_h, r->in_w, r->in_c}, out[3] = {r->out_h, r->out_w, r->out_c};
    for (uint32_t i = 0; i < 3; i++)
        if (out[i] < in[i] || tinyfed_get32(table + 4u * i) > out[i] - in[i]) return false;
    return true;
}

/* Whether everything from `first` on that the steps reach lies in `bytes` bytes. */
static bool reaches_within(const tinyfed_int8_move_t *m, const int32_t *step, uint32_t first, uint32_t bytes)
{
    int64_t low = first, high = (int64_t)first + m->element;
    for (uint32_t i = 0; i < TINYFED_INT8_MOVE_DIMENSIONS; i++) {
        const int64_t span = (int64_t)(m->count[i] - 1u) * step[i];
        if (span < 0) low += span;
        else high += span;
    }
    return low >= 0 && high <= (int64_t)bytes;
}

static bool move_fits(const uint8_t *table, uint32_t in_bytes, uint32_t out_bytes)
{
    tinyfed_int8_move_t m;
    memcpy(&m, table, sizeof m);
    uint32_t elements = 1;
    for (uint32_t i = 0; i < TINYFED_INT8_MOVE_DIMENSIONS; i++) {
        elements = product(elements, m.count[i], 1);
        if (elements == 0) return false;
    }
    return (m.element == 1 || m.element == 2 || m.element == 4) && m.fills <= 1 && m.fill <= UINT8_MAX &&
           m.reserved == 0 && reaches_within(&m, m.from_step, m.from_first, in_bytes) &&
           reaches_within(&m, m.to_step, m.to_first, out_bytes);
}

/* The last place that the steps reach. */
static uint64_t reach(const uint32_t *count, const uint32_t *step)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < TINYFED_INT8_BINARY_DIMENSIONS; i++) last += (uint64_t)(count[i] - 1u) * step[i];
    return last;
}

/* Each of so many values once, in the order of the output. */
static bool in_order(const uint32_t *count, const uint32_t *step)
{
    uint32_t values = 1;
    for (uint32_t i = TINYFED_INT8_BINARY_DIMENSIONS; i-- > 0; values *= count[i])
        if (count[i] != 1 && step[i] != values) return false;
    return true;
}

static bool binary_fits(const program_t *p, const uint8_t *table, const tinyfed_int8_record_t *r)
{
    tinyfed_int8_binary_t t;
    memcpy(&t, table, sizeof t);
    const uint32_t values = product(product(t.count[0], t.count[1], 1), t.count[2], t.count[3]);
    const uint32_t a_count = product(r->in_h, r->in_w, r->in_c), out_count = product(r->out_h, r->out_w, r->out_c);
    if (!tinyfed_int8_binary_is_known(t.code) || values == 0 || values != out_count || t.count_b == 0) return false;
    if (t.count_b > COUNT_MAX || reach(t.count, t.a_step) >= a_count || reach(t.count, t.b_step) >= t.count_b)
        return false;
    if (!shifts_fit(table + offsetof(tinyfed_int8_binary_t, a) + 4, 3, 8, -31)) return false;
    if ((r->flags & TINYFED_INT8_CONSTANT) == 0 && r->in_at == r->out_at && !in_order(t.count, t.a_step)) return false;
    if ((r->flags & TINYFED_INT8_CONSTANT_B) != 0) return in_data(p, r->in_b_at, t.count_b);
    return in_work(p, r->in_b_at, t.count_b) && (apart(r->in_b_at, t.count_b, r->out_at, out_count) ||
                                                 (r->in_b_at == r->out_at && in_order(t.count, t.b_step)));
}

static bool betweens_fit(const uint8_t *table, uint32_t count, uint32_t size)
{
    for (uint32_t i = 0; i < count; i++, table += sizeof(tinyfed_int8_between_t)) {
        tinyfed_int8_between_t b;
        memcpy(&b, table, sizeof b);
        if (b.lower < 0 || b.upper < 0 || b.lower >= (int32_t)size || b.upper >= (int32_t)size) return false;
        if (b.fraction < -1024 || b.fraction > 1024) return false;
    }
    return true;
}

/* Known when the build has not that kind: what it calls falls away then. */
static bool is(const tinyfed_int8_record_t *r, uint8_t kind) { return tinyfed_int8_has(kind) && r->kind == kind; }

static fault_t check_table(const program_t *p, const tinyfed_int8_record_t *r)
{
    uint32_t bytes = 0;
    switch (r->kind) {
    case TINYFED_INT8_MEAN: bytes = 8; break;
    case TINYFED_INT8_ADD: bytes = 24; break;
    case TINYFED_INT8_PAD: bytes = 16; break;
    case TINYFED_INT8_SOFTMAX: bytes = 12; break;
    case TINYFED_INT8_TABLE: bytes = 256; break;
    case TINYFED_INT8_MOVE: bytes = sizeof(tinyfed_int8_move_t); break;
    case TINYFED_INT8_BINARY: bytes = sizeof(tinyfed_int8_binary_t); break;
    case TINYFED_INT8_BILINEAR:
        bytes = (uint32_t)sizeof(tinyfed_int8_between_t) * ((uint32_t)r->out_h + r->out_w);
        break;
    case TINYFED_INT8_RESIZE: bytes = 2u * ((uint32_t)r->out_h + r->out_w); break;
    default: return fine;
    }
    if (!in_data(p, r->table_at, bytes)) return wrong(FIELD(table_at), TINYFED_E_TRUNCATED);
    const uint8_t *table = p->bytes + r->table_at;
    bool fits = true;
    if (r->kind == TINYFED_INT8_MEAN) fits = shifts_fit(table + 4, 1, 8, -31);
    if (r->kind == TINYFED_INT8_ADD) fits = shifts_fit(table + 4, 3, 8, -31);
    if (r->kind == TINYFED_INT8_SOFTMAX) fits = shifts_fit(table + 4, 1, 8, 0);
    if (is(r, TINYFED_INT8_MOVE))
        fits = move_fits(table, product(r->in_h, r->in_w, r->in_c), product(r->out_h, r->out_w, r->out_c));
    if (is(r, TINYFED_INT8_BINARY)) fits = binary_fits(p, table, r);
    if (is(r, TINYFED_INT8_BILINEAR))
        fits = betweens_fit(table, r->out_h, r->in_h) &&
               betweens_fit(table + sizeof(tinyfed_int8_between_t) * r->out_h, r->out_w, r->in_w);
    if (is(r, TINYFED_INT8_PAD)) fits = pads_fit(table, r);
    if (is(r, TINYFED_INT8_RESIZE))
        fits = indices_below(table, r->out_h, r->in_h) && indices_below(table + 2u * r->out_h, r->out_w, r->in_w);
    return fits ? fine : wrong(FIELD(table_at), TINYFED_E_ARGUMENT);
}

static fault_t check_shapes(const tinyfed_int8_record_t *r)
{
    switch (r->kind) {
    case TINYFED_INT8_DENSE:
        if (r->in_h != 1 || r->in_w != 1) return wrong(FIELD(in_h), TINYFED_E_SHAPE);
        if (r->out_h != 1 || r->out_w != 1) return wrong(FIELD(out_h), TINYFED_E_SHAPE);
        return fine;
    case TINYFED_INT8_MEAN:
        return r->out_h == 1 && r->out_w == 1 && r->out_c == r->in_c ? fine : wrong(FIELD(out_h), TINYFED_E_SHAPE);
    case TINYFED_INT8_ADD:
    case TINYFED_INT8_SOFTMAX:
    case TINYFED_INT8_TABLE: return same_shape(r) ? fine : wrong(FIELD(out_h), TINYFED_E_SHAPE);
    case TINYFED_INT8_BILINEAR:
    case TINYFED_INT8_RESIZE: return r->in_c == r->out_c ? fine : wrong(FIELD(out_c), TINYFED_E_SHAPE);
    default: return fine;
    }
}

/* What works row by row may write over rows of the input that it reads no more. */
static bool writes_behind(const tinyfed_int8_record_t *r)
{
    if (r->kind != TINYFED_INT8_CONV && r->kind != TINYFED_INT8_MAX_POOL && r->kind != TINYFED_INT8_AVERAGE_POOL)
        return false;
    const uint64_t in_row = (uint64_t)r->in_w * r->in_c, out_row = (uint64_t)r->out_w * r->out_c;
    for (uint32_t y = 0; y < r->out_h; y++) {
        const uint32_t from = y * r->stride_h > r->pad_top ? y * r->stride_h - r->pad_top : 0;
        if (r->out_at + (y + 1u) * out_row > r->in_at + from * in_row) return false;
    }
    return true;
}

static fault_t check_places(const program_t *p, const tinyfed_int8_record_t *r, uint32_t in_count, uint32_t out_count)
{
    if (!in_work(p, r->out_at, out_count)) return wrong(FIELD(out_at), TINYFED_E_MEMORY);
    if ((r->flags & TINYFED_INT8_CONSTANT) != 0) {
        if (!in_data(p, r->in_at, in_count)) return wrong(FIELD(in_at), TINYFED_E_MEMORY);
    } else {
        if (!in_work(p, r->in_at, in_count)) return wrong(FIELD(in_at), TINYFED_E_MEMORY);
        const bool in_place = runs_in_place(r);
        if (!(in_place && r->in_at == r->out_at) && !apart(r->in_at, in_count, r->out_at, out_count) &&
            !writes_behind(r))
            return wrong(FIELD(out_at), TINYFED_E_MEMORY);
    }
    if (r->kind == TINYFED_INT8_BINARY) return fine; /* with its table */
    if (r->kind != TINYFED_INT8_ADD) return r->in_b_at == 0 ? fine : wrong(FIELD(in_b_at), TINYFED_E_MEMORY);
    if (!in_work(p, r->in_b_at, in_count) ||
        (r->in_b_at != r->out_at && !apart(r->in_b_at, in_count, r->out_at, out_count)))
        return wrong(FIELD(in_b_at), TINYFED_E_MEMORY);
    return fine;
}

static uint32_t flags_of(uint8_t kind)
{
    if (kind == TINYFED_INT8_MOVE) return TINYFED_INT8_CONSTANT;
    if (kind == TINYFED_INT8_BINARY) return TINYFED_INT8_CONSTANT | TINYFED_INT8_CONSTANT_B;
    return has_weights(kind) ? TINYFED_INT8_GENERAL : 0u;
}

static fault_t check_record(const program_t *p, const tinyfed_int8_record_t *r)
{
    if (!tinyfed_int8_has(r->kind)) return wrong(FIELD(kind), TINYFED_E_LAYER);
#if defined(TINYFED_FLOAT)
    if (r->kind >= TINYFED_FLOAT_FIRST && r->kind <= TINYFED_FLOAT_LAST) {
        fault_t found = fine;
        found.status = tinyfed_float_check(&found.at, r, p->bytes, p->count, p->data_at, p->work_bytes);
        return found;
    }
#endif
    if (is(r, TINYFED_INT8_LSTM) || is(r, TINYFED_INT8_SVDF)) {
        fault_t found = fine;
        found.status = tinyfed_int8_recurrent_check(&found.at, r, p->bytes, p->count, p->data_at, p->work_bytes);
        return found;
    }
    if (r->kind < TINYFED_INT8_CONV || r->kind > TINYFED_INT8_BILINEAR) return wrong(FIELD(kind), TINYFED_E_LAYER);
    if ((r->flags & ~flags_of(r->kind)) != 0) return wrong(FIELD(flags), TINYFED_E_VERSION);
    if ((r->flags & TINYFED_INT8_GENERAL) != 0 && !tinyfed_int8_has(0)) return wrong(FIELD(flags), TINYFED_E_LAYER);
    if (r->reserved != 0) return wrong(FIELD(reserved), TINYFED_E_VERSION);
    if (r->reserved_b != 0) return wrong(FIELD(reserved_b), TINYFED_E_VERSION);
    if (r->low > r->high) return wrong(FIELD(low), TINYFED_E_ARGUMENT);
    const uint32_t in_count = product(r->in_h, r->in_w, r->in_c), out_count = product(r->out_h, r->out_w, r->out_c);
    if (in_count == 0) return wrong(FIELD(in_h), TINYFED_E_SHAPE);
    if (out_count == 0) return wrong(FIELD(out_h), TINYFED_E_SHAPE);
    fault_t fault = check_shapes(r);
    if (fault.status == TINYFED_OK) fault = check_window(r);
    if (fault.status == TINYFED_OK) fault = check_places(p, r, in_count, out_count);
    if (fault.status == TINYFED_OK) fault = has_weights(r->kind) ? check_weights(p, r) : check_table(p, r);
    return fault;
}

static fault_t check_port(const program_t *p, const uint8_t *port)
{
    float scale;
    memcpy(&scale, port + 16, sizeof scale);
    const bool is_float = port[25] == TINYFED_TYPE_FLOAT32;
    if (!is_float && port[25] != TINYFED_TYPE_INT8 && port[25] != TINYFED_TYPE_UINT8)
        return wrong(25, TINYFED_E_VERSION);
    if (tinyfed_get32(port + 4) == 0 || tinyfed_get32(port + 4) > COUNT_MAX ||
        !in_work(p, tinyfed_get32(port), tinyfed_get32(port + 4) * (is_float ? 4u : 1u)) ||
        (is_float && tinyfed_get32(port) % 4u != 0))
        return wrong(0, TINYFED_E_MEMORY);
    if (product(tinyfed_get16(port + 8), tinyfed_get16(port + 10), tinyfed_get32(port + 12)) != tinyfed_get32(port + 4))
        return wrong(8, TINYFED_E_SHAPE);
    if (!(scale > 0.0f && scale < 1e30f)) return wrong(16, TINYFED_E_NUMERIC);
    if ((int32_t)tinyfed_get32(port + 20) < INT8_MIN || (int32_t)tinyfed_get32(port + 20) > INT8_MAX)
        return wrong(20, TINYFED_E_ARGUMENT);
    return fine;
}

static fault_t check_header(const uint8_t *b, uint32_t count)
{
    if (count < TINYFED_INT8_HEADER_BYTES) return wrong(count, TINYFED_E_TRUNCATED);
    if (tinyfed_get32(b + AT_MAGIC) != TINYFED_INT8_MAGIC) return wrong(AT_MAGIC, TINYFED_E_MAGIC);
    if (tinyfed_get16(b + AT_VERSION) != TINYFED_INT8_VERSION) return wrong(AT_VERSION, TINYFED_E_VERSION);
    if (tinyfed_get16(b + AT_HEADER_BYTES) != TINYFED_INT8_HEADER_BYTES)
        return wrong(AT_HEADER_BYTES, TINYFED_E_VERSION);
    if (tinyfed_get32(b + AT_PROGRAM_BYTES) != count) return wrong(AT_PROGRAM_BYTES, TINYFED_E_TRUNCATED);
    if (tinyfed_get32(b + AT_WORK_BYTES) > TINYFED_INT8_WORK_MAX) return wrong(AT_WORK_BYTES, TINYFED_E_MEMORY);
    const uint32_t operators = tinyfed_get16(b + AT_OPERATORS), ports = (uint32_t)b[AT_INPUTS] + b[AT_OUTPUTS];
    if (operators == 0 || operators > TINYFED_INT8_OPERATORS_MAX) return wrong(AT_OPERATORS, TINYFED_E_LAYER);
    if (tinyfed_get16(b + AT_RECORD_BYTES) != TINYFED_INT8_RECORD_BYTES)
        return wrong(AT_RECORD_BYTES, TINYFED_E_VERSION);
    if (b[AT_INPUTS] == 0 || b[AT_OUTPUTS] == 0 || ports > TINYFED_INT8_PORTS_MAX)
        return wrong(AT_INPUTS, TINYFED_E_SHAPE);
    if (tinyfed_get16(b + AT_PORT_BYTES) != TINYFED_INT8_PORT_BYTES) return wrong(AT_PORT_BYTES, TINYFED_E_VERSION);
    const uint32_t ports_at = TINYFED_INT8_HEADER_BYTES + operators * TINYFED_INT8_RECORD_BYTES;
    if (tinyfed_get32(b + AT_PORTS) != ports_at) return wrong(AT_PORTS, TINYFED_E_SHAPE);
    if (tinyfed_get32(b + AT_DATA) > count || tinyfed_get32(b + AT_DATA) < ports_at + ports * TINYFED_INT8_PORT_BYTES)
        return wrong(AT_DATA, TINYFED_E_TRUNCATED);
    return fine;
}

static fault_t check_state(const program_t *p, const uint8_t *state)
{
    const uint32_t bytes = tinyfed_get32(state + 4), first = tinyfed_get32(state + 8);
    const uint32_t name_bytes = tinyfed_get32(state + 16);
    if (bytes == 0 || !in_work(p, tinyfed_get32(state), bytes)) return wrong(0, TINYFED_E_MEMORY);
    if (first != 0 && !in_data(p, first, bytes)) return wrong(8, TINYFED_E_TRUNCATED);
    if (name_bytes == 0 || !in_data(p, tinyfed_get32(state + 12), name_bytes)) return wrong(12, TINYFED_E_TRUNCATED);
    return fine;
}

/* A program from before there were states has zeros here. */
static fault_t check_states(const program_t *p)
{
    const uint8_t *b = p->bytes;
    const uint32_t count = tinyfed_get16(b + AT_STATE_COUNT), at = tinyfed_get32(b + AT_STATES);
    if (count == 0) return at == 0 ? fine : wrong(AT_STATES, TINYFED_E_VERSION);
    if (count > TINYFED_INT8_STATES_MAX) return wrong(AT_STATE_COUNT, TINYFED_E_SHAPE);
    if (tinyfed_get16(b + AT_STATE_BYTES) != TINYFED_INT8_STATE_BYTES) return wrong(AT_STATE_BYTES, TINYFED_E_VERSION);
    if (!in_data(p, at, count * TINYFED_INT8_STATE_BYTES)) return wrong(AT_STATES, TINYFED_E_TRUNCATED);
    for (uint32_t i = 0; i < count; i++) {
        const fault_t fault = check_state(p, b + at + i * TINYFED_INT8_STATE_BYTES);
        if (fault.status != TINYFED_OK) return wrong(at + i * TINYFED_INT8_STATE_BYTES + fault.at, fault.status);
    }
    return fine;
}

static fault_t check(const uint8_t *b, uint32_t count)
{
    fault_t fault = check_header(b, count);
    if (fault.status != TINYFED_OK) return fault;
    const program_t p = {b, count, tinyfed_get32(b + AT_WORK_BYTES), tinyfed_get32(b + AT_DATA)};
    uint32_t at = TINYFED_INT8_HEADER_BYTES;
    for (uint32_t i = 0; i < tinyfed_get16(b + AT_OPERATORS); i++, at += TINYFED_INT8_RECORD_BYTES) {
        tinyfed_int8_record_t record;
        memcpy(&record, b + at, sizeof record);
        fault = check_record(&p, &record);
        if (fault.status != TINYFED_OK) return wrong(at + fault.at, fault.status);
    }
    const uint32_t ports = (uint32_t)b[AT_INPUTS] + b[AT_OUTPUTS];
    for (uint32_t i = 0; i < ports; i++, at += TINYFED_INT8_PORT_BYTES) {
        fault = check_port(&p, b + at);
        if (fault.status != TINYFED_OK) return wrong(at + fault.at, fault.status);
    }
    return check_states(&p);
}

static uint8_t best_kernels(void)
{
#if defined(TINYFED_INT8_SSE2)
    if (tinyfed_has_avx2()) return TINYFED_INT8_KERNELS_BEST;
#endif
    return TINYFED_INT8_KERNELS_BUILT;
}

tinyfed_status_t tinyfed_int8_open(tinyfed_int8_t *net, uint32_t *error_offset, const uint8_t *program,
                                   uint32_t program_bytes)
{
    fault_t fault = wrong(0, TINYFED_E_ARGUMENT);
    if (net != NULL && program != NULL)
        fault =
            (uintptr_t)program % TINYFED_ALIGNMENT != 0 ? wrong(0, TINYFED_E_ALIGNMENT) : check(program, program_bytes);
    if (fault.status != TINYFED_OK) {
        if (error_offset != NULL) *error_offset = fault.at;
        return fault.status;
    }
    net->program = program;
    net->program_bytes = program_bytes;
    net->work_bytes = tinyfed_get32(program + AT_WORK_BYTES);
    net->ports_at = tinyfed_get32(program + AT_PORTS);
    net->states_at = tinyfed_get32(program + AT_STATES);
    net->state_count = tinyfed_get16(program + AT_STATE_COUNT);
    net->operator_count = tinyfed_get16(program + AT_OPERATORS);
    net->input_count = program[AT_INPUTS];
    net->output_count = program[AT_OUTPUTS];
    net->kernels = best_kernels();
    return TINYFED_OK;
}
