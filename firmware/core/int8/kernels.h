/* The inner loops, one file a processor. Every file is empty where its instructions are not; all bodies give
 * the same bits as the plain one.
 *
 * A matmul's weights are blocks of four output channels, a block quads of inputs, a quad four words
 * (k0,k2; o0,o1) (k0,k2; o2,o3) (k1,k3; o0,o1) (k1,k3; o2,o3), each half-word 256 * odd + even channel.
 * A column of inputs is int16: quad (k0,k2) (k1,k3). Two columns alternate by words:
 * a(k0,k2) b(k0,k2) a(k1,k3) b(k1,k3). */
#ifndef TINYFED_INT8_KERNELS_H
#define TINYFED_INT8_KERNELS_H

#include "program.h"
#include "rescale.h"

typedef struct tinyfed_int8_matmul {
    const uint8_t *weights;
    const int32_t *table; /* four values a channel, see tinyfed_int8_finish */
    uint32_t quads;
    uint32_t chunk_quads; /* odd sums are split off after so many */
    uint32_t channels;
    uint32_t whole, last; /* of a column of bytes: its quads that are whole, and the one behind them */
} tinyfed_int8_matmul_t;

/* Four inputs of a column of bytes. */
static inline uint32_t tinyfed_int8_quad(const tinyfed_int8_matmul_t *m, const int8_t *in, uint32_t quad)
{
    return quad < m->whole ? tinyfed_get32(in + 4u * quad) : m->last;
}

/* out_a[channels] and out_b[channels] (they may be one) from two columns. Saturates to int8. */
typedef void tinyfed_int8_two_columns_t(int8_t *out_a, int8_t *out_b, const tinyfed_int8_matmul_t *m,
                                        const int16_t *columns);
/* out[channels] from one column, bytes as they lie in the input. */
typedef void tinyfed_int8_one_column_t(int8_t *out, const tinyfed_int8_matmul_t *m, const int8_t *in);
/* Channels group..group + 3 of a depthwise convolution; plane is their padded input, four bytes a place and
 * pitch places a row. */
typedef void tinyfed_int8_depthwise_group_t(const tinyfed_int8_op_t *op, const uint32_t *plane, uint32_t pitch,
                                            uint32_t group);

tinyfed_int8_two_columns_t tinyfed_int8_two_columns_plain;
tinyfed_int8_one_column_t tinyfed_int8_one_column_plain;
tinyfed_int8_depthwise_group_t tinyfed_int8_depthwise_group_plain;

/* The bodies of this target. PICK is a call's function. On a PC it is chosen at run time; elsewhere it is fixed and
 * the rest, never called, is left out by the linker. */
/* Without optimization r7 is a frame pointer, and the loops of a Cortex-M4 need every register. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH) && __ARM_ARCH == 7 && __ARM_ARCH_PROFILE == 'M' &&               \
    defined(__OPTIMIZE__)
#define TINYFED_INT8_M4 1
#define TINYFED_INT8_PICK(op, name) ((void)(op), name##_m4)
tinyfed_int8_two_columns_t tinyfed_int8_two_columns_m4;
tinyfed_int8_one_column_t tinyfed_int8_one_column_m4;
/* The same from a column that is widened: fewer instructions where channels are many. */
void tinyfed_int8_widened_column_m4(int8_t *out, const tinyfed_int8_matmul_t *m, const int16_t *column);
tinyfed_int8_depthwise_group_t tinyfed_int8_depthwise_group_m4;
#elif defined(__SSE2__) && defined(__x86_64__)
#define TINYFED_INT8_SSE2 1
#define TINYFED_INT8_PICK(op, name)                                                                                    \
    ((op)->kernels == TINYFED_INT8_KERNELS_PLAIN                                                                       \
         ? name##_plain                                                                                                \
         : ((op)->kernels == TINYFED_INT8_KERNELS_BUILT ? name##_sse2 : name##_avx2))
tinyfed_int8_two_columns_t tinyfed_int8_two_columns_sse2, tinyfed_int8_two_columns_avx2;
tinyfed_int8_one_column_t tinyfed_int8_one_column_sse2, tinyfed_int8_one_column_avx2;
tinyfed_int8_depthwise_group_t tinyfed_int8_depthwise_group_sse2;
#define tinyfed_int8_depthwise_group_avx2 tinyfed_int8_depthwise_group_sse2
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define TINYFED_INT8_NEON 1
#define TINYFED_INT8_PICK(op, name) ((op)->kernels == TINYFED_INT8_KERNELS_PLAIN ? name##_plain : name##_neon)
tinyfed_int8_two_columns_t tinyfed_int8_two_columns_neon;
tinyfed_int8_one_column_t tinyfed_int8_one_column_neon;
tinyfed_int8_depthwise_group_t tinyfed_int8_depthwise_group_neon;
#else
#define TINYFED_INT8_PICK(op, name) ((void)(op), name##_plain)
#endif

/* Outputs [0..count) within what the operator's activation leaves. */
static inline void tinyfed_int8_clip(const tinyfed_int8_op_t *op, uint32_t count)
{
    const tinyfed_int8_record_t *r = &op->r;
    if (r->low == INT8_MIN && r->high == INT8_MAX) return;
    for (uint32_t i = 0; i < count; i++) op->out[i] = (int8_t)tinyfed_int8_clamp(op->out[i], r->low, r->high);
}

static inline uint32_t tinyfed_int8_splat(int8_t value) { return 0x01010101u * (uint8_t)value; }

#endif
