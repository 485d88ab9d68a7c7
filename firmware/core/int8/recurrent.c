/* What operators with states take for granted, checked once. */
#include <stddef.h>

#include "recurrent.h"

#define FIELD(name) ((uint32_t)offsetof(tinyfed_int8_record_t, name))
#define MOST 0x100000u /* of every count: products of two stay below 2^40 */

typedef struct program {
    const uint8_t *bytes;
    uint32_t count, data_at, work_bytes;
} program_t;

static bool in_work(const program_t *p, uint32_t at, uint64_t bytes, uint32_t alignment)
{
    return at % alignment == 0 && at <= p->work_bytes && bytes <= p->work_bytes - at;
}

static bool in_data(const program_t *p, uint32_t at, uint64_t bytes)
{
    return at % TINYFED_ALIGNMENT == 0 && at >= p->data_at && at <= p->count && bytes <= p->count - at;
}

static bool shift_fits(const tinyfed_int8_scale_t *scale) { return scale->shift >= -31 && scale->shift <= 31; }

static bool apart(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a + a_bytes <= b || b + b_bytes <= a;
}

static uint32_t check_lstm(const program_t *p, const tinyfed_int8_record_t *r)
{
    const uint64_t units = r->out_c, inputs = r->in_c;
    if (r->in_h != r->out_h) return FIELD(out_h);
    if (!in_work(p, r->in_b_at, units, 1)) return FIELD(in_b_at);
    if (!in_work(p, r->chunk, 2u * units, 2)) return FIELD(chunk);
    if (!in_work(p, r->scratch_at, 8u * units, TINYFED_ALIGNMENT)) return FIELD(scratch_at);
    if (!in_data(p, r->weights_at, 4u * units * (inputs + units))) return FIELD(weights_at);
    if (!in_data(p, r->table_at, sizeof(tinyfed_int8_lstm_t) + 32u * units + 512u)) return FIELD(table_at);
    tinyfed_int8_lstm_t t;
    memcpy(&t, p->bytes + r->table_at, sizeof t);
    bool fits = shift_fits(&t.forget) && shift_fits(&t.input) && shift_fits(&t.output);
    for (uint32_t k = 0; k < 4; k++) fits = fits && shift_fits(&t.gates[k].input) && shift_fits(&t.gates[k].hidden);
    fits = fits && t.clip >= 0 && t.clip <= INT16_MAX && t.tanh.shift >= 0 && t.tanh.shift <= 15;
    return fits && t.tanh.multiplier >= 0 && t.tanh.multiplier <= 3 << 12 ? 0 : FIELD(table_at);
}

static uint32_t check_svdf(const program_t *p, const tinyfed_int8_record_t *r)
{
    if (r->in_h != 1 || r->out_h != 1) return FIELD(in_h);
    if (r->chunk != 0) return FIELD(chunk);
    if (!in_data(p, r->table_at, sizeof(tinyfed_int8_svdf_t))) return FIELD(table_at);
    tinyfed_int8_svdf_t t;
    memcpy(&t, p->bytes + r->table_at, sizeof t);
    const bool wide = t.state_bytes == 2;
    const bool zero = t.state_zero >= INT8_MIN && t.state_zero <= INT8_MAX && (!wide || t.state_zero == 0);
    if (t.rank == 0 || t.rank > MOST || t.memory == 0 || t.memory > MOST || (!wide && t.state_bytes != 1) || !zero)
        return FIELD(table_at);
    const uint64_t filters = (uint64_t)t.rank * r->out_c, kept = filters * t.memory * t.state_bytes;
    if (filters > MOST || !shift_fits(&t.feature) || !shift_fits(&t.output)) return FIELD(table_at);
    if (!in_data(p, r->table_at, sizeof t + 4u * (filters + r->out_c))) return FIELD(table_at);
    if (!in_work(p, r->in_b_at, kept, t.state_bytes)) return FIELD(in_b_at);
    if (!in_data(p, r->weights_at, (filters * r->in_c + 3u) / 4u * 4u + kept)) return FIELD(weights_at);
    return 0;
}

tinyfed_status_t tinyfed_int8_recurrent_check(uint32_t *at, const tinyfed_int8_record_t *r, const uint8_t *program,
                                              uint32_t program_bytes, uint32_t data_at, uint32_t work_bytes)
{
    const program_t p = {program, program_bytes, data_at, work_bytes};
    const uint64_t in_bytes = (uint64_t)r->in_h * r->in_c, out_bytes = (uint64_t)r->out_h * r->out_c;
    *at = FIELD(in_h);
    if (r->in_h == 0 || r->in_w != 1 || r->in_c == 0 || r->in_c > MOST) return TINYFED_E_SHAPE;
    *at = FIELD(out_h);
    if (r->out_h == 0 || r->out_w != 1 || r->out_c == 0 || r->out_c > MOST) return TINYFED_E_SHAPE;
    *at = FIELD(flags);
    if (r->flags != 0 || r->reserved != 0 || r->reserved_b != 0) return TINYFED_E_VERSION;
    *at = FIELD(in_at);
    if (!in_work(&p, r->in_at, in_bytes, 1)) return TINYFED_E_MEMORY;
    *at = FIELD(out_at);
    if (!in_work(&p, r->out_at, out_bytes, 1) || !apart(r->in_at, in_bytes, r->out_at, out_bytes))
        return TINYFED_E_MEMORY;
    *at = r->kind == TINYFED_INT8_LSTM ? check_lstm(&p, r) : check_svdf(&p, r);
    return *at == 0 ? TINYFED_OK : TINYFED_E_ARGUMENT;
}
