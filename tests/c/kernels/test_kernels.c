/* Fast bodies against the plain ones: random shapes and values, every byte of every buffer the same (any NaN for a
 * NaN). Runs wherever tests/parity's start-up does; the blob is seed and number of cases. */
#include "tinyfed_float.h"
#include "kernels/conv2d.h"
#include "kernels/dense.h"
#include "parity.h"

#ifdef BODY
#define PASTE(a, b) a##_##b
#define JOIN(a, b) PASTE(a, b)
#define FAST(name) JOIN(name, BODY)
#else
#define FAST(name) name
#endif

#define ARGUMENTS_FORWARD float *, const float *, const float *, const float *, uint32_t, uint32_t
#define ARGUMENTS_CONVOLVE float *, const float *, const float *, const float *, const tinyfed_window_t *
#define ARGUMENTS_INPUT                                                                                                \
    const tinyfed_input_gradient_t *, const float *, const float *, const float *, const tinyfed_window_t *
#define ARGUMENTS_WEIGHTS float *, float *, const float *, const float *, float, const tinyfed_window_t *
#define DECLARE(activate, forward, backward, convolve, input, weights)                                                 \
    void activate(float *, uint32_t, uint8_t, float);                                                                  \
    void forward(ARGUMENTS_FORWARD);                                                                                   \
    void backward(const tinyfed_dense_step_t *);                                                                       \
    void convolve(ARGUMENTS_CONVOLVE);                                                                                 \
    void input(ARGUMENTS_INPUT);                                                                                       \
    void weights(ARGUMENTS_WEIGHTS);
DECLARE(FAST(tinyfed_activate_f32), FAST(tinyfed_dense_forward_f32), FAST(tinyfed_dense_backward_f32),
        FAST(tinyfed_conv2d_forward_f32), FAST(tinyfed_conv2d_input_gradient_f32),
        FAST(tinyfed_conv2d_weight_gradient_f32))
DECLARE(tinyfed_activate_plain_f32, tinyfed_dense_forward_plain_f32, tinyfed_dense_backward_plain_f32,
        tinyfed_conv2d_forward_plain_f32, tinyfed_conv2d_input_gradient_plain_f32,
        tinyfed_conv2d_weight_gradient_plain_f32)

#define MOST 4096u

/* Each buffer twice, for the plain body and for the fast one; what lies around the values must not change either. */
typedef struct buffers {
    float x[MOST], y[MOST], weights[MOST], bias[MOST], d_y[MOST], d_x[MOST], gradients[MOST];
} buffers_t;

static buffers_t both[2];
static uint64_t state;
static uint32_t special_share; /* of 256 */

static uint32_t next(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static uint32_t below(uint32_t bound) { return next() % bound; }

static float value(void)
{
    static const uint32_t specials[] = {0x80000000u, 0x00000001u, 0x807FFFFFu, 0x00800000u, 0x7F800000u, 0xFF800000u,
                                        0x7FC00000u, 0xFFC00000u, 0x7F7FFFFFu, 0x40C00000u, 0x41000000u, 0xC1200000u};
    if (below(256) < special_share) return tinyfed_float(specials[below(sizeof specials / sizeof *specials)]);
    if (below(3) == 0) return 0.0f;
    return ((float)(int32_t)below(1u << 24) - 8388608.0f) * 0x1p-22f;
}

static void fill(void)
{
    special_share = below(2) == 0 ? 0 : below(24);
    for (uint32_t k = 0; k < sizeof both[0] / sizeof(float); k++) ((float *)&both[0])[k] = value();
    memcpy(&both[1], &both[0], sizeof both[0]);
}

static int differ(void)
{
    for (uint32_t k = 0; k < sizeof both[0] / sizeof(float); k++) {
        const float a = ((const float *)&both[0])[k], b = ((const float *)&both[1])[k];
        if (tinyfed_bits(a) != tinyfed_bits(b) && !(a != a && b != b)) return 1;
    }
    return 0;
}

static uint32_t size(void)
{
    static const uint32_t favourites[] = {1, 4, 5, 7, 8, 9, 16, 24, 31, 32, 33, 40, 64};
    return below(2) == 0 ? favourites[below(13)] : 1 + below(64);
}

static tinyfed_input_gradient_t gradient(uint32_t which, uint8_t derivative, float alpha, bool adds, bool in_place)
{
    const tinyfed_input_gradient_t result = {in_place ? both[which].x : both[which].d_x, alpha, derivative, adds};
    return result;
}

static void run_dense(void)
{
    const uint32_t inputs = size(), outputs = size();
    const bool has_bias = below(2) == 0, in_place = below(2) == 0, wants_input = below(5) != 0;
    const uint8_t derivative = (uint8_t)below(6);
    const uint32_t to = below(4); /* 0: frozen, 1: a batch's gradients, else the weights themselves */
    const bool adds = !in_place && below(3) == 0;
    const float factor = below(8) == 0 ? value() : -0.05f;
    for (uint32_t which = 0; which < 2; which++) {
        buffers_t *b = &both[which];
        (which ? FAST(tinyfed_dense_forward_f32)
               : tinyfed_dense_forward_plain_f32)(b->y, b->x, b->weights, has_bias ? b->bias : NULL, inputs, outputs);
        tinyfed_dense_step_t step = {gradient(which, derivative, 0.25f, adds, in_place),
                                     b->weights,
                                     to == 0   ? NULL
                                     : to == 1 ? b->gradients
                                               : b->weights,
                                     has_bias ? b->bias : NULL,
                                     b->x,
                                     b->d_y,
                                     inputs,
                                     outputs,
                                     factor};
        if (!wants_input) step.input.d_x = NULL;
        (which ? FAST(tinyfed_dense_backward_f32) : tinyfed_dense_backward_plain_f32)(&step);
    }
}

static void run_conv2d(void)
{
    tinyfed_window_t w;
    do {
        w.in.height = 1 + below(8);
        w.in.width = 1 + below(8);
        w.in.channels = 1 + below(5);
        w.out.channels = below(2) == 0 ? 8u + 8u * below(2) : 1 + below(20);
        w.kernel_height = 1 + below(4);
        w.kernel_width = 1 + below(4);
        w.stride_height = 1 + below(3);
        w.stride_width = 1 + below(3);
        w.pad_top = below(w.kernel_height);
        w.pad_left = below(w.kernel_width);
        /* Some outputs more or fewer at the far side than a symmetric padding gives. */
        w.out.height = (w.in.height + w.pad_top + below(w.kernel_height)) / w.stride_height;
        w.out.width = (w.in.width + w.pad_left + below(w.kernel_width)) / w.stride_width;
    } while (w.out.height == 0 || w.out.width == 0 || (w.out.height - 1) * w.stride_height >= w.in.height + w.pad_top ||
             (w.out.width - 1) * w.stride_width >= w.in.width + w.pad_left ||
             w.kernel_height * w.kernel_width * w.in.channels * w.out.channels > MOST ||
             w.out.height * w.out.width * w.out.channels > MOST);
    const bool has_bias = below(2) == 0, adds = below(3) == 0;
    const uint8_t derivative = (uint8_t)below(6);
    const uint32_t to = below(3);
    for (uint32_t which = 0; which < 2; which++) {
        buffers_t *b = &both[which];
        const tinyfed_input_gradient_t input = gradient(which, derivative, 0.25f, adds, false);
        (which ? FAST(tinyfed_conv2d_forward_f32) : tinyfed_conv2d_forward_plain_f32)(b->y, b->x, b->weights,
                                                                                      has_bias ? b->bias : NULL, &w);
        (which ? FAST(tinyfed_conv2d_input_gradient_f32)
               : tinyfed_conv2d_input_gradient_plain_f32)(&input, b->x, b->weights, b->d_y, &w);
        (which ? FAST(tinyfed_conv2d_weight_gradient_f32)
               : tinyfed_conv2d_weight_gradient_plain_f32)(to == 0   ? NULL
                                                           : to == 1 ? b->gradients
                                                                     : b->weights,
                                                           has_bias ? b->bias : NULL, b->x, b->d_y, -0.05f, &w);
    }
}

static void run_activation(void)
{
    const uint32_t count = 1 + below(100);
    const uint8_t activation = (uint8_t)below(6);
    for (uint32_t which = 0; which < 2; which++)
        (which ? FAST(tinyfed_activate_f32) : tinyfed_activate_plain_f32)(both[which].y, count, activation, 0.25f);
}

int parity_run(const uint8_t *blob)
{
    static void (*const runs[])(void) = {run_dense, run_conv2d, run_activation};
    static const char *const names[] = {"dense differs\n", "conv2d differs\n", "activation differs\n"};
    uint32_t head[2], wrong = 0;
    memcpy(head, blob, sizeof head);
    for (uint32_t k = 0; k < head[1]; k++) {
        state = ((uint64_t)head[0] << 32) + k;
        for (uint32_t skip = 0; skip < 4; skip++) (void)next();
        fill();
        runs[k % 3]();
        if (differ()) {
            parity_print(names[k % 3]);
            wrong++;
        }
    }
    parity_print("compared\n");
    return wrong == 0 ? 0 : 1;
}
