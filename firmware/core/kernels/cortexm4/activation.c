/* Activations over arrays on a Cortex-M4F. The bits are those of plain/activation.c. */
#include "kernels/machine.h"

#ifdef TINYFED_MACHINE_CORTEXM4

#include "kernels/activation.h"
#include "tinyfed_float.h"
#include "math/tanh_coefficients.h"

/* A value's sign, spread over the word, clears it; a negative NaN carries into the spread sign and stays. */
#define RELU(r) "adds r12, " r ", %[nan]\n adc r12, %[zero], " r ", asr #31\n bic " r ", " r ", r12\n "

static void relu(float *y, uint32_t count)
{
    __asm volatile("subs %[n], %[n], #4\n blt 2f\n"
                   "1: ldmia %[y], {r4, r5, r6, r8}\n " RELU("r4") RELU("r5") RELU("r6") RELU(
                       "r8") "stmia %[y]!, {r4, r5, r6, r8}\n subs %[n], %[n], #4\n bge 1b\n"
                             "2: adds %[n], %[n], #4\n beq 4f\n"
                             "3: ldr r4, [%[y]]\n " RELU("r4") "str r4, [%[y]], #4\n subs %[n], %[n], #1\n bne 3b\n4:\n"
                   : [y] "+&r"(y), [n] "+&r"(count)
                   : [nan] "r"(0x007FFFFFu), [zero] "r"(0)
                   : "memory", "cc", "r4", "r5", "r6", "r8", "r12");
}

/* The loop of tinyfed_tanh_of without its bound: it stops before a value whose square is not below the bound's. */
static float *tanh_inside(float *y, uint32_t count)
{
    static const float coefficients[] = {TINYFED_TANH_COEFFICIENTS, TINYFED_TANH_BOUND * TINYFED_TANH_BOUND};
    _Static_assert(sizeof coefficients == 9 * sizeof(float), "s16-s19 above, s20-s23 below the line, s24 the bound");
    __asm volatile(
        "vldmia %[table], {s16-s24}\n vmov.f32 s25, #1.0\n"
        "1: vldr s0, [%[y]]\n vmul.f32 s1, s0, s0\n vcmp.f32 s1, s24\n vmrs APSR_nzcv, fpscr\n bpl 2f\n"
        " vmul.f32 s2, s16, s1\n vmul.f32 s3, s20, s1\n vadd.f32 s2, s2, s17\n vadd.f32 s3, s3, s21\n"
        " vmul.f32 s2, s2, s1\n vmul.f32 s3, s3, s1\n vadd.f32 s2, s2, s18\n vadd.f32 s3, s3, s22\n"
        " vmul.f32 s2, s2, s1\n vmul.f32 s3, s3, s1\n vadd.f32 s2, s2, s19\n vadd.f32 s3, s3, s23\n"
        " vmul.f32 s2, s2, s1\n vmul.f32 s3, s3, s1\n vadd.f32 s2, s2, s25\n vadd.f32 s3, s3, s25\n"
        " vmul.f32 s2, s0, s2\n vdiv.f32 s2, s2, s3\n vstmia %[y]!, {s2}\n subs %[n], %[n], #1\n bne 1b\n2:\n"
        : [y] "+&r"(y), [n] "+&r"(count)
        : [table] "r"(coefficients)
        : "memory", "cc", "s0", "s1", "s2", "s3", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25");
    return y;
}

void tinyfed_activate_f32(float *y, uint32_t count, uint8_t activation, float alpha)
{
    if (activation == TINYFED_RELU) {
        relu(y, count);
    } else if (activation == TINYFED_TANH) {
        float *const end = y + count;
        for (;;) {
            y = tanh_inside(y, (uint32_t)(end - y));
            if (y == end) break;
            *y = tinyfed_tanh_f32(*y);
            if (++y == end) break;
        }
    } else {
        tinyfed_activate_plain_f32(y, count, activation, alpha);
    }
}

#endif
