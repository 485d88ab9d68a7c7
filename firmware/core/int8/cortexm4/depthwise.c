/* Depthwise convolution with the DSP instructions of a Cortex-M4. A word holds four channels of one place. */
#include "int8/kernels.h"
#include "finish.h"

#if defined(TINYFED_INT8_M4)

typedef struct sums {
    int32_t c0, c1, c2, c3;
} sums_t;

static inline uint32_t widen(uint32_t word)
{
    uint32_t wide;
    __asm__("sxtb16 %0, %1" : "=r"(wide) : "r"(word));
    return wide;
}

static inline uint32_t widen_odd(uint32_t word)
{
    uint32_t wide;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(wide) : "r"(word));
    return wide;
}

static inline void store(int8_t *out, const int32_t *row, sums_t s, uint32_t channels)
{
    __asm__(LOAD_ROW FINISH("%[a]") LOAD_ROW FINISH("%[b]") LOAD_ROW FINISH("%[c]") LOAD_ROW FINISH("%[d]")
            : [row] "+r"(row), [a] "+r"(s.c0), [b] "+r"(s.c1), [c] "+r"(s.c2), [d] "+r"(s.c3)
            :
            : "r4", "r5", "r6", "r8");
    out[0] = (int8_t)s.c0;
    if (channels > 1) out[1] = (int8_t)s.c1;
    if (channels > 2) out[2] = (int8_t)s.c2;
    if (channels > 3) out[3] = (int8_t)s.c3;
}

/* Two places a, b (a is lost too) times weights at byte `at`; the first pair starts the sums. */
#define PAIR(multiply, plus, a, b, at)                                                                                 \
    "pkhbt r9, " a ", " b ", lsl #16\n\t"                                                                              \
    "pkhtb " b ", " b ", " a ", asr #16\n\t"                                                                           \
    "ldrd r10, r11, [%[w], #" at "]\n\t"                                                                               \
    "sxtb16 " a ", r9\n\t"                                                                                             \
    "sxtb16 r9, r9, ror #8\n\t" multiply " %[c0], " a ", r10" plus("c0") multiply                                      \
        " %[c1], r9, r11" plus("c1") "ldrd r10, r11, [%[w], #" at " + 8]\n\t"                                          \
                                     "sxtb16 " a ", " b "\n\t"                                                         \
                                     "sxtb16 " b ", " b ", ror #8\n\t" multiply " %[c2], " a ", r10" plus("c2")        \
                                         multiply " %[c3], " b ", r11" plus("c3")
#define START(sum) "\n\t"
#define PLUS(sum) ", %[" sum "]\n\t"

/* 3x3 places of a plane, rows `pitch_bytes` apart. */
static inline sums_t window_3x3(const uint32_t *places, uint32_t pitch_bytes, const uint32_t *weights)
{
    sums_t s;
    __asm__("ldmia %[p], {r4, r5, r6}\n\t"
            "add %[p], %[p], %[pitch]\n\t" PAIR(
                "smuad", START, "r4", "r5",
                "0") "ldmia %[p], {r4, r5, r8}\n\t"
                     "add %[p], %[p], %[pitch]\n\t" PAIR("smlad", PLUS, "r6", "r4", "16")
                         PAIR("smlad", PLUS, "r5", "r8", "32") "ldmia %[p], {r4, r5, r6}\n\t" PAIR(
                             "smlad", PLUS, "r4", "r5", "48") "ldrd r10, r11, [%[w], #64]\n\t"
                                                              "sxtb16 r4, r6\n\t"
                                                              "sxtb16 r5, r6, ror #8\n\t"
                                                              "smlabb %[c0], r4, r10, %[c0]\n\t"
                                                              "smlatt %[c2], r4, r10, %[c2]\n\t"
                                                              "smlabb %[c1], r5, r11, %[c1]\n\t"
                                                              "smlatt %[c3], r5, r11, %[c3]\n\t"
            : [p] "+&r"(places), [c0] "=&r"(s.c0), [c1] "=&r"(s.c1), [c2] "=&r"(s.c2), [c3] "=&r"(s.c3)
            : [w] "r"(weights), [pitch] "r"(pitch_bytes)
            : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "memory");
    return s;
}

/* Weights of four pairs of taps, four channels each, (tap, next tap); then the ninth as (c0,c2) (c1,c3). */
static void expand_3x3(uint32_t *to, const uint32_t *weights)
{
    for (uint32_t pair = 0; pair < 4; pair++, to += 4, weights += 2) {
        const uint32_t low = (weights[0] & 0xFFFFu) | weights[1] << 16;
        const uint32_t high = weights[0] >> 16 | (weights[1] & 0xFFFF0000u);
        to[0] = widen(low);
        to[1] = widen_odd(low);
        to[2] = widen(high);
        to[3] = widen_odd(high);
    }
    to[0] = widen(weights[0]);
    to[1] = widen_odd(weights[0]);
}

static void group_3x3(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch, uint32_t group)
{
    const tinyfed_int8_record_t *r = &op->r;
    const uint32_t channels = r->in_c - group < 4u ? r->in_c - group : 4u;
    const int32_t *table = op->table + 4u * group;
    uint32_t weights[18];
    expand_3x3(weights, (const uint32_t *)(const void *)(op->weights + (size_t)group * 9u));
    int8_t *out = op->out + group;
    for (uint32_t y = 0; y < r->out_h; y++, plane += (size_t)r->stride_h * pitch) {
        const uint32_t *places = plane;
        for (uint32_t x = 0; x < r->out_w; x++, places += r->stride_w, out += r->out_c)
            store(out, table, window_3x3(places, 4u * pitch, weights), channels);
    }
}

static inline sums_t window_any(const uint32_t *places, uint32_t pitch, const uint32_t *weights,
                                const tinyfed_int8_record_t *r)
{
    sums_t s = {0, 0, 0, 0};
    for (uint32_t ky = 0; ky < r->kernel_h; ky++, places += (size_t)r->dilation_h * pitch) {
        const uint32_t *place = places;
        for (uint32_t kx = 0; kx < r->kernel_w; kx++, place += r->dilation_w) {
            const uint32_t even = widen(*place), odd = widen_odd(*place);
            const uint32_t w = *weights++, w_even = widen(w), w_odd = widen_odd(w);
            __asm__("smlabb %0, %1, %2, %0" : "+r"(s.c0) : "r"(even), "r"(w_even));
            __asm__("smlatt %0, %1, %2, %0" : "+r"(s.c2) : "r"(even), "r"(w_even));
            __asm__("smlabb %0, %1, %2, %0" : "+r"(s.c1) : "r"(odd), "r"(w_odd));
            __asm__("smlatt %0, %1, %2, %0" : "+r"(s.c3) : "r"(odd), "r"(w_odd));
        }
    }
    return s;
}

void tinyfed_int8_depthwise_group_m4(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch, uint32_t group)
{
    const tinyfed_int8_record_t *r = &op->r;
    if (r->kernel_h == 3 && r->kernel_w == 3 && r->dilation_h == 1 && r->dilation_w == 1) {
        group_3x3(op, plane, pitch, group);
        return;
    }
    const uint32_t channels = r->in_c - group < 4u ? r->in_c - group : 4u;
    const uint32_t *weights = (const uint32_t *)(const void *)(op->weights + (size_t)group * r->kernel_h * r->kernel_w);
    int8_t *out = op->out + group;
    for (uint32_t y = 0; y < r->out_h; y++, plane += (size_t)r->stride_h * pitch) {
        const uint32_t *places = plane;
        for (uint32_t x = 0; x < r->out_w; x++, places += r->stride_w, out += r->out_c)
            store(out, op->table + 4u * group, window_any(places, pitch, weights, r), channels);
    }
}

#else
typedef int tinyfed_int8_depthwise_m4_is_empty;
#endif
