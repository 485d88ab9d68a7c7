/* Two-dimensional convolution on a Cortex-M4F. The bits are those of plain/conv2d.c. */
#include "kernels/machine.h"

#ifdef TINYFED_MACHINE_CORTEXM4

#include "tinyfed_float.h"
#include "kernels/conv2d.h"
#include "lanes.h"
#include "rows.h"

#define FLOAT_BYTES ((uint32_t)sizeof(float))

void tinyfed_conv2d_forward_f32(float *y, const float *x, const float *weights, const float *bias,
                                const tinyfed_window_t *w)
{
    const uint32_t outputs = w->out.channels, inputs = w->in.channels;
    for (uint32_t oy = 0; oy < w->out.height; oy++) {
        const tinyfed_range_t rows = tinyfed_taps(oy, w->stride_height, w->pad_top, w->kernel_height, w->in.height);
        for (uint32_t ox = 0; ox < w->out.width; ox++, y += outputs) {
            const tinyfed_range_t columns =
                tinyfed_taps(ox, w->stride_width, w->pad_left, w->kernel_width, w->in.width);
            const uint32_t iy = oy * w->stride_height + rows.begin - w->pad_top;
            const uint32_t ix = ox * w->stride_width + columns.begin - w->pad_left;
            const uint32_t run = (columns.end - columns.begin) * inputs;
            const float *values = x + (iy * w->in.width + ix) * inputs;
            const float *row = weights + (rows.begin * w->kernel_width + columns.begin) * inputs * outputs;
            const float *from = bias;
            if (from == NULL || run == 0 || rows.begin >= rows.end)
                from = bias != NULL ? memcpy(y, bias, outputs * sizeof *y) : memset(y, 0, outputs * sizeof *y);
            if (run == 0) continue;
            for (uint32_t ky = rows.begin; ky < rows.end; ky++, from = y) {
                tinyfed_add_rows(y, from, values, row, run, outputs);
                values += w->in.width * inputs;
                row += w->kernel_width * inputs * outputs;
            }
        }
    }
}

/* The taps that reach one input pixel: a grid of output pixels, walked from the last to the first so that the taps come
 * in order. Steps in bytes, from behind a tap to the next. */
typedef struct reach {
    uint32_t columns; /* of the grid */
    uint32_t outputs;
    int32_t weight_column, gradient_column; /* the next column */
    int32_t weight_row, gradient_row;       /* the next row, from the next column */
    const float *gradient;                  /* of the first tap's output pixel */
    uint32_t rows;                          /* of the grid */
    uint32_t skips_zeros;                   /* a value of 0 is a dead ReLU's, with gradient 0 */
} reach_t;
_Static_assert(offsetof(reach_t, columns) == 0 && offsetof(reach_t, outputs) == 4 &&
                   offsetof(reach_t, weight_column) == 8 && offsetof(reach_t, gradient_column) == 12 &&
                   offsetof(reach_t, weight_row) == 16 && offsetof(reach_t, gradient_row) == 20 &&
                   offsetof(reach_t, gradient) == 24 && offsetof(reach_t, rows) == 28 &&
                   offsetof(reach_t, skips_zeros) == 32,
               "gradients_of_pixel knows the offsets");

#define REACH_LANE(lane)                                                                                               \
    "vldmia %[w]!, {s8}\n vldmia %[g]!, {s16}\n vmla.f32 s" #lane ", s8, s16\n subs %[n], %[n], #1\n beq 5f\n "

/* d_x of the values from x to end, channels of one pixel that has taps; `weights` are the first tap's, first channel's.
 */
static __attribute__((noinline)) void gradients_of_pixel(float *d_x, const float *x, const float *end,
                                                         const float *weights, const reach_t *reach)
{
    uint32_t n, columns, rows;
    const float *w, *g;
    __asm volatile(
        "1: ldr %[n], [%[x]], #4\n ldr %[rows], [%[reach], #32]\n lsls %[n], %[n], #1\n it ne\n movne %[rows], #0\n"
        " mov %[w], %[weights]\n ldr %[n], [%[reach], #4]\n add %[weights], %[weights], %[n], lsl #2\n"
        " vldmia %[zeros], {s0-s7}\n cmp %[rows], #0\n bne 6f\n ldrd %[g], %[rows], [%[reach], #24]\n"
        "2: ldr %[columns], [%[reach]]\n"
        "3: ldr %[n], [%[reach], #4]\n subs %[n], %[n], #8\n blt 7f\n"
        "4: vldmia %[w]!, {s8-s15}\n vldmia %[g]!, {s16-s23}\n subs %[n], %[n], #8\n " TINYFED_LANES_ADD
        "bge 4b\n7: adds %[n], %[n], #8\n beq 5f\n " REACH_LANE(0) REACH_LANE(1) REACH_LANE(2) REACH_LANE(3)
            REACH_LANE(4) REACH_LANE(5) REACH_LANE(6) "5: ldr %[n], [%[reach], #8]\n add %[w], %[w], %[n]\n ldr %[n], "
                                                      "[%[reach], #12]\n add %[g], %[g], %[n]\n"
                                                      " subs %[columns], %[columns], #1\n bne 3b\n"
                                                      " ldr %[n], [%[reach], #16]\n add %[w], %[w], %[n]\n ldr %[n], "
                                                      "[%[reach], #20]\n add %[g], %[g], %[n]\n"
                                                      " subs %[rows], %[rows], #1\n bne 2b\n " TINYFED_LANES_SUM
                                                      "6: vstmia %[d_x]!, {s0}\n cmp %[x], %[end]\n bne 1b\n"
        : [d_x] "+&r"(d_x), [x] "+&r"(x), [weights] "+&r"(weights), [w] "=&r"(w), [g] "=&r"(g), [n] "=&r"(n),
          [columns] "=&r"(columns), [rows] "=&r"(rows)
        : [end] "r"(end), [reach] "r"(reach), [zeros] "r"(tinyfed_zeros)
        : "memory", "cc", TINYFED_ALL_SINGLES);
}

static void give_pixel(const tinyfed_input_gradient_t *input, const float *x, uint32_t k, uint32_t count,
                       const float *weights, const reach_t *reach)
{
    const bool is_relu = input->derivative == TINYFED_RELU;
    if (reach->rows != 0 && !input->adds && (is_relu || input->derivative == TINYFED_LINEAR)) {
        gradients_of_pixel(input->d_x + k, x + k, x + k + count, weights, reach);
        return;
    }
    for (const uint32_t end = k + count; k < end; k++, weights += reach->outputs) {
        float gradient = 0.0f;
        const float value = x[k];
        if (is_relu && (tinyfed_bits(value) << 1) == 0) {
            input->d_x[k] = 0.0f;
            continue;
        }
        if (reach->rows != 0) gradients_of_pixel(&gradient, x + k, x + k + 1, weights, reach);
        tinyfed_give_gradient(input, k, value, gradient);
    }
}

void tinyfed_conv2d_input_gradient_f32(const tinyfed_input_gradient_t *input, const float *x, const float *weights,
                                       const float *d_y, const tinyfed_window_t *w)
{
    const uint32_t inputs = w->in.channels, outputs = w->out.channels, tap = inputs * outputs;
    uint32_t k = 0;
    reach_t reach;
    reach.outputs = outputs;
    reach.weight_column = (int32_t)((w->stride_width * tap - outputs) * FLOAT_BYTES);
    reach.gradient_column = -(int32_t)(2u * outputs * FLOAT_BYTES);
    reach.skips_zeros = input->derivative == TINYFED_RELU;
    for (uint32_t iy = 0; iy < w->in.height; iy++) {
        const tinyfed_range_t rows =
            tinyfed_outputs_of_input(iy, w->stride_height, w->pad_top, w->kernel_height, w->out.height);
        for (uint32_t ix = 0; ix < w->in.width; ix++, k += inputs) {
            const tinyfed_range_t columns =
                tinyfed_outputs_of_input(ix, w->stride_width, w->pad_left, w->kernel_width, w->out.width);
            const float *first = weights;
            reach.columns = columns.end - columns.begin;
            reach.rows = reach.columns == 0 ? 0 : rows.end - rows.begin;
            if (reach.rows != 0) {
                const uint32_t ky = iy + w->pad_top - (rows.end - 1u) * w->stride_height;
                const uint32_t kx = ix + w->pad_left - (columns.end - 1u) * w->stride_width;
                reach.weight_row = (int32_t)((w->stride_height * w->kernel_width - reach.columns * w->stride_width) *
                                             tap * FLOAT_BYTES);
                reach.gradient_row = -(int32_t)((w->out.width - reach.columns) * outputs * FLOAT_BYTES);
                reach.gradient = d_y + ((rows.end - 1u) * w->out.width + columns.end - 1u) * outputs;
                first += (ky * w->kernel_width + kx) * tap;
            }
            give_pixel(input, x, k, inputs, first, &reach);
        }
    }
}

/* The pixels that one tap meets. Steps in bytes. */
typedef struct meet {
    uint32_t columns;
    uint32_t value_row, gradient_row; /* after a whole row, further than a column */
    float factor;
    uint32_t rows;
    uint32_t value_column, gradient_column;
} meet_t;
_Static_assert(offsetof(meet_t, columns) == 0 && offsetof(meet_t, value_row) == 4 &&
                   offsetof(meet_t, gradient_row) == 8 && offsetof(meet_t, factor) == 12,
               "GRADIENT_STRIP knows the offsets");

/* A strip of outputs of one tap, summed over its pixels and given to `to`. */
#define GRADIENT_STRIP(load, add, give, width)                                                                         \
    __asm volatile(load "\n1: ldr %[columns], [%[meet]]\n"                                                             \
                        "2: ldr %[bits], [%[x]]\n add %[x], %[x], %[step]\n lsls %[t], %[bits], #1\n beq 3f\n"         \
                        " vmov s24, %[bits]\n " add "add %[g], %[g], %[skip]\n subs %[columns], %[columns], #1\n"      \
                        " bne 2b\n b 4f\n3: add %[g], %[g], %[pixel]\n subs %[columns], %[columns], #1\n bne 2b\n"     \
                        "4: ldrd %[bits], %[t], [%[meet], #4]\n add %[x], %[x], %[bits]\n add %[g], %[g], %[t]\n"      \
                        " subs %[rows], %[rows], #1\n bne 1b\n vldr s24, [%[meet], #12]\n " give                       \
                   : [x] "+&r"(x), [g] "+&r"(g), [to] "+&r"(to), [rows] "+&r"(rows), [columns] "=&r"(columns),         \
                     [bits] "=&r"(bits), [t] "=&r"(t)                                                                  \
                   : [meet] "r"(meet), [zeros] "r"(tinyfed_zeros), [step] "r"(meet->value_column),                     \
                     [pixel] "r"(meet->gradient_column), [skip] "r"(meet->gradient_column - (width) * 4u)              \
                   : "memory", "cc", TINYFED_ALL_SINGLES)

#define GIVE_FOUR(a0, a1, a2, a3)                                                                                      \
    "vldmia %[to], {s16-s19}\n " TINYFED_FOUR("vmla.f32", 16, 17, 18, 19, 24, 24, 24, 24, a0, a1, a2,                  \
                                              a3) "vstmia %[to]!, {s16-s19}\n "

static __attribute__((noinline)) void gradient_of_tap(float *to, const float *values, const float *gradients,
                                                      const meet_t *meet, uint32_t outputs)
{
    uint32_t bits, t, columns, width;
    for (; outputs != 0; outputs -= width, gradients += width) {
        const float *x = values, *g = gradients;
        uint32_t rows = meet->rows;
        width = outputs >= 16 ? 16 : outputs >= 8 ? 8 : outputs >= 4 ? 4 : 1;
        switch (width) {
        case 16:
            GRADIENT_STRIP(
                "vldmia %[zeros], {s0-s15}", TINYFED_ADD_SIXTEEN("g"),
                GIVE_FOUR(0, 1, 2, 3) GIVE_FOUR(4, 5, 6, 7) GIVE_FOUR(8, 9, 10, 11) GIVE_FOUR(12, 13, 14, 15), 16);
            break;
        case 8:
            GRADIENT_STRIP("vldmia %[zeros], {s0-s7}", TINYFED_ADD_EIGHT("g"),
                           GIVE_FOUR(0, 1, 2, 3) GIVE_FOUR(4, 5, 6, 7), 8);
            break;
        case 4: GRADIENT_STRIP("vldmia %[zeros], {s0-s3}", TINYFED_ADD_FOUR("g"), GIVE_FOUR(0, 1, 2, 3), 4); break;
        default:
            GRADIENT_STRIP("vldmia %[zeros], {s0}", TINYFED_ADD_ONE("g"),
                           "vldr s16, [%[to]]\n vmla.f32 s16, s24, s0\n vstmia %[to]!, {s16}\n", 1);
            break;
        }
    }
}

void tinyfed_conv2d_weight_gradient_f32(float *to_weights, float *to_bias, const float *x, const float *d_y,
                                        float factor, const tinyfed_window_t *w)
{
    const uint32_t inputs = w->in.channels, outputs = w->out.channels;
    meet_t meet;
    meet.factor = factor;
    meet.value_column = w->stride_width * inputs * FLOAT_BYTES;
    meet.gradient_column = outputs * FLOAT_BYTES;
    for (uint32_t ky = 0; to_weights != NULL && ky < w->kernel_height; ky++) {
        const tinyfed_range_t rows =
            tinyfed_outputs_of_tap(ky, w->stride_height, w->pad_top, w->in.height, w->out.height);
        for (uint32_t kx = 0; kx < w->kernel_width; kx++) {
            const tinyfed_range_t columns =
                tinyfed_outputs_of_tap(kx, w->stride_width, w->pad_left, w->in.width, w->out.width);
            if (rows.begin == rows.end || columns.begin == columns.end) { /* all in the padding */
                to_weights += inputs * outputs;
                continue;
            }
            const uint32_t iy = rows.begin * w->stride_height + ky - w->pad_top;
            const uint32_t ix = columns.begin * w->stride_width + kx - w->pad_left;
            const float *values = x + (iy * w->in.width + ix) * inputs;
            const float *gradients = d_y + (rows.begin * w->out.width + columns.begin) * outputs;
            meet.rows = rows.end - rows.begin;
            meet.columns = columns.end - columns.begin;
            meet.value_row = (w->stride_height * w->in.width - meet.columns * w->stride_width) * inputs * FLOAT_BYTES;
            meet.gradient_row = (w->out.width - meet.columns) * outputs * FLOAT_BYTES;
            for (uint32_t ic = 0; ic < inputs; ic++, to_weights += outputs)
                gradient_of_tap(to_weights, values + ic, gradients, &meet, outputs);
        }
    }
    if (to_bias != NULL) tinyfed_bias_gradient_f32(to_bias, d_y, factor, w->out.height * w->out.width, outputs);
}

#endif
