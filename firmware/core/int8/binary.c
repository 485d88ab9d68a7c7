/* Operators of two inputs that broadcast: all of them walk alike and differ in one function. */
#include "program.h"
#include "rescale.h"

/* a and b without their zero points; the output's is added by the caller. */
typedef int32_t function_t(const tinyfed_int8_binary_t *t, int32_t a, int32_t b);

/* Once in flash: there are many calls of it. */
__attribute__((noinline)) static int32_t scaled(int32_t value, const int32_t *pair)
{
    return tinyfed_int8_rescale(value, pair[0], pair[1]);
}

/* Both inputs come to one scale times 2^20. */
static int32_t sum(const tinyfed_int8_binary_t *t, int32_t a, int32_t b)
{
    return scaled(tinyfed_int8_wrap_add(scaled(a * (1 << 20), t->a), scaled(b * (1 << 20), t->b)), t->out);
}

static int32_t difference(const tinyfed_int8_binary_t *t, int32_t a, int32_t b)
{
    const int32_t minus = (int32_t)(0u - (uint32_t)scaled(b * (1 << 20), t->b));
    return scaled(tinyfed_int8_wrap_add(scaled(a * (1 << 20), t->a), minus), t->out);
}

static int32_t squared_difference(const tinyfed_int8_binary_t *t, int32_t a, int32_t b)
{
    const uint32_t d = (uint32_t)scaled(a * (1 << 7), t->a) - (uint32_t)scaled(b * (1 << 7), t->b);
    return scaled((int32_t)(d * d), t->out);
}

static int32_t multiple(const tinyfed_int8_binary_t *t, int32_t a, int32_t b) { return scaled(a * b, t->out); }

/* b: the slope below zero. */
static int32_t prelu(const tinyfed_int8_binary_t *t, int32_t a, int32_t b)
{
    return a >= 0 ? scaled(a, t->a) : scaled(a * b, t->out);
}

static int32_t smaller(const tinyfed_int8_binary_t *t, int32_t a, int32_t b)
{
    (void)t;
    return a < b ? a : b;
}

static int32_t larger(const tinyfed_int8_binary_t *t, int32_t a, int32_t b)
{
    (void)t;
    return a > b ? a : b;
}

static function_t *const functions[] = {[TINYFED_INT8_SUM] = sum,          [TINYFED_INT8_DIFFERENCE] = difference,
                                        [TINYFED_INT8_PRODUCT] = multiple, [TINYFED_INT8_SMALLER] = smaller,
                                        [TINYFED_INT8_LARGER] = larger,    [TINYFED_INT8_SQUARED] = squared_difference,
                                        [TINYFED_INT8_PRELU] = prelu};

bool tinyfed_int8_binary_is_known(uint32_t code)
{
    return code < sizeof functions / sizeof functions[0] && functions[code] != NULL;
}

/* table = tinyfed_int8_binary_t. May run in place of an input that is not broadcast. */
void tinyfed_int8_binary(const tinyfed_int8_op_t *op)
{
    const tinyfed_int8_binary_t *t = (const tinyfed_int8_binary_t *)(const void *)op->table;
    const tinyfed_int8_record_t *r = &op->r;
    function_t *const function = functions[t->code];
    int8_t *out = op->out;
    for (uint32_t i = 0; i < t->count[0]; i++)
        for (uint32_t j = 0; j < t->count[1]; j++)
            for (uint32_t k = 0; k < t->count[2]; k++) {
                const int8_t *a = op->in + i * t->a_step[0] + j * t->a_step[1] + k * t->a_step[2];
                const int8_t *b = op->in_b + i * t->b_step[0] + j * t->b_step[1] + k * t->b_step[2];
                for (uint32_t n = 0; n < t->count[3]; n++, a += t->a_step[3], b += t->b_step[3]) {
                    const int32_t value = function(t, *a - r->in_zero, *b - r->in_b_zero);
                    *out++ = (int8_t)tinyfed_int8_clamp(tinyfed_int8_wrap_add(value, r->out_zero), r->low, r->high);
                }
            }
}
