/* What an emulator puts into a board's memory. host/tinyfed_host/emulation writes the same bytes. */
#ifndef TINYFED_EMULATOR_H
#define TINYFED_EMULATOR_H

#include "tinyfed_port.h"

/* What a real board has in fuses; the emulator's loader puts it at TINYFED_IDENTITY_ADDRESS. */
typedef struct tinyfed_identity {
    uint8_t unique_id[TINYFED_PORT_UNIQUE_ID_BYTES];
    uint8_t counted;   /* 1: QEMU runs with -icount shift=7, so time counts instructions */
    uint8_t in_memory; /* 1: the line's bytes go through TINYFED_LINE_ADDRESS */
    uint8_t reserved[2];
} tinyfed_identity_t;
_Static_assert(sizeof(tinyfed_identity_t) == 16 && offsetof(tinyfed_identity_t, counted) == 12 &&
                   offsetof(tinyfed_identity_t, in_memory) == 13,
               "the host knows the offsets");

#define TINYFED_MEMORY_LINE_BYTES 65536u

/* QEMU's UART takes one byte a turn of its main loop, some 16 us each. Where thousands of visits are run over, the
 * bytes lie in PSRAM, which the emulator keeps in a file that the host maps too, and a byte on the UART only says that
 * there are some. The counts are of bytes ever written and taken; each has one writer. */
typedef struct tinyfed_memory_line {
    volatile uint32_t down_written, down_taken, up_written, up_taken;
    uint8_t reserved[48];
    uint8_t down[TINYFED_MEMORY_LINE_BYTES], up[TINYFED_MEMORY_LINE_BYTES];
} tinyfed_memory_line_t;
_Static_assert(offsetof(tinyfed_memory_line_t, down_taken) == 4 && offsetof(tinyfed_memory_line_t, up_written) == 8 &&
                   offsetof(tinyfed_memory_line_t, up_taken) == 12 && offsetof(tinyfed_memory_line_t, down) == 64 &&
                   offsetof(tinyfed_memory_line_t, up) == 64 + TINYFED_MEMORY_LINE_BYTES,
               "the host knows the offsets");

static inline const volatile tinyfed_identity_t *tinyfed_identity(void)
{
    return (const volatile tinyfed_identity_t *)(uintptr_t)TINYFED_IDENTITY_ADDRESS;
}

#endif
