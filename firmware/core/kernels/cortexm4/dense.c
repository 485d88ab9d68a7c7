/* Fully connected layers on a Cortex-M4F. The bits are those of plain/dense.c. */
#include "kernels/machine.h"

#ifdef TINYFED_MACHINE_CORTEXM4

#include "tinyfed_float.h"
#include "kernels/dense.h"
#include "lanes.h"
#include "rows.h"

static float dot(const float *a, const float *b, uint32_t count);

void tinyfed_dense_forward_f32(float *y, const float *x, const float *weights, const float *bias, uint32_t inputs,
                               uint32_t outputs)
{
    if (outputs == 1) {
        y[0] = (bias != NULL ? bias[0] : 0.0f) + dot(x, weights, inputs);
        return;
    }
    if (bias == NULL) bias = memset(y, 0, outputs * sizeof *y);
    tinyfed_add_rows(y, bias, x, weights, inputs, outputs);
}

/* The last products of a reduction, one a lane; %[n] of them are left. */
#define TAIL_LANE(lane, step)                                                                                          \
    "vldr s8, [%[w]]\n vldmia %[b]!, {s16}\n vmla.f32 s" #lane ", s8, s16\n " step "subs %[n], %[n], #1\n beq 4f\n "
#define TAIL(step)                                                                                                     \
    TAIL_LANE(0, step)                                                                                                 \
    TAIL_LANE(1, step) TAIL_LANE(2, step) TAIL_LANE(3, step) TAIL_LANE(4, step) TAIL_LANE(5, step) TAIL_LANE(6, step)

static __attribute__((noinline)) float dot(const float *a, const float *b, uint32_t count)
{
    uint32_t sum;
    __asm volatile("vldmia %[zeros], {s0-s7}\n subs %[n], %[n], #8\n blt 3f\n"
                   "2: vldmia %[w]!, {s8-s15}\n vldmia %[b]!, {s16-s23}\n subs %[n], %[n], #8\n " TINYFED_LANES_ADD
                   "bge 2b\n3: adds %[n], %[n], #8\n beq 4f\n " TAIL("add %[w], %[w], #4\n ") "4: " TINYFED_LANES_SUM
                                                                                              "vmov %[sum], s0\n"
                   : [w] "+&r"(a), [b] "+&r"(b), [n] "+&r"(count), [sum] "=r"(sum)
                   : [zeros] "r"(tinyfed_zeros)
                   : "memory", "cc", TINYFED_ALL_SINGLES);
    return tinyfed_float(sum);
}

/* w += scale * d_y */
static __attribute__((noinline)) void step_row(float *w, const float *d_y, uint32_t count, float scale)
{
    __asm volatile("vmov s28, %[scale]\n subs %[n], %[n], #8\n blt 3f\n"
                   "2: vldmia %[w], {s8-s15}\n vldmia %[b]!, {s16-s23}\n subs %[n], %[n], #8\n " TINYFED_LANES_STEP
                   "vstmia %[w]!, {s8-s15}\n bge 2b\n3: adds %[n], %[n], #8\n beq 5f\n"
                   "4: vldr s8, [%[w]]\n vldmia %[b]!, {s16}\n vmla.f32 s8, s28, s16\n"
                   " vstmia %[w]!, {s8}\n subs %[n], %[n], #1\n bne 4b\n5:\n"
                   : [w] "+&r"(w), [b] "+&r"(d_y), [n] "+&r"(count)
                   : [scale] "r"(tinyfed_bits(scale))
                   : "memory", "cc", TINYFED_ALL_SINGLES);
}

/* How a row's gradient is finished, and what happens to a row whose input is 0. */
enum { ROW_RELU = 0, ROW_TANH = 1, ROW_LINEAR = 2 };

typedef struct rows {
    const float *x;
    float *d_x, *w;
} rows_t;

/* A row's gradient s0 to d_x, of a tanh (x in s29, 1 in s31) first times 1 - x^2; on to the next row. */
#define FINISH_ROW                                                                                                     \
    "cmp %[mode], #1\n bne 5f\n vmul.f32 s1, s29, s29\n vsub.f32 s1, s31, s1\n vmul.f32 s0, s0, s1\n"                  \
    "5: vstmia %[d_x]!, {s0}\n cmp %[x], %[end]\n bne 1b\n b 8f\n"                                                     \
    "6: cmp %[mode], #0\n bne 7f\n str %[mode], [%[d_x]], #4\n add %[w], %[w], %[outputs], lsl #2\n"                   \
    " cmp %[x], %[end]\n bne 1b\n b 8f\n7: sub %[x], %[x], #4\n8:\n"

/* Whole rows, gradient and update, up to `end` or to a row whose input is 0 and that is not a dead ReLU's. */
static __attribute__((noinline)) void step_rows(rows_t *rows, const float *end, const float *d_y, uint32_t outputs,
                                                uint32_t mode, float factor)
{
    const float *x = rows->x;
    float *d_x = rows->d_x, *w = rows->w;
    uint32_t bits, n, b = tinyfed_bits(factor);
    __asm volatile(
        "vmov s30, %[b]\n vmov.f32 s31, #1.0\n"
        "1: ldr %[bits], [%[x]], #4\n lsls %[n], %[bits], #1\n beq 6f\n vmov s29, %[bits]\n mov %[b], %[d_y]\n"
        " subs %[n], %[outputs], #8\n vmul.f32 s28, s29, s30\n vldmia %[zeros], {s0-s7}\n blt 3f\n"
        "2: vldmia %[w], {s8-s15}\n vldmia %[b]!, {s16-s23}\n subs %[n], %[n], "
        "#8\n " TINYFED_LANES_ADD TINYFED_LANES_STEP
        "vstmia %[w]!, {s8-s15}\n bge 2b\n3: adds %[n], %[n], #8\n beq 4f\n " TAIL(
            "vmla.f32 s8, s28, s16\n vstmia %[w]!, {s8}\n ") "4: " TINYFED_LANES_SUM FINISH_ROW
        : [x] "+&r"(x), [d_x] "+&r"(d_x), [w] "+&r"(w), [b] "+&r"(b), [bits] "=&r"(bits), [n] "=&r"(n)
        : [end] "r"(end), [d_y] "r"(d_y), [outputs] "r"(outputs), [zeros] "r"(tinyfed_zeros), [mode] "r"(mode)
        : "memory", "cc", TINYFED_ALL_SINGLES);
    rows->x = x;
    rows->d_x = d_x;
    rows->w = w;
}

/* Built for size, one output is a row like any other. */
#ifdef TINYFED_DENSE_ONLY
#define step_singles step_rows
#else

/* The same for one output, where a row is one weight and a reduction of one product adds it to +0. */
static __attribute__((noinline)) void step_singles(rows_t *rows, const float *end, const float *d_y, uint32_t outputs,
                                                   uint32_t mode, float factor)
{
    const float *x = rows->x;
    float *d_x = rows->d_x, *w = rows->w;
    uint32_t bits, n = tinyfed_bits(factor);
    __asm volatile(
        "vmov s30, %[n]\n vldr s16, [%[d_y]]\n vldr s2, [%[zeros]]\n vmov.f32 s31, #1.0\n"
        "1: ldr %[bits], [%[x]], #4\n lsls %[n], %[bits], #1\n beq 6f\n vmov s29, %[bits]\n vldr s8, [%[w]]\n"
        " vmul.f32 s28, s29, s30\n vmul.f32 s0, s8, s16\n vadd.f32 s0, s0, s2\n vmla.f32 s8, s28, s16\n"
        " vstmia %[w]!, {s8}\n " FINISH_ROW
        : [x] "+&r"(x), [d_x] "+&r"(d_x), [w] "+&r"(w), [bits] "=&r"(bits), [n] "+&r"(n)
        : [end] "r"(end), [d_y] "r"(d_y), [outputs] "r"(outputs), [zeros] "r"(tinyfed_zeros), [mode] "r"(mode)
        : "memory", "cc", TINYFED_ALL_SINGLES);
    rows->x = x;
    rows->d_x = d_x;
    rows->w = w;
}

#endif

/* One row, in steps: a frozen one, one of a batch, an input of 0, a rare derivative. */
static void step_row_slowly(const tinyfed_dense_step_t *step, uint32_t i)
{
    const float x = step->x[i];
    const bool zero = (tinyfed_bits(x) << 1) == 0;
    if (step->input.d_x != NULL) {
        if (zero && step->input.derivative == TINYFED_RELU) {
            step->input.d_x[i] = 0.0f;
            return;
        }
        tinyfed_give_gradient(&step->input, i, x,
                              dot(step->weights + (size_t)i * step->outputs, step->d_y, step->outputs));
    }
    if (!zero && step->to_weights != NULL)
        step_row(step->to_weights + (size_t)i * step->outputs, step->d_y, step->outputs, step->factor * x);
}

void tinyfed_dense_backward_f32(const tinyfed_dense_step_t *step)
{
    const uint8_t derivative = step->input.derivative;
    const bool fused = step->input.d_x != NULL && step->to_weights == step->weights && !step->input.adds &&
                       (derivative == TINYFED_RELU || derivative == TINYFED_TANH || derivative == TINYFED_LINEAR);
    const float *const end = step->x + step->inputs;
    const uint32_t mode = derivative == TINYFED_RELU ? ROW_RELU : derivative == TINYFED_TANH ? ROW_TANH : ROW_LINEAR;
    rows_t rows = {step->x, step->input.d_x, step->to_weights};
    if (!fused && (step->input.d_x != NULL || step->to_weights != NULL)) {
        for (uint32_t i = 0; i < step->inputs; i++) step_row_slowly(step, i);
    } else if (fused) {
        for (;;) {
            (step->outputs == 1 ? step_singles : step_rows)(&rows, end, step->d_y, step->outputs, mode, step->factor);
            if (rows.x == end) break;
            step_row_slowly(step, (uint32_t)(rows.x - step->x));
            rows.x++;
            rows.d_x++;
            rows.w += step->outputs;
            if (rows.x == end) break;
        }
    }
    if (step->to_bias != NULL) step_row(step->to_bias, step->d_y, step->outputs, step->factor);
}

#endif
