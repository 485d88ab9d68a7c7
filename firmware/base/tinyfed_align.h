/* The alignment of images, arenas and everything that is placed in them. */
#ifndef TINYFED_ALIGN_H
#define TINYFED_ALIGN_H

#include <stdint.h>

/* 16 bytes, so that SIMD loads and VLDM are aligned. */
#define TINYFED_ALIGNMENT 16u

/* The next multiple of TINYFED_ALIGNMENT; byte_count <= 2^32 - 16. */
static inline uint32_t tinyfed_align_up(uint32_t byte_count)
{
    return (byte_count + TINYFED_ALIGNMENT - 1u) & ~(TINYFED_ALIGNMENT - 1u);
}

#endif
