/* What the processor has beyond what the build takes for granted. */
#include "int8/kernels.h"

#if defined(TINYFED_INT8_SSE2)
#include <cpuid.h>

/* AVX2, and an operating system that keeps the wide registers. */
static bool has_avx2(void)
{
    const uint32_t osxsave_avx = (1u << 27) | (1u << 28), avx2 = 1u << 5, xmm_ymm = 6;
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & osxsave_avx) != osxsave_avx) return false;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return (low & xmm_ymm) == xmm_ymm && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & avx2) != 0;
}

uint8_t tinyfed_int8_best_kernels(void)
{
    return has_avx2() ? TINYFED_INT8_KERNELS_BEST : TINYFED_INT8_KERNELS_BUILT;
}

#else

uint8_t tinyfed_int8_best_kernels(void)
{
    return TINYFED_INT8_KERNELS_BUILT;
}

#endif
