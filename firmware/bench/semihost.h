/* What a bench image says to its emulator, by semihosting: `name value` lines and an exit code. Uses no C library. */
#ifndef TINYFED_BENCH_SEMIHOST_H
#define TINYFED_BENCH_SEMIHOST_H

#include <stdint.h>

static inline void semihost(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static inline void print(const char *text) { semihost(0x04u, text); /* SYS_WRITE0 */ }

static inline void tell(const char *name, uint32_t value)
{
    char digits[12];
    char *p = digits + sizeof digits;
    *--p = 0;
    *--p = '\n';
    do {
        *--p = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    print(name);
    print(" ");
    print(p);
}

static inline void finish(uint32_t code)
{
    const uint32_t block[2] = {0x20026u, code}; /* ADP_Stopped_ApplicationExit */
    semihost(0x20u, block);                     /* SYS_EXIT_EXTENDED */
    for (;;) {
    }
}

#endif
