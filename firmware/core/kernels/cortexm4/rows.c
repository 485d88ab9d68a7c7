#include "kernels/machine.h"

#ifdef TINYFED_MACHINE_CORTEXM4

#include <stdbool.h>

#include "lanes.h"
#include "rows.h"

/* Built for size, eight outputs are twice four. */
#ifdef TINYFED_DENSE_ONLY
#define HAS_EIGHT false
#else
#define HAS_EIGHT true
#endif

const float tinyfed_zeros[16] = {0};

/* A strip of outputs over all rows, its accumulators in s0 upwards; `load`, `add` and `store` are for its width. */
#define STRIP(load, add, store)                                                                                        \
    __asm volatile(load "\n1: ldr %[bits], [%[x]], #4\n lsls %[t], %[bits], #1\n beq 2f\n vmov s24, %[bits]\n " add    \
                        "add %[w], %[w], %[skip]\n cmp %[x], %[end]\n bne 1b\n b 3f\n"                                 \
                        "2: add %[w], %[w], %[row]\n cmp %[x], %[end]\n bne 1b\n3: " store "\n"                        \
                   : [x] "+&r"(x), [w] "+&r"(w), [y] "+&r"(y), [from] "+&r"(from), [bits] "=&r"(bits), [t] "=&r"(t)    \
                   : [end] "r"(end), [skip] "r"(row_bytes - width * 4u), [row] "r"(row_bytes)                          \
                   : "memory", "cc", TINYFED_ALL_SINGLES)

void tinyfed_add_rows(float *y, const float *from, const float *first, const float *weights, uint32_t count,
                      uint32_t outputs)
{
    const float *const end = first + count;
    const uint32_t row_bytes = outputs * (uint32_t)sizeof *y;
    uint32_t bits, t, width;
    for (; outputs != 0; outputs -= width, weights += width) {
        const float *x = first, *w = weights;
        width = outputs >= 16 ? 16 : outputs >= 8 && HAS_EIGHT ? 8 : outputs >= 4 ? 4 : 1;
        switch (width) {
        case 16: STRIP("vldmia %[from]!, {s0-s15}", TINYFED_ADD_SIXTEEN("w"), "vstmia %[y]!, {s0-s15}"); break;
        case 8:
            if (HAS_EIGHT) STRIP("vldmia %[from]!, {s0-s7}", TINYFED_ADD_EIGHT("w"), "vstmia %[y]!, {s0-s7}");
            break;
        case 4: STRIP("vldmia %[from]!, {s0-s3}", TINYFED_ADD_FOUR("w"), "vstmia %[y]!, {s0-s3}"); break;
        default: STRIP("vldmia %[from]!, {s0}", TINYFED_ADD_ONE("w"), "vstmia %[y]!, {s0}"); break;
        }
    }
}

#endif
