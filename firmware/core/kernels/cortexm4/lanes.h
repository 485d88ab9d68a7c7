/* Eight lanes in the registers of a Cortex-M4F: pieces of assembly, each in the order of accumulation of reduce.h.
 *
 * Registers: s0-s7 lanes, s8-s15 weights, s16-s23 the other factors, s28 the step. VMLA rounds the product and then
 * the sum, as a multiplication and an addition do. It is one instruction for two but takes three cycles for their two:
 * docs/benchmarks.md says why it is here. */
#ifndef TINYFED_KERNELS_CORTEXM4_LANES_H
#define TINYFED_KERNELS_CORTEXM4_LANES_H

#define TINYFED_ALL_SINGLES                                                                                            \
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15", "s16",       \
        "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30", "s31"

/* operation d, a, b on four registers. */
#define TINYFED_FOUR(operation, d0, d1, d2, d3, a0, a1, a2, a3, b0, b1, b2, b3)                                        \
    operation " s" #d0 ", s" #a0 ", s" #b0 "\n " operation " s" #d1 ", s" #a1 ", s" #b1 "\n " operation " s" #d2       \
              ", s" #a2 ", s" #b2 "\n " operation " s" #d3 ", s" #a3 ", s" #b3 "\n "

/* lanes += s8-s15 * s16-s23 */
#define TINYFED_LANES_ADD                                                                                              \
    TINYFED_FOUR("vmla.f32", 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19)                                                 \
    TINYFED_FOUR("vmla.f32", 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23)

/* s8-s15 += s28 * s16-s23 */
#define TINYFED_LANES_STEP                                                                                             \
    TINYFED_FOUR("vmla.f32", 8, 9, 10, 11, 28, 28, 28, 28, 16, 17, 18, 19)                                             \
    TINYFED_FOUR("vmla.f32", 12, 13, 14, 15, 28, 28, 28, 28, 20, 21, 22, 23)

/* s0 = the sum of the lanes */
#define TINYFED_LANES_SUM                                                                                              \
    TINYFED_FOUR("vadd.f32", 0, 2, 1, 3, 0, 2, 1, 3, 4, 6, 5, 7)                                                       \
    "vadd.f32 s0, s0, s2\n vadd.f32 s1, s1, s3\n vadd.f32 s0, s0, s1\n "

/* Accumulators s0 upwards += s24 * as many values behind the pointer. */
#define TINYFED_ADD_ONE(pointer) "vldmia %[" pointer "]!, {s16}\n vmla.f32 s0, s24, s16\n "
#define TINYFED_ADD_FOUR(pointer)                                                                                      \
    "vldmia %[" pointer "]!, {s16-s19}\n " TINYFED_FOUR("vmla.f32", 0, 1, 2, 3, 24, 24, 24, 24, 16, 17, 18, 19)
#define TINYFED_ADD_EIGHT_TO(pointer, a0, a1, a2, a3, a4, a5, a6, a7)                                                  \
    "vldmia %[" pointer "]!, {s16-s23}\n " TINYFED_FOUR("vmla.f32", a0, a1, a2, a3, 24, 24, 24, 24, 16, 17, 18, 19)    \
        TINYFED_FOUR("vmla.f32", a4, a5, a6, a7, 24, 24, 24, 24, 20, 21, 22, 23)
#define TINYFED_ADD_EIGHT(pointer) TINYFED_ADD_EIGHT_TO(pointer, 0, 1, 2, 3, 4, 5, 6, 7)
#define TINYFED_ADD_SIXTEEN(pointer)                                                                                   \
    TINYFED_ADD_EIGHT(pointer) TINYFED_ADD_EIGHT_TO(pointer, 8, 9, 10, 11, 12, 13, 14, 15)

#endif
