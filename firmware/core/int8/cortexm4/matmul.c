/* Matrix times one or two columns with the DSP instructions of a Cortex-M4: dual 16-bit multiplies on weights
 * that hold two channels in a half-word. Per two inputs, four channels and two columns: two loads, two
 * sign extensions, eight dual multiplies. */
#include "int8/kernels.h"
#include "finish.h"

#if defined(TINYFED_INT8_M4)

/* Sums of both columns, two channels each; mixed = 256 * odd + even. */
typedef struct sums {
    int32_t mixed_a, mixed_b, even_a, even_b;
} sums_t;

/* What multiply_two works on, in the order of its registers. */
typedef struct state {
    const int32_t *columns, *weights; /* r0, r1 */
    sums_t pair[2];                   /* r2..r9 */
    const int32_t *end;               /* of the columns in whole fours of quads */
    uint32_t quads;
} state_t;
_Static_assert(offsetof(sums_t, mixed_a) == 0 && offsetof(sums_t, mixed_b) == 4 && offsetof(sums_t, even_a) == 8 &&
                   offsetof(sums_t, even_b) == 12 && offsetof(state_t, columns) == 0 &&
                   offsetof(state_t, weights) == 4 && offsetof(state_t, pair) == 8 && offsetof(state_t, end) == 40 &&
                   offsetof(state_t, quads) == 44,
               "multiply_two knows the offsets");

/* Two inputs of both columns times two pairs of channels. */
#define HALF_QUAD                                                                                                      \
    "ldrd r10, r11, [r0], #8\n\t"                                                                                      \
    "ldrd r12, lr, [r1], #8\n\t"                                                                                       \
    "smlad r2, r12, r10, r2\n\t"                                                                                       \
    "smlad r3, r12, r11, r3\n\t"                                                                                       \
    "sxtb16 r12, r12\n\t"                                                                                              \
    "smlad r6, lr, r10, r6\n\t"                                                                                        \
    "smlad r7, lr, r11, r7\n\t"                                                                                        \
    "sxtb16 lr, lr\n\t"                                                                                                \
    "smlad r4, r12, r10, r4\n\t"                                                                                       \
    "smlad r5, r12, r11, r5\n\t"                                                                                       \
    "smlad r8, lr, r10, r8\n\t"                                                                                        \
    "smlad r9, lr, r11, r9\n\t"

/* All fourteen registers are taken, so the state's address and the ends of the loops lie on the stack. */
static inline void multiply_two(state_t *state)
{
    state->end = state->columns + (size_t)(state->quads / 4u) * 16u;
    register state_t *r0 __asm__("r0") = state;
    __asm__ volatile("ldrd r10, r11, [r0, #40]\n\t"
                     "push {r0, r10, r11}\n\t"
                     "ldmia r0, {r0-r9}\n\t"
                     "cmp r0, r10\n\t"
                     "beq 2f\n"
                     "1:\n\t" HALF_QUAD HALF_QUAD HALF_QUAD HALF_QUAD HALF_QUAD HALF_QUAD HALF_QUAD HALF_QUAD
                     "ldr r10, [sp, #4]\n\t"
                     "cmp r0, r10\n\t"
                     "bne 1b\n"
                     "2:\n\t"
                     "ldr r10, [sp, #8]\n\t"
                     "tst r10, #2\n\t"
                     "beq 3f\n\t" HALF_QUAD HALF_QUAD HALF_QUAD HALF_QUAD "3:\n\t"
                     "ldr r10, [sp, #8]\n\t"
                     "tst r10, #1\n\t"
                     "beq 4f\n\t" HALF_QUAD HALF_QUAD "4:\n\t"
                     "pop {r10, r11, r12}\n\t"
                     "stmia r10, {r0-r9}\n\t"
                     : "+r"(r0)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

static inline int32_t odd(int32_t mixed, int32_t even) { return (int32_t)((uint32_t)mixed - (uint32_t)even) >> 8; }

/* Two channels of both columns: even and odd. */
static inline const int32_t *finish_pair(int8_t *out_a, int8_t *out_b, const int32_t *row, const sums_t *s,
                                         int32_t odd_a, int32_t odd_b)
{
    int32_t even_a = s->even_a, even_b = s->even_b;
    __asm__(LOAD_ROW FINISH("%[a]") FINISH("%[b]")
            : [row] "+r"(row), [a] "+r"(even_a), [b] "+r"(even_b)
            :
            : "r4", "r5", "r6", "r8");
    out_a[0] = (int8_t)even_a;
    out_b[0] = (int8_t)even_b;
    __asm__(LOAD_ROW FINISH("%[a]") FINISH("%[b]")
            : [row] "+r"(row), [a] "+r"(odd_a), [b] "+r"(odd_b)
            :
            : "r4", "r5", "r6", "r8");
    out_a[1] = (int8_t)odd_a;
    out_b[1] = (int8_t)odd_b;
    return row;
}

static inline void split_odd(int32_t *odds, sums_t *s)
{
    odds[0] += odd(s->mixed_a, s->even_a);
    odds[1] += odd(s->mixed_b, s->even_b);
    s->mixed_a = s->even_a;
    s->mixed_b = s->even_b;
}

/* r7 is a frame pointer where none is needed unless told otherwise. */
__attribute__((optimize("omit-frame-pointer"))) void
tinyfed_int8_two_columns_m4(int8_t *out_a, int8_t *out_b, const tinyfed_int8_matmul_t *m, const int16_t *columns)
{
    const int32_t *row = m->table;
    int8_t last_a[4], last_b[4];
    state_t state;
    state.weights = (const int32_t *)(const void *)m->weights;
    for (uint32_t left = m->channels;;) {
        sums_t *s0 = &state.pair[0], *s1 = &state.pair[1];
        const sums_t zero = {0, 0, 0, 0};
        *s0 = zero;
        *s1 = zero;
        state.columns = (const int32_t *)(const void *)columns;
        int32_t odds[4] = {0, 0, 0, 0};
        uint32_t quads = m->quads;
        for (; quads > m->chunk_quads; quads -= m->chunk_quads) {
            state.quads = m->chunk_quads;
            multiply_two(&state);
            split_odd(odds, s0);
            split_odd(odds + 2, s1);
        }
        state.quads = quads;
        multiply_two(&state);
        int8_t *to_a = left < 4 ? last_a : out_a, *to_b = left < 4 ? last_b : out_b;
        row = finish_pair(to_a, to_b, row, s0, odds[0] + odd(s0->mixed_a, s0->even_a),
                          odds[1] + odd(s0->mixed_b, s0->even_b));
        row = finish_pair(to_a + 2, to_b + 2, row, s1, odds[2] + odd(s1->mixed_a, s1->even_a),
                          odds[3] + odd(s1->mixed_b, s1->even_b));
        if (left <= 4) {
            if (left < 4) {
                memcpy(out_a, last_a, left);
                memcpy(out_b, last_b, left);
            }
            return;
        }
        left -= 4;
        out_a += 4;
        out_b += 4;
    }
}

/* Four inputs of one column times four channels. `load` brings them to r9 (k0,k2) and r10 (k1,k3). */
#define WIDENED "ldrd r9, r10, [%[x]], #8\n\t"
#define BYTES                                                                                                          \
    "ldr r10, [%[x]], #4\n\t"                                                                                          \
    "sxtb16 r9, r10\n\t"                                                                                               \
    "sxtb16 r10, r10, ror #8\n\t"
#define QUAD(load)                                                                                                     \
    load "ldmia %[w]!, {r4, r5, r6, r8}\n\t"                                                                           \
         "smlad %[m0], r4, r9, %[m0]\n\t"                                                                              \
         "sxtb16 r4, r4\n\t"                                                                                           \
         "smlad %[m1], r5, r9, %[m1]\n\t"                                                                              \
         "sxtb16 r5, r5\n\t"                                                                                           \
         "smlad %[e0], r4, r9, %[e0]\n\t"                                                                              \
         "smlad %[e1], r5, r9, %[e1]\n\t"                                                                              \
         "smlad %[m0], r6, r10, %[m0]\n\t"                                                                             \
         "sxtb16 r6, r6\n\t"                                                                                           \
         "smlad %[m1], r8, r10, %[m1]\n\t"                                                                             \
         "sxtb16 r8, r8\n\t"                                                                                           \
         "smlad %[e0], r6, r10, %[e0]\n\t"                                                                             \
         "smlad %[e1], r8, r10, %[e1]\n\t"
#define MULTIPLY(code)                                                                                                 \
    __asm__ volatile(code                                                                                              \
                     : [w] "+r"(w), [x] "+r"(x), [m0] "+r"(m0), [m1] "+r"(m1), [e0] "+r"(e0), [e1] "+r"(e1)            \
                     :                                                                                                 \
                     : "r4", "r5", "r6", "r8", "r9", "r10", "memory")

/* Three sums of two pairs of channels: the even ones, 256 * odd + even, and the odd ones split off so far. */
#define SPLIT_OFF(m0, m1, e0, e1, o0, o1) (o0 += odd(m0, e0), o1 += odd(m1, e1), m0 = e0, m1 = e1)

void tinyfed_int8_widened_column_m4(int8_t *out, const tinyfed_int8_matmul_t *m, const int16_t *column)
{
    const int32_t *w = (const int32_t *)(const void *)m->weights, *row = m->table;
    for (uint32_t left = m->channels;; left -= 4, out += 4) {
        const int32_t *x = (const int32_t *)(const void *)column;
        int32_t e0 = 0, e1 = 0, m0 = 0, m1 = 0, o0 = 0, o1 = 0;
        for (uint32_t quads = m->quads; quads != 0;) {
            uint32_t now = quads < m->chunk_quads ? quads : m->chunk_quads;
            quads -= now;
            for (; now >= 4; now -= 4) MULTIPLY(QUAD(WIDENED) QUAD(WIDENED) QUAD(WIDENED) QUAD(WIDENED));
            for (; now != 0; now--) MULTIPLY(QUAD(WIDENED));
            SPLIT_OFF(m0, m1, e0, e1, o0, o1);
        }
        __asm__(LOAD_ROW FINISH("%[a]") LOAD_ROW FINISH("%[b]") LOAD_ROW FINISH("%[c]") LOAD_ROW FINISH("%[d]")
                : [row] "+r"(row), [a] "+r"(e0), [b] "+r"(o0), [c] "+r"(e1), [d] "+r"(o1)
                :
                : "r4", "r5", "r6", "r8");
        out[0] = (int8_t)e0;
        if (left > 1) out[1] = (int8_t)o0;
        if (left > 2) out[2] = (int8_t)e1;
        if (left > 3) out[3] = (int8_t)o1;
        if (left <= 4) return;
    }
}

/* Small: first the whole quads, then the one behind them. */
void tinyfed_int8_one_column_m4(int8_t *out, const tinyfed_int8_matmul_t *m, const int8_t *in)
{
    const int32_t *w = (const int32_t *)(const void *)m->weights, *row = m->table;
    for (uint32_t left = m->channels; left != 0;) {
        const int8_t *x = in;
        int32_t e0 = 0, e1 = 0, m0 = 0, m1 = 0, o0 = 0, o1 = 0;
        for (uint32_t done = 0; done < m->quads;) {
            if (done == m->whole) x = (const int8_t *)&m->last;
            uint32_t now = (done < m->whole ? m->whole : m->quads) - done;
            if (now > m->chunk_quads) now = m->chunk_quads;
            done += now;
            for (; now != 0; now--) MULTIPLY(QUAD(BYTES));
            SPLIT_OFF(m0, m1, e0, e1, o0, o1);
        }
        const int32_t sums[4] = {e0, o0, e1, o1};
        for (uint32_t i = 0; i < 4u && left != 0; i++, left--) {
            int32_t sum = sums[i];
            __asm__(LOAD_ROW FINISH("%[a]") : [row] "+r"(row), [a] "+r"(sum) : : "r4", "r5", "r6", "r8");
            *out++ = (int8_t)sum;
        }
    }
}

#else
typedef int tinyfed_int8_matmul_m4_is_empty;
#endif
