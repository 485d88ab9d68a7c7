/* Does an x86-64 machine have AVX2? */
#ifndef TINYFED_KERNELS_X86_AVX2_SUPPORT_H
#define TINYFED_KERNELS_X86_AVX2_SUPPORT_H

#include <cpuid.h>
#include <stdbool.h>

/* The processor has AVX2 and BMI1, which came with it, and the system saves the wide registers. */
static __attribute__((noinline)) bool tinyfed_has_avx2(void)
{
#ifdef TINYFED_NO_AVX2
    return false;
#else
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_OSXSAVE) == 0 || (c & bit_AVX) == 0) return false;
    unsigned int low, high;
    __asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6u) != 6u) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2) != 0 && (b & bit_BMI) != 0;
#endif
}

#endif
