/* Softmax in gemmlowp's fixed point: Qn is an int32 with n integer bits. */
#include "program.h"
#include "rescale.h"

static int32_t shift_left_saturating(int32_t x, int32_t exponent)
{
    const int64_t shifted = (int64_t)x * ((int64_t)1 << exponent);
    return (int32_t)(shifted < INT32_MIN ? INT32_MIN : (shifted > INT32_MAX ? INT32_MAX : shifted));
}

/* Q0 -> Q0: exp(a) for -1/4 <= a < 0, a polynomial around -1/8. */
static int32_t exp_quarter(int32_t a)
{
    const int32_t x = tinyfed_int8_wrap_add(a, 1 << 28);
    const int32_t x2 = tinyfed_int8_doubling_high(x, x);
    const int32_t x3 = tinyfed_int8_doubling_high(x2, x);
    const int32_t x4 = tinyfed_int8_doubling_high(x2, x2);
    const int32_t third = tinyfed_int8_doubling_high(tinyfed_int8_shift_right(x4, 2) + x3, 715827883);
    const int32_t rest = tinyfed_int8_shift_right(third + x2, 1);
    return 1895147668 + tinyfed_int8_doubling_high(1895147668, x + rest);
}

/* Q5 -> Q0: exp(a) for a <= 0. */
static int32_t exp_negative(int32_t a)
{
    /* exp(-2^n) in Q0, n = -2..4: bits 24..30 of the remainder. */
    static const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    if (a == 0) return INT32_MAX;
    const int32_t quarter = 1 << 24;
    const int32_t modulo = (a & (quarter - 1)) - quarter;
    const int32_t remainder = tinyfed_int8_wrap_add(modulo, (int32_t)(0u - (uint32_t)a));
    int32_t result = exp_quarter(shift_left_saturating(modulo, 5));
    for (uint32_t i = 0; i < sizeof factors / sizeof factors[0]; i++)
        if ((remainder & (quarter << i)) != 0) result = tinyfed_int8_doubling_high(result, factors[i]);
    return result;
}

/* Q0 -> Q0: 1 / (1 + a) for 0 <= a <= 1, three Newton steps in Q2 from 48/17 - 32/17 d. */
static int32_t one_over_one_plus(int32_t a)
{
    const int32_t half = (int32_t)(((int64_t)a + ((int64_t)1 << 31)) >> 1);
    int32_t x = 1515870810 + tinyfed_int8_doubling_high(half, -1010580540);
    for (int32_t step = 0; step < 3; step++) {
        const int32_t missing = (1 << 29) - tinyfed_int8_doubling_high(half, x);
        x = tinyfed_int8_wrap_add(x, shift_left_saturating(tinyfed_int8_doubling_high(x, missing), 2));
    }
    return shift_left_saturating(x, 1);
}

static int32_t leading_zeros(uint32_t x)
{
    int32_t count = 0;
    for (; count < 32 && (x & 0x80000000u) == 0; x <<= 1) count++;
    return count;
}

static int32_t exp_of(const int32_t *table, int32_t difference)
{
    return exp_negative(tinyfed_int8_doubling_high((int32_t)((uint32_t)difference << table[1]), table[0]));
}

/* table = {multiplier, left shift, smallest difference that counts}. May run in place. */
static void softmax_row(int8_t *out, const int8_t *in, uint32_t count, const int32_t *table)
{
    int32_t largest = INT8_MIN;
    for (uint32_t i = 0; i < count; i++)
        if (in[i] > largest) largest = in[i];
    int32_t sum = 0; /* Q12 */
    for (uint32_t i = 0; i < count; i++)
        if (in[i] - largest >= table[2])
            sum = tinyfed_int8_wrap_add(sum, tinyfed_int8_shift_right(exp_of(table, in[i] - largest), 12));
    const int32_t headroom = leading_zeros((uint32_t)sum);
    const int32_t scale = one_over_one_plus((int32_t)(((uint32_t)sum << (headroom & 31)) - 0x80000000u));
    const int32_t exponent = 12 - headroom + 31 - 8;
    for (uint32_t i = 0; i < count; i++) {
        int32_t y = INT8_MIN;
        if (in[i] - largest >= table[2]) {
            const int32_t product = tinyfed_int8_doubling_high(scale, exp_of(table, in[i] - largest));
            y = tinyfed_int8_clamp(tinyfed_int8_shift_right(product, exponent) + INT8_MIN, INT8_MIN, INT8_MAX);
        }
        out[i] = (int8_t)y;
    }
}

void tinyfed_int8_softmax(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t rows = (uint32_t)r->out_h * r->out_w;
    for (uint32_t row = 0; row < rows; row++)
        softmax_row(op->out + row * r->out_c, op->in + row * r->out_c, r->out_c, op->table);
}
